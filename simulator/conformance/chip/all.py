"""Every case of a chip, in the order in which they run."""

from simulator.conformance.chip import evidence, ground, leases, offline, others, power, requests
from simulator.conformance.chip.kit import CHIP

__all__ = ["CHIP", "evidence", "ground", "leases", "offline", "others", "power", "requests"]
