"""One record of the ledger with what proves it: its neighbours, its own hash, and the two ends of the chain."""

import hashlib

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.store.ledger import Anchor, Head, Record, Stored, decode_record, read_anchor, read_head
from gateway.store.tables import LedgerRow, metadata

_ledger = metadata.tables[LedgerRow.__tablename__]


class Proof(Struct, frozen=True):
    """A record, the rows before and after it where there are any, and where the chain begins and ends."""

    row: Stored
    record: Record
    before: Stored | None
    after: Stored | None
    anchor: Anchor
    head: Head

    @property
    def computed(self) -> bytes:
        """SHA-256 of the record as it is stored."""
        return hashlib.sha256(self.row.record).digest()

    @property
    def unchanged(self) -> bool:
        """The record is what was hashed when it was written, and its columns repeat it."""
        names = ("seq", "at", "kind", "machine_id", "message_id", "operator_id", "outcome")
        same = all(getattr(self.record, name) == getattr(self.row, name) for name in names)
        return same and self.computed == self.row.hash

    @property
    def follows(self) -> bool:
        """It names the hash of the record before it, or of the beginning."""
        before = self.before.hash if self.before is not None else self.anchor.hash
        first = self.before is not None or self.row.seq == self.anchor.seq + 1
        return first and self.record.prev == before.hex()

    @property
    def followed(self) -> bool:
        """The next record, or the noted end of the chain, names its hash."""
        if self.after is None:
            return (self.head.seq, self.head.hash) == (self.row.seq, self.row.hash)
        try:
            return decode_record(self.after.record).prev == self.row.hash.hex()
        except (msgspec.MsgspecError, UnicodeError):
            return False

    @property
    def holds(self) -> bool:
        return self.unchanged and self.follows and self.followed


def proof(connection: Connection, seq: int) -> Proof | None:
    """The record of this number; None where there is none, or what there is cannot be read."""
    query = sa.select(*(_ledger.c[name] for name in Stored.__struct_fields__))
    query = query.where(_ledger.c.seq.between(seq - 1, seq + 1)).order_by(_ledger.c.seq)
    rows = {row.seq: row for row in (Stored(*found) for found in connection.execute(query))}
    if seq not in rows:
        return None
    try:
        record = decode_record(rows[seq].record)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    ends = read_anchor(connection), read_head(connection) or Head()
    return Proof(rows[seq], record, rows.get(seq - 1), rows.get(seq + 1), *ends)
