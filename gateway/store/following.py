"""Reading the ledger on: what was written after a record that is known."""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Raw, Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.store.ledger import read_head
from gateway.store.tables import LedgerRow, metadata

AT_ONCE = 500
_ledger = metadata.tables[LedgerRow.__tablename__]


class Line(Struct, frozen=True):
    """One record as far as watchers need it; ``body`` is its JSON."""

    seq: int
    at: Millis
    kind: str
    machine_id: str | None
    message_id: str | None
    operator_id: str | None
    outcome: str | None
    body: Raw


class _Record(Struct):
    body: Raw


_NAMED = tuple(name for name in Line.__struct_fields__ if name != "body")
_decode = msgspec.json.Decoder(_Record).decode


def latest(connection: Connection) -> int:
    """The number of the last record."""
    head = read_head(connection)
    return head.seq if head else 0


def lines_after(connection: Connection, seq: int) -> list[Line]:
    """The next records after ``seq``."""
    columns = [_ledger.c[name] for name in (*_NAMED, "record")]
    query = sa.select(*columns).where(_ledger.c.seq > seq).order_by(_ledger.c.seq).limit(AT_ONCE)
    return [_line(row) for row in connection.execute(query).mappings()]


def _line(row: Mapping[Any, Any]) -> Line:
    return Line(**{name: row[name] for name in _NAMED}, body=_decode(row["record"]).body)
