"""The registry that a gateway has to be given for the kit: pairs of machine and welder in order, and all who are not.

Numbers have valid check digits and areas that do not exist; phone numbers begin with 129, which nobody has.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from stdnum.cn import ric, uscc

DIVISION = "990001"
PAIRS = 480
Row = Sequence[Any]
Tables = Mapping[str, Sequence[Row]]
COLUMNS = {
    "enterprises": ("uscc", "name", "division", "status"),
    "operators": ("operator_id", "name", "id_number", "phone", "status"),
    "certificates": (
        *("number", "operator_id", "category", "item", "issued_on", "valid_from", "valid_until"),
        *("review_due", "reviewed_on", "authority", "status", "verification"),
    ),
    "employments": ("operator_id", "uscc", "from", "until"),
    "machines": ("machine_id", "chip", "uscc", "process", "division", "location", "status"),
}
CATEGORY = "焊接与热切割作业"
EXPIRED_DAYS = (1, 27, 28, 29, 30, 31, 32, 59, 61, 364, 366, 730)
"""Days since the end of validity: a difference of calendar days or of months comes out wrong for some of them."""


def machine(number: int) -> str:
    return f"CK-{number:04}"


def serial(number: int) -> str:
    """What the chip of the machine reports."""
    return f"CK-CHIP-{number:04}"


def welder(number: int) -> str:
    return f"CKP{number:04}"


def expired_welder(days: int) -> str:
    return f"CKP-EXPIRED-{days}"


def firm(number: int) -> str:
    body = f"91990000{number:09}"
    return body + str(uscc.calc_check_digit(body))


FIRM, OTHER_FIRM, STOPPED = firm(901), firm(902), firm(903)
MACHINE_STOPPED, MACHINE_SUSPENDED, MACHINE_PRESSURE = "CK-STOPPED", "CK-SUSPENDED", "CK-PRESSURE"


def id_number(number: int) -> str:
    body = f"990000{1985 - number // 1000}0607{number % 1000:03}"
    return body + str(ric.calc_check_digit(body + "0"))


def tables(today: date, pairs: int = PAIRS) -> dict[str, list[Row]]:
    """The five files' rows, with so many pairs."""
    made: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for code, status in ((FIRM, "active"), (OTHER_FIRM, "active"), (STOPPED, "production_suspended")):
        made["enterprises"].append((code, "样例企业", DIVISION, status))
    for number in range(1, pairs + 1):
        made["machines"].append((machine(number), serial(number), FIRM, "fusion", DIVISION, "", "active"))
        _person(made, today, welder(number), number)
    for machine_id, code, process, status in (
        (MACHINE_STOPPED, STOPPED, "fusion", "active"),
        (MACHINE_SUSPENDED, FIRM, "fusion", "suspended"),
        (MACHINE_PRESSURE, FIRM, "pressure", "active"),
    ):
        made["machines"].append((machine_id, "", code, process, DIVISION, "", status))
    for number, (operator_id, trouble) in enumerate(_troubled(today), pairs + 20):
        _person(made, today, operator_id, number, **trouble)
    return made


def _troubled(today: date) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everybody with a trouble, and which."""
    past = today - timedelta(days=100)
    for days in EXPIRED_DAYS:
        yield expired_welder(days), {"valid_until": today - timedelta(days=days), "review_due": ""}
    yield "CKP-REVOKED", {"status": "revoked"}
    yield "CKP-FORGED", {"verification": "counterfeit"}
    yield "CKP-BLOCKED", {"operator": "blocked"}
    yield "CKP-STRANGER", {"employer": OTHER_FIRM}
    yield "CKP-PRESSURE", {"item": "pressure"}
    yield "CKP-WRONG-ITEM-LASTS", {"valid_until": past, "review_due": "", "second": "pressure"}
    yield "CKP-EVERYTHING", {"operator": "blocked", "valid_until": past, "status": "revoked", "employer": OTHER_FIRM}
    yield "CKP-LASTS", {"valid_until": today + timedelta(days=33), "review_due": ""}
    yield "CKP-REVOKED-SINCE", {"status": "revoked"}


def _person(made: dict[str, list[Row]], today: date, operator_id: str, number: int, **trouble: Any) -> None:
    status = trouble.pop("operator", "active")
    employer, second = trouble.pop("employer", FIRM), trouble.pop("second", None)
    made["operators"].append((operator_id, "样例", id_number(number), f"129{number:08}", status))
    made["employments"].append((operator_id, employer, today - timedelta(days=300), ""))
    made["certificates"].append(certificate(today, operator_id, number, **trouble))
    if second:
        made["certificates"].append(certificate(today, operator_id, number, item=second))


def certificate(today: date, operator_id: str, number: int, **other: Any) -> Row:
    """In order, unless ``other`` says something else."""
    cells: dict[str, Any] = {
        "number": f"T{id_number(number)}",
        "operator_id": operator_id,
        "category": CATEGORY,
        "item": "fusion",
        "valid_from": today - timedelta(days=1200),
        "valid_until": today + timedelta(days=900),
        "review_due": today + timedelta(days=300),
        "status": "valid",
        "verification": "verified",
    }
    return [(cells | other).get(column, "") for column in COLUMNS["certificates"]]


def write(folder: Path, made: Tables) -> Path:
    """Registry files with these rows; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in made.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS[name])
            writer.writerows(rows)
    return folder


def read(folder: Path) -> dict[str, list[Row]]:
    """The rows of files that ``write`` wrote; raises OSError, and ValueError for other files."""
    found: dict[str, list[Row]] = {}
    for name, columns in COLUMNS.items():
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        found[name] = list(rows)
        if tuple(header) != columns:
            raise ValueError(f"{folder / name}.csv is not a file of this kit")
    if machine(PAIRS) not in {row[0] for row in found["machines"]}:
        raise ValueError(f"{folder} is not this kit's county")
    return found


def revoked(made: Tables, *operator_ids: str) -> dict[str, list[Row]]:
    """The same county after these people's certificates were revoked."""
    place = COLUMNS["certificates"].index("status")
    changed = {name: list(rows) for name, rows in made.items()}
    changed["certificates"] = [
        [*row[:place], "revoked", *row[place + 1 :]] if row[1] in operator_ids else row for row in made["certificates"]
    ]
    return changed
