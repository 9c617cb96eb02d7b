"""Who stands at which machine: pairs from a registry's CSV files that every rule lets in."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

Row = dict[str, str]
_AGES = range(20, 60)
"""Narrower than any policy's: nobody here has a birthday that matters."""


@dataclass(frozen=True)
class Device:
    """One machine with the badge that is scanned at it."""

    machine_id: str
    badge: str


def made_up(count: int) -> list[Device]:
    """Devices for an echo, which asks no registry."""
    return [Device(f"BENCH-{number:05d}", f"P{number:06d}") for number in range(count)]


def from_registry(folder: Path, count: int) -> list[Device]:
    """``count`` devices, each with an operator of its own; raises ValueError when the registry has fewer."""
    devices = []
    for device in _sound_pairs(folder):
        devices.append(device)
        if len(devices) == count:
            return devices
    raise ValueError(f"{folder}: only {len(devices)} machines with a sound operator of their own, {count} are needed")


def _sound_pairs(folder: Path) -> Iterator[Device]:
    """In the order of the machines' file; an operator stands at one machine only."""
    tomorrow = datetime.now(ZoneInfo("Asia/Shanghai")).date() + timedelta(days=1)
    firms = {row["uscc"] for row in _rows(folder, "enterprises") if row["status"] == "active"}
    items = _certified(folder, tomorrow)
    staff: dict[str, list[str]] = {}
    adults = {row["operator_id"] for row in _rows(folder, "operators") if _sound_operator(row, tomorrow)}
    for row in _rows(folder, "employments"):
        if row["operator_id"] in adults and _covers(row["from"], row["until"], tomorrow):
            staff.setdefault(row["uscc"], []).append(row["operator_id"])
    for machine in _rows(folder, "machines"):
        if machine["status"] == "active" and machine["uscc"] in firms:
            yield from _place(machine, staff.get(machine["uscc"], []), items)


def _place(machine: Row, staff: list[str], items: dict[str, set[str]]) -> Iterator[Device]:
    """The first of the firm's people who may work at this machine and stands nowhere yet."""
    for badge in staff:
        if machine["process"] in items.get(badge, ()):
            del items[badge]
            yield Device(machine["machine_id"], badge)
            return


def _certified(folder: Path, day: date) -> dict[str, set[str]]:
    """The items that each operator holds a good certificate for."""
    items: dict[str, set[str]] = {}
    for row in _rows(folder, "certificates"):
        good = (row["status"], row["verification"]) == ("valid", "verified")
        if good and _covers(row["valid_from"], row["valid_until"], day) and _covers("", row["review_due"], day):
            items.setdefault(row["operator_id"], set()).add(row["item"])
    return items


def _sound_operator(row: Row, day: date) -> bool:
    born = row["id_number"][6:10]
    return row["status"] == "active" and born.isdecimal() and day.year - int(born) in _AGES


def _covers(first: str, last: str, day: date) -> bool:
    """Whether ISO days ``first`` to ``last`` hold yesterday to ``day``; an empty one is open."""
    today = (day - timedelta(days=1)).isoformat()
    return (not first or first <= today) and (not last or last >= day.isoformat())


def _rows(folder: Path, name: str) -> Iterator[Row]:
    with (folder / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)
