"""Going over large tables beside a running gateway: read in the order of the key, written in short transactions."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Engine, Row

from gateway.store.engine import reading


class Pace(Struct, frozen=True):
    """``rows`` in one transaction, and a pause of ``pause_s`` after each: whoever waits for the lock gets it then."""

    rows: int = 500
    pause_s: float = 0.02


PACE = Pace()


def batches(
    engine: Engine, table: sa.Table, columns: Sequence[sa.Column[Any]], where: sa.ColumnElement[bool], rows: int
) -> Iterator[Sequence[Row[Any]]]:
    """The rows that fit, each its key and then ``columns``, read in one pass; what is added meanwhile may be missed."""
    key = list(table.primary_key.columns)
    further: sa.ColumnElement[bool] = sa.true()
    while True:
        query = sa.select(*key, *columns).where(where, further).order_by(*key).limit(rows)
        with reading(engine).connect() as connection:
            found = connection.execute(query).all()
        if not found:
            return
        yield found
        last = (sa.literal(value, column.type) for value, column in zip(found[-1], key, strict=False))
        further = sa.tuple_(*key) > sa.tuple_(*last)


@contextmanager
def briefly(engine: Engine, pace: Pace) -> Iterator[Connection]:
    """One short transaction that leaves nothing of what it deletes or replaces in the database's free space."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        yield connection
    time.sleep(pace.pause_s)


def total(engine: Engine, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
    with reading(engine).connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table).where(where)).scalar_one()
