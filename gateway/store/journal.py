"""What one commit writes: ledger records with the sessions, usage and chip states that changed with them."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, field
from sqlalchemy import Connection, Dialect, Executable, Table, Update, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.core.model import Millis
from gateway.store.ledger import Draft, Head, Ledger, forget_latest
from gateway.store.prepared import Prepared, Row, transaction
from gateway.store.tables import ChipRow, PolicyRow, SessionRow, UsageRow, metadata
from gateway.wire.tokens import Signer

_sessions = metadata.tables[SessionRow.__tablename__]
_usage = metadata.tables[UsageRow.__tablename__]
_chips = metadata.tables[ChipRow.__tablename__]
_policies = metadata.tables[PolicyRow.__tablename__]
_UPSERTING: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Batch(Struct, array_like=True):
    """One transaction's worth; rows hold the values of the columns named below, in that order."""

    drafts: list[Draft] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    opened: list[Row] = field(default_factory=list)
    usage: list[Row] = field(default_factory=list)
    chips: list[Row] = field(default_factory=list)


SESSION_COLUMNS = tuple(column.name for column in _sessions.columns)
CHANGED_COLUMNS = ("session", "unlocked_at", "ended_at", "end_reason")
USAGE_COLUMNS = tuple(column.name for column in _usage.columns)
CHIP_COLUMNS = tuple(column.name for column in _chips.columns)


class Journal:
    """Writes batches over connections of one dialect."""

    def __init__(self, dialect: Dialect, signer: Signer) -> None:
        self._ledger = Ledger(dialect, signer)
        self._open_session = Prepared(insert(_sessions), dialect, SESSION_COLUMNS)
        self._change_session = Prepared(_change_session(), dialect, CHANGED_COLUMNS)
        self._usage = Prepared(_upsert_usage(dialect), dialect, USAGE_COLUMNS)
        self._chips = Prepared(_upsert_chip(dialect), dialect, CHIP_COLUMNS)

    def commit(self, connection: Connection, batch: Batch) -> tuple[Head, list[bytes | None]]:
        """Write the whole batch in one transaction; on any error nothing of it is written.

        INVARIANT: a decision's record and its session are durable together or not at all, and the database's unique
        indexes decide who gets the machine. Raises the driver's IntegrityError where a message is on record already
        or a session is open already.
        """
        with transaction(connection) as cursor:
            result = self._ledger.append(cursor, batch.drafts)
            for statement, rows in (
                (self._change_session, batch.changed),  # first: a replaced session makes room for the new one
                (self._open_session, batch.opened),
                (self._usage, batch.usage),
                (self._chips, batch.chips),
            ):
                if rows:
                    statement.run(cursor, rows)
        return result

    def accept_clock(self, connection: Connection, record: Draft) -> None:
        """Put on record that the clock is right although the ledger holds later records, and go on from there."""
        with transaction(connection) as cursor:
            forget_latest(cursor)
            self._ledger.append(cursor, [record])


def _change_session() -> Update:
    return (
        update(_sessions)
        .where(_sessions.c.session_id == bindparam("session"))
        .values({name: bindparam(name) for name in ("unlocked_at", "ended_at", "end_reason")})
    )


def _upsert_usage(dialect: Dialect) -> Executable:
    """The report with the highest number wins, whenever it comes."""
    statement = _UPSERTING[dialect.name](_usage)
    newer = statement.excluded.seq > _usage.c.seq
    return _updating(statement, _usage, {name: statement.excluded[name] for name in USAGE_COLUMNS}, newer)


def _upsert_chip(dialect: Dialect) -> Executable:
    """The last status to arrive wins; what it does not say (a last will says little) stays."""
    statement = _UPSERTING[dialect.name](_chips)
    values = {name: func.coalesce(statement.excluded[name], _chips.c[name]) for name in CHIP_COLUMNS}
    return _updating(statement, _chips, values, None)


def _updating(statement: Any, table: Table, values: dict[str, Any], where: Any) -> Executable:
    keys = [column.name for column in table.primary_key]
    updated: Executable = statement.on_conflict_do_update(
        index_elements=keys, set_={name: value for name, value in values.items() if name not in keys}, where=where
    )
    return updated


def probe(connection: Connection) -> None:
    """A write that changes nothing; fails where commits would."""
    with connection.begin():
        connection.execute(update(_policies).values(at=_policies.c.at).where(_policies.c.hash == ""))


def open_sessions(connection: Connection) -> list[Row]:
    """Every session that has not ended, in the order of ``SESSION_COLUMNS``."""
    with connection.begin():
        rows = connection.execute(select(_sessions).where(_sessions.c.ended_at.is_(None)))
        return [tuple(row) for row in rows]


def chip_serials(connection: Connection) -> dict[str, str]:
    """The chip that each machine last reported."""
    with connection.begin():
        rows = connection.execute(select(_chips.c.machine_id, _chips.c.chip).where(_chips.c.chip.is_not(None)))
        return dict(tuple(row) for row in rows)


def keep_policy(connection: Connection, digest: str, document: bytes, now: Millis) -> None:
    """Store a policy document under its hash, once."""
    with connection.begin():
        known = connection.execute(select(_policies.c.hash).where(_policies.c.hash == digest)).first()
        if known is None:
            connection.execute(insert(_policies).values(hash=digest, at=now, document=document))


def policy_document(connection: Connection, digest: str) -> bytes | None:
    return connection.execute(select(_policies.c.document).where(_policies.c.hash == digest)).scalar()
