"""What one commit writes: ledger records and whatever changed with them; and the commands that follow from it."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field
from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Executable,
    Select,
    Table,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor

from gateway.core.model import Millis
from gateway.store.counted_tables import UncountedUsage
from gateway.store.ledger import Draft, Head, Ledger, forget_latest, read_head
from gateway.store.prepared import Prepared, Row, transaction
from gateway.store.tables import (
    ChipRow,
    EventSeqRow,
    LostEvidenceRow,
    OfflineListRow,
    PolicyRow,
    SessionRow,
    UsageRow,
    UsedCodeRow,
    metadata,
)
from gateway.wire.answer import Order, sign_order
from gateway.wire.tokens import Signer

_sessions = metadata.tables[SessionRow.__tablename__]
_usage = metadata.tables[UsageRow.__tablename__]
_chips = metadata.tables[ChipRow.__tablename__]
_policies = metadata.tables[PolicyRow.__tablename__]
_codes = metadata.tables[UsedCodeRow.__tablename__]
_seqs = metadata.tables[EventSeqRow.__tablename__]
_lost = metadata.tables[LostEvidenceRow.__tablename__]
_lists = metadata.tables[OfflineListRow.__tablename__]
_uncounted = metadata.tables[UncountedUsage.__tablename__]
_UPSERTING: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Batch(Struct, array_like=True):
    """One transaction's worth; rows hold the values of the columns named below, in that order.

    ``orders`` are signed once the rest is durable.
    """

    drafts: list[Draft] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    opened: list[Row] = field(default_factory=list)
    usage: list[Row] = field(default_factory=list)
    chips: list[Row] = field(default_factory=list)
    codes: list[Row] = field(default_factory=list)
    seqs: list[Row] = field(default_factory=list)
    lost: list[Row] = field(default_factory=list)
    lists: list[Row] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)


def _names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


SESSION_COLUMNS = _names(_sessions)
_NEVER_CHANGE = ("session_id", "machine_id", "operator_id", "request_id", "division", "granted_at", "offline")
CHANGED_COLUMNS = ("session", "seen", *(name for name in SESSION_COLUMNS if name not in _NEVER_CHANGE))
USAGE_COLUMNS = _names(_usage)
CHIP_COLUMNS = _names(_chips)
CODE_COLUMNS = _names(_codes)
SEQ_COLUMNS = (*_names(_seqs), "seen")
CODES_KEPT_STEPS = 20
"""Used codes are forgotten after ten minutes: they have long expired by then."""


class Book(Struct, frozen=True):
    """Everything that memory takes over from the database. ``longest_drain_s``: the longest drain deadline that any
    policy ever set."""

    sessions: list[Row]
    chips: list[Row]
    codes: list[Row]
    seqs: dict[str, int]
    lists: list[Row]
    recent: list[Row]
    latest: Millis
    longest_drain_s: int = 0


class AboutMachines(Struct, frozen=True):
    """What the database holds of some machines: open sessions, last event numbers, what of them is missing as (machine,
    first, last), and what their chips said of themselves."""

    sessions: list[Row]
    seqs: dict[str, int]
    gaps: list[Row]
    chips: list[Row]


class _Lease(Struct):
    drain_deadline_s: int


class _Drains(Struct):
    """What of a policy's document tells how long an arc may go on."""

    lease: _Lease


_closed = _lost.c["last"].is_not(None)
_decode_drains = msgspec.json.Decoder(_Drains).decode


class StaleError(Exception):
    """Somebody else has changed a row since it was read: what was made of it must not be written."""


class Journal:
    """Writes batches over connections of one dialect."""

    def __init__(self, dialect: Dialect, signer: Signer) -> None:
        self._ledger = Ledger(dialect, signer)
        self._signer = signer
        self._open_session = Prepared(insert(_sessions), dialect, SESSION_COLUMNS)
        self._change_session = Prepared(_change_session(), dialect, CHANGED_COLUMNS)
        self._usage = Prepared(_upsert_newer(dialect, _usage), dialect, USAGE_COLUMNS)
        self._uncounted = Prepared(_upsert_newer(dialect, _uncounted), dialect, _names(_uncounted))
        self._chips = Prepared(_upsert_chip(dialect), dialect, CHIP_COLUMNS)
        self._codes = Prepared(insert(_codes), dialect, CODE_COLUMNS)
        self._forget_codes = Prepared(delete(_codes).where(_codes.c.step < bindparam("step")), dialect, ("step",))
        self._seqs = Prepared(_upsert_seen(dialect), dialect, SEQ_COLUMNS)
        self._lost = Prepared(insert(_lost), dialect, _names(_lost))
        self._lists = Prepared(insert(_lists), dialect, _names(_lists))

    def commit(self, connection: Connection, batch: Batch) -> tuple[Head, list[bytes | None], list[bytes]]:
        """Write the whole batch in one transaction; on any error nothing of it is written. Then sign its orders. Usage
        is marked as not counted yet (``gateway.store.figures.folding``).

        INVARIANT: a decision's record and its session are durable together or not at all, and the database's unique
        indexes decide who gets the machine and who used a code. Raises the driver's IntegrityError where a message is
        on record already, a session is open already, or a code was used before; StaleError where another gateway has
        changed a session or counted a machine's events meanwhile.
        """
        with transaction(connection) as cursor:
            head, replies = self._ledger.append(cursor, batch.drafts)
            self._write_seen(cursor, batch)
            for statement, rows in (
                (self._open_session, batch.opened),
                (self._usage, batch.usage),
                (self._uncounted, [row[:3] for row in batch.usage]),
                (self._chips, batch.chips),
                (self._codes, batch.codes),
                (self._forget_codes, [(code[0] - CODES_KEPT_STEPS,) for code in batch.codes[:1]]),
                (self._lost, batch.lost),
                (self._lists, batch.lists),
            ):
                if rows:
                    statement.run(cursor, rows)
        return head, replies, [sign_order(order, self._signer) for order in batch.orders]

    def _write_seen(self, cursor: DBAPICursor, batch: Batch) -> None:
        """What was made of rows that were read: sessions first, since a replaced one makes room for the new one.

        INVARIANT: a change is written over nothing but what it was made of, whatever number of processes write.
        """
        for statement, rows, what in (
            (self._change_session, batch.changed, "sessions"),
            (self._seqs, batch.seqs, "event numbers"),
        ):
            if rows and (stale := len(rows) - statement.run(cursor, rows)):
                raise StaleError(f"{stale} {what} were changed by somebody else")

    def accept_clock(self, connection: Connection, record: Draft) -> None:
        """Put on record that the clock is right although the ledger holds later records, and go on from there."""
        with transaction(connection) as cursor:
            forget_latest(cursor)
            self._ledger.append(cursor, [record])


def _change_session() -> Update:
    return (
        update(_sessions)
        .where(_sessions.c.session_id == bindparam("session"), _sessions.c.rev == bindparam("seen"))
        .values({name: bindparam(name) for name in CHANGED_COLUMNS[2:]})
    )


def _upsert_newer(dialect: Dialect, table: Table) -> Executable:
    """The row with the highest ``seq`` wins, whenever it comes."""
    statement = _UPSERTING[dialect.name](table)
    newer = statement.excluded.seq > table.c.seq
    return _updating(statement, table, {name: statement.excluded[name] for name in _names(table)}, newer)


def _upsert_seen(dialect: Dialect) -> Executable:
    """The number takes the place of the one ``seen``, or comes where there was none; else nothing is written."""
    values: dict[str, Any] = {name: bindparam(name) for name in _names(_seqs)}
    statement = _UPSERTING[dialect.name](_seqs).values(values)
    return _updating(
        statement, _seqs, {"seq": statement.excluded.seq}, _seqs.c.seq == bindparam("seen", type_=BigInteger)
    )


def _upsert_chip(dialect: Dialect) -> Executable:
    """The last status to arrive wins; what it does not say (a last will says little) stays. One that shows a challenge
    and tells no time says that there is no clock."""
    statement = _UPSERTING[dialect.name](_chips)
    values: dict[str, Any] = {name: func.coalesce(statement.excluded[name], _chips.c[name]) for name in CHIP_COLUMNS}
    values["at"] = case((statement.excluded.challenge.is_(None), _chips.c.at), else_=statement.excluded.at)
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


def read_book(connection: Connection, *, whole: bool, recent_since: Millis | None) -> Book:
    """What memory takes over: always what the gate changes itself; ``whole`` also what it learned from chips.

    ``recent_since``: who was let in at which machine since then, for the offline lists; None without them.
    """

    def rows(query: Select[Any]) -> list[Row]:
        return [tuple(row) for row in connection.execute(query)]

    with connection.begin():
        head = read_head(connection)
        return Book(
            sessions=rows(select(_sessions).where(_sessions.c.ended_at.is_(None))),
            chips=rows(select(_chips)) if whole else [],
            codes=rows(select(_codes)),
            seqs=dict(rows(select(_seqs))),
            lists=rows(_latest_lists()),
            recent=rows(_recent(recent_since)) if recent_since is not None else [],
            latest=head.latest_at if head else 0,
            longest_drain_s=max(map(_drain_s, rows(select(_policies.c.document))), default=0),
        )


def _drain_s(policy: Row) -> int:
    return _decode_drains(policy[0]).lease.drain_deadline_s


def read_machines(connection: Connection, machine_ids: Sequence[str]) -> AboutMachines:
    """What there is of a few machines."""

    def rows(query: Select[Any], table: Table) -> list[Row]:
        return [tuple(row) for row in connection.execute(query.where(table.c.machine_id.in_(machine_ids)))]

    with connection.begin():
        return AboutMachines(
            sessions=rows(select(_sessions).where(_sessions.c.ended_at.is_(None)), _sessions),
            seqs=dict(rows(select(_seqs), _seqs)),
            gaps=rows(select(_lost.c.machine_id, _lost.c["first"], _lost.c["last"]).where(_closed), _lost),
            chips=rows(select(_chips), _chips),
        )


def _latest_lists() -> Select[Any]:
    latest = select(_lists.c.machine_id, func.max(_lists.c.list_version).label("newest")).group_by(_lists.c.machine_id)
    newest = latest.subquery()
    same = (_lists.c.machine_id == newest.c.machine_id) & (_lists.c.list_version == newest.c.newest)
    return select(_lists).join(newest, same)


def _recent(since: Millis) -> Select[Any]:
    """(machine_id, operator_id, when last let in), the latest last."""
    last = func.max(_sessions.c.granted_at)
    return (
        select(_sessions.c.machine_id, _sessions.c.operator_id, last)
        .where(_sessions.c.granted_at >= since, _sessions.c.operator_id.is_not(None))
        .group_by(_sessions.c.machine_id, _sessions.c.operator_id)
        .order_by(last)
    )


def keep_policy(connection: Connection, digest: str, document: bytes, now: Millis) -> None:
    """Store a policy document under its hash, once."""
    with connection.begin():
        known = connection.execute(select(_policies.c.hash).where(_policies.c.hash == digest)).first()
        if known is None:
            connection.execute(insert(_policies).values(hash=digest, at=now, document=document))


def policy_document(connection: Connection, digest: str) -> bytes | None:
    return connection.execute(select(_policies.c.document).where(_policies.c.hash == digest)).scalar()
