"""JSON rows of a remote registry as entries, by the same readers as the registry files' cells."""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from gateway.registry.columns import KINDS, Column, Kind
from gateway.registry.reading import BadRow, LineReader, Plan
from gateway.registry.values import Unreadable, shown
from gateway.store.entries import Entry

KIND_OF = {kind.name: kind for kind in KINDS}
SHAPES_REMEMBERED = 64
"""Sets of fields whose readers are kept: the rows of one registry have a handful."""

Warn = Callable[[str, int, str], None]
"""Called with a registry's name, a row's number and what is odd about it."""
Fields = Mapping[str, str]
"""Their name of a field -> our column's."""
Values = Mapping[str, Mapping[str, str]]
"""Our column -> their value -> ours."""


class Rows:
    """Reads one registry's rows. A field that is null or empty is an unknown fact; one that is not there leaves what
    is on file as it is, as a column that a file does not have."""

    def __init__(self, origin: str, kind: Kind, fields: Fields, values: Values, warn: Warn) -> None:
        self._origin, self.kind, self._values, self._warn = f"{origin}/{kind.name}", kind, values, warn
        self._columns = {column.name: column for column in kind.columns}
        self._columns |= {column.chinese: column for column in kind.columns}
        self._columns |= {theirs: self._columns[ours] for theirs, ours in fields.items()}
        self._renamed = frozenset(fields)
        self._key = attrgetter(*kind.key)
        self._shapes: dict[tuple[str, ...], tuple[LineReader, tuple[tuple[str, Column], ...]]] = {}

    def read(self, rows: Sequence[object], first: int) -> tuple[list[Entry], list[BadRow]]:
        """The entries of one page's rows, numbered from ``first``, and what is wrong with the others. Where two rows of
        a page contradict each other, neither is taken."""
        entries: dict[Any, Entry] = {}
        bad: list[BadRow] = []
        contradicted = set()
        for number, row in enumerate(rows, first):
            read = self._row(number, row)
            if isinstance(read, list):
                bad += read
            elif entries.setdefault(key := self._key(read), read) != read:
                contradicted.add(key)
                reason = f"has the same {', '.join(self.kind.key)} as another row of its page, but other values"
                bad.append(BadRow(self._origin, number, None, "", f"{reason}; neither is taken"))
        return [entry for key, entry in entries.items() if key not in contradicted], bad

    def _row(self, number: int, row: object) -> Entry | list[BadRow]:
        if not isinstance(row, dict):
            return [BadRow(self._origin, number, None, "", "is no JSON object")]
        reader, named = self._shape(tuple(row), number)
        cells, bad = [], []
        for theirs, column in named:
            try:
                cells.append(self._cell(column, row.get(theirs)))
            except Unreadable as error:
                bad.append(BadRow(self._origin, number, column.name, "…", str(error)))
        return bad or reader.entry(number, cells)

    def _cell(self, column: Column, value: object) -> str:
        text = cell_text(value)
        return self._values.get(column.name, {}).get(text.strip(), text)

    def _shape(self, names: tuple[str, ...], number: int) -> tuple[LineReader, tuple[tuple[str, Column], ...]]:
        """The reader for rows with these fields, and which field goes into which column."""
        if names not in self._shapes:
            if len(self._shapes) >= SHAPES_REMEMBERED:
                self._shapes.clear()
            self._shapes[names] = self._new_shape(names, number)
        return self._shapes[names]

    def _new_shape(self, names: tuple[str, ...], number: int) -> tuple[LineReader, tuple[tuple[str, Column], ...]]:
        """Required columns are always among its columns, so that a row without one is a bad row."""
        ordered = sorted(names, key=self._renamed.__contains__)  # what is renamed wins over what has our name already
        found = {self._columns[name].name: name for name in ordered if name in self._columns}
        for name in names:
            if name not in self._columns:
                self._warn(self._origin, number, f"field {shown(name, personal=False)} is not known; passed over")
        columns = [column for column in self.kind.columns if column.required or column.name in found]
        plan = Plan(self.kind, tuple(enumerate(columns)), ())
        named = tuple((found.get(column.name, column.name), column) for column in columns)
        return LineReader(plan, self._origin, len(columns), self._warn), named


def cell_text(value: object) -> str:
    """A JSON value as it would stand in a registry file. Raises Unreadable.

    >>> cell_text(None), cell_text("a"), cell_text(7), cell_text(7.0), cell_text(True)
    ('', 'a', '7', '7', 'true')
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value).removesuffix(".0")
    raise Unreadable("is no text, number, true, false or null")
