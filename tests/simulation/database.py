"""An in-memory model of the scribe and its database: atomic commits, unique keys, doubt after a failure.

``tests/simulation/test_scribe_model.py`` holds it against the real scribe on SQLite.
"""

from collections.abc import Container
from typing import Any

from gateway.store import journal, orders
from gateway.store.journal import CODES_KEPT_STEPS, AboutMachines, Batch, Book, StaleError
from gateway.store.ledger import Draft, Head, Key
from gateway.store.prepared import Row
from gateway.store.scribe import IN_DOUBT
from gateway.wire.answer import finish, sign_order

_SESSION = {name: place for place, name in enumerate(journal.SESSION_COLUMNS)}
_CHALLENGE, _CHIP_AT = journal.CHIP_COLUMNS.index("challenge"), journal.CHIP_COLUMNS.index("at")
_USAGE_SEQ = journal.USAGE_COLUMNS.index("seq")
_ENDED_AT = _SESSION["ended_at"]
_MACHINE, _OPERATOR = _SESSION["machine_id"], _SESSION["operator_id"]
_REV = _SESSION["rev"]
_CHANGED = tuple(_SESSION[name] for name in journal.CHANGED_COLUMNS[2:])


class IntegrityError(Exception):
    """What a unique index refuses."""


class Database:
    """What is durable. ``away``: nobody can use it now. ``unique``: the indexes are in force."""

    unique = True

    def __init__(self) -> None:
        self.away = False
        self.replies: dict[Key, bytes | None] = {}
        self.sessions: dict[str, list[Any]] = {}
        self.open_at: dict[str, str] = {}
        self.open_of: dict[str, str] = {}
        self.usage: dict[tuple[str, str], Row] = {}
        self.chips: dict[str, Row] = {}
        self.codes: dict[Row, None] = {}
        self.seqs: dict[str, int] = {}
        self.lost: dict[Row, Row] = {}
        self.lists: dict[Row, Row] = {}
        self.longest_drain_s = 0
        self.seq = 0
        self.latest_at = 0

    def open_sessions(self) -> list[Row]:
        return [tuple(self.sessions[session_id]) for session_id in sorted(self.open_at.values())]


class ScribeModel:
    """One scribe; several may use one database. Takes orders and gives results as the real one does."""

    def __init__(self, database: Database, signer: Any) -> None:
        self._database = database
        self._signer = signer
        self._in_doubt = True

    def carry_out(self, order: orders.Order) -> orders.Result:
        if self._database.away:
            result: orders.Result = orders.Unavailable("database is locked")
        else:
            try:
                result = self._attempt(order)
            except (IntegrityError, StaleError) as error:
                result = orders.Refused(str(error), isinstance(error, StaleError))
        if isinstance(order, orders.Commit) and not isinstance(result, orders.Committed):
            self._in_doubt = True
        return result

    def _attempt(self, order: orders.Order) -> orders.Result:
        match order:
            case orders.Commit(batch):
                return orders.Refused(IN_DOUBT) if self._in_doubt else self._commit(batch)
            case orders.Recall():
                return self._recall(order)
            case orders.LookUp(keys, machine_ids):
                return orders.Found(_answers(self._database, keys), _about(self._database, machine_ids))
            case orders.Probe():
                return orders.Writable()

    def _commit(self, batch: Batch) -> orders.Committed:
        """All of it or nothing: everything is checked before anything is written."""
        database = self._database
        keys = _new_keys(database, batch.drafts)
        for rows, held in ((batch.codes, database.codes), (_by_key(batch.lost), database.lost)):
            _must_be_new(rows, held)
        _must_be_new([row[:2] for row in batch.lists], database.lists)
        seqs = _count_on(database, batch.seqs)
        _change_sessions(database, batch)
        database.seqs |= seqs
        replies = [finish(draft.answer, self._signer) if draft.answer else None for draft in batch.drafts]
        for draft, key, reply in zip(batch.drafts, keys, replies, strict=True):
            database.seq += 1
            database.latest_at = max(database.latest_at, draft.at)
            if key is not None:
                database.replies[key] = reply
        _keep_reports(database, batch)
        commands = [sign_order(order, self._signer) for order in batch.orders]
        return orders.Committed(Head(database.seq, b"", database.latest_at), replies, commands)

    def _recall(self, order: orders.Recall) -> orders.Recalled:
        database = self._database
        if order.accept_clock is not None:
            database.seq += 1
            database.latest_at = order.accept_clock.at
        self._in_doubt = False
        return orders.Recalled(_answers(database, order.keys), self._book(order))

    def _book(self, order: orders.Recall) -> Book:
        database = self._database
        return Book(
            sessions=database.open_sessions(),
            chips=sorted(database.chips.values()) if order.whole else [],
            codes=sorted(database.codes),
            seqs=dict(database.seqs),
            lists=_latest_lists(database),
            recent=_recent(database, order.recent_since) if order.recent_since is not None else [],
            latest=database.latest_at,
            longest_drain_s=database.longest_drain_s,
        )


def _answers(database: Database, keys: list[Key]) -> list[tuple[Key, bytes | None]]:
    return [(key, database.replies[key]) for key in dict.fromkeys(keys) if key in database.replies]


def _about(database: Database, machine_ids: list[str]) -> AboutMachines:
    return AboutMachines(
        sessions=[row for row in database.open_sessions() if row[_MACHINE] in machine_ids],
        seqs={machine_id: database.seqs[machine_id] for machine_id in machine_ids if machine_id in database.seqs},
        gaps=[
            (machine, *gap)
            for machine, _, *gap in database.lost.values()
            if machine in machine_ids and gap[1] is not None
        ],
        chips=[database.chips[machine_id] for machine_id in machine_ids if machine_id in database.chips],
    )


def _keep_reports(database: Database, batch: Batch) -> None:
    """What chips said of themselves, and what was sent to them."""
    for row in batch.usage:
        stored = database.usage.get((row[0], row[1]))
        if stored is None or row[_USAGE_SEQ] > stored[_USAGE_SEQ]:
            database.usage[row[0], row[1]] = row
    for row in batch.chips:
        before = database.chips.get(row[0], row)
        kept = tuple(old if new is None else new for new, old in zip(row, before, strict=True))
        at = before[_CHIP_AT] if row[_CHALLENGE] is None else row[_CHIP_AT]
        database.chips[row[0]] = (*kept[:_CHIP_AT], at)
    database.codes |= dict.fromkeys(tuple(row) for row in batch.codes)
    for code in batch.codes[:1]:
        database.codes = {row: None for row in database.codes if row[0] >= code[0] - CODES_KEPT_STEPS}
    database.lost |= {tuple(row[:3]): tuple(row) for row in batch.lost}
    database.lists |= {tuple(row[:2]): tuple(row) for row in batch.lists}


def _by_key(rows: list[Row]) -> list[Row]:
    return [row[:3] for row in rows]


def _must_be_new(rows: list[Row], held: Container[Row]) -> None:
    keys = [tuple(row) for row in rows]
    if len(set(keys)) < len(keys) or any(key in held for key in keys):
        raise IntegrityError("UNIQUE constraint failed")


def _latest_lists(database: Database) -> list[Row]:
    latest = {row[0]: row for _, row in sorted(database.lists.items())}
    return list(latest.values())


def _recent(database: Database, since: int) -> list[Row]:
    last: dict[tuple[str, str], int] = {}
    for row in database.sessions.values():
        machine_id, operator_id, granted_at = row[_MACHINE], row[_OPERATOR], row[_SESSION["granted_at"]]
        if operator_id is not None and granted_at >= since:
            last[machine_id, operator_id] = max(granted_at, last.get((machine_id, operator_id), 0))
    return [(*who, at) for who, at in sorted(last.items(), key=lambda item: item[1])]


def _new_keys(database: Database, drafts: list[Draft]) -> list[Key | None]:
    keys: list[Key | None] = []
    seen: set[Key] = set()
    for draft in drafts:
        if draft.machine_id is None or draft.message_id is None:
            keys.append(None)
            continue
        key = (draft.machine_id, draft.kind, draft.message_id)
        if database.unique and (key in database.replies or key in seen):
            raise IntegrityError("UNIQUE constraint failed: ledger")
        seen.add(key)
        keys.append(key)
    return keys


def _count_on(database: Database, rows: list[Row]) -> dict[str, int]:
    """The numbers after these, each of which goes by the one before it."""
    seqs: dict[str, int] = {}
    for machine_id, seq, seen in rows:
        before = seqs.get(machine_id, database.seqs.get(machine_id))
        if before is not None and before != seen:
            raise StaleError("an event number was changed by somebody else")
        seqs[machine_id] = seq
    return seqs


def _change_sessions(database: Database, batch: Batch) -> None:
    """Change, then open; on a refusal everything is as before."""
    at, of = dict(database.open_at), dict(database.open_of)
    changed: dict[str, list[Any]] = {}
    for session_id, seen, *values in batch.changed:
        row = list(changed.get(session_id) or database.sessions.get(session_id) or ())
        if not row or (row[_REV] != seen and database.unique):
            raise StaleError("a session was changed by somebody else")
        for place, value in zip(_CHANGED, values, strict=True):
            row[place] = value
        changed[session_id] = row
        _free(at, row[_MACHINE], session_id)
        _free(of, row[_OPERATOR], session_id)
        _occupy(database, at, of, row)
    for opened in batch.opened:
        row = list(opened)
        if row[0] in database.sessions or row[0] in changed:
            raise IntegrityError("UNIQUE constraint failed: sessions.session_id")
        changed[row[0]] = row
        _occupy(database, at, of, row)
    database.sessions.update(changed)
    database.open_at, database.open_of = at, of


def _occupy(database: Database, at: dict[str, str], of: dict[str, str], row: list[Any]) -> None:
    """Enter an open session into both indexes."""
    if row[_ENDED_AT] is not None:
        return
    if database.unique and (row[_MACHINE] in at or row[_OPERATOR] in of):
        raise IntegrityError("UNIQUE constraint failed: an open session")
    at[row[_MACHINE]] = row[0]
    if row[_OPERATOR] is not None:
        of[row[_OPERATOR]] = row[0]


def _free(index: dict[str, str], name: str | None, session_id: str) -> None:
    if name is not None and index.get(name) == session_id:
        del index[name]
