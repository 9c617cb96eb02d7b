"""The tables of the figures, and what each kind of them is keyed and counted by."""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from gateway.store.counted_tables import (
    DecisionDay,
    DecisionHour,
    DecisionReason,
    DecisionRow,
    FiguresState,
    FirmDay,
    PairRow,
    SessionIndexRow,
    UncountedUsage,
    UsageDay,
)
from gateway.store.tables import metadata


def table(row: Any) -> sa.Table:
    return metadata.tables[row.__tablename__]


STATE, UNCOUNTED = table(FiguresState), table(UncountedUsage)
DECISIONS, REASONS = table(DecisionRow), table(DecisionReason)
HOURS, DAYS = table(DecisionHour), table(DecisionDay)
SESSIONS, USAGE_DAYS, FIRM_DAYS, PAIRS = table(SessionIndexRow), table(UsageDay), table(FirmDay), table(PairRow)

MADE = (DECISIONS, REASONS, HOURS, DAYS, SESSIONS, USAGE_DAYS, FIRM_DAYS, PAIRS)
"""What is made from the ledger, sessions and usage."""
USAGE = ("enabled_s", "arc_s", "idle_s", "arcs", "energy_mwh")


def names(of: sa.Table) -> tuple[str, ...]:
    return tuple(column.name for column in of.columns)


def key_names(of: sa.Table) -> tuple[str, ...]:
    return tuple(column.name for column in of.primary_key.columns)


def is_text(column: sa.Column[Any]) -> bool:
    """SQLModel's string type wraps the one of SQLAlchemy."""
    return isinstance(getattr(column.type, "impl", column.type), sa.String)


class Sums(Struct):
    """Usage of some sessions; seconds, and milliwatt-hours."""

    sessions: int = 0
    enabled_s: int = 0
    arc_s: int = 0
    idle_s: int = 0
    arcs: int = 0
    energy_mwh: int = 0

    @property
    def values(self) -> tuple[int, ...]:
        return self.sessions, self.enabled_s, self.arc_s, self.idle_s, self.arcs, self.energy_mwh

    def add(self, values: tuple[int, ...]) -> None:
        self.sessions += values[0]
        self.enabled_s += values[1]
        self.arc_s += values[2]
        self.idle_s += values[3]
        self.arcs += values[4]
        self.energy_mwh += values[5]
