"""Folding: what the ledger, sessions and usage say is counted, in short steps, each exactly once.

A step reads (where the figures stand, the next records of the ledger, sessions whose usage has changed), reckons, and
then writes all of it in one short transaction, provided that nobody has folded meanwhile. A session is counted by the
difference to how it was counted before, so usage may come as late as it likes: it counts on the day on which its
session began.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPICursor

from gateway.clock import monotonic_ns
from gateway.core.days import day_of, hour_of
from gateway.core.model import Millis
from gateway.store.engine import reading
from gateway.store.figures import tables
from gateway.store.figures.records import Meaning, Opened, Told, Verdict, meaning
from gateway.store.figures.statements import Delete, statements
from gateway.store.figures.tables import DECISIONS, REASONS, STATE, UNCOUNTED, Sums
from gateway.store.ledger import read_head
from gateway.store.prepared import Row, transaction
from gateway.store.tables import LedgerRow, SessionRow, UsageRow

_ledger, _sessions, _usage = tables.table(LedgerRow), tables.table(SessionRow), tables.table(UsageRow)
NAMED_AT_ONCE = 500
"""Sessions that one query names."""
CHECKPOINT_EVERY = 250
"""Records and sessions, which change some thousand pages, after which SQLite's log is copied into its file: by whoever
folds, while nobody waits for it, and not by the commit of a decision."""
_NONE = (0, 0, 0, 0, 0)


class State(Struct, frozen=True):
    """How far the figures go; ``exists`` is False before the first step."""

    turn: int = 0
    seq: int = 0
    held_by: str | None = None
    held_until: Millis | None = None
    ledger_from: int | None = None
    sessions_from: int | None = None
    exists: bool = False

    def held_from(self, holder: str | None, now: Millis) -> bool:
        """Whether somebody other than ``holder`` folds alone now."""
        return self.held_until is not None and now < self.held_until and self.held_by != holder


def read_state(connection: Connection) -> State:
    row = connection.execute(sa.select(*(STATE.c[name] for name in State.__struct_fields__[:-1]))).first()
    return State(**row._mapping, exists=True) if row else State()


class Step(Struct):
    """What is to be written: rows by table. ``counted`` are the marks that go; ``seq`` is how far the figures go then,
    ``behind`` how many records are left."""

    state: State
    seq: int
    records: int = 0
    behind: int = 0
    unreadable: int = 0
    counted: list[Row] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return self.seq == self.state.seq and not self.counted


class Done(Struct, frozen=True):
    """A step that was made. ``held_s``: how long nobody else could write; ``lost``: somebody was faster, nothing was
    written; ``full``: there may be more at once."""

    records: int = 0
    sessions: int = 0
    behind: int = 0
    unreadable: int = 0
    held_s: float = 0.0
    lost: bool = False
    full: bool = False


class Folder:
    """Makes steps on one database."""

    def __init__(self, engine: Engine, holder: str | None = None) -> None:
        self._engine = engine
        self._holder = holder
        self._statements = statements(engine.dialect)
        self._uncount = Delete(UNCOUNTED, tables.names(UNCOUNTED), engine.dialect)
        self._since_checkpoint = 0

    def step(self, most: int, now: Millis) -> Done:
        """Fold up to ``most`` records, and as many sessions whose usage has changed; blocks, so call it in a thread.

        Raises DBAPIError, or the driver's own errors.
        """
        with snapshot(self._engine) as connection:
            state = read_state(connection)
            if state.held_from(self._holder, now):
                return Done(lost=True)
            step = prepare(connection, connection, state, most)
        if step.empty:
            return Done(behind=step.behind)
        began, written = monotonic_ns(), False
        with self._engine.connect() as connection:
            with transaction(connection) as cursor:
                began = monotonic_ns()
                written = self.write(cursor, step)
            held_s = (monotonic_ns() - began) / 1e9
            self._checkpoint(connection, step)
        full = step.records == most or len(step.counted) == most
        return Done(step.records, len(step.counted), step.behind, step.unreadable, held_s, not written, full)

    def _checkpoint(self, connection: Connection, step: Step) -> None:
        self._since_checkpoint += step.records + len(step.counted)
        if self._since_checkpoint >= CHECKPOINT_EVERY and connection.dialect.name == "sqlite":
            self._since_checkpoint = 0
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def write(self, cursor: DBAPICursor, step: Step) -> bool:
        """Write a step inside the cursor's transaction; False where somebody has folded since it was prepared.

        INVARIANT: how far the figures go and the figures themselves change together or not at all.
        """
        if not _take_turn(cursor, step):
            return False
        for name, rows in step.rows.items():
            if rows:
                self._statements[name].run(cursor, rows)
        if step.counted:
            self._uncount.run(cursor, step.counted)
        return True


def snapshot(engine: Engine) -> Any:
    """A connection that reads one state of the database, in a transaction. Use as a context manager."""
    if engine.dialect.name == "sqlite":
        return reading(engine).begin()
    return engine.execution_options(isolation_level="REPEATABLE READ").begin()


def _take_turn(cursor: DBAPICursor, step: Step) -> bool:
    turn, seq = int(step.state.turn), int(step.seq)
    if step.state.exists:
        cursor.execute(f"UPDATE {STATE.name} SET turn = {turn + 1}, seq = {seq} WHERE turn = {turn}")  # noqa: S608
        return cursor.rowcount == 1
    cursor.execute(
        f"INSERT INTO {STATE.name} (id, turn, seq) VALUES (1, 1, {seq}) ON CONFLICT DO NOTHING"  # noqa: S608
    )
    return cursor.rowcount == 1


# --- reading and reckoning --------------------------------------------------------------------------------------


def prepare(source: Connection, target: Connection, state: State, most: int) -> Step:
    """The next step: ``source`` holds ledger, sessions and usage, ``target`` the figures; usually they are one."""
    told = _records(source, state.seq, most)
    head = read_head(source)
    found = meaning(told)
    step = Step(state, told[-1].seq if told else state.seq, records=len(told), unreadable=found.unreadable)
    step.behind = head.seq - step.seq if head else 0
    step.counted = [tuple(row) for row in target.execute(sa.select(UNCOUNTED).limit(most))]
    _count_decisions(step, found.verdicts)
    _count_sessions(step, source, target, found)
    return step


def _records(source: Connection, seq: int, most: int) -> list[Told]:
    columns = (_ledger.c[name] for name in Told._fields)
    query = sa.select(*columns).where(_ledger.c.seq > seq).order_by(_ledger.c.seq).limit(most)
    return [Told(*row) for row in source.execute(query)]


def _count_decisions(step: Step, verdicts: Sequence[Verdict]) -> None:
    hours: Counter[Row] = Counter()
    days: Counter[Row] = Counter()
    for verdict in verdicts:
        hour, day = hour_of(verdict.at), day_of(verdict.at)
        for code in ("", *verdict.codes):
            under = (verdict.division, verdict.uscc, verdict.outcome, code)
            hours[hour, *under] += 1
            days[day, *under] += 1
    step.rows[DECISIONS.name] = list(verdicts)
    step.rows[REASONS.name] = [row for verdict in verdicts for row in _reasons(verdict)]
    step.rows[tables.HOURS.name] = _keyed(hours.items())
    step.rows[tables.DAYS.name] = _keyed(days.items())


def _reasons(verdict: Verdict) -> Iterator[Row]:
    if verdict.outcome == "deny":
        for code in verdict.codes:
            yield (code, verdict.at, verdict.seq, verdict.division, verdict.uscc)


def _keyed(counts: Iterable[tuple[Row, int]]) -> list[Row]:
    """Rows in the order of their key: processes that write the same ones wait for each other, not crosswise."""
    return sorted((*key, count) for key, count in counts)


class _Current(Struct, frozen=True, gc=False):
    """A session and its usage as they stand."""

    session_id: str
    machine_id: str
    operator_id: str | None
    granted_at: Millis
    unlocked_at: Millis | None
    seq: int | None
    enabled_s: int | None
    arc_s: int | None
    idle_s: int | None
    arcs: int | None
    energy_wh: float | None

    @property
    def usage(self) -> tuple[int, ...]:
        """In the order of ``tables.USAGE``."""
        figures = (self.enabled_s or 0, self.arc_s or 0, self.idle_s or 0, self.arcs or 0)
        return (*figures, round((self.energy_wh or 0) * 1000))


class _Pair(Struct):
    sessions: int
    first_at: Millis
    last_at: Millis


def _count_sessions(step: Step, source: Connection, target: Connection, found: Meaning) -> None:
    """INVARIANT: a session is counted by what differs from how it was counted before: all its usage counts once."""
    named = sorted(found.touched | {row[0] for row in step.counted})
    indexed = {row[0]: tuple(row) for row in _named(target, sa.select(tables.SESSIONS), tables.SESSIONS, named)}
    people: defaultdict[Row, Sums] = defaultdict(Sums)
    firms: defaultdict[Row, Sums] = defaultdict(Sums)
    pairs: dict[Row, _Pair] = {}
    rows = []
    for row in _named(source, _current(), _sessions, named):
        current = _Current(*row)
        before = indexed.get(current.session_id)
        opened = _opened(before, found.opened.get(current.session_id))
        if opened is None:
            continue  # its decision comes later in the ledger, or is purged
        after = _index_row(current, opened, before)
        if after != before:
            rows.append(after)
            grown = _grown(before, after)
            where, day = (opened.division, opened.uscc), day_of(current.granted_at)
            people[day, current.machine_id, opened.operator_id, *where].add(grown)
            firms[day, *where].add(grown)
            if grown[0] and current.unlocked_at is not None:
                _note(pairs, (current.machine_id, opened.operator_id), current.unlocked_at)
    step.rows[tables.SESSIONS.name] = rows
    step.rows[tables.USAGE_DAYS.name] = _summed(people)
    step.rows[tables.FIRM_DAYS.name] = _summed(firms)
    step.rows[tables.PAIRS.name] = sorted((*k, p.sessions, p.first_at, p.last_at) for k, p in pairs.items())


def _named(connection: Connection, query: sa.Select[Any], table: sa.Table, ids: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(ids), NAMED_AT_ONCE):
        yield from connection.execute(query.where(table.c.session_id.in_(ids[start : start + NAMED_AT_ONCE])))


def _current() -> sa.Select[Any]:
    own = [_sessions.c[name] for name in _Current.__struct_fields__[:5]]
    usage = [_usage.c[name] for name in _Current.__struct_fields__[5:]]
    same = (_usage.c.session_id == _sessions.c.session_id) & (_usage.c.machine_id == _sessions.c.machine_id)
    return sa.select(*own, *usage).select_from(_sessions.outerjoin(_usage, same))


def _opened(before: Row | None, opened: Opened | None) -> Opened | None:
    """Whose a session is and where: as it was counted first, whatever is registered now."""
    return Opened(before[3], before[4], before[2]) if before is not None else opened


def _index_row(current: _Current, opened: Opened, before: Row | None) -> Row:
    """Usage that is there no more (it may be purged earlier than its session) counts as it did."""
    placed = (current.session_id, current.machine_id, opened.operator_id, opened.division, opened.uscc)
    seen = (current.granted_at, current.unlocked_at)
    if current.seq is None:
        return (*placed, *seen, *(before[7:] if before is not None else (-1, *_NONE)))
    return (*placed, *seen, current.seq, *current.usage)


def _grown(before: Row | None, after: Row) -> tuple[int, ...]:
    """By how much the sums grow, in the order of ``Sums``."""
    if before is None:
        return (int(after[6] is not None), *after[8:])
    begun = int(after[6] is not None) - int(before[6] is not None)
    return (begun, *(new - old for new, old in zip(after[8:], before[8:], strict=True)))


def _note(pairs: dict[Row, _Pair], key: Row, at: Millis) -> None:
    pair = pairs.setdefault(key, _Pair(0, at, at))
    pair.sessions += 1
    pair.first_at, pair.last_at = min(pair.first_at, at), max(pair.last_at, at)


def _summed(sums: dict[Row, Sums]) -> list[Row]:
    return sorted((*key, *one.values) for key, one in sums.items() if any(one.values))
