"""A small made-up county: many welders and machines in order, and one of each kind that is not."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from stdnum.cn import ric, uscc

DIVISION = "330521"
PAIRS = 64
"""Machines ``HJ-0001`` and on, and welders ``P0001`` and on: any of these may weld at any of those."""
COLUMNS = {
    "enterprises": ("uscc", "name", "division", "status"),
    "operators": ("operator_id", "name", "id_number", "phone", "status"),
    "certificates": (
        *("number", "operator_id", "category", "item", "valid_from", "valid_until"),
        *("review_due", "reviewed_on", "status", "verification"),
    ),
    "employments": ("operator_id", "uscc", "from", "until"),
    "machines": ("machine_id", "chip", "uscc", "process", "division", "location", "status"),
}
Row = Sequence[Any]


def firm(number: int) -> str:
    """A credit code with a valid check digit and an area that does not exist."""
    body = f"91990000{number:09}"
    return body + str(uscc.calc_check_digit(body))


FIRM, STOPPED, UNLICENSED, CLOSED, UNREGISTERED = map(firm, range(1, 6))


def machine(number: int) -> str:
    return f"HJ-{number:04}"


def welder(number: int) -> str:
    return f"P{number:04}"


def id_number(serial: int, born: str = "19850607") -> str:
    """An ID number with a valid check digit and an area that does not exist."""
    body = f"990000{born}{serial:03}"
    return body + str(ric.calc_check_digit(body + "0"))


def certificate(operator_id: str, serial: int, item: str = "fusion", **other: Any) -> Row:
    """In order, unless ``other`` says something else."""
    today = date.today()  # noqa: DTZ011  (months away from any limit)
    cells = {
        "number": f"T{id_number(serial)}",
        "operator_id": operator_id,
        "category": "焊接与热切割作业",
        "item": item,
        "valid_from": today - timedelta(days=400),
        "valid_until": today + timedelta(days=1700),
        "review_due": today + timedelta(days=600),
        "status": "valid",
        "verification": "verified",
    }
    return [(cells | other).get(column, "") for column in COLUMNS["certificates"]]


def _ago(days: int) -> date:
    return date.today() - timedelta(days=days)  # noqa: DTZ011  (months away from any limit)


def rows() -> dict[str, list[Row]]:
    """The five registry files' rows."""
    tables: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    _firms_and_machines(tables)
    for number in range(1, PAIRS + 1):
        _person(tables, welder(number), number)
        tables["certificates"].append(certificate(welder(number), number))
    _troubled(tables)
    return tables


def _firms_and_machines(tables: dict[str, list[Row]]) -> None:
    for code, status in (
        (FIRM, "active"),
        (STOPPED, "production_suspended"),
        (UNLICENSED, "licence_suspended"),
        (CLOSED, "closed"),
    ):
        tables["enterprises"].append((code, "样例企业", DIVISION, status))
    for number in range(1, PAIRS + 1):
        tables["machines"].append((machine(number), f"WG-{number}", FIRM, "fusion", DIVISION, "一号车间", "active"))
    for machine_id, code, process, status in (
        ("HJ-STOPPED", STOPPED, "fusion", "active"),
        ("HJ-UNLICENSED", UNLICENSED, "fusion", "active"),
        ("HJ-CLOSED", CLOSED, "fusion", "active"),
        ("HJ-NO-FIRM", UNREGISTERED, "fusion", "active"),
        ("HJ-PRESSURE", FIRM, "pressure", "active"),
        ("HJ-SUSPENDED", FIRM, "fusion", "suspended"),
        ("HJ-SCRAP", FIRM, "fusion", "decommissioned"),
    ):
        tables["machines"].append((machine_id, "", code, process, DIVISION, "", status))


def _person(
    tables: dict[str, list[Row]], operator_id: str, serial: int, *, born: str = "19850607", status: str = "active"
) -> None:
    tables["operators"].append((operator_id, "样例甲", id_number(serial, born), f"129{serial:08}", status))
    tables["employments"].append((operator_id, FIRM, _ago(300), ""))


_TROUBLED_CERTIFICATES: dict[str, dict[str, Any]] = {
    "P-EXPIRED": {"valid_until": _ago(100)},
    "P-OVERDUE": {"review_due": _ago(100)},
    "P-NOT-YET": {"valid_from": _ago(-100)},
    "P-SUSPENDED": {"status": "suspended"},
    "P-REVOKED": {"status": "revoked"},
    "P-FORGED": {"verification": "counterfeit"},
    "P-UNVERIFIED": {"verification": "unverified"},
    "P-PRESSURE": {"item": "pressure"},
    "P-EVERYTHING": {"valid_until": _ago(100), "review_due": _ago(200), "status": "revoked"},
}


def _troubled(tables: dict[str, list[Row]]) -> None:
    for serial, (operator_id, wrong) in enumerate(_TROUBLED_CERTIFICATES.items(), 500):
        status = "blocked" if operator_id == "P-EVERYTHING" else "active"
        _person(tables, operator_id, serial, status=status)
        tables["certificates"].append(certificate(operator_id, serial, **wrong))
    _person(tables, "P-NONE", 600)
    for serial, operator_id, status, born in (
        (601, "P-BLOCKED", "blocked", "19850607"),
        (602, "P-OLD", "active", "19400607"),
        (603, "P-NEVER", "active", "19850607"),
        (604, "P-LEFT", "active", "19850607"),
        (605, "P-UNLISTED", "active", "19850607"),
    ):
        _person(tables, operator_id, serial, born=born, status=status)
        tables["certificates"].append(certificate(operator_id, serial))
    employments = tables["employments"]
    employments[:] = [row for row in employments if row[0] not in ("P-NEVER", "P-LEFT")]
    employments.append(("P-LEFT", FIRM, _ago(300), _ago(100)))
    tables["operators"][:] = [row for row in tables["operators"] if row[0] != "P-UNLISTED"]


def write(folder: Path, tables: Mapping[str, Sequence[Row]]) -> Path:
    """Registry files with these rows; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in tables.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS[name])
            writer.writerows(lines)
    return folder
