"""Temporary grants: two people let a named check pass, for one person at one machine, for an hour at most."""

from collections.abc import Callable, Mapping

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Control, Millis
from gateway.core.reach import Reach
from gateway.core.reasons import REASONS, Reason
from gateway.registry import orders
from gateway.registry.acts import LONGEST_MINUTES, OVERRIDABLE, Overriding, overridings, person
from gateway.registry.values import half_width
from gateway.site.firm import own, words
from gateway.site.firm.employment import by_name, searches_too_often
from gateway.site.visit import Visit
from gateway.store import firms
from gateway.store.controls import ControlError, about_override, acts, asked_since, at_machines_of

DAYS_SHOWN = 30
DAY_MS = 86_400_000
_UNTYPED = {"machine": "", "person": "", "name": "", "minutes": "30", "reason": ""}


class Told(Struct, frozen=True):
    """One grant as it is shown. ``approvable``: by whoever looks at it; ``above``: a regulator has to."""

    story: Overriding
    state: str
    reasons: list[Reason]
    approvable: bool
    above: bool


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/grants``; ``machine``, ``person`` and ``code`` fill in the form."""
    asked = visit.request.query
    typed = {name: asked.get(name, "")[:64] for name in ("machine", "person")}
    return await _page(visit, codes=tuple(asked.getall("code", [])), typed=typed)


async def _page(
    visit: Visit,
    status: int = 200,
    problem: str = "",
    codes: tuple[str, ...] = (),
    typed: Mapping[str, str] = {},
) -> web.StreamResponse:
    uscc, now = own.uscc_of(visit), visit.now()
    stories, names = await visit.parts.read(_on_record, uscc, now - DAYS_SHOWN * DAY_MS)
    told = [tell(visit, story) for story in stories]
    return visit.page(
        "firm/grants.html",
        status,
        waiting=[one for one in told if one.state == "asked"],
        running=[one for one in told if one.state == "in_force"],
        past=[one for one in told if one.state not in ("asked", "in_force")],
        names=names,
        own_people=[one for one in names if any(own.goes_on(work, visit.today()) for work in own.works(visit, one))],
        machine_ids=own.machine_ids(visit),
        overridable=[REASONS[code] for code in OVERRIDABLE],
        codes=codes,
        typed={name: words.shown_again(text) for name, text in {**_UNTYPED, **typed}.items()},
        problem=problem,
        longest=LONGEST_MINUTES,
        days=DAYS_SHOWN,
        words=words,
    )


def _on_record(connection: Connection, uscc: str, since: Millis) -> tuple[list[Overriding], Mapping[str, str | None]]:
    return at_own_machines(connection, uscc, since), firms.names_of(connection, Reach(uscc=uscc))


def at_own_machines(connection: Connection, uscc: str, since: Millis) -> list[Overriding]:
    """Grants that were asked for since then, the latest first. INVARIANT: at machines of the firm alone."""
    return overridings(acts(connection, asked_since(since), at_machines_of(uscc)))


def tell(visit: Visit, story: Overriding) -> Told:
    reasons = words.reasons_of(story.asked.codes)
    above = any(reason.override == "regulator" for reason in reasons)
    state = story.state(visit.now())
    own_ask = person(story.asked.by) == person(visit.by)
    return Told(story, state, reasons, state == "asked" and not above and not own_ask, above)


# --- acts -------------------------------------------------------------------------------------------------------


async def ask(visit: Visit) -> web.StreamResponse:
    """For one of the firm's people, or for somebody whose number and name are known."""
    sent, form = await visit.form(), await visit.request.post()
    typed = {name: sent.get(name, "") for name in ("machine", "person", "name", "minutes", "reason")}
    codes = tuple(str(code) for code in form.getall("code", []))
    try:
        machine_id = _own_machine(visit, half_width(typed["machine"]))
        operator_id = await _somebody(visit, half_width(typed["person"], upper=False), typed["name"])
        minutes = int(typed["minutes"]) if typed["minutes"].isdecimal() and len(typed["minutes"]) < 4 else 0
        by = own.author_of(visit, typed["reason"])
        await own.order(visit, orders.ask_override, operator_id, machine_id, codes, minutes, by)
    except ControlError as error:
        return await _page(visit, 422, visit.pick(error.chinese, str(error)), codes, typed)
    return visit.go("/f/grants", "grant_asked")


def _own_machine(visit: Visit, machine_id: str) -> str:
    """Raises ControlError: what was typed is told apart from what was linked."""
    if machine_id not in own.machine_ids(visit):
        raise ControlError(
            f"machine = {machine_id[:32]!r}: the firm has no such machine; choose one of its own",
            "请选择本单位的焊机。",
        )
    return machine_id


async def _somebody(visit: Visit, operator_id: str, name: str) -> str:
    """Raises ControlError."""
    if any(own.goes_on(work, visit.today()) for work in own.works(visit, operator_id)):
        return operator_id
    if (wait_s := searches_too_often(visit)) is not None:
        raise ControlError(
            f"operator: too many searches; wait {wait_s} s", visit.text("查找得太频繁，请过 %(n)s 秒再试。", n=wait_s)
        )
    found = await visit.parts.read(by_name, operator_id, name)
    if found is None:
        raise ControlError(
            "operator: is none of the firm's people, and no other person has this number and this name; give both",
            "没有找到这个人。本单位人员请填人员编号；其他人员还要填姓名，两样要都对上。",
        )
    return found


async def approve(visit: Visit) -> web.StreamResponse:
    override_id = await _named(visit)
    return await _act(
        visit,
        "grant_approved",
        lambda engine: orders.approve_override(engine, override_id, visit.by, "supervisor", visit.now()),
    )


async def end(visit: Visit) -> web.StreamResponse:
    """Also withdraws one that nobody has approved."""
    override_id, reason = await _named(visit), (await visit.form()).get("reason", "")
    return await _act(
        visit,
        "grant_ended",
        lambda engine: orders.end_override(engine, override_id, own.author_of(visit, reason)),
    )


async def _named(visit: Visit) -> str:
    """INVARIANT: a grant at one of the firm's machines, or none."""
    override_id, uscc = visit.named("override_id"), own.uscc_of(visit)

    def known(connection: Connection) -> bool:
        return bool(acts(connection, about_override(override_id), at_machines_of(uscc)))

    if not await visit.parts.read(known):
        raise web.HTTPNotFound
    return override_id


async def _act(visit: Visit, said: str, give: Callable[..., Control]) -> web.StreamResponse:
    try:
        await own.order(visit, give)
    except ControlError as error:
        return await _page(visit, 422, visit.pick(error.chinese, str(error)))
    return visit.go("/f/grants", said)
