"""What chips report of themselves: events, usage, presence; and messages that cannot be used."""

import hashlib

from gateway.core.lease import CLOCK_ERROR_S
from gateway.core.model import Event, Millis, Status, Usage
from gateway.core.session import CHIP_GIVES_UP_S, Step, end_reason, step_of
from gateway.gate.alerts import alert
from gateway.gate.configs import hear_event, hear_status
from gateway.gate.entry import Entry, EventBody, GatewayBody, RejectedBody
from gateway.gate.leases import end, lock_replaced, renew, taken
from gateway.gate.offline import hear_refusal, judge, show_status
from gateway.gate.sessions import Session, Told
from gateway.gate.state import GateState
from gateway.gate.strays import is_live, lock_stray
from gateway.observe.events import EvidenceLost, Observed, Rejected, Renewed, Reported, SessionEnded, UsageTaken
from gateway.store.ledger import Draft
from gateway.store.prepared import Row
from gateway.wire.codec import encode
from gateway.wire.inbound import Inbound, Outbound
from gateway.wire.topics import chip_topic

ALARMS = frozenset(("tamper", "arc_without_lease", "relay_stuck"))
ENDS_TOLD: tuple[Step, ...] = ("locked", "boot", "not_running")
"""By these the chip says that its relay is open."""
GAVE_UP_MS = CHIP_GIVES_UP_S * 980
"""By then a chip has given up its request, also by a fast clock."""


# --- events -----------------------------------------------------------------------------------------------------


def record_event(state: GateState, machine_id: str, event: Event, payload: bytes) -> Entry:
    """Record a chip's event and take the step that it means for its session."""
    now, observed = state.wall_ms(), list[Observed]((Reported(machine_id, event.kind),))
    session = state.sessions.at_machine(machine_id)
    ends = _end_by(state, machine_id, event, observed)
    hear_event(state, machine_id, event)
    if event.kind == "grant_rejected":
        hear_refusal(state, machine_id, event)
    judged = judge(state, machine_id, event, observed) if event.kind == "offline_unlock" else None
    seen = state.chips.last_seq(machine_id)
    lost = state.chips.count(machine_id, event.seq)
    if lost is not None:
        observed.append(EvidenceLost(machine_id, None if lost[1] is None else lost[1] - lost[0] + 1))
    body = EventBody(ends, payload.decode(), judged, lost)
    return Entry(
        key=(machine_id, "event", event.event_id),
        draft=Draft("event", now, encode(body), machine_id, event.event_id),
        feed=_worth_an_alert(state, machine_id, event, body),
        command=lock_replaced(state, session, now) if session and ends and event.kind == "grant_rejected" else None,
        seq=(machine_id, state.chips.last_seq(machine_id), seen),
        lost=None if lost is None else (machine_id, now, *lost),
        chip=_clock_reset(state, machine_id, event, now) if event.kind == "clock_reset" else None,
        observed=tuple(observed),
    )


def _clock_reset(state: GateState, machine_id: str, event: Event, now: Millis) -> Row | None:
    """Its clock is another one than its status told: the row to keep, where a status is known."""
    chip = state.chips.tells_time(machine_id, event.at, now)
    if chip is None or chip.challenge is None:
        return None
    return (machine_id, now, chip.online, chip.serial, None, None, chip.challenge, event.at)


def _end_by(state: GateState, machine_id: str, event: Event, observed: list[Observed]) -> str | None:
    """The session that the event ended. A tampered lock is locked at once."""
    now, session = state.wall_ms(), _session_meant(state, machine_id, event)
    if session is None:
        return None
    session.live.heard_at = now
    if event.at is None or event.kind == "clock_reset":
        state.sessions.loses_clock(session)
    if event.kind == "tamper":
        state.agenda.lock(session, "tamper")
    step = step_of(event, session.state, (now - session.granted_at) / 1000)
    if step is None:
        session.live.grant_refused |= event.kind == "grant_rejected"
        return None
    reason = end_reason(step, event.reason, session.drain_reason)
    if not state.sessions.step(session, step, now, reason):
        return None
    if step in ENDS_TOLD and event.session_id is not None:
        state.sessions.tell_end(session.session_id, Told(now, event.at))
    observed.append(SessionEnded(session.session_id, machine_id, session.division, reason))
    return session.session_id


def _session_meant(state: GateState, machine_id: str, event: Event) -> Session | None:
    """The open session that the event speaks of: by its id, or whichever is open at the machine for what concerns
    the whole lock."""
    session = state.sessions.at_machine(machine_id)
    if session is None or event.session_id == session.session_id:
        return session
    if event.session_id is not None or event.kind not in ("boot", "tamper", "clock_reset"):
        return None
    return session if event.kind != "boot" or _surely_after(event, session, state.wall_ms()) else None


def _surely_after(event: Event, session: Session, now: Millis) -> bool:
    """Whether a boot that names no session came after the grant, whatever the order of arrival and as long as the
    chip's clock is not off by more than its requests may be: a date in the future proves nothing.

    If in doubt the session lasts as long as its lease could, or until the same welder scans again.
    """
    error_ms = CLOCK_ERROR_S * 1000
    return event.at is not None and session.granted_at + error_ms < event.at <= now + error_ms


def _worth_an_alert(state: GateState, machine_id: str, event: Event, body: EventBody) -> Outbound | None:
    if event.kind in ALARMS:
        return alert(state, event.kind, machine_id, event.session_id)  # type: ignore[arg-type]
    if body.judged is not None and body.judged.decision.outcome == "deny":
        return alert(state, "offline_refused", machine_id, event.session_id, ", ".join(body.judged.decision.reasons))
    if body.lost is not None:
        return alert(state, "lost_evidence", machine_id, None, f"{body.lost[0]} to {body.lost[1] or '?'}")
    return None


# --- usage and presence -----------------------------------------------------------------------------------------


def take_usage(state: GateState, machine_id: str, usage: Usage) -> Entry:
    """Keep a session's cumulative usage, and renew the lease on it; an older report than the last changes nothing."""
    now, machine = state.wall_ms(), state.snapshot.machines.get(machine_id)
    entry = Entry(
        usage=_usage_row(machine_id, usage, now),
        observed=(UsageTaken(machine_id, machine.division if machine else None, usage),),
    )
    session = state.sessions.at_machine(machine_id)
    if session is None or session.session_id != usage.session_id:
        return lock_stray(state, machine_id, usage, entry)
    before = session.live.usage
    if before is not None and usage.seq <= before.seq:
        return entry
    _note_usage(state, session, usage, now)
    if is_live(usage, now, clock=session.has_clock):
        entry.command = renew(state, session, now)
        if entry.command is not None:
            entry.observed += (Renewed(session.session_id, machine_id, session.lease_s),)
    return entry


def _note_usage(state: GateState, session: Session, usage: Usage, now: Millis) -> None:
    """Whether it welds or idles. INVARIANT of the policy: who does not weld for ``idle_lock_s`` is locked."""
    live, before = session.live, session.live.usage
    live.usage, live.heard_at = usage, now
    if usage.at is None:
        state.sessions.loses_clock(session)
    if usage.relay == "open":
        return
    welds = bool(usage.current_a) or (before is not None and usage.arc_s > before.arc_s)
    state.sessions.step(session, "arc" if welds else "rest", now, "locked")
    live.idle_since = None if welds else live.idle_since or now
    if live.idle_since is not None and now - live.idle_since >= state.rulebook.policy.lease.idle_lock_s * 1000:
        state.agenda.lock(session, "idle")


def _usage_row(machine_id: str, usage: Usage, now: Millis) -> tuple[object, ...]:
    return (
        usage.session_id,
        machine_id,
        usage.seq,
        now,
        usage.at,
        usage.relay,
        usage.enabled_s,
        usage.arc_s,
        usage.idle_s,
        usage.arcs,
        usage.energy_wh,
        usage.current_a,
        usage.voltage_v,
        usage.final,
    )


def take_status(state: GateState, machine_id: str, status: Status) -> Entry:
    """Keep what the chip says of itself. A last will says only that it is gone; what it said before stays."""
    now, back = state.wall_ms(), status.online and not state.chips[machine_id].online
    fresh = state.chips.take(machine_id, status, now)
    session, entry = state.sessions.at_machine(machine_id), Entry()
    if session is not None:
        if fresh and status.session_id == session.session_id:
            taken(state, session, now)
        if fresh and _never_took(session, status, now):
            entry = end(state, session, "time_up", "unused", now)
        if status.online and session.drained_at is not None:
            session.live.lock_sent_at = 0  # it is back: the lock goes out again at the next tick
    chip = state.chips[machine_id]
    entry.chip = (
        machine_id,
        now if status.challenge is None else chip.heard_at,
        status.online,
        chip.serial,
        status.firmware,
        status.relay,
        status.challenge,
        status.at,
    )
    hear_status(state, machine_id, status, back=back, fresh=fresh)
    show_status(state, machine_id, status, fresh=fresh)
    return entry


def _never_took(session: Session, status: Status, now: Millis) -> bool:
    """Whether a chip that shows a fresh challenge never took the session's grant, and cannot any more: it has given up
    the request, by its own clock, and its relay is open. Without a clock nobody knows what came first."""
    asked_at, at = session.live.asked_at, status.at
    if session.state != "granted" or status.relay != "open" or status.session_id == session.session_id:
        return False
    return asked_at is not None and at is not None and asked_at + GAVE_UP_MS <= at <= now + CLOCK_ERROR_S * 1000


# --- what cannot be used ----------------------------------------------------------------------------------------


def reject(state: GateState, inbound: Inbound, machine_id: str | None, kind: str, problem: str) -> Entry:
    """Record that a message was unusable and why; it is acknowledged and never comes back."""
    body = RejectedBody(kind, problem, hashlib.sha256(inbound.payload).hexdigest(), len(inbound.payload))
    return Entry(
        draft=Draft("rejected", state.wall_ms(), encode(body), machine_id),
        observed=(Rejected(kind, problem),),
    )


def accepted_clock(state: GateState) -> Draft:
    """The record that an operator of the gateway has vouched for the clock."""
    return Draft("gateway", state.wall_ms(), encode(GatewayBody("clock_accepted")))


def set_aside(state: GateState, inbound: Inbound) -> Entry:
    """Record that the database would not take what a message leads to."""
    machine_id, kind = chip_topic(inbound.topic) or (None, "unknown")
    entry = reject(state, inbound, machine_id, kind, "record: the database refused what the message leads to")
    entry.inbound = inbound
    return entry
