"""Core statements compiled once per dialect and handed to the driver as they are: the writer's hot path.

SQLAlchemy's own execution costs some 30 µs a statement, as much as a row; its transactions are used all the same.
Errors are the driver's (PEP 249), told apart by ``Engine.dialect.dbapi``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler

Row = Mapping[str, Any]


class Prepared:
    """One statement in its dialect's SQL. Values go to the driver unconverted: whole numbers, floats, text, bytes."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self._names = compiled.positiontup

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run once for each of ``rows``, inside the connection's transaction."""
        names = self._names
        bound = list(rows) if names is None else [tuple([row[name] for name in names]) for row in rows]
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(self._sql, bound)
        finally:
            cursor.close()

    def first(self, connection: Connection) -> tuple[Any, ...] | None:
        """The first row of a query without parameters."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._sql)
            row = cursor.fetchone()
        finally:
            cursor.close()
        return None if row is None else tuple(row)
