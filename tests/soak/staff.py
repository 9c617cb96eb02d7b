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
        tables["enterprises"].append([firm(number), f"企业{number}", county.DIVISION, "active"])
    for number in range(machines):
        born = f"{1970 + number // 1000}0607"
        id_number = county.id_number(number % 1000, born)
        tables["operators"].append([welder(number), f"人员{number}", id_number, "", "active"])
        tables["certificates"].append(county.certificate(welder(number), 0, number=f"T{id_number}"))
        tables["employments"].append([welder(number), firm(number), "2020-01-01", ""])
        tables["machines"].append([machine(number), "", firm(number), "fusion", county.DIVISION, "一车间", "active"])
    return county.write(folder, tables)


def without(folder: Path, firms: int) -> Path:
    """A file that stops the production of the first ``firms`` firms."""
    rows = [[firm(number), f"企业{number}", county.DIVISION, "production_suspended"] for number in range(firms)]
    return county.write(folder, {"enterprises": rows})
