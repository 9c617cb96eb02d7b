"""One of the firm's machines: what it does, who may start it today, its usage and refusals; and orders about it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Control
from gateway.core.reach import Reach
from gateway.core.reasons import Reason
from gateway.gate.prospects import Prospect, prospects
from gateway.registry import orders
from gateway.registry.acts import Author, holding
from gateway.registry.controls import Controls
from gateway.registry.standing import staff_on
from gateway.site.firm import machines, own, words
from gateway.site.firm.machines import Row
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.controls import ControlError, about_machine, acts
from gateway.store.figures.decisions import DecisionEntry, decisions
from gateway.store.figures.decisions import Wanted as Refused
from gateway.store.overview import SessionFacts, Wanted

SHOWN = 10
DAY_MS = 86_400_000
REFUSALS_OF_DAYS = 30


class Chance(Struct, frozen=True):
    """Somebody who may start the machine today, or why not."""

    operator_id: str
    allowed: bool
    reasons: list[Reason]


class Known(Struct, frozen=True):
    """What the database holds of a machine. ``held``: the act that holds it."""

    row: Row
    names: dict[str, str | None]
    sessions: Sequence[SessionFacts]
    refusals: Sequence[DecisionEntry]
    held: Control | None
    acts: Sequence[Control]


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/machines/{machine_id}``."""
    return await page(visit, _named(visit))


def _named(visit: Visit) -> str:
    return own.machine_of(visit, visit.named("machine_id")).machine_id


async def page(visit: Visit, machine_id: str, status: int = 200, problem: str = "") -> web.StreamResponse:
    state, uscc = visit.parts.state, own.uscc_of(visit)
    since = visit.now() - REFUSALS_OF_DAYS * DAY_MS
    refused = Refused(machine_id=machine_id, outcome="deny", since=since)
    known = await visit.parts.read(_known, visit.reach, refused, machine_id, state.snapshot.controls)
    staff = staff_on(state.snapshot, uscc, visit.today())
    found = await asyncio.to_thread(prospects, state, [machine_id], staff)
    return visit.page(
        "firm/machine.html",
        status,
        machine_id=machine_id,
        known=known,
        chances=chances(found),
        days=REFUSALS_OF_DAYS,
        problem=problem,
        words=words,
    )


def chances(found: Iterable[Prospect]) -> list[Chance]:
    """Who may start it first."""
    told = [Chance(one.operator_id, one.allowed, words.reasons_of(one.decision.reasons)) for one in found]
    return sorted(told, key=lambda chance: (not chance.allowed, chance.operator_id))


def _known(connection: Connection, reach: Reach, refused: Refused, machine_id: str, controls: Controls) -> Known:
    fleet = machines.fleet_of(connection, reach, controls)
    row = next((row for row in fleet.rows if row.machine.machine_id == machine_id), None)
    if row is None:
        raise web.HTTPNotFound
    about = acts(connection, about_machine(machine_id))
    return Known(
        row,
        dict(fleet.names),
        overview.sessions(connection, Wanted("all", machine_id), SHOWN),
        decisions(connection, reach, refused, SHOWN).rows,
        holding(about),
        about[:SHOWN],
    )


# --- orders -----------------------------------------------------------------------------------------------------


async def suspend(visit: Visit) -> web.StreamResponse:
    """Out of service until somebody releases it; whoever works there is locked out."""
    machine_id = _named(visit)
    return await _order(
        visit, machine_id, "suspended", lambda engine, by: orders.hold_machine(engine, "out_of_service", machine_id, by)
    )


async def release(visit: Visit) -> web.StreamResponse:
    machine_id = _named(visit)
    return await _order(
        visit, machine_id, "released", lambda engine, by: orders.release_machine(engine, machine_id, by)
    )


async def end(visit: Visit) -> web.StreamResponse:
    """End the session that the page showed. INVARIANT: one at this machine."""
    machine_id, session_id = _named(visit), (await visit.form()).get("session_id", "")
    session = await visit.parts.read(overview.session, session_id)
    if session is None or session.machine_id != machine_id:
        raise web.HTTPNotFound
    return await _order(visit, machine_id, "ending", lambda engine, by: orders.end_session(engine, session_id, by))


async def _order(visit: Visit, machine_id: str, said: str, give: Callable[..., Control]) -> web.StreamResponse:
    try:
        by: Author = own.author_of(visit, (await visit.form()).get("reason", ""))
        await own.order(visit, give, by)
    except ControlError as error:
        return await page(visit, machine_id, 422, visit.pick(error.chinese, str(error)))
    return visit.go(f"/f/machines/{machine_id}", said)
