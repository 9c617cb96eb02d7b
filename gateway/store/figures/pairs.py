"""People and machines that are always seen together: where a code may be lent, or one person unlocks for others.

Neither is an offence: in a firm with one welder both are as they should be. They say where to look.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import Days
from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.store.figures.reading import WHOLE, Part, every, inside, total
from gateway.store.figures.tables import PAIRS, SESSIONS, table
from gateway.store.reach import within
from gateway.store.tables import EnterpriseRow, MachineRow, OperatorRow

_machines, _firms, _people = table(MachineRow), table(EnterpriseRow), table(OperatorRow)
TOGETHER_MS = 5 * 60_000
AT_LEAST = 10
"""Sessions, below which always is chance."""
ALWAYS = 0.9
"""Of each one's unlocks, how large a share counts as always."""
MOST_SESSIONS = 10_000
"""The latest so many of a firm are compared."""


class SoleOperator(Struct, frozen=True):
    """A machine that only ever one person has unlocked, of those whom anybody knows; ``staff`` is how many people have
    unlocked any machine of the firm: where it is 1, nothing is strange about it."""

    machine_id: str
    uscc: str
    operator_id: str
    sessions: int
    first_at: Millis
    last_at: Millis
    firm: str | None
    operator: str | None
    staff: int


class Together(Struct, frozen=True):
    """Two people of a firm who nearly always unlock different machines within five minutes of each other. ``times``:
    unlocks of the first with one of the second beside it, and the other way round."""

    first: str
    second: str
    times: tuple[int, int]
    unlocks: tuple[int, int]


def sole_operators(
    connection: Connection, reach: Reach, part: Part = WHOLE, at_least: int = AT_LEAST, limit: int = 50
) -> list[SoleOperator]:
    """Those with the most sessions first."""
    known = (PAIRS.c.operator_id != "", within(reach, PAIRS), inside(reach, part, _machines))
    joined = PAIRS.join(_machines, _machines.c.machine_id == PAIRS.c.machine_id)
    count, times = total(PAIRS.c.sessions), (sa.func.min(PAIRS.c.first_at), sa.func.max(PAIRS.c.last_at))
    columns = (PAIRS.c.machine_id, _machines.c.uscc, sa.func.max(PAIRS.c.operator_id).label("operator_id"))
    query = sa.select(*columns, count.label("sessions"), times[0].label("first_at"), times[1].label("last_at"))
    query = query.select_from(joined).where(*known).group_by(PAIRS.c.machine_id, _machines.c.uscc)
    query = query.having(sa.func.count() == 1, count >= at_least)
    alone = query.order_by(count.desc(), PAIRS.c.machine_id).limit(limit).subquery()
    named = alone.outerjoin(_firms, _firms.c.uscc == alone.c.uscc)
    named = named.outerjoin(_people, _people.c.operator_id == alone.c.operator_id)
    ordered = sa.select(alone, _firms.c.name, _people.c.name, _staff(alone.c.uscc)).select_from(named)
    return every(SoleOperator, connection, ordered.order_by(alone.c.sessions.desc(), alone.c.machine_id))


def _staff(uscc: sa.ColumnElement[str]) -> sa.ScalarSelect[int]:
    theirs = _machines.alias("theirs")
    count = sa.func.count(PAIRS.c.operator_id.distinct())
    joined = theirs.join(PAIRS, PAIRS.c.machine_id == theirs.c.machine_id)
    return sa.select(count).select_from(joined).where(theirs.c.uscc == uscc).scalar_subquery()


# --- within minutes ---------------------------------------------------------------------------------------------


def together(
    connection: Connection, reach: Reach, uscc: str, days: Days, at_least: int = AT_LEAST, share: float = ALWAYS
) -> list[Together]:
    """Pairs of one firm's people, by how often they were seen together. Each must have unlocked ``at_least`` times, and
    in a ``share`` of these the other one unlocked another machine within five minutes before or after."""
    since, until = days.moments
    columns = (SESSIONS.c.unlocked_at, SESSIONS.c.operator_id, SESSIONS.c.machine_id)
    query = sa.select(*columns).where(SESSIONS.c.uscc == uscc, within(reach, SESSIONS))
    query = query.where(SESSIONS.c.granted_at >= since, SESSIONS.c.granted_at < until)
    query = query.where(SESSIONS.c.unlocked_at.is_not(None), SESSIONS.c.operator_id != "")
    rows = connection.execute(query.order_by(SESSIONS.c.granted_at.desc()).limit(MOST_SESSIONS))
    return pairs_of(sorted(Unlock(*row) for row in rows), at_least, share)


class Unlock(NamedTuple):
    at: Millis
    operator_id: str
    machine_id: str


def pairs_of(unlocks: Sequence[Unlock], at_least: int, share: float) -> list[Together]:
    """What ``together`` looks for, among unlocks in the order of time."""
    each = Counter(unlock.operator_id for unlock in unlocks)
    beside: Counter[tuple[str, str]] = Counter()
    for unlock, near in _with_near(unlocks):
        beside.update((unlock.operator_id, other) for other in near)
    found = [
        Together(first, second, (times, beside[second, first]), (each[first], each[second]))
        for (first, second), times in beside.items()
        if first < second and min(each[first], each[second]) >= at_least
    ]
    always = [one for one in found if all(t >= share * n for t, n in zip(one.times, one.unlocks, strict=True))]
    return sorted(always, key=lambda one: (-sum(one.times), one.first, one.second))


def _with_near(unlocks: Sequence[Unlock]) -> Iterator[tuple[Unlock, set[str]]]:
    """Each unlock with the others who unlocked another machine within minutes of it."""
    first = last = 0
    for unlock in unlocks:
        while unlocks[first].at < unlock.at - TOGETHER_MS:
            first += 1
        while last < len(unlocks) and unlocks[last].at <= unlock.at + TOGETHER_MS:
            last += 1
        yield unlock, set(_others(unlock, unlocks[first:last]))


def _others(unlock: Unlock, near: Iterable[Unlock]) -> Iterator[str]:
    for other in near:
        if other.operator_id != unlock.operator_id and other.machine_id != unlock.machine_id:
            yield other.operator_id
