"""Recognising registry files by their headers, and reading their lines into entries, bad rows and warnings."""

import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct, field

from gateway.registry.columns import KINDS, Column, Kind
from gateway.registry.files import Advance, Broken, Cells, RegistryFileError, Sheet, open_sheet
from gateway.registry.values import Unreadable, shown
from gateway.store.entries import Entry

BAD_ROWS_KEPT = 1000
"""Bad cells held for the report; the others are only counted."""
_LINE_BITS = 32


class BadRow(Struct, frozen=True):
    """One thing wrong with one line; ``value`` is safe to show. ``column`` is None for the line as a whole."""

    file: str
    line: int
    column: str | None
    value: str
    reason: str

    def __str__(self) -> str:
        about = f"{self.column} = {self.value}: " if self.column else ""
        return f"{self.file}:{self.line}: {about}{self.reason}"


class Warned(Struct, frozen=True):
    """Something odd that is taken in all the same: where it shows first, and in how many lines."""

    file: str
    line: int
    what: str
    count: int

    def __str__(self) -> str:
        often = f" ({self.count} lines, this is the first)" if self.count > 1 else ""
        return f"{self.file}:{self.line}: {self.what}{often}"


class BadRows(Struct):
    """The first complaints in full, how many there are, and how many lines are not taken in because of them."""

    kept: list[BadRow] = field(default_factory=list)
    complaints: int = 0
    lines: int = 0

    def add(self, complaints: Sequence[BadRow], lines: int = 1) -> None:
        self.kept += complaints[: BAD_ROWS_KEPT - len(self.kept)]
        self.complaints += len(complaints)
        self.lines += lines


# --- recognising ------------------------------------------------------------------------------------------------


class Plan(Struct, frozen=True):
    """Which kind a file is, which cell goes into which column, and the headers that are passed over."""

    kind: Kind
    cells: tuple[tuple[int, Column], ...]
    extra: tuple[str, ...]


def recognise(headers: Sequence[str]) -> Plan:
    """The kind whose required columns are all there and that knows most of the headers. Raises Unreadable."""
    names = [unicodedata.normalize("NFKC", header).strip().strip("\ufeff").casefold() for header in headers]
    plans = [_plan(kind, names, headers) for kind in KINDS]
    fitting = [plan for plan in plans if plan.kind.required <= {column.name for _, column in plan.cells}]
    fitting.sort(key=lambda plan: len(plan.cells), reverse=True)
    if not fitting or (len(fitting) > 1 and len(fitting[0].cells) == len(fitting[1].cells)):
        raise Unreadable("its headers are those of no registry file" if not fitting else "could be two registry files")
    return fitting[0]


def _plan(kind: Kind, names: Sequence[str], headers: Sequence[str]) -> Plan:
    known = {column.name: column for column in kind.columns} | {column.chinese: column for column in kind.columns}
    cells = tuple((index, known[name]) for index, name in enumerate(names) if name in known)
    extra = tuple(header.strip() for header, name in zip(headers, names, strict=True) if name and name not in known)
    return Plan(kind, cells, extra)


def _refuse_twice(path: Path, plan: Plan) -> None:
    names = [column.name for _, column in plan.cells]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RegistryFileError(f"{path}: names a column twice: {', '.join(twice)}; keep one of them")


def expected_headers() -> str:
    """What the files must have, for an error message."""
    return "; ".join(f"{kind.name}: {', '.join(sorted(kind.required))}" for kind in KINDS)


# --- reading ----------------------------------------------------------------------------------------------------


class Table(Struct):
    """One kind's entries so far: ``origins`` holds file and line of each, ``places`` where each key stands."""

    kind: Kind
    key: Callable[[Entry], Any]
    entries: list[Entry] = field(default_factory=list)
    origins: "array[int]" = field(default_factory=lambda: array("Q"))
    places: dict[Any, int] = field(default_factory=dict)
    contradicted: set[int] = field(default_factory=set)


class FileRead(Struct, frozen=True):
    """One file that was read: its name, the table it belongs to, and its lines with something in them."""

    file: str
    table: str
    lines: int


class Collected:
    """Everything read from the files of one import."""

    def __init__(self) -> None:
        self.tables = {kind.name: Table(kind, attrgetter(*kind.key)) for kind in KINDS}
        self.files: list[FileRead] = []
        self.bad = BadRows()
        self._names: list[str] = []
        self._warned: dict[tuple[str, str], Warned] = {}

    @property
    def warnings(self) -> list[Warned]:
        return list(self._warned.values())

    def warn(self, file: str, line: int, what: str) -> None:
        """Counts a warning; only its first line is kept."""
        first = self._warned.get((file, what))
        self._warned[file, what] = Warned(file, first.line if first else line, what, first.count + 1 if first else 1)

    def entries(self) -> dict[str, list[Entry]]:
        """Entries by table name, each key once, without those that contradict each other."""
        return {name: _uncontradicted(table) for name, table in self.tables.items() if table.entries}

    def read(self, path: Path, *, named: bool, advance: Advance = lambda *_: None) -> None:
        """Take in one file. An unrecognised one is an error if it was ``named``, else a warning.

        Raises RegistryFileError.
        """
        with open_sheet(path, advance) as sheet:
            try:
                plan = recognise(sheet.headers)
            except Unreadable as error:
                found = ", ".join(shown(header, personal=False) for header in sheet.headers)
                if named:
                    raise RegistryFileError(f"{path}: {error} ({found}); needed are {expected_headers()}") from None
                self.warn(str(path), 1, f"{error} ({found}); passed over")
                return
            _refuse_twice(path, plan)
            self._names.append(str(path))
            for header in plan.extra:
                self.warn(str(path), 1, f"column {shown(header, personal=False)} is not known; passed over")
            self._take(plan, sheet)

    def _take(self, plan: Plan, sheet: Sheet) -> None:
        file, table, lines = self._names[-1], self.tables[plan.kind.name], 0
        for line, read in LineReader(plan, file, len(sheet.headers), self.warn).entries(sheet):
            lines += 1
            if isinstance(read, list):
                self.bad.add(read)
            else:
                self._keep(table, read, line)
        if not lines:
            self.warn(file, 1, "has no lines below its headers")
        self.files.append(FileRead(file, plan.kind.name, lines))

    def _keep(self, table: Table, entry: Entry, line: int) -> None:
        key, place = table.key(entry), len(table.entries)
        first = table.places.setdefault(key, place)
        if first == place:
            table.entries.append(entry)
            table.origins.append((len(self._names) - 1) << _LINE_BITS | line)
        elif entry == table.entries[first]:
            self.warn(self._names[-1], line, "repeats another line; counted once")
        else:
            self._contradiction(table, first, line)

    def _contradiction(self, table: Table, first: int, line: int) -> None:
        """Nobody can tell which of the two is right: neither is taken in."""
        file, origin = self._names[-1], table.origins[first]
        other = f"{self._names[origin >> _LINE_BITS]}:{origin & (1 << _LINE_BITS) - 1}"
        key = ", ".join(table.kind.key)
        bad = BadRow(file, line, None, "", f"has the same {key} as {other}, but other values; keep one of the two")
        self.bad.add([bad], 1 if first in table.contradicted else 2)
        table.contradicted.add(first)


def _uncontradicted(table: Table) -> list[Entry]:
    if not table.contradicted:
        return table.entries
    return [entry for place, entry in enumerate(table.entries) if place not in table.contradicted]


class LineReader:
    """Makes entries of lines of text cells; ``width`` is how many cells a line may have."""

    def __init__(self, plan: Plan, file: str, width: int, warn: Callable[[str, int, str], None]) -> None:
        self._kind, self._file, self._width, self._warn = plan.kind, file, width, warn
        self._cells = tuple((index, column.into, column.read, column) for index, column in plan.cells)
        self._doubts = tuple((column.into, column.doubt, column.name) for _, column in plan.cells if column.doubt)
        self._columns = {column.into: column.name for column in plan.kind.columns}

    def entries(self, sheet: Sheet) -> Iterator[tuple[int, Entry | list[BadRow]]]:
        for line, cells in sheet.lines:
            if isinstance(cells, Broken):
                yield line, [self._bad(line, None, "", cells.reason)]
            elif any(cells) and any(cell.strip() for cell in cells):
                yield line, self.entry(line, cells)

    def entry(self, line: int, cells: Cells) -> Entry | list[BadRow]:
        """The line's entry, or everything that is wrong with it."""
        values: dict[str, Any] = {}
        complaints = self._too_long(line, cells)
        for index, into, read, column in self._cells:
            text = cells[index].strip() if index < len(cells) else ""
            try:
                values[into] = read(text)
            except Unreadable as error:
                complaints.append(self._bad(line, column.name, shown(text, personal=column.personal), str(error)))
        if not complaints:
            complaints = self._periods(line, values) + self._checks(line, cells, values)
        if complaints:
            return complaints
        for into, doubt, name in self._doubts:
            if (value := values[into]) and (reason := doubt(value)):
                self._warn(self._file, line, f"{name} {reason}")
        return self._kind.entry(**values)

    def _bad(self, line: int, column: str | None, value: str, reason: str) -> BadRow:
        return BadRow(self._file, line, column, value, reason)

    def _too_long(self, line: int, cells: Cells) -> list[BadRow]:
        if len(cells) <= self._width or not any(cell.strip() for cell in cells[self._width :]):
            return []
        reason = f"has {len(cells)} cells under {self._width} headers; put a value that holds the delimiter in quotes"
        return [self._bad(line, None, "", reason)]

    def _checks(self, line: int, cells: Cells, values: dict[str, Any]) -> list[BadRow]:
        """What is wrong with a line as a whole, each at the column that has to be put right."""
        wrong = {into: reason for into, check in self._kind.checks if (reason := check(values)) is not None}
        return [
            self._bad(line, column.name, shown(cells[index].strip(), personal=column.personal), wrong[into])
            for index, into, _, column in self._cells
            if into in wrong
        ]

    def _periods(self, line: int, values: dict[str, Any]) -> list[BadRow]:
        """Fills in stand-in days; a last day before the first is a mistake."""
        for day, stand_in in self._kind.stand_ins:
            values[day] = values.get(day) or values.get(stand_in) or values.get(day, UNSET)
        bad = []
        for first, last in self._kind.periods:
            begin, end = values.get(first), values.get(last)
            if begin and end and end < begin:
                reason = f"is before the first day {begin} ({self._columns[first]})"
                bad.append(self._bad(line, self._columns[last], end.isoformat(), reason))
        return bad
