"""Deleting what is past its retention, beside a running gateway.

Of the ledger only its beginning goes. A purge first writes, in one transaction, what it is about to do: a ``purge``
record that names the last record to go, and the anchor at which the chain then begins. The records up to there are
deleted afterwards, the oldest first. Broken off at any point the chain is whole, and the next purge goes on.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gateway.core.model import Millis
from gateway.core.policy import Policy
from gateway.errors import DatabaseUnavailable, WeldGateError
from gateway.store.beside import PACE, Pace, batches, briefly
from gateway.store.engine import reading
from gateway.store.figures import purging
from gateway.store.history import HISTORY, PURGED, mark_purged
from gateway.store.ledger import Cut, Draft, append_to, check, count, read_anchor, read_head, rows_in_order
from gateway.store.tables import (
    LedgerAnchor,
    LedgerRow,
    LostEvidenceRow,
    OfflineListRow,
    RegistryChange,
    RegistryEvent,
    SessionRow,
    UsageRow,
    metadata,
)
from gateway.store.writing import Progress
from gateway.wire.codec import encode

DAY_MS = 86_400_000


def _table(row: Any) -> sa.Table:
    return metadata.tables[row.__tablename__]


_ledger, _anchor, _sessions = _table(LedgerRow), _table(LedgerAnchor), _table(SessionRow)
_usage, _lost, _lists = _table(UsageRow), _table(LostEvidenceRow), _table(OfflineListRow)
_events, _changes = _table(RegistryEvent), _table(RegistryChange)


class PurgeError(WeldGateError):
    """A purge that must not be carried out."""


class Ordered(Struct, frozen=True):
    """Who orders a purge, why, and when."""

    by: str
    reason: str
    at: Millis


class PurgeBody(Struct, frozen=True):
    """The record of a purge: how many rows of each kind it set out to delete, and the part of the ledger, if any."""

    by: str
    ledger: Cut | None
    reason: str
    rows: dict[str, int]


class Due(Struct, frozen=True):
    """What is past its retention. ``rows`` by kind; ``before``: older than that, by kind; ``left``: records that a
    purge which was broken off has left."""

    rows: dict[str, int]
    before: dict[str, Millis]
    cut: Cut | None
    left: int

    @property
    def anything(self) -> bool:
        return bool(self.cut or any(self.rows.values()))


# --- what is due ------------------------------------------------------------------------------------------------


def _old_usage(before: Millis) -> sa.ColumnElement[bool]:
    running = (_sessions.c.session_id == _usage.c.session_id) & _sessions.c.ended_at.is_(None)
    return (_usage.c.received_at < before) & ~sa.exists().where(running)


def _old_sessions(before: Millis) -> sa.ColumnElement[bool]:
    return _sessions.c.ended_at < before


def _old_evidence(before: Millis) -> sa.ColumnElement[bool]:
    return _lost.c.noticed_at < before


def _old_lists(before: Millis) -> sa.ColumnElement[bool]:
    """All but the latest list of a machine: its chip goes by that one."""
    later = _lists.alias("later")
    newer = (later.c.machine_id == _lists.c.machine_id) & (later.c.list_version > _lists.c.list_version)
    return (_lists.c.at < before) & sa.exists().where(newer)


def _old_history(before: Millis) -> sa.ColumnElement[bool]:
    """States that another took the place of so long ago."""
    ended = sa.exists().where(_changes.c.change == HISTORY.c.to_change, _changes.c.at < before)
    return (HISTORY.c.kind != PURGED) & ended


def _old_events(before: Millis) -> sa.ColumnElement[bool]:
    """All but the latest word of a source on a subject: an older one that comes again still has to change nothing."""
    later = _events.alias("later")
    same = (later.c.source == _events.c.source) & (later.c.subject == _events.c.subject)
    return (_events.c.received_at < before) & sa.exists().where(same & (later.c.at > _events.c.at))


_KINDS: dict[str, tuple[sa.Table, Callable[[Millis], sa.ColumnElement[bool]]]] = {
    "usage": (_usage, _old_usage),
    "sessions": (_sessions, _old_sessions),
    "lost_evidence": (_lost, _old_evidence),
    "offline_lists": (_lists, _old_lists),
    "history": (HISTORY, _old_history),
    "events": (_events, _old_events),
}
"""By the names of the policy's section ``retention``, without ``_days``."""
LEDGER = "ledger"


def due(engine: Engine, policy: Policy, now: Millis) -> Due:
    """What a purge would delete now. Raises DatabaseUnavailable."""
    try:
        with reading(engine).connect() as connection, connection.begin():
            return _due(connection, policy, now)
    except DBAPIError as error:
        raise DatabaseUnavailable(f"--database: {error.orig}; is it a WeldGate database of this version?") from error


def _due(connection: Connection, policy: Policy, now: Millis) -> Due:
    now = _by_the_records(connection, now)
    days = {kind: getattr(policy.retention, f"{kind}_days") for kind in (*_KINDS, LEDGER)}
    before = {kind: now - kept * DAY_MS for kind, kept in days.items() if kept}
    rows = {
        kind: connection.execute(sa.select(sa.func.count()).select_from(table).where(old(before[kind]))).scalar_one()
        for kind, (table, old) in _KINDS.items()
        if kind in before
    }
    anchor = read_anchor(connection)
    left = sa.select(sa.func.count()).select_from(_ledger).where(_ledger.c.seq <= anchor.seq)
    limit = min(before.get(LEDGER, 0), _still_needed(connection, policy, now))
    return Due(rows, before, _cut(connection, limit), connection.execute(left).scalar_one())


def _by_the_records(connection: Connection, now: Millis) -> Millis:
    """INVARIANT: a clock that runs ahead makes nothing older than it is against the last record, however often somebody
    purges by it."""
    at = sa.select(_ledger.c.at).where(_ledger.c.kind != "purge").order_by(_ledger.c.seq.desc()).limit(1)
    last = connection.execute(at).scalar()
    return now if last is None else min(now, last)


def _still_needed(connection: Connection, policy: Policy, now: Millis) -> Millis:
    """Since when records are needed: those of open sessions, of the last day, and of requests that may come again.

    INVARIANT: a request whose record is gone opens nothing when it comes again. By then its ``at`` is stale; and a chip
    without a clock has long made another challenge, which no grant for the old request answers.
    """
    fresh = now - max(DAY_MS, policy.requests.max_age_s * 1000)
    oldest = sa.select(sa.func.min(_sessions.c.granted_at)).where(_sessions.c.ended_at.is_(None))
    granted_at = connection.execute(oldest).scalar()
    return fresh if granted_at is None else min(fresh, granted_at)


def _cut(connection: Connection, limit: Millis) -> Cut | None:
    """Everything before the first record that is not older than ``limit``: later ones may be, where the clock was set
    back, and stay."""
    begins, head = read_anchor(connection).seq, read_head(connection)
    if head is None:
        return None
    kept = sa.select(_ledger.c.seq).where(_ledger.c.seq > begins, _ledger.c.at >= limit).order_by(_ledger.c.seq)
    first_kept = connection.execute(kept.limit(1)).scalar()
    last = head.seq if first_kept is None else first_kept - 1
    digest = connection.execute(sa.select(_ledger.c.hash).where(_ledger.c.seq == last)).scalar()
    return Cut(last - begins, digest.hex(), last) if digest is not None and last > begins else None


# --- purging ----------------------------------------------------------------------------------------------------


def purge(
    engine: Engine, policy: Policy, ordered: Ordered, progress: Progress = lambda *_: None, pace: Pace = PACE
) -> Due:
    """Delete what is due, and put on record that it was ordered. Raises PurgeError, DatabaseUnavailable."""
    found = due(engine, policy, ordered.at)
    try:
        if found.cut:
            _refuse_if_touched(engine, progress)
        if found.anything:
            _announce(engine, ordered, found, pace)
        _delete_records(engine, progress, pace)
        for kind, before in found.before.items():
            if kind != LEDGER:
                _delete(engine, kind, before, found.rows[kind], (progress, pace))
    except DBAPIError as error:
        raise DatabaseUnavailable(f"the purge was broken off: {error.orig}; order it again, it goes on") from error
    return found


def _refuse_if_touched(engine: Engine, progress: Progress) -> None:
    """What shows that the chain was changed must not go with its beginning."""
    with reading(engine).connect() as connection, connection.begin():
        records = count(connection)

        def told() -> Any:
            for number, row in enumerate(rows_in_order(connection)):
                if number % 1000 == 0:
                    progress("verify the ledger", number, records)
                yield row

        if next(check(told(), read_head(connection), read_anchor(connection)), None) is not None:
            raise PurgeError("the ledger is not intact, nothing was purged; see `weldgate audit verify`")


def _announce(engine: Engine, ordered: Ordered, found: Due, pace: Pace) -> None:
    """The record and the anchor, before the first row goes.

    INVARIANT: the anchor moves only with the record that names it.
    """
    with briefly(engine, pace) as connection:
        if found.cut and found.cut.seq - found.cut.count != read_anchor(connection).seq:
            raise PurgeError("another purge has begun meanwhile; order it again when that one has ended")
        body = PurgeBody(ordered.by, found.cut, ordered.reason, found.rows)
        append_to(connection, Draft("purge", ordered.at, encode(body)))
        if found.rows.get("history"):
            mark_purged(connection, found.before["history"])
        older = [found.before[kind] for kind in ("usage", "sessions") if found.rows.get(kind)]
        kept_since = _first_kept(connection, found.cut) if found.cut else None
        purging.announce(connection, ledger=kept_since, sessions=max(older, default=None))
        if found.cut:
            values = {"seq": found.cut.seq, "hash": bytes.fromhex(found.cut.hash), "at": ordered.at}
            moved = connection.execute(sa.update(_anchor).values(**values)).rowcount
            if not moved:
                connection.execute(sa.insert(_anchor).values(id=1, **values))


def _first_kept(connection: Connection, cut: Cut) -> Millis:
    """When the first record was made that stays; no purged one is later."""
    after = sa.select(_ledger.c.at).where(_ledger.c.seq > cut.seq).order_by(_ledger.c.seq)
    return int(connection.execute(after.limit(1)).scalar_one())


def _delete_records(engine: Engine, progress: Progress, pace: Pace) -> None:
    """Records before the anchor, the oldest first.

    INVARIANT: no record goes that a purge on record does not name.
    """
    with reading(engine).connect() as connection:
        last = read_anchor(connection).seq
        first = connection.execute(sa.select(sa.func.min(_ledger.c.seq))).scalar() or last + 1
    for begin in range(first, last + 1, pace.rows):
        progress(f"purge {LEDGER}", begin - first, last + 1 - first)
        with briefly(engine, pace) as connection:
            end = min(begin + pace.rows - 1, last)
            connection.execute(sa.delete(_ledger).where(_ledger.c.seq.between(begin, end)))
            purging.forget_decisions(connection, begin, end)


def _delete(engine: Engine, kind: str, before: Millis, rows: int, how: tuple[Progress, Pace]) -> None:
    """Rows of one kind, which must still be old when they go."""
    progress, pace = how
    table, old = _KINDS[kind]
    names, done = [key.name for key in table.primary_key.columns], 0
    statement = sa.delete(table).where(old(before), *(table.c[name] == sa.bindparam(f"key_{name}") for name in names))
    for batch in batches(engine, table, (), old(before), pace.rows):
        progress(f"purge {kind}", done, rows)
        done += len(batch)
        keys = [{f"key_{name}": part for name, part in zip(names, row, strict=True)} for row in batch]
        with briefly(engine, pace) as connection:
            connection.execute(statement, keys)
            if kind == "sessions":
                purging.forget_sessions(connection, [row[0] for row in batch])
    if kind == "usage":
        purging.forget_usage_days(engine, before, pace)
    if kind == "sessions":
        purging.forget_pairs(engine, before, pace)
