"""Writing one change of the registries: in one transaction where it is small, else in many short ones.

A long change holds the pen, so that there is one at a time; between its transactions the gate's commits and small
changes find room. Nothing of it holds before all of it does, and one that was broken off is taken back.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Engine, Table

from gateway.clock import now_ms
from gateway.core.model import Millis
from gateway.errors import DatabaseUnavailable
from gateway.store import changes, guard, history
from gateway.store.changes import CHANGES, Origin, Said, Tally
from gateway.store.claims import Precedence
from gateway.store.engine import reading
from gateway.store.forms import FORMS
from gateway.store.guard import Guard
from gateway.store.vault import Vault

PAUSE_S = 0.005
"""After each transaction of a long change: whoever waits for the lock gets it then."""
UNDONE_AT_ONCE = 200
"""Rows taken back in one transaction, each by its key."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and out of how much."""


class Counts(Struct):
    """Rows of one table in one change. ``overtaken``: unchanged, for the same source has spoken of them since."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    overtaken: int = 0


class Summary(Struct, frozen=True):
    """What a change did; ``version`` is the registry version that now holds."""

    version: int
    counts: dict[str, Counts]

    @property
    def touched(self) -> int:
        return tally(self.counts).touched

    @property
    def overtaken(self) -> int:
        return sum(count.overtaken for count in self.counts.values())


class How(Struct, frozen=True):
    """What goes for every way in: whose word counts, when to hold a change back, whom to tell of the progress, what the
    version's record tells besides. ``at_once``: rows in one transaction; 250 are some 5 to 10 ms in which nobody else
    writes."""

    at_once: int = 250
    precedence: Precedence = Precedence()
    guard: Guard | None = None
    progress: Progress = lambda *_: None
    said: Said = changes.NOTHING


PLAINLY = How()


class Writing(Struct, frozen=True):
    """Everything that a change is written by."""

    vault: Vault
    origin: Origin
    now: Millis
    how: How


class Part(Struct, frozen=True):
    """Some rows of one table for one transaction: ``prepare`` is called outside it, what that gives inside."""

    table: Table
    size: int
    prepare: Callable[[Writing], Callable[[Connection, int], Counts]]


def chunks(items: Sequence[Any], at_once: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), at_once):
        yield items[start : start + at_once]


@contextmanager
def explained() -> Iterator[None]:
    """Trouble with the database as DatabaseUnavailable."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]  # further lines repeat the row
        raise DatabaseUnavailable(f"the import was undone: {reason}; import the files again") from error


def write(
    engine: Engine, writing: Writing, parts: Sequence[Part], counts: dict[str, Counts], hold_id: str | None = None
) -> Summary:
    """Write a change, all or nothing, and count its rows on to ``counts``; the registries count as confirmed.

    ``hold_id``: the confirmation that lets it through. Raises DBAPIError, UnderWay, VaultError.
    """
    if sum(part.size for part in parts) > writing.how.at_once:
        return Summary(_write_long(engine, writing, parts, counts, hold_id), counts)
    with engine.begin() as connection:
        changes.open_for_writing(connection, writing.vault)
        if parts:
            write_at_once(connection, writing, parts, counts)
        return Summary(_conclude(connection, writing, hold_id), counts)


def write_at_once(
    connection: Connection, writing: Writing, parts: Sequence[Part], counts: dict[str, Counts]
) -> int | None:
    """A change in the caller's transaction: its version, None if nothing differs after all."""
    change = changes.begin(connection, writing.origin, writing.now)
    for part in parts:
        _count(counts, part, part.prepare(writing)(connection, change))
    if not tally(counts).touched:
        connection.execute(sa.delete(CHANGES).where(CHANGES.c.change == change))
        return None
    return changes.publish(connection, change, writing.now, tally(counts), writing.how.said)


def _conclude(connection: Connection, writing: Writing, hold_id: str | None) -> int:
    if hold_id is not None:
        guard.use_up(connection, hold_id)
    changes.confirm(connection, writing.now)
    return changes.current_version(connection)


# --- in many transactions ---------------------------------------------------------------------------------------


def _write_long(
    engine: Engine, writing: Writing, parts: Sequence[Part], counts: dict[str, Counts], hold_id: str | None
) -> int:
    """INVARIANT: nothing of a long change holds before all of it does; what was broken off is taken back."""
    change = _begin(engine, writing)
    try:
        _write_parts(engine, writing, parts, (counts, change))
        with engine.begin() as connection:
            changes.hold_pen(connection, change, now_ms())
            changes.publish(connection, change, writing.now, tally(counts), writing.how.said)
            changes.lay_down_pen(connection, change)
            return _conclude(connection, writing, hold_id)
    except BaseException:  # also Ctrl-C: what was written by then must not wait for the next long change
        take_back(engine, change, writing.how.progress)
        raise


def _begin(engine: Engine, writing: Writing) -> int:
    with engine.begin() as connection:
        changes.open_for_writing(connection, writing.vault)
        broken_off = changes.abandoned(connection, now_ms())
    if broken_off is not None:
        take_back(engine, broken_off, writing.how.progress)
    with engine.begin() as connection:
        change = changes.begin(connection, writing.origin, writing.now)
        changes.hold_pen(connection, change, now_ms(), first=True)
        return change


def _write_parts(engine: Engine, writing: Writing, parts: Sequence[Part], to: tuple[dict[str, Counts], int]) -> None:
    counts, change = to
    done, of = 0, sum(part.size for part in parts)
    for part in parts:
        writing.how.progress(f"write {part.table.name}", done, of)
        write_rows = part.prepare(writing)
        with engine.begin() as connection:
            changes.hold_pen(connection, change, now_ms())
            _count(counts, part, write_rows(connection, change))
        done += part.size
        time.sleep(PAUSE_S)


def take_back(engine: Engine, change: int, progress: Progress = lambda *_: None) -> None:
    """Undo a change that was never published, in short transactions, and let others write. Its number is never used
    again: a writer that was given up for dead and is not does no harm by it.

    INVARIANT: what holds is never taken back: whoever was interrupted right after publishing finds nothing to undo.
    """
    with reading(engine).connect() as connection:
        if changes.is_published(connection, change):
            return
    done = 0
    for form in FORMS.values():
        undone = 1
        while undone:
            with engine.begin() as connection:
                undone = history.undo_some(connection, form.table, change, UNDONE_AT_ONCE)
            done += undone
            time.sleep(PAUSE_S)
            progress(f"take back {form.table.name}", done, done)
    with engine.begin() as connection:
        changes.give_up(connection, change, now_ms())


def _count(counts: dict[str, Counts], part: Part, more: Counts) -> None:
    total = counts.setdefault(part.table.name, Counts())
    for name in Counts.__struct_fields__:
        setattr(total, name, getattr(total, name) + getattr(more, name))


def tally(counts: Mapping[str, Counts]) -> Tally:
    each = counts.values()
    return Tally(sum(one.added for one in each), sum(one.changed for one in each), sum(one.removed for one in each))
