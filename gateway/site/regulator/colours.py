"""People and firms by colour, in a division that is small enough to be looked at as a whole."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.colour import Cause, Standing, explained, person_standing
from gateway.core.genuine import masked_name
from gateway.core.model import Colour
from gateway.core.reach import Reach
from gateway.registry.standing import person_in, staff_on
from gateway.site import divisions as names
from gateway.site import terms
from gateway.site.regulator import words
from gateway.site.regulator.ground import Crumb, crumbs_to, part_named, snapshot_of
from gateway.site.sheets import Cell
from gateway.site.visit import Visit
from gateway.store.figures.firms import DivisionRow, divisions
from gateway.store.names import firm_names, person_names

MOST_PEOPLE = 20_000
"""Looked at one by one, in about a second; of more a division has to be chosen."""
AT_A_TIME = 50
"""People between two turns of whoever waits for a lock: about a millisecond."""
SHOWN = 200
COLOURS: tuple[Colour, ...] = ("red", "yellow", "grey", "blue")
HEADER = ("人员编号", "姓名", "颜色", "原因", "统一社会信用代码", "单位", "最后一天")


class One(Struct, frozen=True):
    """A person as the list shows them, with a firm that employs them today."""

    operator_id: str
    uscc: str
    standing: Standing

    @property
    def cause(self) -> Cause | None:
        return self.standing.causes[0] if self.standing.causes else None


class Colours(Struct, frozen=True):
    """``people`` None: too many to be looked at."""

    people: list[One] | None
    below: list[DivisionRow]

    def counts(self) -> Mapping[Colour, int]:
        return Counter(one.standing.colour for one in self.people or ())

    def of(self, colour: str) -> list[One]:
        return [one for one in self.people or () if one.standing.colour == colour]


async def found(visit: Visit, fields: Mapping[str, str]) -> Colours:
    part = part_named(visit, fields)
    below = await visit.parts.read(divisions, visit.reach, visit.today(), part.division or visit.reach.division or "")
    people = list(_employed(visit, part.division))
    if len(people) > MOST_PEOPLE:
        return Colours(None, below)
    looked_at = [one async for one in _look(visit, people)]
    return Colours(sorted(looked_at, key=_worst_first), below)


def _employed(visit: Visit, division: str) -> Iterator[tuple[str, str]]:
    """Each person once, with a firm of the division that employs them today."""
    snapshot, today, reach = snapshot_of(visit), visit.today(), Reach(division=division)
    seen: set[str] = set()
    for firm in list(snapshot.enterprises.values()):
        if reach.holds_firm(firm.division, firm.uscc) and visit.reach.holds_firm(firm.division, firm.uscc):
            for operator_id in staff_on(snapshot, firm.uscc, today):
                if operator_id not in seen:
                    seen.add(operator_id)
                    yield operator_id, firm.uscc
                    if len(seen) > MOST_PEOPLE:
                        return


async def _look(visit: Visit, people: list[tuple[str, str]]) -> AsyncIterator[One]:
    """In turns with everything else that the loop does."""
    snapshot, rulebook, today = snapshot_of(visit), visit.parts.state.rulebook, visit.today()
    for start in range(0, len(people), AT_A_TIME):
        for operator_id, uscc in people[start : start + AT_A_TIME]:
            yield One(operator_id, uscc, person_standing(person_in(snapshot, operator_id), rulebook, today))
        await asyncio.sleep(0)


def _worst_first(one: One) -> tuple[int, str]:
    return COLOURS.index(one.standing.colour), one.operator_id


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/colours``."""
    query = visit.request.query
    all_of_them = await found(visit, query)
    colour = next((known for known in COLOURS if known == query.get("colour")), "red")
    of_colour = all_of_them.of(colour)
    listed = of_colour[:SHOWN]
    division = query.get("division", "")
    return visit.page(
        "regulator/colours.html",
        crumbs=crumbs_to(visit, division or None, Crumb("/r/colours", visit.text("人员"))),
        found=all_of_them,
        counts=all_of_them.counts(),
        colours=COLOURS,
        colour=colour,
        listed=listed,
        more=len(of_colour) - len(listed),
        named=await visit.parts.read(_named, listed),
        division=division,
        names=names,
        masked_name=masked_name,
        explained=explained,
        words=words,
    )


class Named(Struct, frozen=True):
    """Names by number and by credit code."""

    people: Mapping[str, str | None]
    firms: Mapping[str, str | None]


def _named(connection: Connection, listed: list[One]) -> Named:
    return Named(
        person_names(connection, [one.operator_id for one in listed]),
        firm_names(connection, [one.uscc for one in listed]),
    )


async def table(visit: Visit, form: Mapping[str, str]) -> tuple[tuple[str, ...], list[list[Cell]]]:
    """Header and rows for a file: people of one colour, or all."""
    everybody = (await found(visit, form)).people or []
    colour = form.get("colour", "")
    people = [one for one in everybody if not colour or one.standing.colour == colour]
    named = await visit.parts.read(_named, people)
    return HEADER, [_row(visit, one, named) for one in people]


def _row(visit: Visit, one: One, named: Named) -> list[Cell]:
    reason = explained(one.cause.code) if one.cause else None
    why = visit.pick(reason.message_zh, reason.message_en) if reason else None
    until = one.cause.until.isoformat() if one.cause and one.cause.until else None
    colour = visit.text(terms.COLOURS[one.standing.colour])
    masked = masked_name(named.people.get(one.operator_id))
    return [one.operator_id, masked, colour, why, one.uscc, named.firms.get(one.uscc), until]
