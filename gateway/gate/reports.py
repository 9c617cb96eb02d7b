"""What chips report of themselves: events, usage, presence; and messages that cannot be used."""

import hashlib

from gateway.core.model import Event, Millis, Status, Usage
from gateway.core.session import Step, end_reason, step_of
from gateway.gate.entry import Entry, EventBody, GatewayBody, RejectedBody, SessionEndBody
from gateway.gate.sessions import Session
from gateway.gate.state import GateState
from gateway.observe.events import Observed, Rejected, Reported, SessionEnded, UsageTaken
from gateway.store.ledger import Draft
from gateway.wire.codec import encode
from gateway.wire.inbound import Inbound
from gateway.wire.topics import chip_topic

CLOCKS_APART_MS = 60_000
"""How far a chip's clock and the gateway's may be apart (the default of ``requests.max_age_s``)."""


def record_event(state: GateState, machine_id: str, event: Event, payload: bytes) -> Entry:
    """Record a chip's event and take the step that it means for its session."""
    now = state.wall_ms()
    step, session = step_of(event), _session_meant(state, machine_id, event)
    observed: tuple[Observed, ...] = (Reported(machine_id, event.kind),)
    ends = None
    if step is not None and session is not None:
        reason = end_reason(step, event.reason)
        if state.sessions.step(session, step, now, reason):
            ends = session.session_id
            observed += (SessionEnded(ends, machine_id, session.division, reason),)
    body = EventBody(ends, payload.decode())
    return Entry(
        key=(machine_id, "event", event.event_id),
        draft=Draft("event", now, encode(body), machine_id, event.event_id),
        observed=observed,
    )


def _session_meant(state: GateState, machine_id: str, event: Event) -> Session | None:
    """The open session that the event speaks of: by its id, or at a boot whichever is open at the machine."""
    session = state.sessions.at_machine(machine_id)
    if session is None or event.session_id == session.session_id:
        return session
    return session if event.kind == "boot" and not _before(event, session) else None


def _before(event: Event, session: Session) -> bool:
    """Whether the chip dates the event before the session was granted: news of an earlier time that came late."""
    return event.at is not None and event.at < session.granted_at - CLOCKS_APART_MS


def end_over(state: GateState, session: Session, now: Millis) -> Entry:
    """End a session whose longest relay time has passed without word from its chip."""
    step: Step = "lease_over"
    state.sessions.step(session, step, now, step)
    body = SessionEndBody(step, session.session_id)
    return Entry(
        draft=Draft("session_end", now, encode(body), session.machine_id, session.session_id, session.operator_id),
        observed=(SessionEnded(session.session_id, session.machine_id, session.division, step),),
    )


def take_usage(state: GateState, machine_id: str, usage: Usage) -> Entry:
    """Keep a session's cumulative usage; older reports than the stored one change nothing."""
    machine = state.snapshot.machines.get(machine_id)
    row = (
        usage.session_id,
        machine_id,
        usage.seq,
        state.wall_ms(),
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
    return Entry(usage=row, observed=(UsageTaken(machine_id, machine.division if machine else None, usage),))


def take_status(state: GateState, machine_id: str, status: Status) -> Entry:
    """Keep what the chip says of itself. A last will says only that it is gone; what it said before stays."""
    if status.chip is not None:
        state.chips[machine_id] = status.chip
    chip = state.chips.get(machine_id)
    row = (machine_id, state.wall_ms(), status.online, chip, status.firmware, status.relay, status.challenge)
    return Entry(chip=row)


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
