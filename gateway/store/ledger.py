"""The ledger: an append-only chain of records, each canonical JSON that holds the hash of the one before.

``hash = SHA-256(record)`` and ``record.prev = hash of the record before``; the first record's ``prev`` is 64 zeros.
What is past its retention is purged from the beginning on (``gateway.store.purge``); the chain then begins at an
anchor.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import Connection, Dialect, bindparam, func, insert, select, update
from sqlalchemy.engine.interfaces import DBAPICursor

from gateway.core.model import Millis, Outcome
from gateway.store.prepared import Prepared, Row
from gateway.store.tables import LedgerAnchor, LedgerHead, LedgerRow, RecordKind, metadata
from gateway.wire.answer import Answer, finish
from gateway.wire.tokens import Signer

GENESIS = bytes(32)
_ledger = metadata.tables[LedgerRow.__tablename__]
_head = metadata.tables[LedgerHead.__tablename__]
_anchor = metadata.tables[LedgerAnchor.__tablename__]


Key = tuple[str, RecordKind, str]
"""``(machine_id, kind, message_id)``: a chip's message is recorded once."""


class Draft(Struct, frozen=True, gc=False, array_like=True):
    """A record before it has its place in the chain. ``body`` is canonical JSON of what ``kind`` says.

    With an ``answer`` the exact reply is made when the record is, and becomes the body's last member, ``reply``.
    """

    kind: RecordKind
    at: Millis
    body: bytes
    machine_id: str | None = None
    message_id: str | None = None
    operator_id: str | None = None
    outcome: Outcome | None = None
    answer: Answer | None = None


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


class Stored(Struct, frozen=True, gc=False):
    """A row of the ledger table."""

    seq: int
    at: Millis
    kind: str
    machine_id: str | None
    message_id: str | None
    operator_id: str | None
    outcome: str | None
    record: bytes
    hash: bytes


class Head(Struct, frozen=True):
    """The end of the chain."""

    seq: int = 0
    hash: bytes = GENESIS
    latest_at: Millis = 0


class Anchor(Struct, frozen=True):
    """Where the chain begins: its last purged record. Where nothing was purged, what stands before the first one."""

    seq: int = 0
    hash: bytes = GENESIS


BEGINNING = Anchor()


class Cut(Struct, frozen=True):
    """What a purge says of the ledger: ``seq`` and ``hash`` (hex) of the last of ``count`` records that go."""

    count: int
    hash: str
    seq: int


_encode = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(Record).decode


HEAD_COLUMNS = ("id", "seq", "hash", "latest_at")


class Ledger:
    """Appends to the chain over connections of one dialect, and makes the replies that the records hold."""

    def __init__(self, dialect: Dialect, signer: Signer) -> None:
        self._signer = signer
        self._read_head = Prepared(select(_head.c.seq, _head.c.hash, _head.c.latest_at).with_for_update(), dialect)
        self._insert = Prepared(insert(_ledger), dialect, Stored.__struct_fields__)
        self._first_head = Prepared(insert(_head), dialect, HEAD_COLUMNS)
        moved = update(_head).values({name: bindparam(name) for name in HEAD_COLUMNS[1:]})
        self._move_head = Prepared(moved, dialect, HEAD_COLUMNS)

    def append(self, cursor: DBAPICursor, drafts: Sequence[Draft]) -> tuple[Head, list[bytes | None]]:
        """Chain ``drafts`` to the end of the ledger inside the caller's transaction; returns its end and the replies.

        Raises the driver's IntegrityError where a machine's message is already on record.
        """
        found = self._read_head.first(cursor)
        head = Head(*found) if found else Head()
        replies = [finish(draft.answer, self._signer) if draft.answer else None for draft in drafts]
        rows = list(_chained(head, zip(drafts, replies, strict=True)))
        if rows:
            self._insert.run(cursor, rows)
            head = Head(rows[-1][0], rows[-1][-1], max(head.latest_at, *(draft.at for draft in drafts)))
            keep = self._move_head if found else self._first_head
            keep.run(cursor, [(1, head.seq, head.hash, head.latest_at)])
        return head, replies


def append_to(connection: Connection, draft: Draft) -> Head:
    """Chain one record without an answer to the end of the ledger, inside the caller's transaction.

    For processes beside the scribe: whoever holds the database's write lock may append.
    """
    row = connection.execute(select(_head.c.seq, _head.c.hash, _head.c.latest_at).with_for_update()).first()
    before = Head(*row) if row else Head()
    (values,) = _chained(before, [(draft, None)])
    connection.execute(insert(_ledger).values(dict(zip(Stored.__struct_fields__, values, strict=True))))
    head = Head(values[0], values[-1], max(before.latest_at, draft.at))
    moved = {"seq": head.seq, "hash": head.hash, "latest_at": head.latest_at}
    connection.execute(update(_head).values(**moved) if row else insert(_head).values(id=1, **moved))
    return head


def _chained(head: Head, drafts: Iterable[tuple[Draft, bytes | None]]) -> Iterator[Row]:
    """Rows in the order of ``Stored``."""
    seq, digest = head.seq, head.hash
    for draft, reply in drafts:
        seq += 1
        body = draft.body if reply is None else b'%b,"reply":%b}' % (draft.body[:-1], reply)
        named = (draft.kind, draft.machine_id, draft.message_id, draft.operator_id, draft.outcome)
        record = _encode(Record(draft.at, Raw(body), *named, digest.hex(), seq))
        digest = hashlib.sha256(record).digest()
        yield (seq, draft.at, *named, record, digest)


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


def forget_latest(cursor: DBAPICursor) -> None:
    """Let the next record's time be the latest, whatever the chain holds."""
    cursor.execute(f"UPDATE {_head.name} SET latest_at = 0")  # noqa: S608  (no value from outside)


class _Reply(Struct, frozen=True):
    reply: Raw


def reply_in(record: Record) -> bytes | None:
    """The exact answer that a record holds; None where nothing was answered."""
    if record.kind != "decision":
        return None
    return bytes(msgspec.json.decode(record.body, type=_Reply).reply)


def rows_in_order(connection: Connection) -> Iterator[Stored]:
    """Every row of the chain by ``seq``, streamed."""
    query = select(*(_ledger.c[name] for name in Stored.__struct_fields__)).order_by(_ledger.c.seq)
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        yield Stored(*row)


def decisions_of(connection: Connection, request_id: str) -> list[Stored]:
    """The decisions on a request id; several only if several machines used the same id."""
    return _named(connection, "decision", request_id)


def checks_of(connection: Connection, check_id: str) -> list[Stored]:
    """The certificate check of this id."""
    return _named(connection, "check", check_id)


def _named(connection: Connection, kind: RecordKind, message_id: str) -> list[Stored]:
    query = select(*(_ledger.c[name] for name in Stored.__struct_fields__))
    query = query.where(_ledger.c.kind == kind, _ledger.c.message_id == message_id).order_by(_ledger.c.seq)
    return [Stored(*row) for row in connection.execute(query)]


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(_ledger)).scalar_one()


def read_head(connection: Connection) -> Head | None:
    row = connection.execute(select(_head.c.seq, _head.c.hash, _head.c.latest_at)).first()
    return Head(*row) if row else None


def read_anchor(connection: Connection) -> Anchor:
    row = connection.execute(select(_anchor.c.seq, _anchor.c.hash)).first()
    if row is None:
        return BEGINNING
    return Anchor(row.seq, row.hash if isinstance(row.hash, bytes) else b"")  # SQLite keeps any type anywhere


# --- checking ---------------------------------------------------------------------------------------------------


class Finding(Struct, frozen=True):
    """Something is wrong with the chain at ``seq``."""

    seq: int
    problem: str


def check(rows: Iterable[Stored], head: Head | None, anchor: Anchor = BEGINNING) -> Iterator[Finding]:
    """Everything wrong with a chain: rows changed, removed, put in, reordered, cut off at the end, or gone from the
    beginning without a purge on record. ``rows`` begin behind the anchor, or before it where a purge was broken off.
    """
    seq, digest, latest_at, purged = anchor.seq, anchor.hash, 0, BEGINNING
    for place, row in enumerate(rows):
        latest_at = _latest(latest_at, row)
        if place == 0 and 1 <= row.seq <= anchor.seq:
            seq, digest = (0, GENESIS) if row.seq == 1 else (row.seq - 1, _PURGED)
        if not isinstance(row.record, bytes) or not isinstance(row.hash, bytes):  # SQLite keeps any type anywhere
            seq, digest = row.seq, b""
            yield Finding(seq, "the record or its hash holds no bytes: it was changed")
            continue
        if row.seq != seq + 1:
            missing = f"{seq + 1} to {row.seq - 1}" if row.seq > seq + 2 else str(seq + 1)
            yield Finding(row.seq, f"record {missing} before it is missing")
        yield from check_row(row, digest, follows=row.seq == seq + 1 and digest is not _PURGED)
        if row.seq == anchor.seq and row.hash != anchor.hash:
            yield Finding(row.seq, "it is not the record at which the chain begins: one of the two was changed")
        purged = _purged_to(row) or purged
        seq, digest = row.seq, row.hash
    yield from _check_anchor(anchor, purged)
    end = head or Head()
    if (seq, digest) != (end.seq, end.hash):
        yield Finding(
            seq, f"the chain ends here, but its head stands at record {end.seq}: the end was cut off or changed"
        )
    elif latest_at != end.latest_at:
        yield Finding(seq, "the latest time noted beside the chain is not the latest in it: it was changed")


_PURGED = b"purged"
"""Stands for the hash of a record that is gone."""


class _PurgeBody(Struct, frozen=True):
    ledger: Cut | None = None


def _purged_to(row: Stored) -> Anchor | None:
    """The anchor that a ``purge`` record names."""
    if row.kind != "purge":
        return None
    try:
        cut = msgspec.json.decode(decode_record(row.record).body, type=_PurgeBody).ledger
        return Anchor(cut.seq, bytes.fromhex(cut.hash)) if cut else None
    except ValueError:  # the row's own check, or the anchor's, tells
        return None


def _check_anchor(anchor: Anchor, purged: Anchor) -> Iterator[Finding]:
    """INVARIANT: records are gone from the beginning only where the latest purge on record says which."""
    if anchor == purged:
        return
    if purged == BEGINNING:
        yield Finding(anchor.seq, "the chain is said to begin behind this record, but no purge on record says so")
    else:
        yield Finding(
            anchor.seq,
            f"the chain is said to begin behind this record, but the purge on record is up to {purged.seq}: "
            "the anchor was changed",
        )


def _latest(before: Millis, row: Stored) -> Millis:
    """The latest time so far; at a ``gateway`` record somebody vouched for the clock, and it starts anew."""
    if not isinstance(row.at, int):  # SQLite keeps any type anywhere; the row's own check says so
        return before
    return row.at if row.kind == "gateway" else max(before, row.at)


def check_row(row: Stored, before: bytes, *, follows: bool) -> Iterator[Finding]:
    """Everything wrong with one row by itself and, where it ``follows``, behind the one with the hash ``before``."""
    if hashlib.sha256(row.record).digest() != row.hash:
        yield Finding(row.seq, "the record does not match its hash: it was changed")
    try:
        record = decode_record(row.record)
    except (msgspec.MsgspecError, UnicodeError) as error:
        yield Finding(row.seq, f"the record cannot be read: {error}")
        return
    if follows and record.prev != before.hex():
        yield Finding(row.seq, "it does not follow the record before it: one of the two was changed or exchanged")
    for name in ("seq", "at", "kind", "machine_id", "message_id", "operator_id", "outcome"):
        if getattr(record, name) != getattr(row, name):
            yield Finding(row.seq, f"column {name} is not what the record says: it was changed")
