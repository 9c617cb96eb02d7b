"""The fixture that other teams use is used here as they use it."""

from simulator.testing import weldgate_fleet

__all__ = ["weldgate_fleet"]
