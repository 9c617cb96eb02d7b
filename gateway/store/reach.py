"""A reach as a condition of SQL: the one place that says which rows of a table an account may see.

What is registered goes by how it is registered today, a person by who employs them today; what happened goes by the
machine's division and firm, and by the person, as they stood then. ``gateway.core.reach`` says the same of single rows.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import sqlalchemy as sa

from gateway.core.reach import Reach
from gateway.store.counted_tables import (
    DecisionDay,
    DecisionHour,
    DecisionReason,
    DecisionRow,
    FirmDay,
    PairRow,
    SessionIndexRow,
    UsageDay,
)
from gateway.store.tables import (
    CertificateRow,
    EmploymentRow,
    EnterpriseRow,
    MachineRow,
    OperatorRow,
    SessionRow,
    metadata,
)

Condition = sa.ColumnElement[bool]
NOTHING: Condition = sa.false()


def _table(row: Any) -> sa.Table:
    return metadata.tables[row.__tablename__]


_machines, _firms, _employments = _table(MachineRow), _table(EnterpriseRow), _table(EmploymentRow)


def within(reach: Reach, table: sa.FromClause, today: date | None = None) -> Condition:
    """Which rows of a table lie within the reach. INVARIANT: every query that a page makes carries it.

    ``table`` may be an alias; ``today`` is needed for what is about people. A table that is not listed here cannot be
    read through a reach: KeyError.
    """
    original = table.element if isinstance(table, sa.Alias) else table
    assert isinstance(original, sa.Table)
    return _RULES[original.name](reach, table, today)


def in_division(column: sa.ColumnElement[str], prefix: str) -> Condition:
    """Whether a column's code begins with ``prefix``, as a range that an index serves."""
    if not prefix:
        return sa.true()
    return (column >= prefix) & (column < prefix[:-1] + chr(ord(prefix[-1]) + 1))


def _placed(reach: Reach, table: sa.FromClause, _: date | None) -> Condition:
    """Rows with a division and a firm of their own, and nobody's name."""
    if reach.division is not None:
        return in_division(table.c.division, reach.division)
    return table.c.uscc == reach.uscc if reach.uscc is not None else NOTHING


def _happened(reach: Reach, table: sa.FromClause, today: date | None) -> Condition:
    """Rows with a division, a firm and a person."""
    if _of_one_person(reach):
        return _own(reach, table)
    return _placed(reach, table, today)


def _person(reach: Reach, table: sa.FromClause, today: date | None) -> Condition:
    """Rows about a person."""
    if _of_one_person(reach):
        return _own(reach, table)
    if reach.division == "":
        return sa.true()
    assert today is not None, "who employs a person is a matter of the day"
    work = _employments.alias("work")
    return table.c.operator_id.in_(sa.select(work.c.operator_id).where(_employer(reach, work), employed(work, today)))


def _employment(reach: Reach, table: sa.FromClause, _: date | None) -> Condition:
    """A person's own employments; else those at firms within it, and nothing of others."""
    if _of_one_person(reach):
        return _own(reach, table)
    return sa.true() if reach.division == "" else _employer(reach, table)


def _employer(reach: Reach, work: sa.FromClause) -> Condition:
    if reach.division is None:
        return _placed(reach, work, None)
    firms = _firms.alias("employer")
    return work.c.uscc.in_(sa.select(firms.c.uscc).where(in_division(firms.c.division, reach.division)))


def employed(work: sa.FromClause, today: date) -> Condition:
    """Whether an employment holds on a day: first and last day count, an unknown last day is open."""
    return (work.c.since <= today) & (work.c.until.is_(None) | (work.c.until >= today))


def _at_machine(reach: Reach, table: sa.FromClause, today: date | None) -> Condition:
    """Rows about a machine as it is registered today, and perhaps a person."""
    if _of_one_person(reach):
        return _own(reach, table)
    if reach.division == "":
        return sa.true()
    held = _machines.alias("held")
    return table.c.machine_id.in_(sa.select(held.c.machine_id).where(_placed(reach, held, today)))


def _of_one_person(reach: Reach) -> bool:
    return reach.division is None and reach.uscc is None


def _own(reach: Reach, table: sa.FromClause) -> Condition:
    """INVARIANT: who reaches nothing does not see what is about nobody known."""
    return table.c.operator_id == reach.operator_id if reach.operator_id else NOTHING


Rule = Callable[[Reach, sa.FromClause, date | None], Condition]
_ROWS: tuple[tuple[Any, Rule], ...] = (
    (MachineRow, _placed),
    (EnterpriseRow, _placed),
    (OperatorRow, _person),
    (CertificateRow, _person),
    (EmploymentRow, _employment),
    (SessionRow, _at_machine),
    (PairRow, _at_machine),
    (DecisionRow, _happened),
    (DecisionReason, _placed),
    (DecisionHour, _placed),
    (DecisionDay, _placed),
    (SessionIndexRow, _happened),
    (UsageDay, _happened),
    (FirmDay, _placed),
)
_RULES = {_table(row).name: rule for row, rule in _ROWS}
