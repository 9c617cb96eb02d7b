"""What is true at a registry, and since when: plain dicts, kept by whoever makes the changes, blind to the gateway.

Each fact that changes has a history: from when on a value may be seen, and from when on it has to be.
"""

import csv
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from msgspec import Struct, field

Row = dict[str, str | None]
Fact = tuple[str, tuple[str, ...], str]
"""Registry, key of the row, column."""

KEYS = {
    "enterprises": ("uscc",),
    "operators": ("operator_id",),
    "certificates": ("number", "item"),
    "employments": ("operator_id", "uscc", "from"),
    "machines": ("machine_id",),
}
ABSENT = "absent"
"""Value of a fact whose row is not there."""


class Value(Struct):
    """One value of a fact. Unix ms: it may be seen from ``begun`` on, whoever reads the registry after ``done`` reads
    it, and no answer to a scan after ``due`` may rest on the one before; None: nobody has to know of it yet."""

    value: str | None
    begun: int = 0
    done: int = 0
    due: int | None = 0
    pushed: bool = False


class Change(Struct, frozen=True):
    """Rows that change together: by registry, each with its key and the columns that change."""

    kind: str
    rows: tuple[tuple[str, Row], ...]


class Truth:
    """The registries' rows, and the histories of what has changed in them."""

    def __init__(self, folder: Path) -> None:
        self.columns: dict[str, tuple[str, ...]] = {}
        self.rows: dict[str, dict[tuple[str, ...], Row]] = {}
        self._histories: dict[Fact, list[Value]] = {}
        self._of_person: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        for name in KEYS:
            with (folder / f"{name}.csv").open(encoding="utf-8-sig", newline="") as lines:
                reader = csv.DictReader(lines)
                self.columns[name] = tuple(reader.fieldnames or ())
                self.rows[name] = {}
                for row in reader:
                    self._add(name, {column: cell or None for column, cell in row.items()})

    def write(self, folder: Path) -> Path:
        """The rows as they are now, as registry files."""
        folder.mkdir(exist_ok=True)
        for name, rows in self.rows.items():
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, self.columns[name])
                writer.writeheader()
                writer.writerows(rows.values())
        return folder

    def take_out(self, operator_id: str) -> list[tuple[str, Row]]:
        """A person with everything about them, who is yet to come."""
        taken = [("operators", self.rows["operators"].pop((operator_id,)))]
        for name in ("certificates", "employments"):
            taken += [(name, self.rows[name].pop(key)) for key in self._of_person.pop((name, operator_id), [])]
        return taken

    def of(self, name: str, operator_id: str) -> list[Row]:
        return [self.rows[name][key] for key in self._of_person.get((name, operator_id), [])]

    # --- changes ------------------------------------------------------------------------------------------------

    def change(self, change: Change, now: int) -> list[Value]:
        """What may be seen from now on; ``done`` and ``due`` are for the caller to say."""
        begun = []
        for name, given in change.rows:
            key = tuple(str(given[column]) for column in KEYS[name])
            held = self.rows[name].get(key)
            for column in _WATCHED[name]:
                if held is None or (column in given and held[column] != given[column]):
                    history = self._history((name, key, column))
                    history.append(Value(given.get(column), now, now, None))
                    begun.append(history[-1])
            if held is None:
                self._add(name, dict.fromkeys(self.columns[name]) | given)
            else:
                held.update(given)
        return begun

    def _add(self, name: str, row: Row) -> None:
        key = tuple(str(row[column]) for column in KEYS[name])
        self.rows[name][key] = row
        if name in ("certificates", "employments"):
            self._of_person.setdefault((name, str(row["operator_id"])), []).append(key)

    def _history(self, fact: Fact) -> list[Value]:
        if fact not in self._histories:
            name, key, column = fact
            row = self.rows[name].get(key)
            self._histories[fact] = [Value(row[column] if row else ABSENT)]
        return self._histories[fact]

    # --- answers ------------------------------------------------------------------------------------------------

    def possible(self, machine_id: str, operator_id: str, today: str, since: int, until: int) -> set[bool]:
        """The answers that are right for a scan at ``since`` that was answered at ``until``: whether the person may
        weld there, by every state of the truth that the gateway may have had."""
        machine = self.rows["machines"][machine_id,]
        firm = str(machine["uscc"])
        general = (
            self._one_of("machines", (machine_id,), "status", since, until),
            self._one_of("enterprises", (firm,), "status", since, until),
            self._one_of("operators", (operator_id,), "status", since, until),
        )
        certified = _any(self._certified(operator_id, str(machine["process"]), today, since, until))
        employed = _any(self._employed(operator_id, firm, today, since, until))
        in_order = ({value == "active" for value in values} for values in general)
        return {all(each) for each in product(*in_order, certified, employed)}

    def latest(self, machine_id: str, operator_id: str, until: int) -> Value:
        """The last change before ``until`` that concerns the two."""
        values = [value for fact in self._facts(machine_id, operator_id) for value in self._histories.get(fact, ())]
        return max(
            (value for value in values if value.done <= until), key=lambda value: value.done, default=Value(None)
        )

    def _facts(self, machine_id: str, operator_id: str) -> Iterator[Fact]:
        yield "machines", (machine_id,), "status"
        yield "enterprises", (str(self.rows["machines"][machine_id,]["uscc"]),), "status"
        yield "operators", (operator_id,), "status"
        for name in ("certificates", "employments"):
            for key in self._of_person.get((name, operator_id), ()):
                yield from ((name, key, column) for column in _WATCHED[name])

    def _certified(self, operator_id: str, item: str, today: str, since: int, until: int) -> Iterator[set[bool]]:
        for row in self.of("certificates", operator_id):
            if row["item"] == item and _otherwise_in_order(row, today):
                key = (str(row["number"]), item)
                statuses = self._one_of("certificates", key, "status", since, until)
                ends = self._one_of("certificates", key, "valid_until", since, until)
                yield {status == "valid" and _not_over(end, today) for status, end in product(statuses, ends)}

    def _employed(self, operator_id: str, firm: str, today: str, since: int, until: int) -> Iterator[set[bool]]:
        for row in self.of("employments", operator_id):
            if row["uscc"] == firm and str(row["from"] or "") <= today:
                key = (operator_id, firm, str(row["from"]))
                yield {_not_over(end, today) for end in self._one_of("employments", key, "until", since, until)}

    def _one_of(self, name: str, key: tuple[str, ...], column: str, since: int, until: int) -> set[str | None]:
        history = self._histories.get((name, key, column))
        if history is None:
            row = self.rows[name].get(key)
            return {row[column] if row else ABSENT}
        first = max(place for place, value in enumerate(history) if value.due is not None and value.due <= since)
        return {value.value for value in history[first:] if value.begun <= until}


_WATCHED = {
    "enterprises": ("status",),
    "operators": ("status",),
    "certificates": ("status", "valid_until"),
    "employments": ("until",),
    "machines": ("status",),
}
"""Columns that change."""


def _not_over(end: str | None, today: str) -> bool:
    return end is None or (end != ABSENT and today <= end)


def _otherwise_in_order(row: Row, today: str) -> bool:
    due = row["review_due"]
    reviewed = due is None or today < due or bool(row["reviewed_on"])
    return row["verification"] == "verified" and str(row["valid_from"]) <= today and reviewed


def _any(each: Iterable[set[bool]]) -> set[bool]:
    """Whether any of them may be so, by every combination."""
    found = {False}
    for one in each:
        found = {a or b for a, b in product(found, one)}
    return found


class Waiting(Struct):
    """Changes that nobody pushed, until a pass has read them."""

    values: list[Value] = field(default_factory=list)

    def read(self, told: int, due: int) -> None:
        """Everything at the registry at ``told`` has been read, and has to count at ``due``."""
        for value in self.values:
            if value.done < told:
                value.due = due if value.due is None else min(value.due, due)
        self.values = [value for value in self.values if value.done >= told]
