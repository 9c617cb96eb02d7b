"""The registries in the database: bringing in what a source says, and reading what has changed since a version.

Upsert by key, in one transaction. What is new or different is found in a reading transaction beforehand, so that
the gate's own commits wait only while the changes are written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET, Struct
from sqlalchemy import Connection, Engine

from gateway.errors import DatabaseUnavailable
from gateway.store.engine import reading
from gateway.store.entries import UNKNOWN_DAY, EmploymentEntry, Entry
from gateway.store.forms import FORMS, Form
from gateway.store.tables import RegistryChange, RegistryState
from gateway.store.vault import Vault, VaultError, fingerprint

COMPARED_AT_ONCE = 1000
"""Keys in one lookup: SQLite allows 32,766 parameters, and longer lists gain nothing."""
WRITTEN_AT_ONCE = 1000
"""Rows in one executemany: 20,000 at once took half as long again, and sorting them by key gained nothing."""

SOURCE = "files"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and out of how much."""

_state: sa.Table = RegistryState.__table__  # type: ignore[attr-defined]
_registry_changes: sa.Table = RegistryChange.__table__  # type: ignore[attr-defined]


class Counts(Struct, frozen=True):
    """Rows of one table in one import."""

    added: int
    changed: int
    unchanged: int


class Summary(Struct, frozen=True):
    """What an import did; ``version`` is the registry version that now holds."""

    version: int
    counts: dict[str, Counts]

    @property
    def touched(self) -> int:
        return sum(count.added + count.changed for count in self.counts.values())


class _Changes(Struct):
    """What one table has to take in; ``changed`` holds the complete new content, ``added`` only the entries."""

    added: list[Entry]
    changed: list[tuple[Entry, tuple[Any, ...]]]
    unchanged: int = 0

    def counts(self) -> Counts:
        return Counts(len(self.added), len(self.changed), self.unchanged)


# --- bringing in ------------------------------------------------------------------------------------------------


def import_rows(
    engine: Engine,
    vault: Vault,
    rows_by_table: Mapping[str, Sequence[Entry]],
    source: str,
    now: int,
    progress: Progress = lambda *_: None,
) -> Summary:
    """Upsert entries by table name, all or nothing; ``now`` in Unix milliseconds. Keys must not repeat.

    The registry version grows by one only if something was added or changed; either way the registries count as
    confirmed at ``now``. Raises DatabaseUnavailable.
    """
    try:
        with reading(engine).connect() as connection:
            seen = current_state(connection)
            changes = _changes(connection, vault, rows_by_table, progress)
        with engine.begin() as connection:
            state = current_state(connection, lock=True)
            _check_vault(connection, vault)
            if _version(state) != _version(seen):  # another import came in between
                changes = _changes(connection, vault, rows_by_table, progress)
            return _write(connection, vault, changes, _Stamp(state is None, _version(state), now, source), progress)
    except sa.exc.DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]  # further lines repeat the row
        raise DatabaseUnavailable(f"the import was undone: {reason}; import the files again") from error


def _check_vault(connection: Connection, vault: Vault) -> None:
    """INVARIANT: one number has one index. With another vault a revoked certificate would be a new row beside the
    valid one."""
    known = connection.execute(sa.select(_state.c.vault).where(_state.c.id == 1)).scalar()
    if known is not None and known != fingerprint(vault):
        raise VaultError(
            "--keys: not the vault that this database was filled with; name the folder whose vault.json it was"
        )


class _Stamp(Struct, frozen=True):
    """The state an import starts from, when it is made and where its rows come from."""

    first: bool
    version: int
    now: int
    source: str


def _version(state: tuple[int, int] | None) -> int:
    return 0 if state is None else state[0]


def _changes(
    connection: Connection, vault: Vault, rows_by_table: Mapping[str, Sequence[Entry]], progress: Progress
) -> dict[str, _Changes]:
    found = {}
    for name, form in FORMS.items():
        if name in rows_by_table:
            found[name] = _compare(connection, vault, form, rows_by_table[name], progress)
    return found


def _compare(
    connection: Connection, vault: Vault, form: Form, entries: Sequence[Entry], progress: Progress
) -> _Changes:
    if connection.execute(sa.select(sa.literal(1)).select_from(form.table).limit(1)).first() is None:
        return _Changes(list(entries), [])
    changes = _Changes([], [])
    for done in range(0, len(entries), COMPARED_AT_ONCE):
        progress(f"compare {form.table.name}", done, len(entries))
        _compare_batch(connection, vault, form, entries[done : done + COMPARED_AT_ONCE], changes)
    return changes


def _compare_batch(
    connection: Connection, vault: Vault, form: Form, entries: Sequence[Entry], changes: _Changes
) -> None:
    contents = [form.content(entry, vault) for entry in entries]
    leading = form.table.c[form.columns[0]]
    query = sa.select(*form.selected()).where(leading.in_(sorted({content[0] for content in contents})))
    stored = {row[: form.key]: row for row in map(tuple, connection.execute(query))}
    for entry, content in zip(entries, contents, strict=True):
        held = stored.get(content[: form.key])
        if held is None:
            changes.added.append(entry)
        elif (wanted := _over(held, content)) != held:
            changes.changed.append((entry, wanted))
        else:
            changes.unchanged += 1


def _over(held: tuple[Any, ...], content: tuple[Any, ...]) -> tuple[Any, ...]:
    """The new content; where the source has no such column, what is held stays."""
    if UNSET not in content:
        return content
    return tuple(old if new is UNSET else new for old, new in zip(held, content, strict=True))


def _write(
    connection: Connection, vault: Vault, changes: Mapping[str, _Changes], stamp: _Stamp, progress: Progress
) -> Summary:
    counts = {name: change.counts() for name, change in changes.items()}
    touched = Summary(stamp.version, counts).touched
    version = stamp.version + 1 if touched else stamp.version
    change = latest_change(connection) + 1
    for name, changed in changes.items():
        _write_table(connection, vault, FORMS[name], changed, ({"change": change, "source": SOURCE}, progress))
    state = {"version": version, "confirmed_at": stamp.now, "vault": fingerprint(vault)}
    if stamp.first:
        connection.execute(sa.insert(_state).values(id=1, **state))
    else:
        connection.execute(sa.update(_state).where(_state.c.id == 1).values(**state))
    if touched:
        added = sum(count.added for count in counts.values())
        publish(connection, change, version, stamp.now, (SOURCE, stamp.source), (added, touched - added))
    return Summary(version, counts)


def latest_change(connection: Connection) -> int:
    latest: int = connection.execute(
        sa.select(sa.func.coalesce(sa.func.max(_registry_changes.c.change), 0))
    ).scalar_one()
    return latest


def publish(
    connection: Connection, change: int, version: int, at: int, who: tuple[str, str], counts: tuple[int, int]
) -> None:
    source, note = who
    added, changed = counts
    row = {"change": change, "version": version, "began_at": at, "at": at, "source": source, "note": note}
    connection.execute(sa.insert(_registry_changes).values(**row, added=added, changed=changed, removed=0))


def _write_table(
    connection: Connection, vault: Vault, form: Form, changes: _Changes, how: tuple[dict[str, Any], Progress]
) -> None:
    stamp, progress = how
    if form is FORMS["employments"]:
        _replace_unknown_first_days(connection, changes.added)
    for done in range(0, len(changes.added), WRITTEN_AT_ONCE):
        progress(f"write {form.table.name}", done, len(changes.added))
        batch = changes.added[done : done + WRITTEN_AT_ONCE]
        rows = [form.row(entry, form.content(entry, vault), vault, stamp) for entry in batch]
        connection.execute(sa.insert(form.table), rows)
    for done in range(0, len(changes.changed), WRITTEN_AT_ONCE):
        for statement, rows in form.updates(changes.changed[done : done + WRITTEN_AT_ONCE], vault, stamp):
            connection.execute(statement, rows)


def _replace_unknown_first_days(connection: Connection, added: Sequence[Entry]) -> None:
    """An employment whose first day is now known takes the place of the row without: or the old one would go on."""
    known = [
        {"operator": entry.operator_id, "firm": entry.uscc}
        for entry in added
        if isinstance(entry, EmploymentEntry) and entry.since != UNKNOWN_DAY
    ]
    table = FORMS["employments"].table
    replaced = sa.delete(table).where(
        table.c.operator_id == sa.bindparam("operator"),
        table.c.uscc == sa.bindparam("firm"),
        table.c.since == UNKNOWN_DAY,
    )
    for done in range(0, len(known), WRITTEN_AT_ONCE):
        connection.execute(replaced, known[done : done + WRITTEN_AT_ONCE])


# --- reading ----------------------------------------------------------------------------------------------------


def current_state(connection: Connection, *, lock: bool = False) -> tuple[int, int] | None:
    """(version, confirmed_at in Unix milliseconds), or None before the first import.

    ``lock`` keeps other imports out until the transaction ends.
    """
    query = sa.select(_state.c.version, _state.c.confirmed_at).where(_state.c.id == 1)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else (row.version, row.confirmed_at)


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
