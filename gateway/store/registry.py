"""The registries in the database: bringing in what a source says.

What is new or different is found in a reading transaction beforehand, and looked at again when it is written: somebody
may have written in between.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET, Struct, field
from sqlalchemy import Connection, Engine

from gateway.core.model import Millis
from gateway.core.rules import local_time
from gateway.store import changes, claims, guard, history
from gateway.store.changes import CHANGES, Origin
from gateway.store.claims import Claim
from gateway.store.engine import reading
from gateway.store.entries import UNKNOWN_DAY, EmploymentEntry, Entry
from gateway.store.forms import FORMS, Content, Form
from gateway.store.guard import Guard
from gateway.store.history import Row, RowKey, Step
from gateway.store.push_events import subject_of_row
from gateway.store.tables import RegistryEvent, metadata
from gateway.store.vault import Vault
from gateway.store.writing import (
    PLAINLY,
    Counts,
    How,
    Part,
    Progress,
    Summary,
    Writing,
    chunks,
    explained,
    write,
    write_at_once,
)

_EVENTS = metadata.tables[RegistryEvent.__tablename__]
COMPARED_AT_ONCE = 1000
"""Keys in one lookup: SQLite allows 32,766 parameters, and longer lists gain nothing."""

Rows = Mapping[str, Sequence[Entry]]
"""Entries by table name. Keys must not repeat."""


class Wish(Struct, frozen=True):
    """An entry that is new or differs from what was held when it was compared."""

    entry: Entry
    content: Content


class Wishes(Struct):
    """What the entries of one table would change."""

    form: Form
    wishes: list[Wish] = field(default_factory=list)
    unchanged: int = 0


# --- bringing in ------------------------------------------------------------------------------------------------


def apply_entries(
    engine: Engine, vault: Vault, rows_by_table: Rows, origin: Origin, now: Millis, how: How = PLAINLY
) -> Summary:
    """Upsert entries by table name, all or nothing; ``now`` in Unix milliseconds.

    The registry version grows by one only if something was added or changed; either way the registries count as
    confirmed at ``now``. Raises DatabaseUnavailable, UnderWay, Held, VaultError.
    """
    with explained():
        with reading(engine).connect() as connection:
            wished = compare(connection, vault, rows_by_table, how.progress)
        hold_id = _guarded(engine, wished, origin, now, how.guard)
        counts = {name: Counts(unchanged=each.unchanged) for name, each in wished.items()}
        writing = Writing(vault, origin, now, how)
        return write(engine, writing, list(_parts(wished, how.at_once)), counts, hold_id)


def write_change(
    connection: Connection, vault: Vault, rows_by_table: Rows, origin: Origin, now: Millis, how: How = PLAINLY
) -> int | None:
    """The same for a few rows in the caller's transaction, without a guard; None if nothing differs."""
    changes.open_for_writing(connection, vault)
    wished = compare(connection, vault, rows_by_table, how.progress)
    return write_at_once(connection, Writing(vault, origin, now, how), list(_parts(wished, how.at_once)), {})


# --- comparing --------------------------------------------------------------------------------------------------


def compare(connection: Connection, vault: Vault, rows_by_table: Rows, progress: Progress) -> dict[str, Wishes]:
    """What differs from what is held, by table."""
    found = {}
    for name, form in FORMS.items():
        if name in rows_by_table:
            found[name] = _compare(connection, vault, form, rows_by_table[name], progress)
    return found


def _compare(connection: Connection, vault: Vault, form: Form, entries: Sequence[Entry], progress: Progress) -> Wishes:
    found = Wishes(form)
    empty = connection.execute(sa.select(sa.literal(1)).select_from(form.table).limit(1)).first() is None
    for done in range(0, len(entries), COMPARED_AT_ONCE):
        progress(f"compare {form.table.name}", done, len(entries))
        wishes = [Wish(entry, form.content(entry, vault)) for entry in entries[done : done + COMPARED_AT_ONCE]]
        if not empty:
            wishes = list(_differing(connection, form, wishes, found))
        found.wishes += wishes
    return found


def _differing(connection: Connection, form: Form, wishes: Sequence[Wish], found: Wishes) -> Iterator[Wish]:
    """What somebody else has written that does not hold yet counts as different: it may never hold."""
    leading = form.table.c[form.columns[0]]
    holds = form.table.c.change.not_in(changes.unpublished(0))
    query = sa.select(*form.selected()).where(leading.in_(sorted({wish.content[0] for wish in wishes})), holds)
    stored = {row[: form.key]: row for row in map(tuple, connection.execute(query))}
    for wish in wishes:
        held = stored.get(wish.content[: form.key])
        if held is None or any(new not in (UNSET, old) for old, new in zip(held, wish.content, strict=True)):
            yield wish
        else:
            found.unchanged += 1


# --- what stands against it -------------------------------------------------------------------------------------


def _guarded(engine: Engine, wished: Mapping[str, Wishes], origin: Origin, now: Millis, by: Guard | None) -> str | None:
    """The confirmation that lets the change through, where it needs one. Raises Held."""
    if by is None or not any(each.wishes for each in wished.values()):
        return None
    return guard.pass_or_hold(engine, shift_of(engine, wished, now).losing, origin, by, now)


def shift_of(engine: Engine, wished: Mapping[str, Wishes], now: Millis) -> guard.Shift:
    """Whose right to weld the change would take or give."""
    with reading(engine).connect() as connection:
        rows = {name: _would_be(connection, each) for name, each in wished.items()}
        return guard.shift(connection, rows, local_time(now).date())


def _would_be(connection: Connection, wished: Wishes) -> dict[RowKey, Row | None]:
    made: dict[RowKey, Row | None] = {}
    for part in chunks(wished.wishes, COMPARED_AT_ONCE):
        held = _held(connection, wished.form, part)
        for wish in part:
            key = wish.content[: wished.form.key]
            made[key] = _wished(wished.form, held.get(key), wish, {})
    return made


def _held(connection: Connection, form: Form, wishes: Iterable[Wish]) -> dict[RowKey, Row]:
    return history.held_rows(connection, form.table, [wish.content[: form.key] for wish in wishes])


def _wished(form: Form, old: Row | None, wish: Wish, seals: Row) -> Row:
    said = form.said(wish.content, seals)
    return form.new(said) if old is None else form.over(old, said)


# --- writing ----------------------------------------------------------------------------------------------------


def _parts(wished: Mapping[str, Wishes], at_once: int) -> Iterator[Part]:
    for each in wished.values():
        for part in chunks(each.wishes, at_once):
            yield Part(each.form.table, len(part), partial(_prepared, each.form, part))


def _prepared(form: Form, wishes: Sequence[Wish], writing: Writing) -> Callable[[Connection, int], Counts]:
    """Seal outside the transaction, so that it is short."""
    seals = [form.seals(wish.entry, writing.vault) for wish in wishes]
    return partial(_write_wishes, form, list(zip(wishes, seals, strict=True)), writing)


class _Ground(Struct, frozen=True):
    """What is there of the rows that a change is about to write.

    ``said_by``: claims on them. ``newer``: changes by which the same source has spoken since its data are of;
    ``pushed``: rows of which it has pushed word since. ``not_held``: changes of others that do not hold yet.
    """

    held: dict[RowKey, Row]
    said_by: dict[RowKey, list[Claim]]
    newer: frozenset[int]
    pushed: set[RowKey]
    not_held: frozenset[int]

    def overtaken(self, key: RowKey) -> bool:
        """Whether the same source has said something later of the row."""
        return key in self.held and (self.held[key]["change"] in self.newer or key in self.pushed)


NOTHING_HELD = _Ground({}, {}, frozenset(), set(), frozenset())


def _ground(connection: Connection, form: Form, wishes: Iterable[Wish], origin: Origin, change: int) -> _Ground:
    """Somebody may have written since the comparison: it is looked at again."""
    held = _held(connection, form, wishes)
    if not held:
        return NOTHING_HELD
    return _Ground(
        held,
        claims.claims_on(connection, form.table, held.values()),
        _newer_changes(connection, origin, change),
        _newer_words(connection, form, origin, held),
        changes.open_changes(connection, change),
    )


def _write_wishes(
    form: Form, wishes: Sequence[tuple[Wish, Row]], writing: Writing, connection: Connection, change: int
) -> Counts:
    ground = _ground(connection, form, [wish for wish, _ in wishes], writing.origin, change)
    steps = _first_days_now_known(connection, [wish.entry for wish, _ in wishes])
    going = {history.row_key(form.table, step.old) for step in steps if step.old is not None}
    counts, kept = Counts(removed=len(steps)), []
    for wish, seals in wishes:
        if wish.content[: form.key] in going:
            continue
        step, claimed = _step(form, wish, seals, ground, writing)
        kept += [(step.old or {}, claim) for claim in claimed]
        if _is_to_be_written(form, step, ground, counts):
            steps.append(step)
    claims.keep(connection, form.table, kept)
    history.write(connection, form.table, steps, change)
    return counts


def _step(form: Form, wish: Wish, seals: Row, ground: _Ground, writing: Writing) -> tuple[Step, list[Claim]]:
    """The row's way, and the claims to keep where several sources speak of it."""
    key = wish.content[: form.key]
    old = ground.held.get(key)
    row = _wished(form, old, wish, seals) | {"source": writing.origin.source}
    if old is None or ground.overtaken(key):
        return Step(old, row), []
    said = form.said(wish.content, seals)
    row, claimed = _settled(form, old, said, row, ground.said_by.get(key, []), writing)
    return Step(old, row), claimed


def _is_to_be_written(form: Form, step: Step, ground: _Ground, counts: Counts) -> bool:
    """Counts the row, and tells whether anything is to be done about it."""
    old, row = step.old, step.new or {}
    if old is None:
        counts.added += 1
        return True
    differs = form.differs(old, row)
    if ground.overtaken(history.row_key(form.table, old)):
        counts.overtaken += differs
        counts.unchanged += 1
        return False
    if not differs and old["change"] not in ground.not_held:
        counts.unchanged += 1
        return False
    counts.changed += 1
    return True


def _newer_words(connection: Connection, form: Form, origin: Origin, held: Iterable[RowKey]) -> set[RowKey]:
    """Rows of which the same source has pushed word since these data are of, also word that changed nothing then."""
    subjects = {key: subject for key in held if (subject := subject_of_row(form.table.name, key)) is not None}
    query = sa.select(_EVENTS.c.subject).where(_EVENTS.c.source == origin.source, _EVENTS.c.received_at > origin.as_of)
    told: set[str] = set()
    for part in chunks(sorted(set(subjects.values())), COMPARED_AT_ONCE):
        told.update(connection.execute(query.where(_EVENTS.c.subject.in_(part))).scalars())
    return {key for key, subject in subjects.items() if subject in told}


def _newer_changes(connection: Connection, origin: Origin, change: int) -> frozenset[int]:
    """What the same source has changed since these data are of: it is not written over."""
    later = (CHANGES.c.source == origin.source) & (CHANGES.c.began_at > origin.as_of) & (CHANGES.c.change != change)
    return frozenset(row.change for row in connection.execute(changes.numbers(later)))


def _settled(
    form: Form, old: Row, said: Row, row: Row, known: Sequence[Claim], writing: Writing
) -> tuple[Row, list[Claim]]:
    """The row that counts, and the claims to keep where several sources speak of it."""
    origin = writing.origin
    if not known and (old["source"] == origin.source or not form.differs(old, row)):
        return (row if old["source"] == origin.source else old), []
    everybody = {claim.source: claim for claim in known} or {old["source"]: Claim(old["source"], 0, claims.spoken(old))}
    before = everybody.get(origin.source)  # what it does not speak of this time, it has not taken back
    whole = (before.row if before else {}) | said
    everybody[origin.source] = Claim(origin.source, writing.now, claims.spoken(whole))
    return claims.merged(form.table, old, everybody.values(), writing.how.precedence), list(everybody.values())


def _first_days_now_known(connection: Connection, entries: Iterable[Entry]) -> list[Step]:
    """An employment whose first day is now known takes the place of the row without: or the old one would go on."""
    known = [
        (entry.operator_id, entry.uscc, UNKNOWN_DAY)
        for entry in entries
        if isinstance(entry, EmploymentEntry) and entry.since != UNKNOWN_DAY
    ]
    held = history.held_rows(connection, FORMS["employments"].table, known) if known else {}
    return [Step(row, None) for row in held.values()]


# --- looking ----------------------------------------------------------------------------------------------------


class Difference(Struct, frozen=True):
    """One row that a change would make or write over: its fields before and after; numbers are never shown."""

    kind: str
    key: tuple[Any, ...]
    before: Row | None
    after: Row


def differences(engine: Engine, wished: Mapping[str, Wishes]) -> Iterator[Difference]:
    """What the entries would change, row by row."""
    with reading(engine).connect() as connection:
        for name, each in wished.items():
            for part in chunks(each.wishes, COMPARED_AT_ONCE):
                held = _held(connection, each.form, part)
                for wish in part:
                    key = wish.content[: each.form.key]
                    yield Difference(name, key, held.get(key), _wished(each.form, held.get(key), wish, {}))


_TABLES = {name: form.table for name, form in FORMS.items()}


def conflicts(engine: Engine, most: int) -> list[claims.Conflict]:
    """Fields about which sources contradict each other."""
    with reading(engine).connect() as connection:
        return claims.conflicts(connection, _TABLES, most)


class LooseEnd(Struct, frozen=True):
    """Rows of ``table`` whose ``column`` names a firm or person that ``registry`` does not hold."""

    table: str
    column: str
    registry: str
    count: int


_REFERENCES = (
    ("certificates", "operator_id", "operators"),
    ("employments", "operator_id", "operators"),
    ("employments", "uscc", "enterprises"),
    ("machines", "uscc", "enterprises"),
)


def loose_ends(engine: Engine) -> list[LooseEnd]:
    """References that lead nowhere (yet: files arrive in any order)."""
    found = []
    with reading(engine).connect() as connection:
        for table, column, registry in _REFERENCES:
            referring, referred = FORMS[table].table, FORMS[registry].table
            known = sa.exists().where(referred.c[column] == referring.c[column])
            query = sa.select(sa.func.count()).select_from(referring).where(~known)
            found.append(LooseEnd(table, column, registry, connection.execute(query).scalar_one()))
    return [end for end in found if end.count]
