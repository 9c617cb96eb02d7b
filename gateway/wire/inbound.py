"""What arrives from and goes to the broker, as bytes with their addresses."""

from msgspec import Struct


class Inbound(Struct, frozen=True, gc=False):
    """One arrived message. ``receipt`` is the link's own token for the acknowledgement; ``arrived_ns`` monotonic."""

    topic: str
    payload: bytes
    retained: bool
    arrived_ns: int
    receipt: tuple[int, int]


class Outbound(Struct, frozen=True, gc=False):
    """One message to publish at QoS 1."""

    topic: str
    payload: bytes
    retained: bool = False
