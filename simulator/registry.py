"""The registry files as the simulator reads them: five CSV files with English headers.

Deliberately small and on its own: what the gateway makes of the same files is what the simulator is there to check.
"""

import csv
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from gateway.core.model import CertificateStatus, EnterpriseStatus, MachineStatus, OperatorStatus, Process, Verification

Row = dict[str, str]
FILES = ("enterprises", "operators", "certificates", "employments", "machines")

T = TypeVar("T")


class Machine(Struct, frozen=True):
    machine_id: str
    chip: str | None
    uscc: str
    process: Process
    status: MachineStatus


class Enterprise(Struct, frozen=True):
    uscc: str
    status: EnterpriseStatus


class Operator(Struct, frozen=True):
    operator_id: str
    born_on: date | None
    status: OperatorStatus


class Certificate(Struct, frozen=True):
    """One row: a number carries one row per item."""

    item: Process
    valid_from: date | None
    valid_until: date
    review_due: date | None
    reviewed_on: date | None
    status: CertificateStatus
    verification: Verification


class Employment(Struct, frozen=True):
    """First and last day count; None is open."""

    uscc: str
    since: date | None
    until: date | None


class RegistryFileError(Exception):
    """A registry file is missing or cannot be read; the message names file, line, value and remedy."""


class Registry(Struct):
    """What the files say, keyed by id; certificates and employments by the person's id."""

    machines: dict[str, Machine] = field(default_factory=dict)
    enterprises: dict[str, Enterprise] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)
    certificates: dict[str, list[Certificate]] = field(default_factory=dict)
    employments: dict[str, list[Employment]] = field(default_factory=dict)

    def names(self, text: str) -> bool:
        """Whether a scanned text is the badge of somebody on record."""
        return text in self.operators or text in self.certificates or text in self.employments


def load(folder: Path) -> Registry:
    """The five files of ``folder``; raises RegistryFileError."""
    registry = Registry()
    registry.enterprises = {firm.uscc: firm for firm in _read(folder, "enterprises", _enterprise)}
    registry.operators = {person.operator_id: person for person in _read(folder, "operators", _operator)}
    registry.machines = {machine.machine_id: machine for machine in _read(folder, "machines", _machine)}
    for operator_id, certificate in _read(folder, "certificates", _certificate):
        registry.certificates.setdefault(operator_id, []).append(certificate)
    for operator_id, employment in _read(folder, "employments", _employment):
        registry.employments.setdefault(operator_id, []).append(employment)
    return registry


def _read(folder: Path, name: str, parse: Callable[[Row], T]) -> Iterator[T]:
    path = folder / f"{name}.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            for row in reader:
                yield _parsed(path, reader.line_num, parse, row)
    except OSError as error:
        raise RegistryFileError(f"{path}: {error.strerror}; --registry needs {', '.join(FILES)} as .csv") from error
    except UnicodeDecodeError as error:
        raise RegistryFileError(f"{path}: not UTF-8; save it as CSV in UTF-8") from error


def _parsed(path: Path, line: int, parse: Callable[[Row], T], row: Row) -> T:
    try:
        return parse({name: (value or "").strip() for name, value in row.items() if name})
    except KeyError as error:
        raise RegistryFileError(f"{path}: no column {error}; use the English headers of the sample") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise RegistryFileError(f"{path}, line {line}: {error}; correct the row") from error


def _enterprise(row: Row) -> Enterprise:
    return _struct(Enterprise, uscc=row["uscc"], status=row["status"] or "active")


def _operator(row: Row) -> Operator:
    born_on = birth_date(row["id_number"])
    return _struct(Operator, operator_id=row["operator_id"], born_on=born_on, status=row["status"] or "active")


def _machine(row: Row) -> Machine:
    return _struct(
        Machine,
        machine_id=row["machine_id"],
        chip=row["chip"] or None,
        uscc=row["uscc"],
        process=row["process"],
        status=row["status"] or "active",
    )


def _certificate(row: Row) -> tuple[str, Certificate]:
    """An unknown start of validity is the day of issue; an unknown verification has not taken place."""
    certificate = _struct(
        Certificate,
        item=row["item"],
        valid_from=_day(row["valid_from"]) or _day(row["issued_on"]),
        valid_until=_day(row["valid_until"]),
        review_due=_day(row["review_due"]),
        reviewed_on=_day(row["reviewed_on"]),
        status=row["status"] or "valid",
        verification=row["verification"] or "unverified",
    )
    return row["operator_id"], certificate


def _employment(row: Row) -> tuple[str, Employment]:
    return row["operator_id"], Employment(row["uscc"], _day(row["from"]), _day(row["until"]))


def _struct(kind: type[T], **values: Any) -> T:
    return msgspec.convert(values, kind)


def _day(text: str) -> date | None:
    """``YYYY-MM-DD`` or ``YYYY/M/D``; empty is unknown."""
    if not text:
        return None
    year, month, day = text.replace("/", "-").split("-")
    return date(int(year), int(month), int(day))


def birth_date(id_number: str) -> date | None:
    """The birth date in an 18-character ID number (GB 11643); None where there is none.

    >>> birth_date("990000199002300012") is None
    True
    """
    digits = id_number[6:14]
    if len(id_number) != 18 or not digits.isdecimal():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
