"""Who comes and who leaves: told to the registries as any sender tells them, so that versions, history and the review
of running sessions go on as ever."""

import asyncio
import secrets
from collections.abc import Mapping
from datetime import date, timedelta

from aiohttp import web
from sqlalchemy import Connection

from gateway.core.genuine import same_name
from gateway.registry import values
from gateway.registry.sources import PORTAL
from gateway.registry.values import Unreadable, half_width
from gateway.site.firm import own, person, words
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.access import find_operator
from gateway.store.push_events import Employed, Event, EventKind, EventOutcome
from gateway.store.pushed import Push, take_events
from gateway.store.vault import Vault
from gateway.web.access import Failures

DAYS_OFF = 366
"""How far a first or last day may lie from today: what is further off is a slip of the pen."""
_searches = Failures()
_UNTAKEN: Mapping[EventOutcome, str] = {
    "unchanged": "登记没有改变：已经是这样，或另一个数据来源的登记优先。请联系登记部门更正。",
    "outdated": "刚才已有更新的登记，这一次没有采用。请刷新后核对。",
    "unknown": "登记中没有这个人在本单位的从业记录。请联系登记部门核对。",
}


async def form(visit: Visit) -> web.StreamResponse:
    """``GET /f/hire``."""
    own.uscc_of(visit)
    return _form(visit)


def _form(visit: Visit, status: int = 200, problem: str = "", **typed: str) -> web.StreamResponse:
    """``typed`` is shown again; an ID number never is."""
    typed = {"operator_id": visit.request.query.get("person", "")[:64], "name": "", "since": "", **typed}
    again = {name: words.shown_again(text) for name, text in typed.items()}
    return visit.page("firm/hire.html", status, problem=problem, today=visit.today(), typed=again)


async def hire(visit: Visit) -> web.StreamResponse:
    """INVARIANT: a firm hires only somebody whom it can name: by number and name, or by ID number."""
    sent, uscc = await visit.form(), own.uscc_of(visit)
    typed = {name: sent.get(name, "") for name in ("operator_id", "name", "since")}
    since = words.read_day(typed["since"])
    if since is None or _far_off(visit, since):
        return _form(visit, 422, visit.text("请选择到岗日期，离今天不超过一年。"), **typed)
    if (wait_s := searches_too_often(visit)) is not None:
        return _form(visit, 429, visit.text("查找得太频繁，请过 %(n)s 秒再试。", n=wait_s), **typed)
    operator_id = await visit.parts.read(_find, visit.parts.vault, sent)
    if operator_id is None:
        problem = visit.text(
            "没有找到这个人：人员编号和姓名要都对上，或者身份证号要对上。请核对后再试；新焊工请先到登记部门登记。"
        )
        return _form(visit, 422, problem, **typed)
    if any(own.goes_on(work, visit.today()) for work in own.works(visit, operator_id)):
        return _form(visit, 422, visit.text("这个人已经是本单位人员，不用再登记。"), **typed)
    outcome = await _tell(visit, "hire", Employed(operator_id, uscc, since))
    if outcome != "applied":
        return _form(visit, 409, visit.text(_UNTAKEN[outcome]), **typed)
    return visit.go(f"/f/people/{operator_id}", "hired")


async def leave(visit: Visit) -> web.StreamResponse:
    """The last day counts as a day of work: who has to stop at once left yesterday."""
    operator_id, sent = own.person_of(visit, visit.named("operator_id")), await visit.form()
    until = words.read_day(sent.get("until", ""))
    if until is None or _far_off(visit, until):
        return await person.page(visit, operator_id, 422, visit.text("请选择最后一天，离今天不超过一年。"))
    if not any(work.since is None or work.since <= until for work in own.works(visit, operator_id)):
        return await person.page(visit, operator_id, 422, visit.text("最后一天不能早于到岗日期。"))
    outcome = await _tell(visit, "leave", Employed(operator_id, own.uscc_of(visit), until))
    if outcome != "applied":
        return await person.page(visit, operator_id, 409, visit.text(_UNTAKEN[outcome]))
    stays = any(own.goes_on(work, visit.today()) for work in own.works(visit, operator_id))
    return visit.go(f"/f/people/{operator_id}" if stays else "/f/people", "left")


async def _tell(visit: Visit, kind: EventKind, said: Employed) -> EventOutcome:
    """The event's id names the account, so that the registry's own record does; what was told follows."""
    event_id = f"{kind}:{visit.account.account_id}:{secrets.token_hex(8)}"
    push = Push(PORTAL, visit.now(), visit.parts.how)
    event = Event(event_id, visit.now(), kind, said, event_id)
    (outcome,) = await asyncio.to_thread(take_events, visit.parts.engine, visit.parts.vault, push, [event])
    if outcome.outcome == "applied":
        await own.did(visit, kind, said.operator_id, uscc=said.uscc, day=said.day.isoformat(), event=event_id)
        await own.taken_over(visit)
    return outcome.outcome


def _far_off(visit: Visit, day: date) -> bool:
    return abs(day - visit.today()) > timedelta(days=DAYS_OFF)


# --- finding somebody -------------------------------------------------------------------------------------------


def _find(connection: Connection, vault: Vault, sent: Mapping[str, str]) -> str | None:
    """Whose ID number it is, or whose number and name they are. INVARIANT: which of them is wrong is told to nobody."""
    if sent.get("id_number"):
        return _by_id_number(connection, vault, sent["id_number"])
    return by_name(connection, sent.get("operator_id", ""), sent.get("name", ""))


def searches_too_often(visit: Visit) -> int | None:
    """Count one more search; seconds to wait for whoever guesses."""
    return _searches.too_many(visit.account.account_id)


def by_name(connection: Connection, operator_id: str, name: str) -> str | None:
    """Somebody whose number and name are known to whoever asks."""
    found = overview.operator(connection, half_width(operator_id, upper=False))
    if found is None or found.name is None or not name or same_name(found.name) != same_name(name):
        return None
    return found.operator_id


def _by_id_number(connection: Connection, vault: Vault, typed: str) -> str | None:
    try:
        number = values.id_number(half_width(typed))
    except Unreadable:
        return None
    hits = [hit for hit in find_operator(connection, vault, number) if hit.by == "id_number"]
    return hits[0].operator_id if len(hits) == 1 else None
