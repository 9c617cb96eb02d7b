"""Core statements compiled once per dialect and handed to the driver as they are: the scribe's hot path.

SQLAlchemy's own execution costs some 30 µs a statement, as much as a row; its transactions are used all the same.
Errors are the driver's (PEP 249), told apart by ``Engine.dialect.dbapi``.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
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

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run once for each of ``rows``, inside the connection's transaction."""
        bound: Sequence[Any] = rows
        if self._by_name:
            bound = [dict(zip(self._names, row, strict=True)) for row in rows]
        elif self._order is not None:
            bound = [[row[position] for position in self._order] for row in rows]
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(self._sql, bound)
        finally:
            cursor.close()

    def first(self, connection: Connection) -> Row | None:
        """The first row of a query without parameters."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._sql)
            row = cursor.fetchone()
        finally:
            cursor.close()
        return None if row is None else tuple(row)
