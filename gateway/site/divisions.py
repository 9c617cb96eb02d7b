"""Names of administrative divisions by their GB/T 2260 codes; ``data/README.md`` says where they are from."""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("data") / "divisions.csv"
LEVELS = (2, 4, 6, 9, 12)
"""Digits of a province's, prefecture's, county's, town's and village's code (GB/T 2260, GB/T 10114)."""


@cache
def names() -> Mapping[str, str]:
    """Chinese names of provinces, prefectures and counties by code."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return {row["code"]: row["name"] for row in csv.DictReader(file)}


def name_of(code: str) -> str:
    """The division's own name; the code where it has none on record, "" for everywhere.

    >>> name_of("330521"), name_of("990000"), name_of("330521001")
    ('德清县', '990000', '330521001')
    """
    return names().get(code, code)


def full_name(code: str) -> str:
    """From the prefecture on, as people say where a county is.

    >>> full_name("330521"), full_name("33"), full_name("330521001")
    ('湖州市德清县', '浙江省', '湖州市德清县330521001')
    """
    known = [names()[part] for part in lineage(code)[1:] if part in names()] or [name_of(code)]
    return "".join(known) + ("" if code in names() or known == [code] else code)


def lineage(code: str) -> tuple[str, ...]:
    """A division's code and those of what it lies in, the largest first.

    >>> lineage("330521"), lineage("3305"), lineage("")
    (('33', '3305', '330521'), ('33', '3305'), ())
    """
    return tuple(code[:digits] for digits in LEVELS if digits < len(code)) + ((code,) if code else ())


def digits_below(code: str) -> int:
    """How many digits the codes of the next level have.

    >>> digits_below(""), digits_below("33"), digits_below("330521")
    (2, 4, 9)
    """
    return next((digits for digits in LEVELS if digits > len(code)), LEVELS[-1])
