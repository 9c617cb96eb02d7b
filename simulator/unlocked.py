"""One unlocked period at a chip: what opens it, and what is kept of it while it lasts."""

from typing import Any

from msgspec import Struct

from simulator.meter import Meter


class Opening(Struct, frozen=True):
    """The session to begin. ``detail`` is for the event of an unlock by the offline list, None with a grant."""

    session_id: str
    request_id: str
    lease_s: int
    detail: dict[str, Any] | None = None


class Session(Struct):
    """A running session. ``last_n`` is the highest command number seen, ``ending`` why it drains."""

    session_id: str
    request_id: str
    meter: Meter
    last_n: int = 0
    ending: str = ""


def begin(opening: Opening, now_ms: int) -> Session:
    """The session as it starts, monotonic milliseconds."""
    return Session(opening.session_id, opening.request_id, Meter(opening.session_id, now_ms))
