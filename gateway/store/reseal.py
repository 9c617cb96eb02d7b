"""Sealing anew what older keys of the vault have sealed, beside a running gateway; retiring a key that nobody needs.

A row is changed only where its sealed number is still the one that was read, so an import that comes between wins; what
it wrote meanwhile is found by the next run. Whatever was done stays done when a run is broken off.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import sqlalchemy as sa
from msgspec import Raw, Struct
from sqlalchemy import Engine

from gateway.core.model import Millis
from gateway.errors import DatabaseUnavailable
from gateway.store import vault as vaults
from gateway.store.beside import PACE, Pace, batches, briefly, total
from gateway.store.tables import CertificateRow, OperatorRow, RegistryClaim, RegistryHistory, RegistryState, metadata
from gateway.store.vault import Number, Vault, VaultError
from gateway.store.writing import Progress

_KINDS: dict[str, Number] = {f"{what}_sealed": what for what in get_args(Number)}
"""Sealed columns, also by their names in the JSON of history and claims."""
_WHOLE_ROW = "row"
_PLACES = (
    (OperatorRow.__tablename__, "id_number_sealed"),
    (OperatorRow.__tablename__, "phone_sealed"),
    (CertificateRow.__tablename__, "number_sealed"),
    (RegistryHistory.__tablename__, _WHOLE_ROW),
    (RegistryClaim.__tablename__, _WHOLE_ROW),
)
_state = metadata.tables[RegistryState.__tablename__]
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_bytes = msgspec.json.Decoder(bytes | None).decode


class Resealed(Struct):
    """Rows gone over: sealed anew, changed by somebody else meanwhile, and such as no key opens."""

    rows: int = 0
    resealed: int = 0
    overtaken: int = 0
    unreadable: int = 0


class _Found(Struct):
    """A value of a sealed column: by which keys, and the same sealed with the newest."""

    versions: set[int]
    anew: bytes


def reseal(engine: Engine, vault: Vault, progress: Progress = lambda *_: None, pace: Pace = PACE) -> Resealed:
    """Seal everything with the newest key. Raises DatabaseUnavailable, VaultError."""
    done = Resealed()
    try:
        for table, column, found in _everything(engine, progress, pace):
            done.rows += len(found)
            changes = []
            for *key, sealed in found:
                value = _look(vault, column, sealed)
                done.unreadable += value is None
                if value is not None and value.versions - {vault.newest}:
                    changes.append((key, sealed, value.anew))
            if changes:
                written = _write(engine, table, column, changes, pace)
                done.resealed += written
                done.overtaken += len(changes) - written
    except sa.exc.DBAPIError as error:
        raise DatabaseUnavailable(f"sealing anew was broken off: {error.orig}; run it again, it goes on") from error
    return done


def _everything(
    engine: Engine, progress: Progress, pace: Pace
) -> Iterator[tuple[sa.Table, sa.Column[Any], list[tuple[Any, ...]]]]:
    """All that is sealed, in batches of (key, value)."""
    for name, column_name in _PLACES:
        table = metadata.tables[name]
        column, seen = table.c[column_name], 0
        rows = total(engine, table, column.is_not(None))
        for batch in batches(engine, table, [column], column.is_not(None), pace.rows):
            progress(f"{name}.{column_name}", seen, rows)
            seen += len(batch)
            yield table, column, [tuple(row) for row in batch]


def _write(
    engine: Engine, table: sa.Table, column: sa.Column[Any], changes: list[tuple[list[Any], bytes, bytes]], pace: Pace
) -> int:
    """How many of the rows still held what was read."""
    names = [key.name for key in table.primary_key.columns]
    statement = sa.update(table).where(column == sa.bindparam("read")).values({column.name: sa.bindparam("anew")})
    for name in names:
        statement = statement.where(table.c[name] == sa.bindparam(f"key_{name}"))
    rows = [
        {f"key_{name}": part for name, part in zip(names, key, strict=True)} | {"read": sealed, "anew": anew}
        for key, sealed, anew in changes
    ]
    with briefly(engine, pace) as connection:
        return connection.execute(statement, rows).rowcount


def _look(vault: Vault, column: sa.Column[Any], value: bytes) -> _Found | None:
    """None for what no key of the vault opens."""
    try:
        return _look_into(vault, value) if column.name == _WHOLE_ROW else _look_at(vault, _KINDS[column.name], value)
    except VaultError:
        return None


def _look_at(vault: Vault, what: Number, sealed: bytes) -> _Found:
    number, version = vault.opened(sealed, what)
    return _Found({version}, sealed if version == vault.newest else vault.seal(number, what))


def _look_into(vault: Vault, row: bytes) -> _Found:
    """The JSON of a whole row; whatever is not sealed stays to the byte."""
    found, members = _Found(set(), row), _members(row)
    for name, what in _KINDS.items():
        sealed = _bytes(members[name]) if name in members else None
        if sealed is not None:
            held = _look_at(vault, what, sealed)
            found.versions |= held.versions
            members[name] = Raw(msgspec.json.encode(held.anew))
    if found.versions - {vault.newest}:
        found.anew = msgspec.json.encode(members)
    return found


# --- retiring ---------------------------------------------------------------------------------------------------


def retire(engine: Engine, keys_dir: Path, version: int, now: Millis, progress: Progress = lambda *_: None) -> None:
    """Drop a key that nothing is sealed with any more. Raises VaultError, DatabaseUnavailable."""
    keys = vaults.keys_of(keys_dir)
    vaults.check_retirable(keys, version, now)
    try:
        _refuse_while_writing(engine)
        left = _sealed_with(engine, Vault(keys), version, progress)
    except sa.exc.DBAPIError as error:
        raise DatabaseUnavailable(f"no key was retired: {error.orig}; try again") from error
    if left:
        raise VaultError(
            f"version {version}: {left} rows are sealed with it; seal them anew first (weldgate registry reseal)"
        )
    vaults.retire(keys_dir, version, now)


def _refuse_while_writing(engine: Engine) -> None:
    """A change under way may put back rows that it has read before they were sealed anew."""
    with engine.connect() as connection:
        if connection.execute(sa.select(_state.c.writing).where(_state.c.writing.is_not(None))).first():
            raise VaultError("the registries are being written; retire a key when that has ended")


def _sealed_with(engine: Engine, vault: Vault, version: int, progress: Progress) -> int:
    left = 0
    for _, column, found in _everything(engine, progress, PACE):
        values = (_look(vault, column, row[-1]) for row in found)
        left += sum(value is not None and version in value.versions for value in values)
    return left
