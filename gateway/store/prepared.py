"""Core statements compiled once per dialect and handed to the driver as they are: the writer's hot path."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler

Row = Mapping[str, Any]


class Prepared:
    """One statement in its dialect's SQL. Values go to the driver unconverted: whole numbers, floats, text, bytes."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self._names = compiled.positiontup

    def run(self, connection: Connection, rows: Sequence[Row] | None = None) -> CursorResult[Any]:
        """Run once, or once for each of ``rows``."""
        if rows is None:
            return connection.exec_driver_sql(self._sql)
        names = self._names
        if names is None:
            return connection.exec_driver_sql(self._sql, [dict(row) for row in rows])
        return connection.exec_driver_sql(self._sql, [tuple([row[name] for name in names]) for row in rows])
