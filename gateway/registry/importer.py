"""From registry files to the database: read everything, then take it in as one change or not at all."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Engine

from gateway.registry.files import registry_files
from gateway.registry.reading import BadRows, Collected, FileRead, Warned
from gateway.store.registry import LooseEnd, Progress, Summary, import_rows, loose_ends
from gateway.store.vault import Vault

SOURCE_LENGTH = 1024
"""Characters of a registry version's source."""


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
    store: Store, paths: Sequence[Path], now: int, *, skip_bad_rows: bool = False, progress: Progress = lambda *_: None
) -> Report:
    """Upsert the rows of files, or of a folder's CSV and XLSX files, in one transaction.

    With bad rows nothing is imported unless ``skip_bad_rows``. Raises RegistryFileError and DatabaseUnavailable.
    """
    collected = Collected()
    for path, named in _all_files(paths):
        collected.read(path, named=named, advance=partial(progress, f"read {path.name}"))
    report = Report(None, collected.files, collected.bad, collected.warnings, [])
    entries = collected.entries()
    if not entries or (collected.bad.lines and not skip_bad_rows):
        return report
    del collected  # and with it the tables of keys
    source = ", ".join(Path(file.file).name for file in report.files)[:SOURCE_LENGTH]
    summary = import_rows(store.engine, store.vault, entries, source, now, progress)
    return replace(report, summary=summary, loose_ends=loose_ends(store.engine))


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
