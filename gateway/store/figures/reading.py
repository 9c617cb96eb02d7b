"""What the queries of this folder share: narrowing to a part of a reach, and pages by the key of their last row."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.sql.visitors import replacement_traverse

from gateway.core.reach import Reach
from gateway.store.figures.tables import is_text
from gateway.store.reach import Condition, in_division, within

Kind = TypeVar("Kind")
COUNTY_DIGITS, TOWN_DIGITS = 6, 9
"""Of GB/T 2260 and GB/T 10114 codes."""


class Part(Struct, frozen=True):
    """A part of what somebody reaches: below a division, and of one firm."""

    division: str = ""
    uscc: str | None = None


WHOLE = Part()


def inside(reach: Reach, part: Part, table: sa.FromClause) -> Condition:
    """Rows with a division and a firm of their own that lie in the reach and in the part."""
    found = within(reach, table) & in_division(table.c.division, part.division)
    return found if part.uscc is None else found & (table.c.uscc == part.uscc)


class Page(Struct, Generic[Kind], frozen=True):
    """Some rows in their order; ``after`` is what the next page is asked for with, None behind the last."""

    rows: list[Kind]
    after: tuple[Any, ...] | None


def page(rows: Sequence[Kind], limit: int, key: Any) -> Page[Kind]:
    """Of up to ``limit`` + 1 rows the first ``limit``; ``key(row)`` is the row's place in the order."""
    shown = list(rows[:limit])
    return Page(shown, key(shown[-1]) if len(rows) > limit else None)


def before(columns: Sequence[sa.ColumnElement[Any]], place: tuple[Any, ...] | None) -> Condition:
    """Rows behind a place in a descending order of these columns."""
    return sa.true() if place is None else sa.tuple_(*columns) < sa.tuple_(*_literals(columns, place))


def behind(columns: Sequence[sa.ColumnElement[Any]], place: tuple[Any, ...] | None) -> Condition:
    """Rows behind a place in an ascending order of these columns."""
    return sa.true() if place is None else sa.tuple_(*columns) > sa.tuple_(*_literals(columns, place))


def _literals(columns: Sequence[sa.ColumnElement[Any]], place: tuple[Any, ...]) -> list[sa.ColumnElement[Any]]:
    return [sa.literal(value, column.type) for column, value in zip(columns, place, strict=True)]


def narrowing(condition: Condition) -> Condition:
    """The same in a form that no index of texts serves: for what only narrows what another column finds. SQLite has no
    statistics here, and takes one index for as good as the other."""
    found: Condition = replacement_traverse(condition, {}, _unindexed)
    return found


def _unindexed(element: Any, **_: Any) -> Any:
    return element.concat("") if isinstance(element, sa.Column) and is_text(element) else None


def total(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """The sum, 0 of nothing; whole, where PostgreSQL would make a decimal number of it."""
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


def upper_code(column: sa.ColumnElement[str], digits: int) -> sa.ColumnElement[str]:
    """The first ``digits`` of a division's code; a shorter one as it is."""
    return sa.func.substr(column, 1, digits)


def every(kind: type[Kind], connection: Connection, query: sa.Executable) -> list[Kind]:
    """A struct for each row, whose columns are the struct's fields."""
    return [kind(*row) for row in connection.execute(query)]
