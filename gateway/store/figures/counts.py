"""Figures over time: decisions, reasons of refusals, usage."""

from datetime import date
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import HOUR_MS, Days, begins, date_of
from gateway.core.model import Millis, Outcome
from gateway.core.reach import Reach
from gateway.store.figures.reading import WHOLE, Part, every, inside, narrowing, total
from gateway.store.figures.tables import DAYS, DECISIONS, FIRM_DAYS, HOURS, USAGE, USAGE_DAYS
from gateway.store.reach import within

Unit = Literal["hour", "day"]
RATED_DAYS = 30


class Tally(Struct, frozen=True):
    """Decisions by outcome."""

    allowed: int = 0
    refused: int = 0

    @property
    def decisions(self) -> int:
        return self.allowed + self.refused

    @property
    def refusal_rate(self) -> float | None:
        """None where nothing was decided."""
        return self.refused / self.decisions if self.decisions else None


class Bar(Struct, frozen=True):
    """Decisions in the hour or day that begins at ``since``."""

    since: Millis
    allowed: int
    refused: int


class CodeCount(Struct, frozen=True):
    """How many decisions named a code."""

    code: str
    decisions: int


class CodeBar(Struct, frozen=True):
    """How many decisions in the hour or day that begins at ``since`` named a code."""

    since: Millis
    code: str
    decisions: int


class Usage(Struct, frozen=True):
    """Use of machines: sessions that were unlocked and what they came to."""

    sessions: int = 0
    enabled_s: int = 0
    arc_s: int = 0
    idle_s: int = 0
    arcs: int = 0
    energy_mwh: int = 0

    @property
    def energy_wh(self) -> float:
        return self.energy_mwh / 1000


class UsageOfDay(Usage, frozen=True, kw_only=True):
    """The same of the sessions that began on a day."""

    day: date


# --- decisions --------------------------------------------------------------------------------------------------


def tally(connection: Connection, reach: Reach, days: Days, part: Part = WHOLE) -> Tally:
    """Decisions of some days, in one sum. Of a person's reach: that person's."""
    if reach.operator_id is not None:
        return _own_tally(connection, reach, days)
    query = sa.select(_of(DAYS, "allow"), _of(DAYS, "deny")).where(*span(DAYS, days), DAYS.c.code == "")
    allowed, refused = connection.execute(query.where(inside(reach, part, DAYS))).one()
    return Tally(allowed, refused)


def person_tally(connection: Connection, reach: Reach, operator_id: str, days: Days) -> Tally:
    """Decisions on one person within the reach."""
    own = (DECISIONS.c.operator_id == operator_id, narrowing(within(reach, DECISIONS)))
    return _own_tally(connection, reach, days, *own)


def _own_tally(connection: Connection, reach: Reach, days: Days, *conditions: Any) -> Tally:
    """From the decisions themselves: one person's are few."""
    since, until = days.moments
    query = sa.select(DECISIONS.c.outcome, sa.func.count()).group_by(DECISIONS.c.outcome)
    query = query.where(*(conditions or (within(reach, DECISIONS),)))
    rows = connection.execute(query.where(DECISIONS.c.at >= since, DECISIONS.c.at < until))
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return Tally(found.get("allow", 0), found.get("deny", 0))


def decisions_over_time(
    connection: Connection, reach: Reach, days: Days, unit: Unit = "day", part: Part = WHOLE
) -> list[Bar]:
    """Hours or days in which something was decided, the earliest first."""
    table, when = _timed(unit)
    query = sa.select(when, _of(table, "allow"), _of(table, "deny")).where(table.c.code == "")
    query = query.where(*span(table, days), inside(reach, part, table)).group_by(when).order_by(when)
    return [Bar(_begins(unit, number), *counts) for number, *counts in connection.execute(query)]


def codes(
    connection: Connection, reach: Reach, days: Days, outcome: Outcome = "deny", part: Part = WHOLE
) -> list[CodeCount]:
    """Reasons of refusals, or the warnings of what was allowed, the most frequent first. A refusal may have several."""
    count = total(DAYS.c.decisions).label("count")
    query = sa.select(DAYS.c.code, count).where(DAYS.c.outcome == outcome, DAYS.c.code != "", *span(DAYS, days))
    query = query.where(inside(reach, part, DAYS)).group_by(DAYS.c.code).order_by(count.desc(), DAYS.c.code)
    return every(CodeCount, connection, query)


def codes_over_time(
    connection: Connection,
    reach: Reach,
    days: Days,
    unit: Unit = "day",
    outcome: Outcome = "deny",
    part: Part = WHOLE,
) -> list[CodeBar]:
    """The same by hour or day, the earliest first."""
    table, when = _timed(unit)
    count = total(table.c.decisions)
    query = sa.select(when, table.c.code, count).where(table.c.outcome == outcome, table.c.code != "")
    query = query.where(*span(table, days), inside(reach, part, table)).group_by(when, table.c.code)
    found = connection.execute(query.order_by(when, table.c.code))
    return [CodeBar(_begins(unit, number), code, count) for number, code, count in found]


def _timed(unit: Unit) -> tuple[sa.Table, sa.Column[int]]:
    return (HOURS, HOURS.c.hour) if unit == "hour" else (DAYS, DAYS.c.day)


def _begins(unit: Unit, number: int) -> Millis:
    return number * HOUR_MS if unit == "hour" else begins(number)


def span(table: sa.Table, days: Days) -> tuple[sa.ColumnElement[bool], ...]:
    column, (first, last) = (table.c.hour, days.hours) if table is HOURS else (table.c.day, days.numbers)
    return (column >= first, column <= last)


def _of(table: sa.Table, outcome: Outcome) -> sa.ColumnElement[int]:
    return total(sa.case((table.c.outcome == outcome, table.c.decisions), else_=0))


# --- usage ------------------------------------------------------------------------------------------------------


def usage_by_day(
    connection: Connection,
    reach: Reach,
    days: Days,
    part: Part = WHOLE,
    machine_id: str | None = None,
    operator_id: str | None = None,
) -> list[UsageOfDay]:
    """Days on which machines were used, the earliest first: one, those of a person, or those of firms and divisions."""
    detailed = machine_id is not None or operator_id is not None or reach.operator_id is not None
    table = USAGE_DAYS if detailed else FIRM_DAYS
    placed = inside(reach, part, table)
    query = sa.select(*sums(table), table.c.day).where(*span(table, days))
    query = query.where(narrowing(placed) if machine_id or operator_id else placed)
    for name, value in (("machine_id", machine_id), ("operator_id", operator_id)):
        if value is not None:
            query = query.where(table.c[name] == value)
    rows = connection.execute(query.group_by(table.c.day).order_by(table.c.day))
    return [UsageOfDay(*figures, day=date_of(day)) for *figures, day in rows]


def usage(connection: Connection, reach: Reach, days: Days, part: Part = WHOLE) -> Usage:
    """Use of machines on some days, in one sum."""
    table = USAGE_DAYS if reach.operator_id is not None else FIRM_DAYS
    query = sa.select(*sums(table)).where(*span(table, days), inside(reach, part, table))
    return every(Usage, connection, query)[0]


def sums(table: sa.Table) -> list[Any]:
    """In the order of ``Usage``."""
    return [total(table.c[name]) for name in ("sessions", *USAGE)]
