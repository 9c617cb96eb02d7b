"""From a division down to its firms, and one firm with its machines and people."""

from typing import Any

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.colour import FirmStanding
from gateway.core.days import up_to
from gateway.core.model import Colour
from gateway.core.reasons import REASONS
from gateway.registry.standing import firm_in
from gateway.site import divisions as names
from gateway.site.regulator import usage, words
from gateway.site.regulator.ground import Crumb, crumbs_to, division_named, snapshot_of
from gateway.site.visit import Visit
from gateway.store.figures.counts import RATED_DAYS, UsageOfDay, usage_by_day
from gateway.store.figures.decisions import DecisionEntry, Wanted, decisions
from gateway.store.figures.firms import DivisionRow, FirmRow, divisions, firm, firms
from gateway.store.figures.machines import MachineRowFacts, MachinesWanted, machines
from gateway.store.figures.overview import Overview, overview
from gateway.store.figures.pairs import Together, together
from gateway.store.figures.people import PersonEntry, people
from gateway.store.figures.reading import Page, Part

FIRMS_AT_ONCE = 100
DECISIONS_SHOWN = 20
WORST_FIRST: tuple[Colour, ...] = ("red", "yellow", "grey", "blue")
MACHINES_SHOWN, PEOPLE_SHOWN = 200, 200
"""Of a firm; the largest have more, which their lists show page by page."""


class Place(Struct, frozen=True):
    """A division: what lies below it, or its firms where nothing but these does."""

    overview: Overview
    below: list[DivisionRow]
    firms: Page[FirmRow] | None


async def all_of_it(visit: Visit) -> web.StreamResponse:
    """``GET /r/divisions``: where an account's reach begins."""
    if visit.reach.division:
        return visit.go(f"/r/divisions/{visit.reach.division}")
    return await _place(visit, "")


async def place(visit: Visit) -> web.StreamResponse:
    """``GET /r/divisions/{code}``."""
    return await _place(visit, division_named(visit, visit.named("code")))


async def _place(visit: Visit, code: str) -> web.StreamResponse:
    after = visit.request.query.get("after")
    found = await visit.parts.read(_read_place, visit, code, (after,) if after else None)
    machines_there = found.overview.machines.machines
    if code and not found.below and not (found.firms and found.firms.rows) and not machines_there and not after:
        raise web.HTTPNotFound
    return visit.page(
        "regulator/division.html",
        crumbs=crumbs_to(visit, code or None),
        code=code,
        name=names.full_name(code) if code else visit.text("全部区划"),
        names=names,
        found=found,
        words=words,
    )


def _read_place(connection: Connection, visit: Visit, code: str, after: tuple[Any, ...] | None) -> Place:
    reach, today, part = visit.reach, visit.today(), Part(code)
    below = divisions(connection, reach, today, code)
    listed = None if below else firms(connection, reach, today, part, FIRMS_AT_ONCE, after)
    return Place(overview(connection, reach, today, part, refusals=1), below, listed)


class Firm(Struct, frozen=True):
    """A firm with what it has. ``together``: pairs of its people who are always seen together, None where nobody asked:
    a large firm's morning is long to look through."""

    row: FirmRow
    overview: Overview
    machines: Page[MachineRowFacts]
    people: Page[PersonEntry]
    together: list[Together] | None
    decisions: list[DecisionEntry]
    usage: list[UsageOfDay]


async def one_firm(visit: Visit) -> web.StreamResponse:
    """``GET /r/firms/{uscc}``; with ``together=1`` also who is always seen together."""
    uscc = visit.named("uscc")
    found = await visit.parts.read(_read_firm, visit, uscc, pairs=visit.request.query.get("together") == "1")
    if found is None:
        raise web.HTTPNotFound
    standing, each = firm_in(snapshot_of(visit), uscc, visit.parts.state.rulebook, visit.today())
    here = Crumb(visit.request.path, found.row.name or uscc)
    return visit.page(
        "regulator/firm.html",
        crumbs=crumbs_to(visit, found.row.division, here),
        found=found,
        standing=standing,
        colours=_colours(standing),
        each=each,
        used=usage.used(visit, found.usage),
        place=names.full_name(found.row.division),
        reasons=REASONS,
        words=words,
    )


def _read_firm(connection: Connection, visit: Visit, uscc: str, *, pairs: bool) -> Firm | None:
    reach, today, part = visit.reach, visit.today(), Part(uscc=uscc)
    row = firm(connection, reach, uscc, today)
    if row is None:
        return None
    days = up_to(today, RATED_DAYS)
    return Firm(
        row,
        overview(connection, reach, today, part, refusals=1),
        machines(connection, reach, MachinesWanted(part), MACHINES_SHOWN),
        people(connection, reach, today, part, limit=PEOPLE_SHOWN),
        together(connection, reach, uscc, days) if pairs else None,
        decisions(connection, reach, Wanted(uscc=uscc), DECISIONS_SHOWN).rows,
        usage_by_day(connection, reach, days, part),
    )


def _colours(standing: FirmStanding) -> list[tuple[Colour, int]]:
    """How many people have which colour, the worst first."""
    return [(colour, standing.people.get(colour, 0)) for colour in WORST_FIRST]
