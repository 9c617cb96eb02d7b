"""A county in which everybody is in order: as many welders as machines, spread over its firms."""

from pathlib import Path

from tests.service import county

MACHINES, FIRMS = 1603, 660
"""The first user's county."""


def machine(number: int) -> str:
    return f"HJ-{number:05}"


def welder(number: int) -> str:
    return f"P{number:05}"


def firm(number: int) -> str:
    """The credit code of the firm of machine and welder ``number``."""
    return county.firm(10 + number % FIRMS)


def write(folder: Path, machines: int = MACHINES) -> Path:
    """The five registry files; welder N may weld at machine N."""
    tables: dict[str, list[county.Row]] = {name: [] for name in county.COLUMNS}
    for number in range(min(FIRMS, machines)):
        tables["enterprises"].append(_enterprise(number))
    for number in range(machines):
        tables["operators"].append(_operator(number))
        tables["certificates"].append(_certificate(number))
        tables["employments"].append([welder(number), firm(number), "2020-01-01", ""])
        tables["machines"].append(_machine(number))
    return county.write(folder, tables)


def stopped_firms(folder: Path, firms: int) -> Path:
    """A file that stops the production of the first ``firms`` firms."""
    return county.write(
        folder, {"enterprises": [_enterprise(number, "production_suspended") for number in range(firms)]}
    )


def blocked_welder(folder: Path, number: int) -> Path:
    return county.write(folder, {"operators": [_operator(number, "blocked")]})


def revoked_certificate(folder: Path, number: int) -> Path:
    return county.write(folder, {"certificates": [_certificate(number, status="revoked")]})


def suspended_machine(folder: Path, number: int) -> Path:
    return county.write(folder, {"machines": [_machine(number, "suspended")]})


def _enterprise(number: int, status: str = "active") -> county.Row:
    return [firm(number), f"企业{number}", county.DIVISION, status]


def _operator(number: int, status: str = "active") -> county.Row:
    return [welder(number), f"人员{number}", _id_number(number), "", status]


def _certificate(number: int, **other: str) -> county.Row:
    return county.certificate(welder(number), 0, number=f"T{_id_number(number)}", **other)


def _machine(number: int, status: str = "active") -> county.Row:
    return [machine(number), "", firm(number), "fusion", county.DIVISION, "一车间", status]


def _id_number(number: int) -> str:
    return county.id_number(number % 1000, f"{1970 + number // 1000}0607")
