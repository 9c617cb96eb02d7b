"""Machines by their state, and what is odd: never used, silent, one person alone."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.site import divisions
from gateway.site.regulator import words
from gateway.site.regulator.ground import Crumb, crumbs_to, part_named
from gateway.site.visit import Visit
from gateway.store.figures.machines import (
    MACHINE_STATES,
    MachineRowFacts,
    MachineStates,
    MachinesWanted,
    machine_states,
    machines,
    never_used,
    silent,
)
from gateway.store.figures.pairs import AT_LEAST, SoleOperator, sole_operators
from gateway.store.figures.reading import Page, Part

AT_ONCE = 100
SILENT_DAYS = 7
DAY_MS = 86_400_000


def wanted_of(visit: Visit, fields: Mapping[str, str]) -> MachinesWanted:
    """Which machines, by the fields of an address or a form. Raises HTTPNotFound for a division out of reach."""
    state = next((known for known in MACHINE_STATES if known == fields.get("state")), None)
    silent_since = visit.now() - SILENT_DAYS * DAY_MS if fields.get("state") == "long_silent" else None
    return MachinesWanted(part_named(visit, fields), state, silent_since)


class Listed(Struct, frozen=True):
    states: MachineStates
    found: Page[MachineRowFacts]


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/machines``."""
    query = visit.request.query
    wanted, after = wanted_of(visit, query), query.get("after")
    listed = await visit.parts.read(_listed, visit.reach, wanted, (after,) if after else None)
    return visit.page(
        "regulator/machines.html",
        crumbs=crumbs_to(visit, wanted.part.division or None, Crumb("/r/machines", visit.text("焊机"))),
        listed=listed,
        wanted=wanted,
        state=query.get("state", "") if query.get("state") in (*MACHINE_STATES, "long_silent") else "",
        silent_days=SILENT_DAYS,
        first=not after,
        names=divisions,
        words=words,
    )


def _listed(connection: Connection, reach: Reach, wanted: MachinesWanted, after: tuple[Any, ...] | None) -> Listed:
    return Listed(machine_states(connection, reach, wanted.part), machines(connection, reach, wanted, AT_ONCE, after))


class Odd(Struct, frozen=True):
    """Some of each kind; the lists of machines show all."""

    never_used: Page[MachineRowFacts]
    silent: Page[MachineRowFacts]
    alone: list[SoleOperator]


ODD_AT_ONCE = 25


async def oddities(visit: Visit) -> web.StreamResponse:
    """``GET /r/oddities``."""
    part = part_named(visit, visit.request.query)
    since = visit.now() - SILENT_DAYS * DAY_MS
    return visit.page(
        "regulator/oddities.html",
        crumbs=crumbs_to(visit, part.division or None, Crumb("/r/oddities", visit.text("异常"))),
        odd=await visit.parts.read(_odd, visit.reach, part, since),
        part=part,
        silent_days=SILENT_DAYS,
        at_least=AT_LEAST,
        names=divisions,
        words=words,
    )


def _odd(connection: Connection, reach: Reach, part: Part, since: Millis) -> Odd:
    return Odd(
        never_used(connection, reach, part, ODD_AT_ONCE),
        silent(connection, reach, since, part, ODD_AT_ONCE),
        sole_operators(connection, reach, part, limit=ODD_AT_ONCE),
    )
