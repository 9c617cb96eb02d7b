"""WeldGate: only a certified operator of the owning firm starts the machine."""

from importlib.metadata import version

__version__ = version("weldgate")
