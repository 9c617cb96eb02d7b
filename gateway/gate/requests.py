"""A request for an unlock: facts, decision, grant, record. The only place that decides."""

import secrets
from base64 import urlsafe_b64encode

from msgspec import structs

from gateway.core.credential import kind_of, mask, read_code
from gateway.core.decide import decide, standing
from gateway.core.lease import CLOCK_ERROR_S, lasts_until, over_at
from gateway.core.model import Asked, Decision, Facts, Millis, PhoneAsk, Request
from gateway.core.session import CHIP_GIVES_UP_S, starts_within_s
from gateway.gate.entry import DecisionBody, Entry
from gateway.gate.leases import lock_unknown
from gateway.gate.sessions import Session
from gateway.gate.state import GateState
from gateway.observe.events import Decided, SessionEnded
from gateway.store.ledger import Draft
from gateway.wire import topics
from gateway.wire.answer import Answer
from gateway.wire.codec import encode
from gateway.wire.inbound import Outbound
from gateway.wire.messages import FeedDecision
from gateway.wire.tokens import Command, Grant

_UNGUESSABLE_BYTES = 9


def answer(state: GateState, machine_id: str, request: Request, waited_ms: int) -> Entry:
    """Decide a well-formed request."""
    kind = kind_of(request.credential)
    asked = Asked(
        request_id=request.request_id,
        credential=mask(request.credential),
        credential_kind=kind,
        challenge=request.challenge,
        method=request.method,
        at=request.at,
    )
    if kind == "badge":
        facts = state.facts(machine_id, request.credential, waited_ms=waited_ms)
        return _look_up_or_decide(state, machine_id, request.credential, asked, facts)
    code = read_code(request.credential) if kind == "code" else None
    use = state.codes.show(code, state.wall_ms()) if code else None
    named = code.operator_id if code and use else None
    return _decide(state, machine_id, asked, state.facts(machine_id, named, waited_ms=waited_ms, code=use))


def answer_phone(state: GateState, ask: PhoneAsk, waited_ms: int) -> Entry:
    """Decide what somebody asked by phone, for the challenge that the chip showed last."""
    machine_id, operator_id = ask.machine_id, ask.operator_id
    asked = Asked(
        request_id=ask.request_id,
        credential=mask(operator_id),
        credential_kind="account",
        challenge=state.chips[machine_id].challenge or "",
        method="phone",
        account_id=ask.account_id,
    )
    known = state.facts(machine_id, operator_id, waited_ms=waited_ms)
    facts = structs.replace(known, presence=state.presence(machine_id, known.now))
    return _look_up_or_decide(state, machine_id, operator_id, asked, facts)


def _look_up_or_decide(state: GateState, machine_id: str, named: str, asked: Asked, facts: Facts) -> Entry:
    """A refusal that fresher registries may cure waits until a source was asked about the person (docs/adr/0024)."""
    lookups = state.lookups
    if lookups.offered and lookups.wanted(named, decide(asked, facts, state.rulebook), facts.now):
        return Entry(awaits=named)
    return _decide(state, machine_id, asked, facts)


def answer_unreadable(state: GateState, machine_id: str, request_id: str, problem: str, waited_ms: int) -> Entry:
    """Refuse a request of which only the id can be read."""
    asked = Asked(request_id, credential="", credential_kind="malformed", challenge="", malformed=problem)
    return _decide(state, machine_id, asked, state.facts(machine_id, None, waited_ms=waited_ms))


def _decide(state: GateState, machine_id: str, asked: Asked, facts: Facts) -> Entry:
    decision, stands_until = standing(asked, facts, state.rulebook)
    grant: Grant | None = None
    replaced: list[Session] = []
    if decision.outcome == "allow":
        replaced = state.sessions.replace(machine_id, facts.operator_id, facts.now)
        grant = _grant(machine_id, asked, facts, decision)
        session = _session(state, grant, asked, facts, decision.start_by_s)
        session.live.stands_until, session.live.answers = stands_until, asked.challenge
        session.live.asked_at = _asked_at(asked, facts)
        session.live.replaced = next((one.session_id for one in replaced if one.machine_id == machine_id), None)
        state.sessions.open(session)
        state.offline.let_in(machine_id, facts.operator_id or "", facts.now)
        state.offline.asked.pop(machine_id, None)  # the grant uses up the challenge that a list may have gone with
        state.settings.withdraw(machine_id, facts.now)
    replaces = tuple([session.session_id for session in replaced])
    body = DecisionBody(asked, decision, facts, state.rulebook.hash, state.snapshot.version, replaces)
    return Entry(
        key=(machine_id, "decision", asked.request_id),
        draft=Draft(
            "decision",
            facts.now,
            encode(body),
            machine_id,
            asked.request_id,
            facts.operator_id,
            decision.outcome,
            Answer(facts.now, asked.request_id, decision.reasons, grant),
        ),
        feed=_for_the_feed(machine_id, asked, facts, decision),
        expires_s=decision.start_by_s or None,
        command=_lock_elsewhere(state, machine_id, replaced, facts.now),
        observed=(
            Decided(machine_id, asked, facts, decision, grant.sid if grant else None),
            *[SessionEnded(one.session_id, one.machine_id, one.division, one.end_reason or "") for one in replaced],
        ),
    )


def _lock_elsewhere(state: GateState, machine_id: str, replaced: list[Session], now: Millis) -> Command | None:
    """By an override somebody leaves a machine that may still be unlocked: lock it. (Its usage has it locked again.)"""
    for session in replaced:
        if session.machine_id != machine_id:
            return lock_unknown(state, session.machine_id, session.session_id, now)
    return None


def _grant(machine_id: str, asked: Asked, facts: Facts, decision: Decision) -> Grant:
    """INVARIANT: nothing unlocks late: a grant is for the challenge asked with, and start-by is at most 30 s away."""
    issued_s = facts.now // 1000
    return Grant(
        aud=machine_id,
        cha=asked.challenge,
        exp=issued_s + decision.start_by_s,
        iat=issued_s,
        jti=asked.request_id,
        lease_s=decision.lease_s,
        sid=_new_session_id(facts.now),
    )


def _asked_at(asked: Asked, facts: Facts) -> Millis | None:
    """The moment of asking by the chip's clock, None where it has none."""
    if asked.method != "phone":
        return asked.at
    off_ms = facts.presence.clock_off_ms if facts.presence else None
    return None if off_ms is None else facts.now + off_ms


def _session(state: GateState, grant: Grant, asked: Asked, facts: Facts, start_by_s: int) -> Session:
    """In the books a chip takes the grant until it gives its request up: its clock may be slow. By phone it has made
    none: there it takes the grant as long as its clock, if that is right, may show the start-by."""
    by_phone, asked_at = asked.method == "phone", _asked_at(asked, facts)
    taken_within_s = starts_within_s(start_by_s, asked) if by_phone else CHIP_GIVES_UP_S
    lease_until = lasts_until(facts.now + taken_within_s * 1000, grant.lease_s)
    return Session(
        session_id=grant.sid,
        machine_id=grant.aud,
        operator_id=facts.operator_id,
        request_id=grant.jti,
        division=facts.machine.division if facts.machine else None,
        granted_at=facts.now,
        unlocked_at=None,
        open_until=over_at(lease_until, state.drain_s),
        has_clock=asked_at is not None and abs(facts.now - asked_at) <= CLOCK_ERROR_S * 1000,
        lease_s=grant.lease_s,
        leased_at=facts.now,
        lease_until=lease_until,
    )


def _new_session_id(now: Millis) -> str:
    """20 characters: the time first, so that the index grows at one end; then 72 random bits."""
    return urlsafe_b64encode(now.to_bytes(6, "big") + secrets.token_bytes(_UNGUESSABLE_BYTES)).decode()


def _for_the_feed(machine_id: str, asked: Asked, facts: Facts, decision: Decision) -> Outbound:
    division = facts.machine.division if facts.machine else topics.UNKNOWN_DIVISION
    message = FeedDecision(
        at=facts.now,
        division=division,
        enterprise=facts.machine.uscc if facts.machine else None,
        machine_id=machine_id,
        operator=mask(facts.operator_id) if facts.operator_id else None,
        outcome=decision.outcome,
        reasons=decision.reasons,
        request_id=asked.request_id,
        warnings=decision.warnings,
    )
    return Outbound(topics.feed(division, "decision"), encode(message))
