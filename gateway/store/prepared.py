"""Core statements compiled once per dialect and handed to the driver as they are: the scribe's hot path.

SQLAlchemy's own execution of a one-row statement takes several times as long as the driver's (docs/performance.md), and
a decision runs five. Errors are the driver's (PEP 249), told apart by ``Engine.dialect.dbapi``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

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


_BEGIN = {"sqlite": "BEGIN IMMEDIATE"}
"""Drivers that do not begin by themselves; IMMEDIATE takes the write lock at once instead of half-way."""


@contextmanager
def transaction(connection: Connection) -> Iterator[DBAPICursor]:
    """A transaction on the driver's own connection: all of it, or on any error nothing."""
    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor()
    try:
        if begin := _BEGIN.get(connection.dialect.name):
            cursor.execute(begin)
        yield cursor
        driver.commit()
    except BaseException:
        driver.rollback()
        raise
    finally:
        cursor.close()
