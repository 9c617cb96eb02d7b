"""Every case of a gateway."""

from simulator.conformance.gateway import decisions, delivery, live, others, sessions
from simulator.conformance.gateway.kit import GATEWAY

__all__ = ["GATEWAY", "decisions", "delivery", "live", "others", "sessions"]
