"""From a division down to its firms, and who stands where in a month.

A division's code is a prefix of those below it: six digits a county, nine a town. Where the registries know counties
only, a county leads straight to its firms.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Literal, get_args

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from gateway.core.days import Days, up_to
from gateway.core.reach import Reach
from gateway.store.figures.counts import RATED_DAYS, span, sums
from gateway.store.figures.reading import (
    COUNTY_DIGITS,
    TOWN_DIGITS,
    WHOLE,
    Page,
    Part,
    behind,
    every,
    inside,
    page,
    total,
    upper_code,
)
from gateway.store.figures.tables import DAYS, FIRM_DAYS, table
from gateway.store.reach import employed
from gateway.store.tables import EmploymentRow, EnterpriseRow, MachineRow, SessionRow

_firms, _machines, _employments, _sessions = (
    table(row) for row in (EnterpriseRow, MachineRow, EmploymentRow, SessionRow)
)
Counts = dict[str, dict[str, int]]
"""By field and then by key: a firm's credit code, or a division's."""
_USED = ("sessions", "enabled_s", "arc_s", "idle_s", "arcs", "energy_mwh")


class FirmRow(Struct, frozen=True):
    """A firm of a list, with what is counted of it. ``allowed`` and ``refused`` are today's; ``sessions`` to
    ``energy_mwh`` those of the last 30 days."""

    uscc: str
    name: str | None
    division: str
    status: str
    machines: int = 0
    people: int = 0
    open_sessions: int = 0
    allowed: int = 0
    refused: int = 0
    sessions: int = 0
    enabled_s: int = 0
    arc_s: int = 0
    idle_s: int = 0
    arcs: int = 0
    energy_mwh: int = 0


class DivisionRow(Struct, frozen=True):
    """A county or town with what is counted of it, as of a firm. A county's code among its towns stands for firms and
    machines of which the town is not known; "" for machines that were not registered."""

    division: str
    firms: int = 0
    machines: int = 0
    people: int = 0
    open_sessions: int = 0
    allowed: int = 0
    refused: int = 0
    sessions: int = 0
    enabled_s: int = 0
    arc_s: int = 0
    idle_s: int = 0
    arcs: int = 0
    energy_mwh: int = 0


# --- divisions --------------------------------------------------------------------------------------------------


def divisions(connection: Connection, reach: Reach, today: date, prefix: str = "") -> list[DivisionRow]:
    """What lies directly below a division, by code: counties below anything shorter, towns below a county. Empty where
    nothing but firms is below it."""
    digits = COUNTY_DIGITS if len(prefix) < COUNTY_DIGITS else TOWN_DIGITS
    if len(prefix) >= TOWN_DIGITS:
        return []
    grouped = _Grouped(connection, reach, Part(prefix), lambda source: upper_code(source.c.division, digits))
    counts = grouped.everything(today)
    counts["firms"] = grouped.count(_firms)
    codes = sorted({code for one in counts.values() for code in one})
    rows = [replace(DivisionRow(code), **_of(counts, code)) for code in codes]
    return [] if [row.division for row in rows] == [prefix] else rows


# --- firms ------------------------------------------------------------------------------------------------------


def firms(
    connection: Connection,
    reach: Reach,
    today: date,
    part: Part = WHOLE,
    limit: int = 50,
    after: tuple[Any, ...] | None = None,
) -> Page[FirmRow]:
    """By credit code."""
    key = (_firms.c.uscc,)
    query = sa.select(*(_firms.c[name] for name in FirmRow.__struct_fields__[:4]))
    query = query.where(inside(reach, part, _firms), behind(key, after)).order_by(*key).limit(limit + 1)
    found = page(every(FirmRow, connection, query), limit, lambda row: (row.uscc,))
    grouped = _Grouped(connection, reach, part, lambda source: source.c.uscc, tuple(row.uscc for row in found.rows))
    counts = grouped.everything(today)
    return Page([replace(row, **_of(counts, row.uscc)) for row in found.rows], found.after)


def firm(connection: Connection, reach: Reach, uscc: str, today: date) -> FirmRow | None:
    """None where it is not registered, or out of reach."""
    return next(iter(firms(connection, reach, today, Part(uscc=uscc), 1).rows), None)


# --- counting by firm or division -------------------------------------------------------------------------------


class _Grouped:
    """Counts by a ``key`` of rows that have a division and a firm; of some firms ``only``."""

    def __init__(
        self,
        connection: Connection,
        reach: Reach,
        part: Part,
        key: Callable[[sa.FromClause], sa.ColumnElement[str]],
        only: Sequence[str] | None = None,
    ) -> None:
        self._connection = connection
        self._reach = reach
        self._part = part
        self._key = key
        self._only = only

    def everything(self, today: date) -> Counts:
        """What rows of firms and divisions have in common."""
        employed_there = _employments.join(_firms, _firms.c.uscc == _employments.c.uscc)
        people = sa.func.count(_employments.c.operator_id.distinct())
        running = _sessions.join(_machines, _machines.c.machine_id == _sessions.c.machine_id)
        return {
            "machines": self.count(_machines),
            "people": self._single(_firms, people, employed_there, employed(_employments, today)),
            "open_sessions": self._single(_machines, sa.func.count(), running, _sessions.c.ended_at.is_(None)),
            **self.decided(Days(today, today)),
            **self.used(up_to(today, RATED_DAYS)),
        }

    def count(self, source: sa.Table) -> dict[str, int]:
        return self._single(source, sa.func.count())

    def decided(self, days: Days) -> Counts:
        allowed, refused = (
            total(sa.case((DAYS.c.outcome == outcome, DAYS.c.decisions), else_=0)) for outcome in ("allow", "deny")
        )
        return self._several(DAYS, {"allowed": allowed, "refused": refused}, *span(DAYS, days), DAYS.c.code == "")

    def used(self, days: Days) -> Counts:
        return self._several(FIRM_DAYS, dict(zip(_USED, sums(FIRM_DAYS), strict=True)), *span(FIRM_DAYS, days))

    def _single(
        self, placed: sa.Table, count: Any, source: sa.FromClause | None = None, *conditions: Any
    ) -> dict[str, int]:
        query = sa.select(self._key(placed), count).select_from(placed if source is None else source)
        return {row[0]: row[1] for row in self._rows(query, placed, conditions)}

    def _several(self, placed: sa.Table, counts: dict[str, Any], *conditions: Any) -> Counts:
        rows = self._rows(sa.select(self._key(placed), *counts.values()), placed, conditions)
        return {name: {row[0]: row[number] for row in rows} for number, name in enumerate(counts, 1)}

    def _rows(self, query: sa.Select[Any], placed: sa.Table, conditions: Sequence[Any]) -> list[Any]:
        if self._only is not None:
            query = query.where(placed.c.uscc.in_(self._only))
        query = query.where(inside(self._reach, self._part, placed), *conditions).group_by(self._key(placed))
        return list(self._connection.execute(query))


def _of(counts: Counts, key: str) -> dict[str, int]:
    return {field: found.get(key, 0) for field, found in counts.items()}


# --- ranking ----------------------------------------------------------------------------------------------------

RankBy = Literal["refused", "refusal_rate", "decisions", "sessions", "enabled_s", "arc_s", "energy_mwh"]
RANK_BY: tuple[RankBy, ...] = get_args(RankBy)


class Rank(Struct, frozen=True):
    """A firm or division of a ranking: ``key`` is its code, ``name`` a firm's."""

    key: str
    name: str | None = None
    allowed: int = 0
    refused: int = 0
    sessions: int = 0
    enabled_s: int = 0
    arc_s: int = 0
    idle_s: int = 0
    arcs: int = 0
    energy_mwh: int = 0

    @property
    def decisions(self) -> int:
        return self.allowed + self.refused

    @property
    def refusal_rate(self) -> float:
        return self.refused / self.decisions if self.decisions else 0.0


def rank_firms(
    connection: Connection, reach: Reach, days: Days, by: RankBy, limit: int = 20, part: Part = WHOLE
) -> list[Rank]:
    """Firms of which something is counted on these days (``days.month_of``), the highest first."""
    ranks = _ranked(_Grouped(connection, reach, part, lambda source: source.c.uscc), days, by)
    ranks = [rank for rank in ranks if rank.key][:limit]
    query = sa.select(_firms.c.uscc, _firms.c.name).where(_firms.c.uscc.in_([rank.key for rank in ranks]))
    names = {row.uscc: row.name for row in connection.execute(query)}
    return [replace(rank, name=names.get(rank.key)) for rank in ranks]


def rank_divisions(
    connection: Connection,
    reach: Reach,
    days: Days,
    by: RankBy,
    limit: int = 20,
    part: Part = WHOLE,
    digits: int = TOWN_DIGITS,
) -> list[Rank]:
    """Towns, or with six ``digits`` counties, the highest first."""
    grouped = _Grouped(connection, reach, part, lambda source: upper_code(source.c.division, digits))
    return [rank for rank in _ranked(grouped, days, by) if rank.key][:limit]


def _ranked(grouped: _Grouped, days: Days, by: RankBy) -> list[Rank]:
    counts = {**grouped.decided(days), **grouped.used(days)}
    ranks = [replace(Rank(key), **_of(counts, key)) for key in {key for one in counts.values() for key in one}]
    return sorted(ranks, key=lambda rank: (-getattr(rank, by), rank.key))
