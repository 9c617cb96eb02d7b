"""Going back to what held at an earlier version of the registries."""

from collections.abc import Iterator, Sequence
from functools import partial

from sqlalchemy import Connection, Engine, Table

from gateway.core.model import Millis
from gateway.store import history
from gateway.store.changes import Origin
from gateway.store.engine import reading
from gateway.store.forms import FORMS
from gateway.store.history import RowKey, Step
from gateway.store.vault import Vault
from gateway.store.writing import PLAINLY, Counts, How, Part, Summary, Writing, chunks, explained, write


def roll_back(engine: Engine, vault: Vault, version: int, origin: Origin, now: Millis, how: How = PLAINLY) -> Summary:
    """Let what held at ``version`` hold again, as a new version. Orders of people (locks, overrides) stay as they are,
    and so do claims: what sources say next counts again.

    Raises DatabaseUnavailable, UnderWay, PurgedError.
    """
    with explained():
        parts = [part for form in FORMS.values() for part in _parts(engine, form.table, version, how.at_once)]
        return write(engine, Writing(vault, origin, now, how), parts, {})


def _parts(engine: Engine, table: Table, version: int, at_once: int) -> Iterator[Part]:
    with reading(engine).connect() as connection:
        keys = history.touched_since(connection, table, version)
    for part in chunks(keys, at_once):
        write_back = partial(_write_back, table, part, version)
        yield Part(table, len(part), partial(_as_it_is, write_back))


def _as_it_is(write_back: "partial[Counts]", _: Writing) -> "partial[Counts]":
    return write_back


def _write_back(table: Table, keys: Sequence[RowKey], version: int, connection: Connection, change: int) -> Counts:
    held, then = history.held_rows(connection, table, keys), history.rows_at(connection, table, keys, version)
    counts, steps = Counts(), []
    for key in keys:
        old, new = held.get(key), then.get(key)
        if old is None and new is None:
            continue
        counts.added += old is None
        counts.removed += new is None
        counts.changed += old is not None and new is not None
        steps.append(Step(old, new))
    history.write(connection, table, steps, change)
    return counts
