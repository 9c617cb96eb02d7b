"""The ledger: an append-only chain of records, each canonical JSON that holds the hash of the one before.

``hash = SHA-256(record)`` and ``record.prev = hash of the record before``; the first record's ``prev`` is 64 zeros.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import Connection, Dialect, bindparam, insert, select, update

from gateway.core.model import Millis, Outcome
from gateway.store.prepared import Prepared
from gateway.store.tables import LedgerHead, LedgerRow, RecordKind, metadata

GENESIS = bytes(32)
_ledger = metadata.tables[LedgerRow.__tablename__]
_head = metadata.tables[LedgerHead.__tablename__]


Key = tuple[str, RecordKind, str]
"""``(machine_id, kind, message_id)``: a chip's message is recorded once."""


class Draft(Struct, frozen=True, gc=False):
    """A record before it has its place in the chain. ``body`` is canonical JSON of what ``kind`` says."""

    kind: RecordKind
    at: Millis
    body: bytes
    machine_id: str | None = None
    message_id: str | None = None
    operator_id: str | None = None
    outcome: Outcome | None = None


class Record(Struct, frozen=True, gc=False):
    """A record in the chain; the fields stand in canonical order."""

    at: Millis
    body: Raw
    kind: RecordKind
    machine_id: str | None
    message_id: str | None
    operator_id: str | None
    outcome: Outcome | None
    prev: str
    seq: int


class Head(Struct, frozen=True):
    """The end of the chain."""

    seq: int = 0
    hash: bytes = GENESIS


_encode = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(Record).decode


class Ledger:
    """Appends to the chain over connections of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._read_head = Prepared(select(_head.c.seq, _head.c.hash), dialect)
        self._insert = Prepared(insert(_ledger), dialect)
        self._first_head = Prepared(insert(_head), dialect)
        self._move_head = Prepared(update(_head).values(seq=bindparam("seq"), hash=bindparam("hash")), dialect)

    def append(self, connection: Connection, drafts: Iterable[Draft]) -> Head:
        """Chain ``drafts`` to the end of the ledger inside the caller's transaction.

        Raises IntegrityError where a machine's message is already on record.
        """
        found = self._read_head.run(connection).first()
        rows, head = _chained(Head(*found) if found else Head(), drafts)
        if rows:
            self._insert.run(connection, rows)
            keep = self._move_head if found else self._first_head
            keep.run(connection, [{"id": 1, "seq": head.seq, "hash": head.hash}])
        return head


def _chained(head: Head, drafts: Iterable[Draft]) -> tuple[list[dict[str, object]], Head]:
    rows: list[dict[str, object]] = []
    seq, digest = head.seq, head.hash
    for draft in drafts:
        seq += 1
        place = Record(
            draft.at,
            Raw(draft.body),
            draft.kind,
            draft.machine_id,
            draft.message_id,
            draft.operator_id,
            draft.outcome,
            digest.hex(),
            seq,
        )
        record = _encode(place)
        digest = hashlib.sha256(record).digest()
        rows.append(
            {
                "seq": seq,
                "at": draft.at,
                "kind": draft.kind,
                "machine_id": draft.machine_id,
                "message_id": draft.message_id,
                "operator_id": draft.operator_id,
                "outcome": draft.outcome,
                "record": record,
                "hash": digest,
            }
        )
    return rows, Head(seq, digest)


def on_record(connection: Connection, keys: Iterable[Key]) -> dict[Key, Record]:
    """The records that hold these messages, by key."""
    found = {}
    with connection.begin():
        for key in keys:
            columns = zip((_ledger.c.machine_id, _ledger.c.kind, _ledger.c.message_id), key, strict=True)
            query = select(_ledger.c.record).where(*(column == part for column, part in columns))
            record = connection.execute(query).scalar()
            if record is not None:
                found[key] = decode_record(record)
    return found


def rows_in_order(connection: Connection) -> Iterator[LedgerRow]:
    """Every row of the chain by ``seq``, a thousand at a time."""
    result = connection.execution_options(yield_per=1000).execute(select(_ledger).order_by(_ledger.c.seq))
    for row in result:
        yield LedgerRow(**row._mapping)
