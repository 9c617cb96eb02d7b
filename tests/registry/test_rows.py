"""JSON rows are read as the files' lines are: null is unknown, absent says nothing, and a bad value names itself."""

from datetime import date
from typing import Any

import pytest
from msgspec import UNSET

from gateway.registry.reading import BadRow
from gateway.registry.rows import KIND_OF, Rows
from gateway.store.entries import CertificateEntry, EmploymentEntry, Entry, OperatorEntry
from tests.registry.people import ANNA, BERT, FIRM

CERTIFICATE = {
    "number": f"T{ANNA}",
    "operator_id": "P-1",
    "item": "fusion",
    "valid_until": "2030-01-01",
    "status": "valid",
}


def read(
    kind: str, *rows: object, fields: dict[str, str] | None = None, values: Any = None
) -> tuple[list[Entry], list[BadRow], list[str]]:
    warned: list[str] = []
    reader = Rows(
        "province", KIND_OF[kind], fields or {}, values or {}, lambda _, row, what: warned.append(f"{row} {what}")
    )
    entries, bad = reader.read(rows, 1)
    return entries, bad, warned


def entry(kind: str, row: object, **how: Any) -> Entry:
    entries, bad, _ = read(kind, row, **how)
    assert bad == []
    return entries[0]


def reason(kind: str, *rows: object, **how: Any) -> str:
    entries, (bad, *more), _ = read(kind, *rows, **how)
    assert (entries, more) == ([], [])
    return str(bad)


def test_what_is_not_there_says_nothing_and_null_says_that_nobody_knows() -> None:
    assert entry("operators", {"operator_id": "P-1", "status": "active", "name": None}) == OperatorEntry(
        "P-1", "active", None, UNSET, UNSET
    )


def test_the_columns_own_rules_hold() -> None:
    read = entry("certificates", {**CERTIFICATE, "issued_on": "2024/1/2", "verification": None})
    assert isinstance(read, CertificateEntry)
    assert (read.issued_on, read.valid_from, read.verification) == (date(2024, 1, 2), date(2024, 1, 2), "unverified")


def test_chinese_fields_and_values_are_understood() -> None:
    assert entry("operators", {"人员编号": "P-1", "状态": "禁止"}) == OperatorEntry("P-1", "blocked")


def test_fields_and_values_of_the_source_are_translated() -> None:
    row = {"person": 17, "firm": FIRM, "start": "20000", "left": "-"}
    fields = {"person": "operator_id", "firm": "uscc", "start": "from", "left": "until"}
    read = entry("employments", row, fields=fields, values={"until": {"-": ""}})
    assert read == EmploymentEntry("17", FIRM, date(1954, 10, 3), None)


def test_true_and_numbers_are_values_too() -> None:
    values = {"status": {"true": "blocked", "0": "active"}}
    rows = [{"operator_id": "P-1", "status": True}, {"operator_id": "P-2", "status": 0}]
    entries, bad, _ = read("operators", *rows, values=values)
    assert (bad, [row.status for row in entries if isinstance(row, OperatorEntry)]) == ([], ["blocked", "active"])


def test_what_the_source_renames_wins_over_what_has_our_name() -> None:
    row = {"id": "P-1", "operator_id": "77", "status": "active"}
    assert entry("operators", row, fields={"id": "operator_id"}) == OperatorEntry("P-1", "active")


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("P-1", "is no JSON object"),
        ({"operator_id": "P-1"}, "status = : is empty"),
        ({"operator_id": "P-1", "status": "gone"}, "status = gone: is none of"),
        ({"operator_id": "P-1", "status": ["active"]}, "status = …: is no text"),
        ({"operator_id": "P-1", "status": {"id": 1}}, "status = …: is no text"),
        ({"operator_id": "P-1", "status": "active", "id_number": ANNA[:-1] + "Y"}, "id_number = "),
    ],
)
def test_a_bad_value_is_named(row: object, named: str) -> None:
    told = reason("operators", row)
    assert told.startswith("province/operators:1: ")
    assert named in told
    assert ANNA[:-1] not in told


def test_two_rows_of_a_page_that_contradict_each_other_are_taken_neither() -> None:
    revoked = {**CERTIFICATE, "status": "revoked"}
    assert "contradict" not in reason("certificates", CERTIFICATE, revoked)
    assert "same number, item as another row" in reason("certificates", CERTIFICATE, revoked)


def test_the_same_row_twice_is_one() -> None:
    entries, bad, _ = read("certificates", CERTIFICATE, dict(reversed(CERTIFICATE.items())))
    assert (len(entries), bad) == (1, [])


def test_fields_that_nobody_knows_are_passed_over_and_told_once() -> None:
    rows = [{"operator_id": number, "status": "active", "photo": "…"} for number in ("P-1", "P-2")]
    entries, _, warned = read("operators", *rows)
    assert (len(entries), warned) == (2, ["1 field photo is not known; passed over"])


def test_what_looks_odd_is_told() -> None:
    _, _, warned = read("certificates", {**CERTIFICATE, "number": "2020-17"}, {**CERTIFICATE, "number": f"T{BERT}"})
    assert warned == ["1 number is not in the usual style T + ID number"]
