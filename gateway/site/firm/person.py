"""One of the firm's people: how they stand, what they may weld today and why not, and their account."""

import asyncio
from collections.abc import Iterable, Sequence

import segno
from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.accounts import Account
from gateway.core.colour import changes_on, person_standing
from gateway.core.model import Certificate, Employment, Millis
from gateway.core.reasons import Reason
from gateway.gate.prospects import Prospect, prospects
from gateway.registry.standing import person_in
from gateway.site.firm import own, words
from gateway.site.visit import Visit
from gateway.store import accounts, overview
from gateway.store.accounts import AccountError
from gateway.store.overview import OperatorFacts, SessionFacts, Wanted

SESSIONS_SHOWN = 10


class Group(Struct, frozen=True):
    """Machines that would answer a person in the same way; no reasons where they would open."""

    allowed: bool
    reasons: list[Reason]
    machine_ids: list[str]


class Known(Struct, frozen=True):
    """What the database holds of a person."""

    operator: OperatorFacts | None
    certificates: Sequence[Certificate]
    sessions: Sequence[SessionFacts]
    account: Account | None


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/people/{operator_id}``."""
    return await page(visit, own.person_of(visit, visit.named("operator_id")))


async def page(visit: Visit, operator_id: str, status: int = 200, problem: str = "") -> web.StreamResponse:
    state, today = visit.parts.state, visit.today()
    known = await visit.parts.read(_known, operator_id, own.uscc_of(visit))
    person = person_in(state.snapshot, operator_id)
    standing = person_standing(person, state.rulebook, today)
    found = await asyncio.to_thread(prospects, state, own.machine_ids(visit), [operator_id])
    works = own.works(visit, operator_id)
    return visit.page(
        "firm/person.html",
        status,
        operator_id=operator_id,
        known=known,
        standing=standing,
        causes_of=words.causes_of(standing),
        changes=changes_on(person, state.rulebook, today),
        groups=grouped(found),
        works=sorted(works, key=_begin, reverse=True),
        today=today,
        problem=problem,
        words=words,
    )


def _begin(work: Employment) -> str:
    return work.since.isoformat() if work.since else ""


def _known(connection: Connection, operator_id: str, uscc: str) -> Known:
    """INVARIANT: of what somebody did, only what they did at the firm's machines."""
    return Known(
        overview.operator(connection, operator_id),
        overview.certificates(connection, operator_id),
        overview.sessions(connection, Wanted("all", operator_id=operator_id, uscc=uscc), SESSIONS_SHOWN),
        accounts.of_operator(connection, operator_id),
    )


def grouped(found: Iterable[Prospect]) -> list[Group]:
    """Machines by what they would answer, those that would open first."""
    groups: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for one in found:
        groups.setdefault((not one.allowed, one.decision.reasons), []).append(one.machine_id)
    return [Group(not refused, words.reasons_of(codes), ids) for (refused, codes), ids in sorted(groups.items())]


# --- the account ------------------------------------------------------------------------------------------------


async def give_code(visit: Visit) -> web.StreamResponse:
    """The code is shown once, on the answer itself."""
    operator_id = own.person_of(visit, visit.named("operator_id"))
    try:
        account, code = await visit.parts.write(_give_code, operator_id, visit.by, visit.now())
    except AccountError as error:
        return await page(visit, operator_id, 422, visit.pick(error.chinese, str(error)))
    qr = segno.make(f"{visit.address}/first-use", error="m").svg_data_uri(border=4, dark="#000", light="#fff")
    return visit.page("firm/code.html", operator_id=operator_id, name=account.name, code=code, qr=qr)


def _give_code(connection: Connection, operator_id: str, by: str, now: Millis) -> tuple[Account, str]:
    operator = overview.operator(connection, operator_id)
    if operator is None or not operator.has_phone:
        raise AccountError(
            f"operator {operator_id}: no telephone number is registered to sign in with; have it added to the registry",
            "登记中没有这个人的手机号，无法登录。请先联系登记部门补上手机号。",
        )
    account = accounts.of_operator(connection, operator_id)
    if account is None:
        return accounts.add(connection, "welder", operator_id, operator.name or operator_id, operator_id, by, now)
    return account, accounts.give_code(connection, account.account_id, by, now)


async def disable(visit: Visit) -> web.StreamResponse:
    return await _switch(visit, "disabled")


async def enable(visit: Visit) -> web.StreamResponse:
    return await _switch(visit, "enabled")


async def _switch(visit: Visit, said: str) -> web.StreamResponse:
    operator_id = own.person_of(visit, visit.named("operator_id"))
    act = accounts.disable if said == "disabled" else accounts.enable
    account = await visit.parts.read(accounts.of_operator, operator_id)
    if account is None:
        raise web.HTTPNotFound
    try:
        await visit.parts.write(act, account.account_id, visit.by, visit.now())
    except AccountError as error:
        return await page(visit, operator_id, 422, visit.pick(error.chinese, str(error)))
    return visit.go(f"/f/people/{operator_id}", said)
