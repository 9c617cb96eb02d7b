"""The press of the button, and its answer: unlocked, or every reason with its remedy."""

from collections.abc import Sequence

from aiohttp import web
from msgspec import Struct

from gateway.core.model import Millis, PhoneAsk
from gateway.core.reasons import REASONS, Reason
from gateway.errors import Unanswered
from gateway.gate.entry import DecisionBody
from gateway.gate.explain import decision_of
from gateway.site.visit import Visit
from gateway.site.welder import asks, machines, sessions, words
from gateway.site.welder.pace import Pace
from gateway.store import overview
from gateway.store.ledger import Record, decode_record, reply_in
from gateway.wire.answer import read_answer

ANSWERED_WITHIN_S = 7.0
"""Well above what a decision takes, a look-up included, and less than people wait; the page's script waits a little
longer. Whoever presses again asks the same."""


_pace = Pace()


class Answer(Struct, frozen=True):
    """What was decided. ``session_id`` is None for a refusal."""

    at: Millis
    reasons: Sequence[Reason]
    warnings: Sequence[Reason]
    session_id: str | None


async def unlock(visit: Visit) -> web.StreamResponse:
    """``POST /w/m/{machine_id}/unlock``: asks the gate, as a chip would; the decision is on record before it is told.

    INVARIANT: nothing is kept here to be asked later: an answer comes now, or none does and that is said.
    """
    machine_id, request_id = visit.named("machine_id"), (await visit.form()).get("ask", "")
    if machine_id not in visit.parts.state.snapshot.machines:
        return machines.nowhere(visit)
    if not asks.may_ask(request_id, visit.form_token, machine_id, visit.now()):
        return await machines.page(visit, machine_id, 422, visit.text("这个页面放得太久了，没有解锁。请再按一次。"))
    if _pace.too_fast(visit.account.account_id, visit.now()):
        return await machines.page(visit, machine_id, 429, visit.text("按得太快了，没有解锁。请过一分钟再按。"))
    ask = PhoneAsk(machine_id, visit.reach.operator_id or "", request_id, visit.account.account_id)
    try:
        await visit.parts.ask(ask, ANSWERED_WITHIN_S)
    except Unanswered as error:
        return await machines.page(visit, machine_id, 503, visit.text(words.UNANSWERED[error.why]), request_id)
    return visit.go(f"/w/m/{machine_id}/asks/{request_id}")


async def answer(visit: Visit) -> web.StreamResponse:
    """``GET /w/m/{machine_id}/asks/{request_id}``, as it is on record."""
    machine_id = visit.named("machine_id")
    found = await _own(visit, machine_id, visit.named("request_id"))
    told = None
    if found.session_id is not None:
        session = await sessions.own(visit, found.session_id)
        told = sessions.tell(visit, session, refused=sessions.refused_in(visit, session))
    sight = await machines.see(visit, machine_id)
    return visit.page(
        "welder/answer.html", answer=found, machine_id=machine_id, sight=sight, told=told, words=words, problem=""
    )


async def _own(visit: Visit, machine_id: str, request_id: str) -> Answer:
    """INVARIANT: what others asked, and what was asked at a machine's scanner, is not found. Raises HTTPNotFound."""
    stored = await visit.parts.read(overview.decision_on, machine_id, request_id)
    if stored is None or stored.operator_id is None or stored.operator_id != visit.reach.operator_id:
        raise web.HTTPNotFound
    record = decode_record(stored.record)
    body = decision_of(record)
    if body.asked.method != "phone":
        raise web.HTTPNotFound
    return _told(record, body)


def _told(record: Record, body: DecisionBody) -> Answer:
    reply, decision = reply_in(record), body.decision
    session_id = read_answer(reply).session_id if reply is not None else None
    return Answer(record.at, _reasons(decision.reasons), _reasons(decision.warnings), session_id)


def _reasons(codes: Sequence[str]) -> Sequence[Reason]:
    return [REASONS[code] for code in codes]
