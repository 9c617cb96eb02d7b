"""What an import would change, for a person to look at before it is made; personal numbers are never shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.core.model import Millis
from gateway.registry.importer import Report, Store, read_files
from gateway.store.engine import reading
from gateway.store.guard import Shift, count_people
from gateway.store.history import Row
from gateway.store.registry import Difference, compare, differences, shift_of
from gateway.store.writing import PLAINLY, How

HIDDEN = ("change", "source", "born_on", "id_number_sealed", "phone_sealed", "number_sealed")
NUMBERS = {"id_number_index": "id_number", "phone_index": "phone", "number_index": "number"}
"""Columns that hold a number's keyed index: that it changes is shown, not what it is."""


class Preview(Struct, frozen=True):
    """``shift``: whose right to weld it would take or give, of ``people``; ``held``: the guard would hold it back."""

    report: Report
    differences: list[Difference]
    shift: Shift
    people: int
    held: bool


def preview(store: Store, paths: Sequence[Path], now: Millis, how: How = PLAINLY) -> Preview:
    """Compare files with what is held; nothing is written. Raises RegistryFileError."""
    report, entries = read_files(paths, how)
    engine = reading(store.engine)
    with engine.connect() as connection:
        wished = compare(connection, store.vault, entries, how.progress)
        people = count_people(connection)
    shift = shift_of(engine, wished, now)
    held = how.guard is not None and how.guard.holds(len(shift.losing), people)
    return Preview(report, list(differences(engine, wished)), shift, people, held)


def in_words(difference: Difference) -> str:
    """One line: what it is, and each field before and after.

    >>> in_words(Difference("operators", ("P1",), {"operator_id": "P1", "status": "active"}, {"status": "blocked"}))
    'operators P1: status active → blocked'
    """
    before, after = difference.before, difference.after
    name = f"{difference.kind} {_key(difference)}"
    if before is None:
        return f"{name}: 新增 new, {_fields(after)}"
    changed = [shown for field in after if (shown := _changed(field, before, after))]
    return f"{name}: {', '.join(changed)}"


def _key(difference: Difference) -> str:
    """A certificate by its masked number."""
    row = difference.before or difference.after
    key = (row.get("number_masked") or "…", *difference.key[1:]) if "number_index" in row else difference.key
    return " ".join(map(str, key))


def _changed(field: str, before: Row, after: Row) -> str:
    if field in HIDDEN or before.get(field) == after[field]:
        return ""
    if field in NUMBERS:
        return f"{NUMBERS[field]} 变更 changed"
    return f"{field} {_value(before.get(field))} → {_value(after[field])}"


def _fields(row: Row) -> str:
    shown = {name: value for name, value in row.items() if name not in (*HIDDEN, *NUMBERS) and value is not None}
    return ", ".join(f"{name} {_value(value)}" for name, value in shown.items())


def _value(value: Any) -> str:
    return "—" if value is None else str(value)
