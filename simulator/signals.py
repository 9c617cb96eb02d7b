"""What goes into the reference chip (events) and what comes out of it (actions).

``mono_ms`` is the chip's own monotonic clock, ``wall_ms`` its wall clock in Unix milliseconds, None where it has none.
"""

from msgspec import Struct

from gateway.core.model import Method, Outcome, Relay


class Moment(Struct, frozen=True):
    """The chip's two clocks at one instant, milliseconds."""

    mono_ms: int
    wall_ms: int | None


# --- events -----------------------------------------------------------------------------------------------------


class PowerOn(Struct, frozen=True):
    """The mains came on."""


class PowerOff(Struct, frozen=True):
    """The mains failed; what is kept in flash stays."""


class Connected(Struct, frozen=True):
    """The broker accepted the connection and both subscriptions are on their way."""


class Disconnected(Struct, frozen=True):
    """The connection is gone; nothing unacknowledged may be taken as delivered."""


class Delivered(Struct, frozen=True):
    """The broker acknowledged the publication with this ``key``."""

    key: int


class MessageArrived(Struct, frozen=True):
    topic: str
    payload: bytes
    retained: bool = False


class Scanned(Struct, frozen=True):
    """An operator's code was read."""

    credential: str
    method: Method = "scan"


class OperatorEnds(Struct, frozen=True):
    """The operator pressed "end of work"."""


class ArcStarted(Struct, frozen=True):
    """The current sensor sees welding current (amperes, volts)."""

    current_a: float = 180.0
    voltage_v: float = 24.0


class ArcStopped(Struct, frozen=True):
    """The welding current is gone."""


class RelaySensed(Struct, frozen=True):
    """The auxiliary contact says where the relay really is."""

    relay: Relay


class Tampered(Struct, frozen=True):
    """The housing was opened."""


class Tick(Struct, frozen=True):
    """Time passed; due timers fire."""


Event = (
    PowerOn
    | PowerOff
    | Connected
    | Disconnected
    | Delivered
    | MessageArrived
    | Scanned
    | OperatorEnds
    | ArcStarted
    | ArcStopped
    | RelaySensed
    | Tampered
    | Tick
)

# --- actions ----------------------------------------------------------------------------------------------------


class Publish(Struct, frozen=True):
    """Publish at QoS 1. ``key`` asks for a ``Delivered`` on the broker's acknowledgement."""

    topic: str
    payload: bytes
    retain: bool = False
    key: int | None = None


class CloseRelay(Struct, frozen=True):
    """The welding machine may start."""


class OpenRelay(Struct, frozen=True):
    """The welding machine stops."""


class Show(Struct, frozen=True):
    """What the operator is told. ``outcome`` is None where the chip gave up waiting.

    ``offline``: let in by the chip's list, without asking; no request of this id goes out.
    """

    request_id: str
    outcome: Outcome | None
    codes: tuple[str, ...] = ()
    offline: bool = False


Action = Publish | CloseRelay | OpenRelay | Show
