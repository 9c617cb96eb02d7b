"""What arrives from and goes to the broker, as bytes with their addresses."""

from msgspec import Struct

from gateway.core.model import PhoneAsk


class Inbound(Struct, frozen=True, gc=False):
    """One arrived message. ``receipt`` is the link's own token for the acknowledgement; ``arrived_ns`` monotonic.

    ``response_topic`` and ``correlation`` are what an MQTT 5 sender asks its answer to go to and to carry.

    INVARIANT: ``phone`` is set by the gateway itself (``by_phone``) and by nothing that comes from a broker: whoever
    can publish as a chip cannot speak for who has signed in.
    """

    topic: str
    payload: bytes
    retained: bool
    arrived_ns: int
    receipt: tuple[int, int]
    response_topic: str | None = None
    correlation: bytes | None = None
    phone: PhoneAsk | None = None


class Outbound(Struct, frozen=True, gc=False):
    """One message to publish at QoS 1. The last two are for MQTT 5 alone: message expiry and correlation data."""

    topic: str
    payload: bytes
    retained: bool = False
    expires_s: int | None = None
    correlation: bytes | None = None
