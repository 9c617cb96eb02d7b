"""A database and keys of their own for each test, and writers for registry files."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gateway.registry.importer import Report, Store, import_files
from gateway.store.engine import open_engine
from gateway.store.vault import open_vault

NOW = 1_790_000_000_000
"""Unix milliseconds of the tests' first import."""

Write = Callable[..., Path]
Import = Callable[..., Report]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    engine = open_engine(f"sqlite:///{tmp_path}/gate.db")
    yield Store(engine, open_vault(tmp_path / "keys"))
    engine.dispose()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a CSV file of the first row's headers and the rows below them."""

    def write_csv(
        name: str, rows: Sequence[Sequence[str]], encoding: str = "utf-8", delimiter: str = ",", folder: str = "files"
    ) -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(rows)
        return path

    return write_csv


@pytest.fixture
def bring_in(store: Store) -> Import:
    """Imports files a second after the import before."""
    moments = iter(range(NOW, NOW + 10**9, 1000))
    return lambda *paths, **options: import_files(store, paths, next(moments), **options)
