"""The registries that the service serves: rows as the files have them, in the order in which they last changed."""

import csv
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct, field

from simulator.registry import FILES, RegistryFileError

Row = dict[str, str | None]
"""One row by its column's English name; None is unknown."""
Key = tuple[str | None, ...]

KEYS: dict[str, tuple[str, ...]] = {
    "enterprises": ("uscc",),
    "operators": ("operator_id",),
    "certificates": ("number", "item"),
    "employments": ("operator_id", "uscc", "from"),
    "machines": ("machine_id",),
    "permits": ("permit_id", "operator_id", "machine_id"),
    "work_hours": ("uscc", "machine_id", "days", "from"),
}
OF_A_PERSON = ("certificates", "employments")


class ChangeError(Exception):
    """A row cannot be put into a registry; the message names registry, field and remedy."""


class Slice(Struct, frozen=True):
    """Rows in the order in which they last changed; ``last`` is the number of the last one's change."""

    rows: list[Row]
    last: int
    more: bool


class Table(Struct):
    """One registry. ``numbers``, ``moments`` and ``keys`` tell of each change: its number, when (Unix ms), of what; the
    latest of a row counts."""

    name: str
    columns: tuple[str, ...]
    rows: dict[Key, Row] = field(default_factory=dict)
    latest: dict[Key, int] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    persons: dict[str, list[Key]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        return self.numbers[-1] if self.numbers else 0

    def key(self, row: Mapping[str, str | None]) -> Key:
        return tuple(row.get(name) for name in KEYS[self.name])

    def put(self, row: Row, at: int) -> Row | None:
        """Add or replace a row; what was there before."""
        key = self.key(row)
        before = self.rows.get(key)
        if before is None and self.name in OF_A_PERSON:
            self.persons.setdefault(row["operator_id"] or "", []).append(key)
        self.rows[key] = row
        self.latest[key] = number = self.version + 1
        self.numbers.append(number)
        self.moments.append(max(at, self.moments[-1] if self.moments else at))
        self.keys.append(key)
        return before

    def slice(self, after: int, since: int | None, limit: int) -> Slice:
        """At most ``limit`` rows whose last change has a number above ``after`` and was at ``since`` or later."""
        start = bisect_right(self.numbers, after)
        if since is not None:
            start = max(start, bisect_left(self.moments, since))
        rows: list[Row] = []
        last = after
        for place in range(start, len(self.numbers)):
            key, number = self.keys[place], self.numbers[place]
            if self.latest[key] != number:
                continue
            if len(rows) == limit:
                return Slice(rows, last, more=True)
            rows.append(self.rows[key])
            last = number
        return Slice(rows, last, more=False)

    def of(self, operator_id: str) -> list[Row]:
        return [self.rows[key] for key in self.persons.get(operator_id, ())]

    def copy(self) -> "Table":
        """As it is now, whatever becomes of it."""
        lists = (self.numbers.copy(), self.moments.copy(), self.keys.copy())
        persons = {person: keys.copy() for person, keys in self.persons.items()}
        return Table(self.name, self.columns, self.rows.copy(), self.latest.copy(), *lists, persons)


class County:
    """All registries of a folder."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self.tables = {table.name: table for table in tables}

    def copy(self) -> "County":
        return County(table.copy() for table in self.tables.values())

    def person(self, operator_id: str) -> dict[str, Row | list[Row] | None] | None:
        """Everything about one person; None for nobody."""
        operator = self.tables["operators"].rows.get((operator_id,))
        known = {name: self.tables[name].of(operator_id) for name in OF_A_PERSON}
        return {"operator": operator, **known} if operator or any(known.values()) else None

    def change(self, registry: str, given: Mapping[str, str | None], at: int) -> tuple[Row | None, Row]:
        """Put fields into the row that their key names, or add it: the row before and after. Raises ChangeError."""
        table = self.tables.get(registry)
        if table is None:
            raise ChangeError(f"{registry}: is no registry here; use one of {', '.join(self.tables)}")
        for name in given:
            if name not in table.columns:
                raise ChangeError(f"{registry}.{name}: is no column; use one of {', '.join(table.columns)}")
        for name in KEYS[registry]:
            if name not in given:
                raise ChangeError(f"{registry}.{name}: is missing; it belongs to the key")
        held = table.rows.get(table.key(given), dict.fromkeys(table.columns))
        row = {**held, **given}
        return table.put(row, at), row


def load(folder: Path, at: int) -> County:
    """The CSV files of ``folder``; the five registries have to be there. Raises RegistryFileError."""
    names = [name for name in KEYS if name in FILES or (folder / f"{name}.csv").is_file()]
    return County(_table(folder / f"{name}.csv", name, at) for name in names)


def _table(path: Path, name: str, at: int) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            table = Table(name, tuple(reader.fieldnames or ()))
            missing = [column for column in KEYS[name] if column not in table.columns]
            if missing:
                raise RegistryFileError(f"{path}: no column {missing[0]!r}; use the English headers of the sample")
            for row in _rows(reader):
                table.put(row, at)
    except OSError as error:
        raise RegistryFileError(f"{path}: {error.strerror}; --registry needs {', '.join(FILES)} as .csv") from error
    except UnicodeDecodeError as error:
        raise RegistryFileError(f"{path}: not UTF-8; save it as CSV in UTF-8") from error
    return table


def _rows(reader: "csv.DictReader[str]") -> Iterator[Row]:
    for row in reader:
        yield {name: value.strip() or None for name, value in row.items() if name and value is not None}
