"""The figures made anew from what they were counted from, compared with what is kept, and put right.

They are reckoned into a scratch database, from one state of the real one in which nothing is left to count; gateways go
on beside it. What was purged cannot be counted anew: of that the figures stay as they are.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateway.clock import now_ms
from gateway.core.days import begins, hour_of
from gateway.errors import WeldGateError
from gateway.store.engine import open_engine
from gateway.store.figures import tables
from gateway.store.figures.folding import Folder, State, prepare, read_state, snapshot
from gateway.store.figures.statements import Delete, Insert, replaced
from gateway.store.figures.tables import PAIRS, STATE, UNCOUNTED
from gateway.store.ledger import read_anchor, read_head
from gateway.store.prepared import Row, transaction
from gateway.store.tables import metadata
from gateway.store.writing import Progress

AT_ONCE = 4000
"""Records reckoned in one step: nobody waits for the scratch database."""
REPAIRED_AT_ONCE = 100
HOLD_MS = 60_000
"""How long a rebuild that was broken off keeps gateways from folding."""
SETTLED_WITHIN_S = 60.0
SMALL_STEP = 200


class FiguresError(WeldGateError):
    """The figures cannot be checked or put right now."""


class Difference(Struct, frozen=True):
    """A row that is not as it has to be; ``kept`` or ``expected`` is None where there is or should be none."""

    table: str
    kept: Row | None
    expected: Row | None


class Kept(Struct, frozen=True):
    """Since when what was counted is there as a whole: records after ``seq``, decisions and sessions from a day on;
    None: always."""

    seq: int
    ledger_from: int | None
    sessions_from: int | None


def verify(engine: Engine, progress: Progress = lambda *_: None) -> Iterator[Difference]:
    """Every row of the figures that is not as ledger, sessions and usage say. Raises FiguresError, DBAPIError."""
    with _settled(engine, None) as connection, _reckoned(connection, progress) as scratch:
        yield from _differences(connection, scratch, progress)


def rebuild(engine: Engine, progress: Progress = lambda *_: None) -> int:
    """Put every such row right; how many there were. Gateways fold nothing meanwhile, and go on afterwards.

    Raises FiguresError, DBAPIError.
    """
    repair = _Repair(engine)
    with repair.holding(), _settled(engine, repair.holder) as connection, _reckoned(connection, progress) as scratch:
        for difference in _differences(connection, scratch, progress):
            repair.take(difference)
        repair.write()
    return repair.done


# --- one state in which everything is counted -------------------------------------------------------------------


@contextmanager
def _settled(engine: Engine, holder: str | None) -> Iterator[Connection]:
    folder, give_up = Folder(engine, holder), time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < give_up:
        done = folder.step(SMALL_STEP, now_ms())
        if done.full:
            give_up = time.monotonic() + SETTLED_WITHIN_S
            continue
        with snapshot(engine) as connection:
            if _nothing_left(connection):
                yield connection
                return
        time.sleep(0.01)
    raise FiguresError("figures: there is always something left to count; try again at a quieter time")


def _nothing_left(connection: Connection) -> bool:
    state, head = read_state(connection), read_head(connection)
    marked = connection.execute(sa.select(UNCOUNTED.c.session_id).limit(1)).first()
    return marked is None and (head is None or head.seq == state.seq)


@contextmanager
def _reckoned(source: Connection, progress: Progress) -> Iterator[Connection]:
    """A scratch database with the figures as they have to be."""
    with TemporaryDirectory(prefix="weldgate-figures-") as folder:
        scratch = open_engine(f"sqlite:///{Path(folder) / 'figures.db'}", migrate=False, durable=False)
        try:
            metadata.create_all(scratch, tables=[STATE, UNCOUNTED, *tables.MADE])
            _reckon(source, scratch, progress)
            with snapshot(scratch) as connection:
                yield connection
        finally:
            scratch.dispose()


def _reckon(source: Connection, scratch: Engine, progress: Progress) -> None:
    first, head, folder = read_anchor(source).seq, read_head(source), Folder(scratch)
    with scratch.begin() as connection:
        connection.execute(sa.insert(STATE).values(id=1, turn=0, seq=first))
    while True:
        with snapshot(scratch) as target:
            step = prepare(source, target, read_state(target), AT_ONCE)
        if step.empty:
            return
        with scratch.connect() as connection, transaction(connection) as cursor:
            folder.write(cursor, step)
        progress("count", step.seq - first, (head.seq if head else 0) - first)


# --- what differs -----------------------------------------------------------------------------------------------


def _differences(kept: Connection, expected: Connection, progress: Progress) -> Iterator[Difference]:
    since = _kept(kept)
    for number, table in enumerate(tables.MADE):
        progress(f"compare {table.name}", number, len(tables.MADE))
        if table is PAIRS and since.sessions_from is not None:
            continue  # what it counts goes back for ever
        where, keys = _whole(table, since), len(tables.key_names(table))
        for one, other in _side_by_side(_rows(kept, table, where), _rows(expected, table, where), keys):
            if one != other:
                yield Difference(table.name, one, other)


def _kept(connection: Connection) -> Kept:
    state: State = read_state(connection)
    both = [day for day in (state.ledger_from, state.sessions_from) if day is not None]
    return Kept(read_anchor(connection).seq, state.ledger_from, max(both, default=None))


def _whole(table: sa.Table, since: Kept) -> sa.ColumnElement[bool]:
    """Of which rows everything is there that they were counted from."""
    if table in (tables.DECISIONS, tables.REASONS):
        return table.c.seq > since.seq
    day = since.ledger_from if table in (tables.HOURS, tables.DAYS) else since.sessions_from
    if day is None:
        return sa.true()
    if table is tables.SESSIONS:
        return table.c.granted_at >= begins(day)
    return table.c.hour >= hour_of(begins(day)) if table is tables.HOURS else table.c.day >= day


def _rows(connection: Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> Iterator[Row]:
    """In the order of the key; a row that counts nothing is none."""
    counts = tables.names(table).index("uscc") + 1 if table in _COUNTED else None
    query = sa.select(table).where(where).order_by(*_bytewise(connection, table))
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        if counts is None or any(row[counts:]):
            yield tuple(row)


_COUNTED = (tables.USAGE_DAYS, tables.FIRM_DAYS)


def _bytewise(connection: Connection, table: sa.Table) -> list[Any]:
    """The key, its texts in the order in which Python has them."""
    if connection.dialect.name == "sqlite":
        return list(table.primary_key.columns)
    return [c.collate("C") if tables.is_text(c) else c for c in table.primary_key.columns]


def _side_by_side(one: Iterator[Row], other: Iterator[Row], keys: int) -> Iterator[tuple[Row | None, Row | None]]:
    """Rows of equal keys from two sources that are in the order of their key."""
    left, right = next(one, None), next(other, None)
    while left is not None or right is not None:
        order = _order(left, right, keys)
        yield left if order <= 0 else None, right if order >= 0 else None
        left = next(one, None) if order <= 0 else left
        right = next(other, None) if order >= 0 else right


def _order(left: Row | None, right: Row | None, keys: int) -> int:
    if left is None or right is None:
        return -1 if right is None else 1
    return (left[:keys] > right[:keys]) - (left[:keys] < right[:keys])


# --- putting right ----------------------------------------------------------------------------------------------


class _Repair:
    """Holds the figures, so that nobody folds, and writes some rows at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.holder = secrets.token_hex(8)
        self._replace = {table.name: Insert(table, engine.dialect, replaced) for table in tables.MADE}
        self._delete = {table.name: Delete(table, tables.key_names(table), engine.dialect) for table in tables.MADE}
        self._taken: list[Difference] = []
        self.done = 0

    @contextmanager
    def holding(self) -> Iterator[None]:
        self._set(STATE.c.held_until.is_(None) | (STATE.c.held_until < now_ms()), self.holder, HOLD_MS)
        try:
            yield
        finally:
            self._set(STATE.c.held_by == self.holder, None, 0)

    def take(self, difference: Difference) -> None:
        other_table = bool(self._taken) and self._taken[0].table != difference.table
        if other_table or len(self._taken) == REPAIRED_AT_ONCE:
            self.write()
        self._taken.append(difference)

    def write(self) -> None:
        taken, self._taken = self._taken, []
        self._set(STATE.c.held_by == self.holder, self.holder, HOLD_MS)
        if not taken:
            return
        name = taken[0].table
        keys = len(tables.key_names(metadata.tables[name]))
        with self._engine.connect() as connection, transaction(connection) as cursor:
            if expected := [one.expected for one in taken if one.expected is not None]:
                self._replace[name].run(cursor, expected)
            if gone := [one.kept[:keys] for one in taken if one.expected is None and one.kept is not None]:
                self._delete[name].run(cursor, gone)
        self.done += len(taken)

    def _set(self, where: sa.ColumnElement[bool], holder: str | None, for_ms: int) -> None:
        """INVARIANT: the turn rises with it, so a step that was prepared before comes to nothing."""
        values = {"held_by": holder, "held_until": now_ms() + for_ms if holder else None}
        with self._engine.begin() as connection:
            if not read_state(connection).exists:
                connection.execute(sa.insert(STATE).values(id=1, turn=0, seq=0))
            changed = sa.update(STATE).where(where).values(turn=STATE.c.turn + 1, **values)
            if connection.execute(changed).rowcount != 1:
                raise FiguresError("figures: somebody else is making them anew; try again in a minute")
