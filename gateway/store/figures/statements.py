"""Many rows in one statement: one call of the driver, between whose rows nobody else's Python runs.

Folding holds SQLite's one write lock while it writes. A driver lets other threads run at every call, and gets its turn
back up to 5 ms later where they are busy: a call for each row would hold the lock for as long as the gateway is busy.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.store.figures import tables
from gateway.store.prepared import Row

MOST_PARAMETERS = 30_000
"""SQLite takes 32,766 in one statement."""
_INSERTING: dict[str, Callable[[sa.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Insert:
    """Rows of all columns of a table into it; what becomes of one that is there says ``conflict``."""

    def __init__(self, table: sa.Table, dialect: Dialect, conflict: "Conflict | None" = None) -> None:
        self._names = tables.names(table)
        statement = _INSERTING[dialect.name](table).values({name: sa.bindparam(name) for name in self._names})
        if conflict is not None:
            keys = tables.key_names(table)
            statement = statement.on_conflict_do_update(index_elements=keys, set_=conflict(table, statement.excluded))
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self._by_name = compiled.positiontup is None
        self._group = "(" + ", ".join("?" * len(self._names)) + ")"

    def run(self, cursor: DBAPICursor, rows: Sequence[Row]) -> None:
        """Inside the cursor's transaction. No two rows may have the same key."""
        if self._by_name:  # no SQLite, so nobody waits for this transaction
            cursor.executemany(self._sql, [dict(zip(self._names, row, strict=True)) for row in rows])
            return
        at_once = MOST_PARAMETERS // len(self._names)
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            groups = ", ".join([self._group] * len(part))
            cursor.execute(self._sql.replace(self._group, groups, 1), [value for row in part for value in row])


Conflict = Callable[[sa.Table, Any], dict[str, Any]]
"""The columns that change where the row is there, from the table and the row that was to be inserted."""


def replaced(table: sa.Table, row: Any) -> dict[str, Any]:
    """The new row takes the place of the one that is there."""
    return {column.name: row[column.name] for column in table.columns if not column.primary_key}


def added(table: sa.Table, row: Any) -> dict[str, Any]:
    """What is counted is added to what was."""
    return {column.name: column + row[column.name] for column in table.columns if not column.primary_key}


def widened(table: sa.Table, row: Any) -> dict[str, Any]:
    """Sessions are added; the first time becomes the earlier of both, the last the later."""
    first, last = table.c.first_at, table.c.last_at
    return {
        "sessions": table.c.sessions + row.sessions,
        "first_at": sa.case((row.first_at < first, row.first_at), else_=first),
        "last_at": sa.case((row.last_at > last, row.last_at), else_=last),
    }


class Delete:
    """Rows by the values of some columns, of which the first leads their key."""

    def __init__(self, table: sa.Table, names: Sequence[str], dialect: Dialect) -> None:
        self._by_name = dialect.paramstyle != "qmark"
        self._names = tuple(names)
        columns = [table.c[name] for name in names]
        one = sa.delete(table).where(*(column == sa.bindparam(f"of_{column.name}") for column in columns))
        self._one = str(one.compile(dialect=dialect))
        self._many = f"DELETE FROM {table.name} WHERE {names[0]} IN ({{first}}) AND ({', '.join(names)}) IN (VALUES "  # noqa: S608
        self._group = "(" + ", ".join("?" * len(names)) + ")"

    def run(self, cursor: DBAPICursor, rows: Sequence[Row]) -> None:
        if self._by_name:
            cursor.executemany(self._one, [{f"of_{n}": v for n, v in zip(self._names, r, strict=True)} for r in rows])
            return
        at_once = MOST_PARAMETERS // (len(self._names) + 1)
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            first = ", ".join("?" * len(part))
            sql = self._many.format(first=first) + ", ".join([self._group] * len(part)) + ")"
            cursor.execute(sql, [row[0] for row in part] + [value for row in part for value in row])


def statements(dialect: Dialect) -> dict[str, Insert]:
    """How rows of each table are folded, by its name."""
    how: dict[str, Conflict | None] = {
        tables.DECISIONS.name: None,
        tables.REASONS.name: None,
        tables.HOURS.name: added,
        tables.DAYS.name: added,
        tables.SESSIONS.name: replaced,
        tables.USAGE_DAYS.name: added,
        tables.FIRM_DAYS.name: added,
        tables.PAIRS.name: widened,
    }
    return {table.name: Insert(table, dialect, how[table.name]) for table in tables.MADE}
