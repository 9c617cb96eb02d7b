"""Registry rows by versions (SQL:2011: system-versioned tables): a row's earlier states, and what held when.

A live row is the latest state, with the change that it is of. Whatever takes its place moves it to ``registry_history``
first, with the change that ended it.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Table

from gateway.errors import WeldGateError
from gateway.store.changes import CHANGES, not_yet, numbers, open_changes, visible
from gateway.store.tables import RegistryHistory, metadata

HISTORY = metadata.tables[RegistryHistory.__tablename__]
STAMP = ("change", "source")
"""Columns that tell of which change a row is, and who said so."""

PURGED = "purged"
"""Kind of the rows that stand for what was purged: states that ended with ``to_change`` or before."""

Row = dict[str, Any]
RowKey = tuple[Any, ...]


class PurgedError(WeldGateError):
    """What held then cannot be told any more."""


class Step(Struct):
    """One row's way from ``old`` to ``new``; None is no row. ``new`` is complete but for its stamp's change."""

    old: Row | None
    new: Row | None


def key_columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.primary_key)


def row_key(table: Table, row: Mapping[str, Any]) -> RowKey:
    return tuple(row[name] for name in key_columns(table))


def key_text(table: Table, row: Mapping[str, Any]) -> str:
    """The key as it is written in the history."""
    return msgspec.json.encode(row_key(table, row)).decode()


# --- rows as bytes ----------------------------------------------------------------------------------------------


def pack(row: Mapping[str, Any]) -> bytes:
    """JSON of a row: days in ISO form, bytes in base64."""
    return msgspec.json.encode(row)


def unpack(table: Table, packed: bytes) -> Row:
    """A row as its table would give it."""
    row: Row = msgspec.json.decode(packed)
    for name, value in row.items():
        column = table.c.get(name)
        if value is None or column is None:
            continue
        if isinstance(column.type, sa.Date):
            row[name] = date.fromisoformat(value)
        elif isinstance(column.type, sa.LargeBinary):
            row[name] = base64.b64decode(value)
    return row


# --- writing ----------------------------------------------------------------------------------------------------


def held_rows(connection: Connection, table: Table, keys: Iterable[RowKey]) -> dict[RowKey, Row]:
    """The live rows of these keys, complete."""
    wanted, names = set(keys), key_columns(table)
    leading = sorted({key[0] for key in wanted})
    found = connection.execute(sa.select(table).where(table.c[names[0]].in_(leading))).mappings()
    rows = {tuple(row[name] for name in names): dict(row) for row in found}
    return {key: row for key, row in rows.items() if key in wanted}


def write(connection: Connection, table: Table, steps: Sequence[Step], change: int) -> None:
    """Carry the steps out as part of a change: what was there goes to the history."""
    _end_for_good(connection, table, steps, change)
    over = [step for step in steps if step.old is not None]
    if over:
        connection.execute(sa.insert(HISTORY), [_past(table, step, change) for step in over])
    added = [step.new | {"change": change} for step in steps if step.old is None and step.new is not None]
    if added:
        connection.execute(sa.insert(table), added)
    changed = [step.new | {"change": change} for step in over if step.new is not None]
    if changed:
        connection.execute(_update(table), [_keyed(table, row) for row in changed])
    removed = [step.old for step in over if step.new is None and step.old is not None]
    if removed:
        connection.execute(_delete(table), [_keys(table, row) for row in removed])


def _end_for_good(connection: Connection, table: Table, steps: Sequence[Step], change: int) -> None:
    """What somebody else has written over or taken away and does not hold yet, or was broken off, is ended by this
    change, whatever becomes of the other one."""
    not_held = open_changes(connection, change)
    for step in steps if not_held else ():
        if step.old is None or step.old["change"] in not_held:
            ended = (HISTORY.c.key == key_text(table, step.old or step.new or {})) & HISTORY.c.to_change.in_(not_held)
            longer = sa.update(HISTORY).where(HISTORY.c.kind == table.name, ended)
            connection.execute(longer.values(to_change=change, gone=step.new is None))


def _past(table: Table, step: Step, change: int) -> Row:
    old = step.old or {}
    return {
        "kind": table.name,
        "key": key_text(table, old),
        "operator_id": old.get("operator_id") or None,
        "uscc": old.get("uscc"),
        "row": pack({name: value for name, value in old.items() if name != "change"}),
        "from_change": old["change"],
        "to_change": change,
        "gone": step.new is None,
    }


def _update(table: Table) -> sa.Update:
    keys = key_columns(table)
    names = [column.name for column in table.columns if column.name not in keys]
    return sa.update(table).where(*_matches(table)).values({name: sa.bindparam(name) for name in names})


def _delete(table: Table) -> sa.Delete:
    return sa.delete(table).where(*_matches(table))


def _matches(table: Table) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == sa.bindparam(f"key_{name}") for name in key_columns(table)]


def _keys(table: Table, row: Row) -> Row:
    return {f"key_{name}": row[name] for name in key_columns(table)}


def _keyed(table: Table, row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in key_columns(table)} | _keys(table, row)


# --- undoing what was broken off --------------------------------------------------------------------------------


def undo_some(connection: Connection, table: Table, change: int, most: int) -> int:
    """Take back up to ``most`` rows of a change that was never published; returns how many, 0 when all are.

    Where somebody else has written over them since, what they wrote stays.
    """
    live = connection.execute(sa.select(table).where(table.c.change == change).limit(most)).mappings().all()
    for row in live:
        _undo(connection, table, dict(row), change)
    if live:
        return len(live)
    replaced = connection.execute(_past_of(table, HISTORY.c.from_change == change).limit(most)).all()
    if replaced:
        connection.execute(sa.delete(HISTORY).where(HISTORY.c.id.in_([past.id for past in replaced])))
        return len(replaced)
    removed = connection.execute(_past_of(table, HISTORY.c.to_change == change).limit(most)).all()
    for past in removed:
        _put_back(connection, table, past)
    return len(removed)


def _past_of(table: Table, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(HISTORY).where(HISTORY.c.kind == table.name, condition)


def _undo(connection: Connection, table: Table, row: Row, change: int) -> None:
    """Put back what the change wrote over."""
    connection.execute(_delete(table), [_keys(table, row)])
    ended = _past_of(table, (HISTORY.c.key == key_text(table, row)) & (HISTORY.c.to_change == change))
    before = connection.execute(ended).first()
    if before is not None:
        _put_back(connection, table, before)


def _put_back(connection: Connection, table: Table, past: Any) -> None:
    connection.execute(sa.insert(table), [unpack(table, past.row) | {"change": past.from_change}])
    connection.execute(sa.delete(HISTORY).where(HISTORY.c.id == past.id))


# --- reading ----------------------------------------------------------------------------------------------------


def states(
    connection: Connection, table: Table, columns: Sequence[str], since: int, until: int
) -> Iterator[Sequence[Any]]:
    """Rows, in batches, whose states hold at version ``until`` and began to after ``since``; 0 gives all.

    Call it in one transaction with what gives ``until``.
    """
    later, began = not_yet(until), numbers(visible(since, until))
    query = sa.select(*(_bare(table.c[name]) for name in columns))
    query = query.where(table.c.change.not_in(later) if since == 0 else table.c.change.in_(began))
    result = connection.execute(query, execution_options={"stream_results": True})
    yield from result.partitions(READ_AT_ONCE)
    past = sa.select(HISTORY.c.row).where(
        HISTORY.c.kind == table.name, HISTORY.c.to_change.in_(later), HISTORY.c.from_change.in_(began)
    )
    for rows in connection.execute(past).partitions(READ_AT_ONCE):
        yield [_picked(table, packed, columns) for (packed,) in rows]


READ_AT_ONCE = 5000
"""Rows in one batch: a few megabytes."""


def _bare(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Days as the driver gives them: each distinct one is parsed once, not once a row."""
    return sa.type_coerce(column, sa.String) if isinstance(column.type, sa.Date) else column


def _picked(table: Table, packed: bytes, columns: Sequence[str]) -> RowKey:
    row = unpack(table, packed)
    return tuple(row[name] for name in columns)


def gone(connection: Connection, table: Table, since: int, until: int) -> list[Row]:
    """Last states of rows that ended after ``since`` with nothing in their place at ``until``."""
    query = sa.select(HISTORY.c.row).where(
        HISTORY.c.kind == table.name, HISTORY.c.gone, HISTORY.c.to_change.in_(numbers(visible(since, until)))
    )
    return [unpack(table, packed) for (packed,) in connection.execute(query)]


def touched_since(connection: Connection, table: Table, version: int) -> list[RowKey]:
    """Keys of rows that any later version wrote, also where somebody is about to write over them."""
    names = key_columns(table)
    later = numbers(CHANGES.c.version > version)
    live = sa.select(*(table.c[name] for name in names)).where(table.c.change.in_(later))
    keys = {tuple(row) for row in connection.execute(live)}
    touched = HISTORY.c.to_change.in_(later) | HISTORY.c.from_change.in_(later)
    past = sa.select(HISTORY.c.row).where(HISTORY.c.kind == table.name, touched)
    keys |= {row_key(table, unpack(table, packed)) for (packed,) in connection.execute(past)}
    return sorted(keys)


def kept_since(connection: Connection) -> int:
    """The earliest version of which everything can still be told; 0 where nothing was purged."""
    marks = sa.select(HISTORY.c.to_change).where(HISTORY.c.kind == PURGED)
    version: int | None = connection.execute(
        sa.select(sa.func.max(CHANGES.c.version)).where(CHANGES.c.change.in_(marks))
    ).scalar()
    return version or 0


def check_kept(connection: Connection, version: int) -> None:
    """INVARIANT: what was purged does not count as what never was. Raises PurgedError."""
    kept = kept_since(connection)
    if version < kept:
        raise PurgedError(f"version {version}: states before version {kept} are past their retention and were purged")


def mark_purged(connection: Connection, before: int) -> None:
    """States that ended with a version published before this time (Unix milliseconds) will be deleted."""
    last = (
        sa.select(CHANGES.c.change)
        .where(CHANGES.c.at < before, CHANGES.c.version.is_not(None))
        .order_by(CHANGES.c.version.desc())
        .limit(1)
    )
    mark = {"kind": PURGED, "key": "", "row": b"{}", "from_change": 0, "gone": False}
    connection.execute(sa.insert(HISTORY).values(**mark, to_change=last.scalar_subquery()))


def rows_at(connection: Connection, table: Table, keys: Iterable[RowKey], version: int) -> dict[RowKey, Row]:
    """The rows of these keys as they stood at a version, without the stamp's change. Raises PurgedError."""
    check_kept(connection, version)
    wanted, later = set(keys), not_yet(version)
    texts = [key_text(table, dict(zip(key_columns(table), key, strict=True))) for key in sorted(wanted)]
    past = sa.select(HISTORY.c.row).where(
        HISTORY.c.kind == table.name,
        HISTORY.c.key.in_(texts),
        HISTORY.c.to_change.in_(later),
        HISTORY.c.from_change.not_in(later),
    )
    rows = [unpack(table, packed) for (packed,) in connection.execute(past)]
    live = held_rows(connection, table, wanted)
    still = set(connection.execute(later).scalars())
    rows += [row for row in live.values() if row["change"] not in still]
    return {row_key(table, row): {name: row[name] for name in row if name != "change"} for row in rows}


class Past(Struct, frozen=True):
    """One state of a row: from version to version (None: holds today), by whose word and when."""

    kind: str
    key: str
    row: Row
    source: str
    from_version: int
    from_at: int
    to_version: int | None
    gone: bool


def life_of(connection: Connection, table: Table, **whose: str) -> list[Past]:
    """Every state of the rows that concern somebody (``operator_id=`` or ``uscc=``), the earliest first."""
    (column, value), *_ = whose.items()
    versions = {
        change: (version, at)
        for change, version, at in connection.execute(sa.select(CHANGES.c.change, CHANGES.c.version, CHANGES.c.at))
    }
    past = connection.execute(sa.select(HISTORY).where(HISTORY.c.kind == table.name, HISTORY.c[column] == value)).all()
    live = connection.execute(sa.select(table).where(table.c[column] == value)).mappings().all()
    found = [_lived(table, unpack(table, one.row), one.from_change, one, versions) for one in past]
    found += [_lived(table, dict(row), row["change"], None, versions) for row in live]
    return sorted([one for one in found if one is not None], key=lambda one: (one.from_version, one.key))


def _lived(
    table: Table, row: Row, from_change: int, past: Any, versions: Mapping[int, tuple[int | None, int | None]]
) -> Past | None:
    version, at = versions.get(from_change, (None, None))
    if version is None or at is None:  # not published
        return None
    to_version = versions.get(past.to_change, (None, None))[0] if past is not None else None
    if to_version is not None and to_version <= version:  # written over before it began to hold
        return None
    source = row.get("source", "")
    kept = {name: value for name, value in row.items() if name not in STAMP}
    ended = past is not None and bool(past.gone)
    return Past(str(table.name), key_text(table, row), kept, source, version, at, to_version, ended)
