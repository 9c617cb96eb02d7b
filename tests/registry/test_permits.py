"""Hot-work permits and permitted hours: their files, what of them is refused, and what decisions get to know."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from openpyxl import Workbook

from gateway.core.model import Machine, Permit, WorkHours
from gateway.registry.columns import KINDS, PERMITS, WORK_HOURS, Kind
from gateway.registry.importer import Store
from gateway.registry.reading import BadRow, Collected, recognise
from gateway.registry.sample import PROFILES, generate
from gateway.registry.sheets import write_files
from gateway.registry.snapshot import Changed, Delta, Snapshot, read_delta
from gateway.registry.values import Unreadable, clock, first_clock, moment, weekdays
from gateway.store.entries import PermitEntry, WorkHoursEntry
from gateway.store.readers import PERMITS_KEPT_MS
from tests.registry import people
from tests.registry.conftest import NOW, Import, Write

EIGHT = int(datetime(2026, 1, 5, 0, 0, tzinfo=UTC).timestamp() * 1000)
"""08:00 on 5 January 2026 in the county."""
SIXTEEN = EIGHT + 8 * 3_600_000
PERMIT = Permit("DH-1", people.FIRM, "P-1", "HJ-0001", "grade_1", "P-2", EIGHT, SIXTEEN, "approved")
HOURS = WorkHours(people.FIRM, None, "12345", "08:00", "18:00")


def read(path: Path) -> Collected:
    collected = Collected()
    collected.read(path, named=True)
    return collected


def only(path: Path) -> Any:
    """The one entry of a file without mistakes."""
    collected = read(path)
    assert collected.bad.kept == []
    [[entry]] = collected.entries().values()
    return entry


def complaint(path: Path) -> BadRow:
    [bad] = read(path).bad.kept
    return bad


def permits(write: Write, **different: str) -> Path:
    """A file with one permit, all-good but for what differs."""
    header, row = people.PERMITS
    return write("p.csv", [header, [different.get(name, cell) for name, cell in zip(header, row, strict=True)]])


def hours(write: Write, **different: str) -> Path:
    header, row = people.WORK_HOURS
    return write("h.csv", [header, [different.get(name, cell) for name, cell in zip(header, row, strict=True)]])


# --- recognised ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chinese", [False, True], ids=["English", "Chinese"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_required_columns_alone_tell_which_kind_a_file_is(kind: Kind, chinese: bool) -> None:
    required = [column for column in kind.columns if column.required]
    assert recognise([column.chinese if chinese else column.name for column in required]).kind is kind


@pytest.mark.parametrize("missing", ["operator_id", "machine_id"])
def test_a_permit_file_without_a_column_for_whom_or_where_is_not_taken_as_one_for_everybody(missing: str) -> None:
    headers = [column.name for column in PERMITS.columns if column.name != missing]
    with pytest.raises(Unreadable):
        recognise(headers)


def test_hours_without_a_column_for_the_machine_are_not_taken_as_those_of_all_machines() -> None:
    with pytest.raises(Unreadable):
        recognise([column.name for column in WORK_HOURS.columns if column.name != "machine_id"])


# --- read ---------------------------------------------------------------------------------------------------------


def test_a_permit_in_english(write: Write) -> None:
    assert only(permits(write)) == PermitEntry(
        "DH-1", people.FIRM, "grade_1", EIGHT, SIXTEEN, "approved", "P-1", "HJ-0001", "P-2"
    )


def test_a_permit_in_chinese_for_any_person_and_machine(write: Write) -> None:
    header = [
        "作业票编号",
        "统一社会信用代码",
        "人员编号",
        "设备编号",
        "作业等级",
        "监护人",
        "开始时间",
        "结束时间",
        "状态",
    ]
    row = ["DH-1", people.FIRM, "", "", "特殊", "样例乙", "2026/1/5 8:00", "2026/1/5 16:00", "已批准"]
    assert only(write("作业票.csv", [header, row], "gb18030")) == PermitEntry(
        "DH-1", people.FIRM, "special", EIGHT, SIXTEEN, "approved", guardian="样例乙"
    )


def test_hours_in_chinese(write: Write) -> None:
    header = ["统一社会信用代码", "设备编号", "星期", "开始", "结束"]
    path = write("作业时段.csv", [header, [people.FIRM, "hj-0001", "6，7", "20:00", "4:00"]])
    assert only(path) == WorkHoursEntry(people.FIRM, "67", "20:00", "04:00", "HJ-0001")


def test_excel_s_own_dates_and_times(tmp_path: Path) -> None:
    workbook = Workbook()
    sheet: Any = workbook.active
    sheet.append(people.PERMITS[0])
    moments = [datetime(2026, 1, 5, 8), 46027 + 16 / 24]  # noqa: DTZ001  # as Excel stores it
    sheet.append([*people.PERMITS[1][:6], *moments, "approved"])
    workbook.save(tmp_path / "p.xlsx")
    entry = only(tmp_path / "p.xlsx")
    assert (entry.starts_at, entry.ends_at) == (EIGHT, SIXTEEN)
    workbook = Workbook()
    sheet = workbook.active
    sheet.append(people.WORK_HOURS[0])
    sheet.append([people.FIRM, None, 12345, time(8), time(18)])
    workbook.save(tmp_path / "h.xlsx")
    assert only(tmp_path / "h.xlsx") == WorkHoursEntry(people.FIRM, "12345", "08:00", "18:00")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05 08:00",
        "2026-01-05 08:00:00",
        "2026/1/5 8:00",
        "2026-01-05T08:00",
        "46027.3333333333",
        "２０２６/1/5 8:00",
    ],
)
def test_moments_that_are_eight_o_clock_in_the_county(text: str) -> None:
    assert moment(text) == EIGHT


@pytest.mark.parametrize("text", ["2026-01-05 24:00", "2026-01-06 00:00", "46028"])
def test_a_day_ends_as_the_next_one_begins(text: str) -> None:
    assert moment(text) == EIGHT + 16 * 3_600_000


@pytest.mark.parametrize(
    "text",
    ["2026-01-05", "08:00", "2026-01-05 25:00", "2026-01-05 24:01", "2026-02-30 08:00", "9999-12-31 24:00", "soon"],
)
def test_moments_that_are_none(text: str) -> None:
    with pytest.raises(Unreadable):
        moment(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [("1-5", "12345"), ("1,3,5", "135"), ("12345", "12345"), ("7、6", "67"), ("1-3, 3, 5-7", "123567"), ("1", "1")],
)
def test_weekdays(text: str, days: str) -> None:
    assert weekdays(text) == days


@pytest.mark.parametrize("text", ["0", "8", "1-9", "5-1", "周一", "2026-01-05T00:00:00", "1--5", "1,", "1;2"])
def test_weekdays_that_are_none(text: str) -> None:
    with pytest.raises(Unreadable):
        weekdays(text)


@pytest.mark.parametrize(
    ("text", "time"), [("8:00", "08:00"), ("08:30:00", "08:30"), ("２０：００", "20:00"), ("24:00", "24:00")]
)
def test_times_of_day(text: str, time: str) -> None:
    assert clock(text) == time


@pytest.mark.parametrize("text", ["8", "8:60", "25:00", "24:01", "08:00:30", "noon"])
def test_times_of_day_that_are_none(text: str) -> None:
    with pytest.raises(Unreadable):
        clock(text)


def test_nothing_begins_at_24_o_clock() -> None:
    with pytest.raises(Unreadable, match="00:00"):
        first_clock("24:00")


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guardian", ["P-1", "Ｐ-1", " P-1 "])
def test_the_welder_s_own_guard_is_a_mistake(write: Write, guardian: str) -> None:
    bad = complaint(permits(write, guardian=guardian))
    assert bad.column == "guardian"
    assert "somebody else" in bad.reason


def test_of_a_permit_for_anybody_anybody_may_be_the_guardian(write: Write) -> None:
    assert only(permits(write, operator_id="", guardian="P-1")).guardian == "P-1"
    assert only(permits(write, operator_id="", guardian="")).guardian is None


@pytest.mark.parametrize("ends", ["2026-01-05 08:00", "2026-01-05 07:59"])
def test_a_permit_that_ends_before_it_begins_is_a_mistake(write: Write, ends: str) -> None:
    bad = complaint(permits(write, ends_at=ends))
    assert (bad.column, bad.value) == ("ends_at", ends)
    assert "2026-01-05 08:00:00 (starts_at)" in bad.reason


@pytest.mark.parametrize("column", ["permit_id", "uscc", "level", "starts_at", "ends_at", "status"])
def test_what_a_permit_has_to_say(write: Write, column: str) -> None:
    bad = complaint(permits(write, **{column: ""}))
    assert (bad.column, "required" in bad.reason) == (column, True)


@pytest.mark.parametrize("column", ["days", "from", "until"])
def test_hours_without_an_end_are_a_mistake_not_withdrawn(write: Write, column: str) -> None:
    assert complaint(hours(write, **{column: ""})).column == column


@pytest.mark.parametrize("column", ["permit_id", "guardian", "operator_id"])
def test_an_id_number_in_a_permit_is_warned_of(write: Write, column: str) -> None:
    [warning] = read(permits(write, **{column: people.ANNA})).warnings
    assert "looks like an ID number" in warning.what


# --- brought in and known -----------------------------------------------------------------------------------------


def snapshot_of(store: Store) -> Snapshot:
    snapshot = Snapshot()
    snapshot.apply(read_delta(store.engine, 0))
    return snapshot


def test_what_was_imported_is_what_decisions_know(store: Store, write: Write, bring_in: Import) -> None:
    soon = {"starts_at": "2026-09-22 08:00", "ends_at": "2026-09-22 16:00"}
    bring_in(permits(write, **soon))
    bring_in(hours(write))
    snapshot = snapshot_of(store)
    [found] = snapshot.permits_for(people.FIRM, "P-1", "HJ-0001")
    assert found == replace(PERMIT, starts_at=moment(soon["starts_at"]), ends_at=moment(soon["ends_at"]))
    assert snapshot.hours_at(people.FIRM, "HJ-0001") == (HOURS,)


def test_a_permit_that_is_withdrawn_reaches_the_snapshot_as_the_next_version(
    store: Store, write: Write, bring_in: Import
) -> None:
    bring_in(permits(write, ends_at="2026-10-01 08:00"))
    snapshot = snapshot_of(store)
    bring_in(permits(write, ends_at="2026-10-01 08:00", status="withdrawn"))
    changed = snapshot.apply(read_delta(store.engine, snapshot.version))
    assert [one.status for one in snapshot.permits_for(people.FIRM, "P-1", "HJ-0001")] == ["withdrawn"]
    assert changed.machines == {"HJ-0001"}


def test_hours_that_are_withdrawn_hold_no_longer(store: Store, write: Write, bring_in: Import) -> None:
    bring_in(hours(write))
    snapshot = snapshot_of(store)
    bring_in(hours(write, until="已撤销"))
    changed = snapshot.apply(read_delta(store.engine, snapshot.version))
    assert snapshot.hours_at(people.FIRM, "HJ-0001") == snapshot_of(store).hours_at(people.FIRM, "HJ-0001") == ()
    assert changed.enterprises == {people.FIRM}
    bring_in(hours(write))
    assert snapshot_of(store).hours_at(people.FIRM, "HJ-0001") == (HOURS,)


def test_permits_that_are_long_over_are_not_loaded_at_a_start(store: Store, write: Write, bring_in: Import) -> None:
    bring_in(permits(write))
    assert NOW - SIXTEEN > PERMITS_KEPT_MS
    assert snapshot_of(store).permits == {}


# --- in memory ----------------------------------------------------------------------------------------------------


def taken(*rows: Any, confirmed_at: int = EIGHT) -> tuple[Snapshot, Changed]:
    """A snapshot after one delta for each row, and whom the last one concerns."""
    snapshot, changed = Snapshot(), Changed()
    for row in rows:
        changed = snapshot.apply(Delta(snapshot.version + 1, confirmed_at, [row]))
    return snapshot, changed


def test_a_permit_is_found_for_whom_and_where_it_is() -> None:
    anybody = replace(PERMIT, permit_id="DH-2", operator_id=None)
    anywhere = replace(PERMIT, permit_id="DH-3", machine_id=None)
    all_of_the_firm = replace(PERMIT, permit_id="DH-4", operator_id=None, machine_id=None)
    snapshot, _ = taken(PERMIT, anybody, anywhere, all_of_the_firm)
    assert snapshot.permits_for(people.FIRM, "P-1", "HJ-0001") == [PERMIT, anywhere, anybody, all_of_the_firm]
    assert snapshot.permits_for(people.FIRM, "P-1", "HJ-0009") == [anywhere, all_of_the_firm]
    assert snapshot.permits_for(people.FIRM, "P-9", "HJ-0001") == [anybody, all_of_the_firm]
    assert snapshot.permits_for(people.OTHER_FIRM, "P-1", "HJ-0001") == []


@pytest.mark.parametrize(
    ("operator_id", "machine_id", "concerned"),
    [
        ("P-1", "HJ-0001", Changed(machines={"HJ-0001"})),
        (None, "HJ-0001", Changed(machines={"HJ-0001"})),
        ("P-1", None, Changed(operators={"P-1"})),
        (None, None, Changed(enterprises={people.FIRM})),
    ],
)
def test_whom_a_permit_concerns(operator_id: str | None, machine_id: str | None, concerned: Changed) -> None:
    _, changed = taken(replace(PERMIT, operator_id=operator_id, machine_id=machine_id))
    assert changed == concerned


def test_a_permit_that_was_another_firm_s_is_no_longer() -> None:
    general = replace(PERMIT, operator_id=None, machine_id=None)
    snapshot, changed = taken(general, replace(general, uscc=people.OTHER_FIRM))
    assert snapshot.permits_for(people.FIRM, "P-1", "HJ-0001") == []
    assert len(snapshot.permits_for(people.OTHER_FIRM, "P-1", "HJ-0001")) == 1
    assert changed.enterprises == {people.FIRM, people.OTHER_FIRM}


def test_a_permit_that_is_long_over_goes_when_the_next_one_comes() -> None:
    days = [replace(PERMIT, permit_id=f"DH-{n}", ends_at=EIGHT + n * 86_400_000) for n in range(20)]
    snapshot, _ = taken(*days[:19])
    snapshot.apply(Delta(20, days[18].ends_at, []))
    snapshot.apply(Delta(21, days[18].ends_at, [days[19]]))
    assert snapshot.permits_for(people.FIRM, "P-1", "HJ-0001") == days[11:]
    assert len(snapshot._permit_firms) == 9


def test_hours_of_other_machines_are_left_out() -> None:
    here, there = replace(HOURS, machine_id="HJ-0001"), replace(HOURS, machine_id="HJ-0002")
    snapshot, changed = taken(HOURS, there, here)
    assert snapshot.hours_at(people.FIRM, "HJ-0001") == (HOURS, here)
    assert changed == Changed(machines={"HJ-0001"})


def test_sources_have_ages() -> None:
    snapshot, _ = taken(Machine("HJ-0001", None, people.FIRM, "fusion", "330521", "active"))
    snapshot.source_confirmed |= {"permits": EIGHT - 2500, "firms": EIGHT + 1000}
    assert snapshot.source_ages(EIGHT) == (("firms", 0), ("permits", 2))


# --- the sample ---------------------------------------------------------------------------------------------------


def test_the_sample_county_has_permits_for_its_day_and_hours(tmp_path: Path, bring_in: Import) -> None:
    today = date(2026, 11, 21)
    report = bring_in(*write_files(generate(PROFILES["county"], 1, today), tmp_path / "sample", chinese=True))
    assert report.bad.lines == 0
    assert report.summary is not None
    [tables] = generate(PROFILES["county"], 1, today)
    assert report.summary.counts["permits"].added == len(tables.permits) > 50
    assert report.summary.counts["work_hours"].added == len(tables.work_hours) > 55
    staff = {(operator_id, uscc) for operator_id, uscc, *_ in tables.employments}
    owners = {machine_id: uscc for machine_id, _, uscc, *_ in tables.machines}
    for _, uscc, operator_id, machine_id, _, guardian, *_ in tables.permits:
        assert (operator_id, uscc) in staff
        assert owners[machine_id] == uscc
        assert guardian != operator_id
