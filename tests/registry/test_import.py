"""Bringing registry files in: all or nothing, upsert by key, versions, freshness."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.core.model import Certificate, Employment, Machine, Operator
from gateway.registry.files import RegistryFileError
from gateway.registry.importer import Report, Store, import_files
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.store.changes import current_version, read_state
from gateway.store.engine import reading
from gateway.store.readers import rows_between
from gateway.store.vault import VaultError, open_vault
from gateway.store.writing import Counts, How
from tests.registry import people
from tests.registry.conftest import NOW, Import, Write


def counts(report: Report) -> dict[str, tuple[int, int, int]]:
    assert report.summary is not None
    return {name: (each.added, each.changed, each.unchanged) for name, each in report.summary.counts.items()}


def state(store: Store) -> tuple[int, int] | None:
    with reading(store.engine).connect() as connection:
        found = read_state(connection)
        return (found.version, found.confirmed_at) if found else None


def known(store: Store, since: int = 0) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with reading(store.engine).connect() as connection:
        for table, rows in rows_between(connection, since, current_version(connection)):
            found.setdefault(table, []).extend(rows)
    return found


def stored(store: Store, query: str) -> list[tuple[Any, ...]]:
    with reading(store.engine).connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.fixture
def county(write: Write) -> Path:
    for name, rows in people.FILES.items():
        path = write(f"{name}.csv", rows)
    return path.parent


def test_a_first_import_adds_every_row_as_version_1(store: Store, county: Path, bring_in: Import) -> None:
    report = bring_in(county)
    assert counts(report) == {
        "enterprises": (1, 0, 0),
        "operators": (2, 0, 0),
        "certificates": (2, 0, 0),
        "employments": (2, 0, 0),
        "machines": (1, 0, 0),
    }
    assert state(store) == (1, NOW)
    assert stored(store, "SELECT version, at, added, changed FROM registry_changes") == [(1, NOW, 8, 0)]


def test_the_same_files_again_change_nothing_but_confirm_the_registries(
    store: Store, county: Path, bring_in: Import
) -> None:
    bring_in(county)
    before = stored(store, "SELECT * FROM operators") + stored(store, "SELECT * FROM certificates")
    report = bring_in(county)
    assert report.summary is not None
    assert report.summary.touched == 0
    assert report.summary.counts["operators"] == Counts(0, 0, 2)
    assert state(store) == (1, NOW + 1000)
    assert stored(store, "SELECT * FROM operators") + stored(store, "SELECT * FROM certificates") == before


def test_a_changed_row_alone_gets_the_new_version(store: Store, county: Path, bring_in: Import, write: Write) -> None:
    bring_in(county)
    write("operators.csv", [people.OPERATORS[0], ["P-1", "样例甲", people.ANNA, people.PHONE, "blocked"]])
    report = bring_in(county / "operators.csv")
    assert counts(report) == {"operators": (0, 1, 0)}
    assert known(store, since=1) == {"operators": [Operator("P-1", date(1990, 1, 1), "blocked")]}


def test_a_certificate_of_a_moment_ago_is_all_that_the_next_version_holds(
    store: Store, county: Path, bring_in: Import, write: Write
) -> None:
    bring_in(county)
    new = [f"T{people.BERT}", "P-2", "fusion", "2031-06-30", "valid", "verified"]
    bring_in(write("new.csv", [people.CERTIFICATES[0], new]))
    [(_, operator_id, certificate)] = known(store, since=1)["certificates"]
    assert operator_id == "P-2"
    assert (certificate.item, certificate.valid_until, certificate.status) == ("fusion", date(2031, 6, 30), "valid")


def test_what_the_core_reads_back(store: Store, county: Path, bring_in: Import) -> None:
    bring_in(county)
    found = known(store)
    assert found["machines"] == [Machine("HJ-0001", "C-1", people.FIRM, "fusion", "330521", "active")]
    assert found["operators"][1] == Operator("P-2", date(1990, 1, 1), "blocked")
    assert ("P-1", Employment(people.FIRM, None, None)) in found["employments"]
    certificate = found["certificates"][0][2]
    assert isinstance(certificate, Certificate)
    assert certificate.number == "*" * 15 + people.ANNA[-4:]


def test_personal_numbers_are_only_kept_sealed(store: Store, county: Path, tmp_path: Path, bring_in: Import) -> None:
    bring_in(county)
    with store.engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("gate.db*"))
    for number in (people.ANNA, people.BERT, people.PHONE):
        assert number.encode() not in on_disk
    [(sealed,)] = stored(store, "SELECT id_number_sealed FROM operators WHERE operator_id = 'P-1'")
    assert store.vault.open(sealed, "id_number") == people.ANNA


def test_a_bad_row_keeps_everything_out(store: Store, county: Path, bring_in: Import, write: Write) -> None:
    write("machines.csv", [*people.MACHINES, ["HJ-0002", "", people.FIRM, "glueing", "330521", "", "active"]])
    report = bring_in(county)
    assert report.summary is None
    [bad] = report.bad.kept
    assert (bad.line, bad.column, bad.value) == (3, "process", "glueing")
    assert state(store) is None
    assert known(store) == {}


def test_bad_rows_can_be_left_out(store: Store, county: Path, bring_in: Import, write: Write) -> None:
    write("machines.csv", [*people.MACHINES, ["HJ-0002", "", people.FIRM, "glueing", "330521", "", "active"]])
    report = bring_in(county, skip_bad_rows=True)
    assert counts(report)["machines"] == (1, 0, 0)
    assert report.bad.lines == 1


def test_a_missing_column_says_nothing_and_an_empty_cell_says_unknown(
    store: Store, county: Path, bring_in: Import, write: Write
) -> None:
    bring_in(county)
    bring_in(write("short.csv", [["operator_id", "status"], ["P-1", "blocked"]]))
    query = "SELECT name, id_number_index IS NULL, phone_sealed IS NULL FROM operators WHERE operator_id = 'P-1'"
    assert stored(store, query) == [("样例甲", 0, 0)]
    bring_in(write("empty.csv", [["operator_id", "status", "phone"], ["P-1", "blocked", ""]]))
    assert stored(store, query) == [("样例甲", 0, 1)]


def test_verification_is_unverified_where_empty_and_as_before_where_the_column_is_missing(
    store: Store, county: Path, bring_in: Import, write: Write
) -> None:
    bring_in(county)
    rows = [row[:5] for row in people.CERTIFICATES]
    assert counts(bring_in(write("fewer.csv", rows))) == {"certificates": (0, 0, 2)}
    rows = [people.CERTIFICATES[0], [*people.CERTIFICATES[1][:5], ""]]
    bring_in(write("empty.csv", rows))
    assert sorted(stored(store, "SELECT item, verification FROM certificates")) == [
        ("brazing", "verified"),
        ("fusion", "unverified"),
    ]


def test_a_new_certificate_without_the_column_is_unverified(store: Store, bring_in: Import, write: Write) -> None:
    bring_in(write("new.csv", [row[:5] for row in people.CERTIFICATES[:2]]))
    assert stored(store, "SELECT verification FROM certificates") == [("unverified",)]


def test_a_certificate_without_a_first_day_begins_when_it_was_issued(
    store: Store, bring_in: Import, write: Write
) -> None:
    header = [*people.CERTIFICATES[0], "issued_on", "valid_from"]
    bring_in(write("c.csv", [header, [*people.CERTIFICATES[1], "2024-01-02", ""]]))
    assert stored(store, "SELECT valid_from FROM certificates") == [("2024-01-02",)]


def test_identical_rows_count_once(bring_in: Import, write: Write) -> None:
    again = write("again.csv", [people.OPERATORS[0], people.OPERATORS[1]])
    report = bring_in(write("operators.csv", people.OPERATORS), again)
    assert counts(report) == {"operators": (2, 0, 0)}
    assert [warning.what for warning in report.warnings if "repeats" in warning.what] != []


def test_contradicting_rows_are_bad_and_neither_is_taken(store: Store, bring_in: Import, write: Write) -> None:
    other = ["P-1", "样例甲", people.ANNA, people.PHONE, "blocked"]
    path = write("operators.csv", [*people.OPERATORS, other])
    report = bring_in(path)
    assert report.summary is None
    assert (report.bad.kept[0].line, report.bad.lines) == (4, 2)
    assert f"{path}:2" in report.bad.kept[0].reason
    assert counts(bring_in(path, skip_bad_rows=True)) == {"operators": (1, 0, 0)}


def test_references_that_lead_nowhere_are_counted_not_refused(bring_in: Import, write: Write) -> None:
    report = bring_in(write("machines.csv", people.MACHINES))
    assert [(end.table, end.column, end.count) for end in report.loose_ends] == [("machines", "uscc", 1)]


def test_a_folder_is_read_without_what_lies_below_it(county: Path, bring_in: Import, write: Write) -> None:
    write("notes.csv", [["when", "what"], ["today", "nothing"]])
    write("more.csv", people.ENTERPRISES, folder="files/below")
    report = bring_in(county)
    assert len(report.files) == 5
    assert any("notes.csv" in warning.file and "passed over" in warning.what for warning in report.warnings)


def test_a_named_file_that_is_no_registry_file_is_an_error(bring_in: Import, write: Write) -> None:
    with pytest.raises(RegistryFileError, match=r"when, what.*enterprises: division, status, uscc"):
        bring_in(write("notes.csv", [["when", "what"], ["today", "nothing"]]))


def test_files_without_rows_confirm_nothing(store: Store, bring_in: Import, write: Write) -> None:
    assert bring_in(write("operators.csv", people.OPERATORS[:1])).summary is None
    assert state(store) is None


def test_an_import_in_between_is_not_overwritten_unseen(store: Store, bring_in: Import, write: Write) -> None:
    """What is new is found before the write lock is taken; if the version has moved since, it is found again."""
    first, second = write("a.csv", people.ENTERPRISES), write("b.csv", people.ENTERPRISES)
    seen: list[Report] = []

    def meanwhile(what: str, *_: int) -> None:
        if what.startswith("compare") and not seen:
            seen.append(bring_in(second))

    bring_in(write("other.csv", [people.ENTERPRISES[0], [people.OTHER_FIRM, "", "330521", "active"]]))
    report = bring_in(first, how=How(progress=meanwhile))
    assert counts(seen[0]) == {"enterprises": (1, 0, 0)}
    assert counts(report) == {"enterprises": (0, 0, 1)}
    assert state(store) is not None


def test_invariant_an_import_with_another_vault_is_refused(
    store: Store, county: Path, tmp_path: Path, bring_in: Import
) -> None:
    """Its index of a revoked certificate would be another one, and the row that says valid would stay."""
    bring_in(county)
    before = state(store)
    with pytest.raises(VaultError, match="not the vault that this database was filled with"):
        import_files(Store(store.engine, open_vault(tmp_path / "other")), [county], NOW + 1000)
    assert state(store) == before


def test_an_employment_whose_first_day_becomes_known_takes_the_place_of_the_one_without(
    store: Store, county: Path, bring_in: Import, write: Write
) -> None:
    bring_in(county)
    snapshot = Snapshot()
    snapshot.apply(read_delta(reading(store.engine), 0))
    write("employments.csv", [people.EMPLOYMENTS[0], ["P-1", people.FIRM, "2023-05-01", "2025-06-30"]])
    bring_in(county)
    ended = Employment(people.FIRM, date(2023, 5, 1), date(2025, 6, 30))
    assert [row for name, row in known(store)["employments"] if name == "P-1"] == [ended]
    snapshot.apply(read_delta(reading(store.engine), snapshot.version))
    assert snapshot.employments["P-1"] == (ended,)
