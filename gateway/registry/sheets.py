"""Writing registry rows as CSV or XLSX files, with English or Chinese headers and values."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from openpyxl import Workbook

from gateway.errors import WeldGateError
from gateway.registry.columns import KINDS, Kind
from gateway.registry.sample import Tables

Format = Literal["csv", "xlsx"]
Append = Callable[[Sequence[Any]], object]


def write_files(tables: Iterable[Tables], folder: Path, *, form: Format = "csv", chinese: bool = False) -> list[Path]:
    """One file for each kind of registry into ``folder``, row by row; files of the same name are replaced.

    Raises WeldGateError where the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{kind.name}.{form}" for kind in KINDS]
        with ExitStack() as stack:
            sheets = [stack.enter_context(_SHEETS[form](path)) for path in paths]
            for kind, append in zip(KINDS, sheets, strict=True):
                append([column.chinese if chinese else column.name for column in kind.columns])
            for part in tables:
                for kind, append in zip(KINDS, sheets, strict=True):
                    for row in getattr(part, kind.name):
                        append(_in_chinese(kind, row) if chinese else row)
    except OSError as error:
        raise WeldGateError(f"{folder}: cannot be written: {error.strerror or error}; choose another --out") from error
    return paths


def _in_chinese(kind: Kind, row: Sequence[Any]) -> list[Any]:
    return [column.choices.get(value, value) for column, value in zip(kind.columns, row, strict=True)]


@contextmanager
def _csv(path: Path) -> Iterator[Append]:
    """UTF-8 with BOM, as Excel recognises it."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        yield csv.writer(file).writerow


@contextmanager
def _xlsx(path: Path) -> Iterator[Append]:
    """One sheet; dates as date cells, numbers as text."""
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet(path.stem)
    yield lambda row: sheet.append(list(row))
    workbook.save(path)


_SHEETS = {"csv": _csv, "xlsx": _xlsx}
