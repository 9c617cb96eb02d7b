"""The life of a session as a table: ``granted -> unlocked -> ended``.

A session is granted by an allow. The chip's ``unlocked`` event says that the relay closed; its ``locked`` event
ends the session for the reason that the chip gives. A ``boot`` ends it too, since power-up means locked. An allow to
the same operator at the same machine replaces it. Whatever the chip reports or fails to report, the session is over
when the longest relay time that its grant allows has passed.
"""

from typing import Literal

from gateway.core.model import Event, EventKind, Millis

State = Literal["granted", "unlocked", "ended"]
Step = Literal["unlocked", "locked", "grant_rejected", "boot", "replaced", "lease_over"]

TABLE: dict[tuple[State, Step], State] = {
    ("granted", "unlocked"): "unlocked",  # the relay closed
    ("granted", "locked"): "ended",  # its `unlocked` was lost, or it locked before it reported
    ("granted", "grant_rejected"): "ended",  # the chip did not take the grant, so its relay stays open
    ("granted", "boot"): "ended",  # the chip lost power before it reported
    ("granted", "replaced"): "ended",  # the operator scanned again at this machine
    ("granted", "lease_over"): "ended",  # the grant was never used, or its chip fell silent
    ("unlocked", "unlocked"): "unlocked",  # reported twice
    ("unlocked", "locked"): "ended",  # the operator ended work, or the chip locked by itself
    ("unlocked", "grant_rejected"): "unlocked",  # a second copy of the grant in use
    ("unlocked", "boot"): "ended",  # the chip lost power while unlocked
    ("unlocked", "replaced"): "ended",  # the `locked` was lost and the operator scanned again
    ("unlocked", "lease_over"): "ended",  # the chip fell silent; its relay is open by its own clock
    ("ended", "unlocked"): "ended",  # late news changes nothing
    ("ended", "locked"): "ended",
    ("ended", "grant_rejected"): "ended",
    ("ended", "boot"): "ended",
    ("ended", "replaced"): "ended",
    ("ended", "lease_over"): "ended",
}

_STEPS: dict[EventKind, Step] = {
    "unlocked": "unlocked",
    "locked": "locked",
    "grant_rejected": "grant_rejected",
    "boot": "boot",
}
CHIP_GIVES_UP_S = 30
"""A chip without a wall clock cannot tell the start-by: it takes a grant until it gives up its request."""


def step_of(event: Event) -> Step | None:
    """The step that a chip's event makes; None for events that say nothing about a session."""
    return _STEPS.get(event.kind)


def end_reason(step: Step, chip_says: str | None) -> str:
    """Why a session ended: the chip's own word for ``locked``, else the step."""
    if step == "locked":
        return chip_says or "locked"
    return "power" if step == "boot" else step


def starts_within_s(start_by_s: int, chip_clock: Millis | None) -> int:
    """How long after its grant a relay may still close, seconds.

    >>> starts_within_s(5, chip_clock=None)
    30
    """
    return CHIP_GIVES_UP_S if chip_clock is None else start_by_s


def open_until(now: Millis, within_s: int, lease_s: int) -> Millis:
    """The last moment at which a grant made at ``now`` can hold a relay closed without a renewal."""
    return now + (within_s + lease_s) * 1000
