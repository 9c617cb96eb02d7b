"""Every case of a gateway."""

from simulator.conformance.gateway import codes, decisions, delivery, live, offline, others, sessions
from simulator.conformance.gateway.kit import GATEWAY

__all__ = ["GATEWAY", "codes", "decisions", "delivery", "live", "offline", "others", "sessions"]
