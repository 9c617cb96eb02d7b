"""The machine in front of a welder: found by its number, and as much of it as whoever stands there may see."""

import re
from datetime import date

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import MACHINE_ID
from gateway.core.rules import employed_on
from gateway.registry.snapshot import Snapshot
from gateway.registry.values import half_width
from gateway.site import terms
from gateway.site.visit import Visit
from gateway.site.welder import asks, me, recent
from gateway.store import overview
from gateway.store.overview import SessionFacts, Wanted

IN_LABEL = "/w/m/"
"""Labels on machines hold the address of the machine's page."""
_machine_id = re.compile(MACHINE_ID)


class Place(Struct, frozen=True):
    """What only people of the machine's firm see: where it stands and whether it can be unlocked now. ``session`` is
    the welder's own at it."""

    location: str | None
    state: str
    style: str
    session: SessionFacts | None


class Sight(Struct, frozen=True):
    """A machine as its label tells, and its ``place`` for people of the firm."""

    machine_id: str
    process: str
    firm: str | None
    place: Place | None


def machine_id_in(text: str) -> str | None:
    """The number that was typed or scanned, bare or in a label's address; whose address it is does not matter.

    >>> machine_id_in("https://weld.example.org/w/m/HJ-0001"), machine_id_in(" hj-0001 "), machine_id_in("焊机")
    ('HJ-0001', 'HJ-0001', None)
    """
    number = half_width(text[:256]).rpartition(IN_LABEL.upper())[2]
    return number if _machine_id.match(number) else None


async def find(visit: Visit) -> web.StreamResponse:
    """``POST /w/find``: on to the machine's page. INVARIANT: of what people type and scan, only the number of a machine
    that is registered gets into an address."""
    machine_id = machine_id_in((await visit.form()).get("machine", ""))
    if machine_id is None:
        problem = visit.text("这不是焊机编号。编号印在焊机的标签上，例如 HJ-0001。")
        return await me.home(visit, 422, problem)
    if machine_id not in visit.parts.state.snapshot.machines:
        problem = visit.text("没有登记这个编号的焊机。请核对焊机标签上的编号；编号没错时，请告诉单位安全管理人员。")
        return await me.home(visit, 422, problem)
    return visit.go(f"{IN_LABEL}{machine_id}")


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /w/m/{machine_id}``."""
    named = visit.named("machine_id")
    machine_id = machine_id_in(named)
    if machine_id is not None and machine_id != named:
        return visit.go(f"{IN_LABEL}{machine_id}")
    return await page(visit, named)


async def page(
    visit: Visit, machine_id: str, status: int = 200, problem: str = "", request_id: str = ""
) -> web.StreamResponse:
    """The machine with its one button; ``request_id`` where the same is to be asked again."""
    sight = await see(visit, machine_id)
    if sight is None:
        return nowhere(visit)
    ask = request_id or asks.new_id(visit.form_token, machine_id, visit.now())
    standing = me.standing_of(visit)
    response = visit.page("welder/machine.html", status, sight=sight, ask=ask, standing=standing, problem=problem)
    recent.remember(visit, response, machine_id)
    return response


def nowhere(visit: Visit) -> web.StreamResponse:
    return visit.problem(
        404,
        visit.text("没有登记这个编号的焊机。"),
        visit.text("请核对焊机标签上的编号；编号没错时，请告诉单位安全管理人员。"),
    )


async def see(visit: Visit, machine_id: str) -> Sight | None:
    """None for a machine that is not registered.

    INVARIANT: where a machine stands and whether it is in use is told to people of its firm alone.
    """
    machine = visit.parts.state.snapshot.machines.get(machine_id)
    if machine is None:
        return None
    operator_id = visit.reach.operator_id or ""
    ours = works_at(visit.parts.state.snapshot, operator_id, machine.uscc, visit.today())
    facts, chip, session = await visit.parts.read(_on_record, machine_id)
    place = None
    if ours:
        own = session if session is not None and session.operator_id == operator_id else None
        state, style = _state(visit, machine_id, chip, session, own)
        place = Place(facts.location if facts else None, visit.text(state), style, own)
    return Sight(machine_id, visit.text(terms.PROCESSES[machine.process]), facts.firm if facts else None, place)


def works_at(snapshot: Snapshot, operator_id: str, uscc: str, today: date) -> bool:
    return any(employed_on(work, today) for work in snapshot.employments_at(operator_id, uscc))


def _on_record(
    connection: Connection, machine_id: str
) -> tuple[overview.MachineFacts | None, overview.ChipFacts | None, SessionFacts | None]:
    """The machine, its chip, and the session that is open there."""
    running = overview.sessions(connection, Wanted("open", machine_id), 1)
    return overview.machine(connection, machine_id), overview.chip(connection, machine_id), next(iter(running), None)


def _state(
    visit: Visit,
    machine_id: str,
    chip: overview.ChipFacts | None,
    session: SessionFacts | None,
    own: SessionFacts | None,
) -> tuple[str, str]:
    """In Chinese, with the style of its chip: the first thing that stands in the way."""
    snapshot = visit.parts.state.snapshot
    if snapshot.machines[machine_id].status == "decommissioned":
        return "已报废", "bad"
    if snapshot.machines[machine_id].status == "suspended" or snapshot.controls.hold(machine_id) is not None:
        return "已停用", "bad"
    if own is not None:
        return "您正在使用", "good"
    if session is not None:
        return "别人正在使用", "bad"
    if chip is None or not chip.online:
        return "锁具不在线", "bad"
    return "空闲，已上锁", ""
