"""Core statements compiled once per dialect and handed to the driver as they are: the scribe's hot path.

SQLAlchemy's own execution of a one-row statement takes several times as long as the driver's (docs/performance.md), and
a decision runs five. Errors are the driver's (PEP 249), told apart by ``Engine.dialect.dbapi``.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.clock import monotonic_ns
from gateway.store.engine import SQLITE_BUSY_MS

Row = tuple[Any, ...]
"""Values as the driver takes them: whole numbers, floats, text, bytes, None."""


class Prepared:
    """One statement in its dialect's SQL; its rows hold the values of ``names`` in that order."""

    def __init__(self, statement: Executable, dialect: Dialect, names: Sequence[str] = ()) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self._names = tuple(names)
        positions = None if compiled.positiontup is None else [self._names.index(name) for name in compiled.positiontup]
        self._by_name = positions is None
        self._order = None if positions == list(range(len(self._names))) else positions

    def run(self, cursor: DBAPICursor, rows: Sequence[Row]) -> int:
        """Run once for each of ``rows``, inside the cursor's transaction; how many rows of the table it concerned."""
        bound: Sequence[Any] = rows
        if self._by_name:
            bound = [dict(zip(self._names, row, strict=True)) for row in rows]
        elif self._order is not None:
            bound = [[row[position] for position in self._order] for row in rows]
        cursor.executemany(self._sql, bound)
        return int(cursor.rowcount)

    def first(self, cursor: DBAPICursor) -> Row | None:
        """The first row of a query without parameters."""
        cursor.execute(self._sql)
        row = cursor.fetchone()
        return None if row is None else tuple(row)


SQLITE_LOOKS_EVERY_MS = 2
"""How often to look whether the write lock is free. SQLite by itself looks ever less often, in the end every 100 ms,
and beside an import finds it taken again each time."""


def _begin_sqlite(cursor: Any) -> None:
    """IMMEDIATE takes the write lock at once instead of half-way. Raises sqlite3.OperationalError."""
    deadline = monotonic_ns() + SQLITE_BUSY_MS * 1_000_000
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_LOOKS_EVERY_MS}")
    try:
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic_ns() > deadline:
                    raise
    finally:
        cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")


_BEGIN = {"sqlite": _begin_sqlite}
"""Drivers that do not begin by themselves."""


@contextmanager
def transaction(connection: Connection) -> Iterator[DBAPICursor]:
    """A transaction on the driver's own connection: all of it, or on any error nothing."""
    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor()
    try:
        if begin := _BEGIN.get(connection.dialect.name):
            begin(cursor)
        yield cursor
        driver.commit()
    except BaseException:
        driver.rollback()
        raise
    finally:
        cursor.close()
