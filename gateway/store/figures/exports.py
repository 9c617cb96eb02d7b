"""Rows for files: usage by day, person and machine. Decisions are ``decisions.exported``, machines and people page by
page. Each lot is read in a transaction of its own and nothing is kept, whatever the size of the whole."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Engine

from gateway.core.days import Days, date_of
from gateway.core.reach import Reach
from gateway.store.engine import reading
from gateway.store.figures.counts import span
from gateway.store.figures.reading import WHOLE, Part, behind, inside
from gateway.store.figures.tables import USAGE, USAGE_DAYS, table
from gateway.store.tables import EnterpriseRow, OperatorRow

_people, _firms = table(OperatorRow), table(EnterpriseRow)
AT_ONCE = 1000
_KEY = ("day", "machine_id", "operator_id", "division", "uscc")


class UsageEntry(Struct, frozen=True):
    """What one person did at one machine in sessions that began on a day. ``operator_id`` is "" where nobody knows who
    it was."""

    day: date
    machine_id: str
    operator_id: str
    division: str
    uscc: str
    sessions: int
    enabled_s: int
    arc_s: int
    idle_s: int
    arcs: int
    energy_mwh: int
    operator: str | None
    firm: str | None


def exported_usage(engine: Engine, reach: Reach, days: Days, part: Part = WHOLE) -> Iterator[UsageEntry]:
    """By day, machine and person."""
    key = [USAGE_DAYS.c[name] for name in _KEY]
    columns = [*key, *(USAGE_DAYS.c[name] for name in ("sessions", *USAGE)), _people.c.name, _firms.c.name]
    joined = USAGE_DAYS.outerjoin(_people, _people.c.operator_id == USAGE_DAYS.c.operator_id)
    joined = joined.outerjoin(_firms, _firms.c.uscc == USAGE_DAYS.c.uscc)
    query = sa.select(*columns).select_from(joined).where(*span(USAGE_DAYS, days), inside(reach, part, USAGE_DAYS))
    query = query.order_by(*key).limit(AT_ONCE)
    after: tuple[Any, ...] | None = None
    while True:
        with reading(engine).begin() as connection:
            rows = connection.execute(query.where(behind(key, after))).all()
        for row in rows:
            yield UsageEntry(date_of(row[0]), *row[1:])
        if len(rows) < AT_ONCE:
            return
        after = tuple(rows[-1][: len(_KEY)])
