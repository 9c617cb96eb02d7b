"""From registry files to the database: read everything, then take it in as one change or not at all."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Engine

from gateway.registry.files import registry_files
from gateway.registry.reading import BadRows, Collected, FileRead, Warned
from gateway.store.changes import Origin
from gateway.store.entries import Entry
from gateway.store.registry import LooseEnd, apply_entries, loose_ends
from gateway.store.vault import Vault
from gateway.store.writing import PLAINLY, How, Summary

FILES = "files"
"""The source's name of what is imported from files."""


class Report(Struct, frozen=True):
    """What became of an import; ``summary`` is None where it was not made: for bad rows or for want of rows."""

    summary: Summary | None
    files: list[FileRead]
    bad: BadRows
    warnings: list[Warned]
    loose_ends: list[LooseEnd]


class Store(Struct, frozen=True):
    """The database and the keys for the personal numbers in it."""

    engine: Engine
    vault: Vault


def import_files(
    store: Store, paths: Sequence[Path], now: int, *, skip_bad_rows: bool = False, how: How = PLAINLY
) -> Report:
    """Upsert the rows of files, or of a folder's CSV and XLSX files, as one change.

    With bad rows nothing is imported unless ``skip_bad_rows``. Raises RegistryFileError, DatabaseUnavailable, UnderWay
    and Held.
    """
    report, entries = read_files(paths, how)
    if not entries or (report.bad.lines and not skip_bad_rows):
        return report
    summary = apply_entries(store.engine, store.vault, entries, origin(report, now), now, how)
    return replace(report, summary=summary, loose_ends=loose_ends(store.engine))


def read_files(paths: Sequence[Path], how: How = PLAINLY) -> tuple[Report, dict[str, list[Entry]]]:
    """What the files say, and what is wrong with them; nothing is written. Raises RegistryFileError."""
    collected = Collected()
    for path, named in _all_files(paths):
        collected.read(path, named=named, advance=partial(how.progress, f"read {path.name}"))
    return Report(None, collected.files, collected.bad, collected.warnings, []), collected.entries()


def origin(report: Report, now: int) -> Origin:
    """Files that somebody brings in speak as one source."""
    return Origin(FILES, ", ".join(Path(file.file).name for file in report.files), now)


def _all_files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Each file once, and whether it was named itself."""
    files: dict[Path, bool] = {}
    for path in paths:
        if path.is_dir():
            for file in registry_files(path):
                files.setdefault(file, False)
        else:
            files[path] = True
    return list(files.items())
