"""What keeps a session alive and what ends it: renewals, reviews, locks. Each command is durable before it is sent."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator

from msgspec import UNSET

from gateway.core.decide import standing
from gateway.core.lease import COMMAND_TTL_S, Renewal, lasts_until, renewal, renewal_due
from gateway.core.model import Asked, Millis
from gateway.core.session import GIVEN_UP_S, DrainReason, EndReason, Step, time_up_reason
from gateway.gate.alerts import alert
from gateway.gate.entry import CommandBody, DecisionBody, Entry, SessionEndBody
from gateway.gate.sessions import Session
from gateway.gate.state import GateState
from gateway.observe.events import Locking, SessionEnded
from gateway.store.ledger import Draft
from gateway.wire.codec import encode
from gateway.wire.tokens import Command

OURS = frozenset(("registry_stale", "overloaded", "internal_error"))
"""Refusals for a fault of the gateway's own: they end nobody's work at once, but no lease is renewed meanwhile."""
RESEND_MS = 5_000
"""A lock is sent again after so long without the chip's word."""
RESEND_UNHEARD_MS = 60_000
"""The same for a chip that is not connected: the broker keeps what was sent, and its return is noticed at once. And for
a lock that is overdue: somebody was told, and each refusal takes room where a chip keeps its evidence."""
REVIEWED_AT_ONCE = 256
"""Sessions looked at again in one batch: some ten milliseconds."""
OVERDUE_MS = 30_000
"""So long after its deadline an unanswered lock is worth an alert."""
LOCK_TTL_S = 10 * 365 * 86_400
"""A lock is never too late: it names its session, and can do no harm. However wrong a chip's clock may be, it is obeyed
(ten years, so that it fits into the 31 bits of a small chip)."""
LOCKED_AT_ONCE = 256
"""Locks in one batch: as many as messages."""
CLOCKED_AT_ONCE = 512
"""Sessions held against the clock in one batch: what comes of all of them goes to the broker at once."""
_ID_BYTES = 12


# --- renewing ---------------------------------------------------------------------------------------------------


def renew(state: GateState, session: Session, now: Millis) -> Command | None:
    """The command that starts the session's lease anew, where it is due and nothing speaks against it."""
    if session.state == "draining" or session.live.denied or not renewal_due(session.leased_at, session.lease_s, now):
        return None
    review = _review(state, session)
    if review.decision.outcome == "deny":
        if not OURS.issuperset(review.decision.reasons):
            state.agenda.review((session,))
        return None
    longest, clock = state.rulebook.policy.lease.lease_s, session.has_clock
    next_lease = renewal(now, session.lease_until, session.live.stands_until, longest, clock=clock)
    if next_lease is None:
        return None
    if session.live.asked_with is None:
        session.live.held_until, session.live.asked_s = session.lease_until, 0
    session.live.asked_s = max(session.live.asked_s, next_lease.lease_s)
    state.sessions.lease(session, next_lease, now, state.drain_s)
    return _renew(state, session, next_lease, now)


def _renew(state: GateState, session: Session, lease: Renewal, now: Millis) -> Command:
    """A chip without a clock takes it for its present challenge alone, which shows when it has taken it."""
    session.live.asked_with = None if session.has_clock else state.chips[session.machine_id].challenge
    return Command(
        aud=session.machine_id,
        cmd="renew",
        exp=now // 1000 + COMMAND_TTL_S,
        iat=now // 1000,
        jti=new_id(),
        n=state.sessions.number(session),
        sid=session.session_id,
        cha=session.live.asked_with or UNSET,
        lease_s=lease.lease_s,
    )


def taken(state: GateState, session: Session, now: Millis) -> None:
    """The chip shows a new challenge: it takes no renewal any more that was for the old one.

    Whether it took one or used the challenge up for something else: its lease ends no later than either would.
    """
    live = session.live
    if live.asked_with is None:
        return
    live.asked_with = None
    until = max(lasts_until(now, live.asked_s), live.held_until)
    if until < session.lease_until:
        state.sessions.lease(session, Renewal(session.lease_s, until), session.leased_at, state.drain_s)


# --- looking again ----------------------------------------------------------------------------------------------


def look_again(state: GateState, session: Session, now: Millis) -> Entry | None:
    """Lock a session that may not go on. INVARIANT: the same decision as for a request, on today's facts."""
    if session.ended_at is not None or session.state == "draining":
        return None
    if state.snapshot.controls.is_ended(session.session_id):
        return lock(state, session, "remote", now)
    review = _review(state, session)
    if review.decision.outcome == "allow" or OURS.issuperset(review.decision.reasons):
        return lock(state, session, "revoked", now) if session.live.denied else None
    return lock(state, session, _why(review), now, review)


def _why(review: DecisionBody) -> DrainReason:
    hold = review.facts.hold
    if hold is None:
        return "revoked"
    return "out_of_service" if hold.kind == "out_of_service" else "remote"


def _review(state: GateState, session: Session) -> DecisionBody:
    """Whether the session's person would be let in at its machine now; notes until when."""
    asked = Asked(session.request_id, credential="", credential_kind="session", challenge="")
    facts = state.facts(session.machine_id, session.operator_id)
    decision, session.live.stands_until = standing(asked, facts, state.rulebook)
    return DecisionBody(asked, decision, facts, state.rulebook.hash, state.snapshot.version, ())


# --- locking ----------------------------------------------------------------------------------------------------


def lock(
    state: GateState, session: Session, reason: DrainReason, now: Millis, review: DecisionBody | None = None
) -> Entry:
    """Send a signed lock and put it on record: between arcs with a deadline, at once for tamper."""
    at_once = reason == "tamper"
    number, lock_id = state.sessions.number(session), new_id()
    state.sessions.drain(session, reason, now, lock_id, at_once=at_once)
    command = _lock(state, session, number, now)
    session.live.lock_sent_at = now
    body = CommandBody(command, reason, review)
    return Entry(
        draft=Draft("command", now, encode(body), session.machine_id, lock_id, session.operator_id),
        command=command,
        observed=(Locking(session.session_id, session.machine_id, session.division, reason, again=False),),
    )


def lock_again(state: GateState, session: Session, now: Millis) -> Entry:
    """The same lock once more: it has the same id and number, so that a chip that carried it out passes it over."""
    session.live.lock_sent_at = now
    observed = Locking(session.session_id, session.machine_id, session.division, session.drain_reason or "", again=True)
    return Entry(command=_lock(state, session, session.n, now), observed=(observed,))


def _lock(state: GateState, session: Session, number: int, now: Millis) -> Command:
    return Command(
        aud=session.machine_id,
        cmd="lock",
        exp=now // 1000 + LOCK_TTL_S,
        iat=now // 1000,
        jti=session.lock_id or "",
        n=number,
        sid=session.session_id,
        reason=session.drain_reason or "revoked",
        when="now" if session.lock_now else "between_arcs",
        deadline_s=UNSET if session.lock_now else state.rulebook.policy.lease.drain_deadline_s,
    )


def lock_unknown(state: GateState, machine_id: str, session_id: str, now: Millis) -> Command:
    """A lock for a session that is over in our books, or was never in them.

    Nobody knows how far the session's commands were numbered: seconds since 1970 are more than any of them.
    """
    return Command(
        aud=machine_id,
        cmd="lock",
        exp=now // 1000 + LOCK_TTL_S,
        iat=now // 1000,
        jti=new_id(),
        n=now // 1000,
        sid=session_id,
        reason="no_session",
        when="between_arcs",
        deadline_s=state.rulebook.policy.lease.drain_deadline_s,
    )


def lock_replaced(state: GateState, session: Session, now: Millis) -> Command | None:
    """The chip did not take a grant that replaced a session of its own in the books: it may run that one still."""
    before = session.live.replaced
    return lock_unknown(state, session.machine_id, before, now) if before else None


def new_id() -> str:
    return urlsafe_b64encode(secrets.token_bytes(_ID_BYTES)).decode()


def work_off(state: GateState, now: Millis) -> list[Entry]:
    """The next slice of the agenda."""
    entries = []
    for session, reason in state.agenda.take_locks(LOCKED_AT_ONCE):
        harder = reason == "tamper" and not session.lock_now
        if session.ended_at is None and (session.drained_at is None or harder):
            entries.append(lock(state, session, reason, now))
    reviews = (look_again(state, session, now) for session in state.agenda.take_reviews(REVIEWED_AT_ONCE))
    return entries + [entry for entry in reviews if entry is not None]


# --- time -------------------------------------------------------------------------------------------------------


def on_time(state: GateState, now: Millis) -> list[Entry]:
    """What the clock alone leads to, a slice at a time: sessions that are over, reviews that are due, locks to be sent
    again."""
    entries = []
    for session in state.agenda.take_clocked(CLOCKED_AT_ONCE):
        live = session.live
        if session.ended_at is not None:
            continue
        if session.open_until < now:
            entries.append(end_over(state, session, now))
        elif session.drained_at is not None:
            entries += _press(state, session, session.drained_at, now)
        elif live.grant_refused and session.unlocked_at is None and now - session.granted_at > GIVEN_UP_S * 1000:
            entry = end(state, session, "grant_rejected", "grant_rejected", now)
            entry.command = lock_replaced(state, session, now)
            entries.append(entry)
        elif live.stands_until is not None and live.stands_until <= now:
            state.agenda.review((session,))
    return entries


def _press(state: GateState, session: Session, drained_at: Millis, now: Millis) -> Iterator[Entry]:
    """Send a lock again, and tell somebody where it stays without effect."""
    if _unanswered(state, session, now):
        yield lock_again(state, session, now)
    deadline_ms = state.rulebook.policy.lease.drain_deadline_s * 1000
    if not session.live.overdue and now - drained_at > deadline_ms + OVERDUE_MS:
        session.live.overdue = True
        detail = f"{session.drain_reason}, {(now - drained_at) // 1000} s"
        yield Entry(feed=alert(state, "lock_overdue", session.machine_id, session.session_id, detail))


def _unanswered(state: GateState, session: Session, now: Millis) -> bool:
    pressing = state.chips[session.machine_id].online and not session.live.overdue
    wait_ms = RESEND_MS if pressing else RESEND_UNHEARD_MS
    return now - session.live.lock_sent_at >= wait_ms


def end_over(state: GateState, session: Session, now: Millis) -> Entry:
    """End a session whose longest relay time has passed without word from its chip."""
    silent_s = (now - session.last_heard()) / 1000
    reason = time_up_reason(session.state, silent_s, session.lease_s, session.drain_reason)
    return end(state, session, "time_up", reason, now)


def end(state: GateState, session: Session, step: Step, reason: EndReason, now: Millis) -> Entry:
    """End a session by a step that no event of its chip makes, and put it on record."""
    state.sessions.step(session, step, now, reason)
    body = SessionEndBody(reason, session.session_id)
    return Entry(
        draft=Draft("session_end", now, encode(body), session.machine_id, session.session_id, session.operator_id),
        observed=(SessionEnded(session.session_id, session.machine_id, session.division, reason),),
    )
