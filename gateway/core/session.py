"""The life of a session as a table, and the words for its end.

A session is granted by an allow. The chip's ``unlocked`` says that the relay closed; usage shows whether it welds or
idles. It drains once a signed ``lock`` is on its way, and ends when the chip says so, when the chip was without power,
or when even the longest relay time that its grant and renewals allow has passed.
"""

from typing import Literal

from gateway.core.lease import CLOCK_ERROR_S
from gateway.core.model import Asked, Event, EventKind

State = Literal["granted", "unlocked", "welding", "idle", "draining", "ended"]
OPEN_STATES: tuple[State, ...] = ("granted", "unlocked", "welding", "idle", "draining")
Step = Literal[
    "unlocked", "arc", "rest", "drain", "locked", "grant_rejected", "not_running", "boot", "replaced", "time_up"
]

TABLE: dict[tuple[State, Step], tuple[State, str]] = {
    ("granted", "unlocked"): ("unlocked", "the relay closed"),
    ("granted", "arc"): ("welding", "its `unlocked` was lost; usage shows an arc"),
    ("granted", "rest"): ("idle", "its `unlocked` was lost; usage shows the relay closed"),
    ("granted", "drain"): ("draining", "its ground is gone before the chip reported"),
    ("granted", "locked"): ("ended", "its `unlocked` was lost, or it locked before it reported"),
    ("granted", "grant_rejected"): ("ended", "the chip did not take the grant, so its relay stays open"),
    ("granted", "boot"): ("ended", "the chip lost power before it reported"),
    ("granted", "replaced"): ("ended", "the operator scanned again at this machine"),
    ("granted", "time_up"): ("ended", "the grant was never used"),
    ("unlocked", "arc"): ("welding", "welding began"),
    ("unlocked", "rest"): ("idle", "no arc since the last report"),
    ("unlocked", "drain"): ("draining", "a lock is on its way to the chip"),
    ("unlocked", "locked"): ("ended", "the operator ended work, or the chip locked by itself"),
    ("unlocked", "boot"): ("ended", "the chip lost power"),
    ("unlocked", "replaced"): ("ended", "the `locked` was lost and somebody scanned again"),
    ("unlocked", "time_up"): ("ended", "the chip fell silent; its relay is open by its own clock"),
    ("welding", "arc"): ("welding", "welding goes on"),
    ("welding", "rest"): ("idle", "no arc since the last report"),
    ("welding", "drain"): ("draining", "a lock is on its way; the arc may end first"),
    ("welding", "locked"): ("ended", "the chip locked"),
    ("welding", "boot"): ("ended", "the chip lost power"),
    ("welding", "replaced"): ("ended", "the `locked` was lost and somebody scanned again"),
    ("welding", "time_up"): ("ended", "the chip fell silent; its relay is open by its own clock"),
    ("idle", "arc"): ("welding", "welding went on"),
    ("idle", "rest"): ("idle", "still no arc"),
    ("idle", "drain"): ("draining", "a lock is on its way to the chip"),
    ("idle", "locked"): ("ended", "the chip locked"),
    ("idle", "boot"): ("ended", "the chip lost power"),
    ("idle", "replaced"): ("ended", "the `locked` was lost and somebody scanned again"),
    ("idle", "time_up"): ("ended", "the chip fell silent; its relay is open by its own clock"),
    ("draining", "drain"): ("draining", "the lock is sent again until the chip reports"),
    ("draining", "locked"): ("ended", "the chip carried out the lock"),
    ("draining", "not_running"): ("ended", "the chip knows no such session, and can no longer begin it"),
    ("draining", "boot"): ("ended", "the chip lost power"),
    ("draining", "replaced"): ("ended", "somebody else was let in at this machine"),
    ("draining", "time_up"): ("ended", "the chip never answered; its relay is open by its own clock"),
}
"""(state, step) to (next state, why). A step without a line changes nothing; nothing leads out of ``ended``."""

EndReason = Literal[
    "operator",
    "idle",
    "lease_over",
    "revoked",
    "remote",
    "out_of_service",
    "tamper",
    "no_session",
    "replaced",
    "offline_too_long",
    "power",
    "unused",
    "grant_rejected",
    "locked",
]
DrainReason = Literal["idle", "revoked", "remote", "out_of_service", "tamper", "no_session"]
END_REASONS: dict[EndReason, str] = {
    "operator": "the operator ended work at the machine",
    "idle": "no arc for longer than the policy's idle lock",
    "lease_over": "the lease ran out and was not renewed",
    "revoked": "the facts or the policy changed, and would no longer allow it",
    "remote": "the regulator or the firm ended it or locked the machine",
    "out_of_service": "the machine was taken out of service",
    "tamper": "the lock's housing was opened",
    "no_session": "the relay was closed without a session that the gateway knows",
    "replaced": "another allow at the same machine, or by override at another",
    "offline_too_long": "nothing heard from the chip for longer than the lease",
    "power": "the chip lost its mains",
    "unused": "the grant was never used",
    "grant_rejected": "the chip did not take the grant",
    "locked": "the chip locked and gave no word of this list",
}

_STEPS: dict[EventKind, Step] = {
    "unlocked": "unlocked",
    "locked": "locked",
    "boot": "boot",
}
CHIP_GIVES_UP_S = 30
"""A chip without a wall clock cannot tell the start-by: it takes a grant until it gives up its request."""
GIVEN_UP_S = CHIP_GIVES_UP_S + 5
"""So long after the grant every chip has given up the request before it, by a slow clock too."""


def step_of(event: Event, state: State, granted_s_ago: float) -> Step | None:
    """The step that a chip's event makes; None for events that say nothing about a session.

    A refused grant may be refused for a clock that is put right a moment later, or be a spoilt copy: it is the end once
    the challenge has moved on, or the chip must have given its request up. A chip that refuses the lock of a session
    does not run it; while its grant may still be on the way that is no end either.
    """
    too_late = granted_s_ago > GIVEN_UP_S
    if event.kind != "grant_rejected":
        return _STEPS.get(event.kind)
    if state == "draining":
        return "not_running" if too_late and event.reason == "other_session" else None
    return "grant_rejected" if too_late or event.reason == "other_challenge" else None


def end_reason(step: Step, chip_says: str | None, draining: DrainReason | None) -> EndReason:
    """Why a session ended by a chip's event: the chip's word if it is one of ours, else what it was locked for."""
    if step == "boot":
        return "power"
    if step == "grant_rejected":
        return "grant_rejected"
    for word in END_REASONS:
        if step == "locked" and chip_says == word:
            return word
    return draining or "locked"


def time_up_reason(state: State, silent_s: float, lease_s: int, draining: DrainReason | None) -> EndReason:
    """Why a session ended by the clock alone; ``silent_s`` is how long ago its chip was last heard of.

    >>> time_up_reason("idle", 1000, 900, None)
    'offline_too_long'
    """
    if draining is not None:
        return draining
    if state == "granted":
        return "unused"
    return "offline_too_long" if silent_s > lease_s else "lease_over"


def starts_within_s(start_by_s: int, asked: Asked) -> int:
    """How long after its grant a relay may still close, seconds.

    A chip gives up what it asked for. By phone it has asked for nothing: its clock alone refuses what is late, and that
    clock may be slow.
    """
    if asked.method == "phone":
        return start_by_s + CLOCK_ERROR_S
    return CHIP_GIVES_UP_S if asked.at is None else start_by_s
