"""What is recognised and understood: encodings, headers, values, dates, and what is refused."""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from gateway.registry.columns import KINDS
from gateway.registry.files import RegistryFileError
from gateway.registry.reading import BadRow, Collected, recognise
from gateway.store.entries import CertificateEntry, Entry, OperatorEntry
from tests.registry import people
from tests.registry.conftest import Write


def read(*paths: Path) -> Collected:
    collected = Collected()
    for path in paths:
        collected.read(path, named=True)
    return collected


def only(path: Path) -> Entry:
    """The one entry of a file without mistakes."""
    collected = read(path)
    assert collected.bad.kept == []
    [[entry]] = collected.entries().values()
    return entry


def complaint(path: Path) -> BadRow:
    """The one complaint about a file."""
    [bad] = read(path).bad.kept
    return bad


def xlsx(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    workbook = Workbook()
    sheet: Any = workbook.active
    for row in rows:
        sheet.append(list(row))
    workbook.save(path)
    return path


CHINESE = [
    [
        *("证号", "人员编号", "作业类别", "准操项目", "初领日期", "有效期始", "有效期止", "应复审日期", "实际复审日期"),
        *("签发机关", "状态", "核验结果"),
    ],
    [
        *(f"T{people.ANNA}", "P-1", "焊接与热切割作业", "熔化焊接与热切割作业"),
        *("2024/1/5", "", "2030/1/4", "2027/1/5", "", "样例局", "有效", "已核验"),
    ],
]
CHINESE_ENTRY = CertificateEntry(
    number=f"T{people.ANNA}",
    operator_id="P-1",
    item="fusion",
    valid_until=date(2030, 1, 4),
    status="valid",
    verification="verified",
    category="焊接与热切割作业",
    issued_on=date(2024, 1, 5),
    valid_from=date(2024, 1, 5),
    review_due=date(2027, 1, 5),
    reviewed_on=None,
    authority="样例局",
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_chinese_headers_and_values_in_every_encoding(write: Write, encoding: str, delimiter: str) -> None:
    assert only(write("证书.csv", CHINESE, encoding, delimiter)) == CHINESE_ENTRY


def test_chinese_headers_and_values_in_xlsx_with_excel_dates(tmp_path: Path) -> None:
    row: list[Any] = list(CHINESE[1])
    row[4], row[6], row[7] = date(2024, 1, 5), datetime(2030, 1, 4), 46392  # noqa: DTZ001  # as Excel stores it
    assert only(xlsx(tmp_path / "a.xlsx", [CHINESE[0], row])) == CHINESE_ENTRY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_columns_may_come_in_any_order_and_language(write: Write, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    columns = data.draw(st.permutations(kind.columns))
    headers = [
        data.draw(st.sampled_from([column.name, column.chinese, f" {column.name.upper()} "])) for column in columns
    ]
    plan = recognise(headers)
    assert plan.kind is kind
    assert [column for _, column in plan.cells] == columns
    assert plan.extra == ()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]),
    name=st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=40),
)
def test_any_name_survives_any_encoding(write: Write, encoding: str, name: str) -> None:
    if not name.isprintable():
        return
    entry = only(write("o.csv", [["人员编号", "姓名", "status"], ["P-1", name, "正常"]], encoding))
    assert isinstance(entry, OperatorEntry)
    assert entry.name == name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_fixed_value_is_understood_in_both_languages(kind: Any) -> None:
    for column in kind.columns:
        for english, chinese in column.choices.items():
            assert column.read(english) == column.read(chinese) == column.read(f" {english.upper()} ") == english


def test_extra_columns_are_reported_and_passed_over(write: Write) -> None:
    collected = read(write("e.csv", [[*people.ENTERPRISES[0], "备注"], [*people.ENTERPRISES[1], "x"]]))
    assert [warning.what for warning in collected.warnings] == ["column 备注 is not known; passed over"]
    assert len(collected.entries()["enterprises"]) == 1


def test_full_width_characters_and_white_space_are_folded(write: Write) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in people.ANNA.lower())
    entry = only(write("o.csv", [people.OPERATORS[0], ["　P-1 ", "样例　甲", f" {wide}　", "129-0000 0001", "正常"]]))
    assert entry == OperatorEntry("P-1", "active", "样例 甲", people.ANNA, people.PHONE)


def wrong_digit(number: str) -> str:
    return number[:-1] + ("1" if number[-1] != "1" else "2")


OPERATOR_MISTAKES = [
    ("operator_id", ["", "", "", "", "active"], "is empty, but required"),
    ("status", ["P-1", "", "", "", ""], "is empty, but required"),
    ("status", ["P-1", "", "", "", "fired"], "active=正常 blocked=禁止"),
    ("id_number", ["P-1", "", wrong_digit(people.ANNA), "", "active"], "wrong check digit"),
    ("id_number", ["P-1", "", people.id_number(1, "19900230"), "", "active"], "birth date that does not exist"),
    ("id_number", ["P-1", "", "99000019900", "", "active"], "is no ID number"),
    ("id_number", ["P-1", "", "9.90000199001010E+17", "", "active"], "format the column as text"),
    ("name", ["P-1", "x" * 129, "", "", "active"], "longer than 128"),
    ("name", ["P-1", "a\0b", "", "", "active"], "cannot be printed"),
]


@pytest.mark.parametrize(("column", "row", "reason"), OPERATOR_MISTAKES)
def test_mistakes_in_operators(write: Write, column: str, row: list[str], reason: str) -> None:
    bad = complaint(write("o.csv", [people.OPERATORS[0], row]))
    assert (bad.line, bad.column) == (2, column)
    assert reason in bad.reason


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("uscc", people.FIRM[:-1] + ("0" if people.FIRM[-1] != "0" else "1"), "wrong check character"),
        ("uscc", "12345", "no unified social credit code"),
        ("machine_id", "-X", "no machine id"),
        ("division", "浙江", "six digits"),
    ],
)
def test_mistakes_in_machines(write: Write, column: str, value: str, reason: str) -> None:
    header, row = people.MACHINES
    bad = complaint(
        write("m.csv", [header, [value if name == column else cell for name, cell in zip(header, row, strict=True)]])
    )
    assert (bad.column, bad.value[-4:]) == (column, value[-4:])
    assert reason in bad.reason


@pytest.mark.parametrize("text", ["2026-02-29", "2026/13/1", "01.02.2026", "soon", "2026-1", "460270"])
def test_dates_that_are_none(write: Write, text: str) -> None:
    assert complaint(write("j.csv", [people.EMPLOYMENTS[0], ["P-1", people.FIRM, text, ""]])).column == "from"


@pytest.mark.parametrize(
    "text", ["2026-01-05", "2026/1/5", "2026/01/05", "46027", "2026-01-05 00:00:00", "２０２６/1/5"]
)
def test_dates_that_are_the_fifth_of_january(write: Write, text: str) -> None:
    entry: Any = only(write("j.csv", [people.EMPLOYMENTS[0], ["P-1", people.FIRM, text, ""]]))
    assert entry.since == date(2026, 1, 5)


def test_a_last_day_before_the_first_is_a_mistake(write: Write) -> None:
    bad = complaint(write("j.csv", [people.EMPLOYMENTS[0], ["P-1", people.FIRM, "2026-01-05", "2026-01-04"]]))
    assert (bad.column, bad.value) == ("until", "2026-01-04")
    assert "2026-01-05 (from)" in bad.reason


def test_every_mistake_of_a_line_is_named(write: Write) -> None:
    collected = read(write("m.csv", [people.MACHINES[0], ["", "", "1", "2", "3", "", "4"]]))
    assert [bad.column for bad in collected.bad.kept] == ["machine_id", "uscc", "process", "division", "status"]
    assert collected.bad.lines == 1


def test_strange_facts_are_warned_of_and_counted(write: Write) -> None:
    old = [[f"OLD{n:09}", "P-1", "fusion", "2030-01-01", "valid", ""] for n in range(3)]
    [warning] = read(write("c.csv", [people.CERTIFICATES[0], *old])).warnings
    assert (warning.line, warning.count) == (2, 3)
    assert "usual style" in warning.what


def test_a_comma_that_shifts_the_cells_is_a_mistake(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(f"uscc,name,division,status\n{people.FIRM},a,b,330521,active\n", encoding="utf-8")
    assert "has 5 cells under 4 headers" in read(path).bad.kept[0].reason


def test_lines_are_numbered_as_an_editor_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    text = f'\nuscc,name,division,status\n{people.FIRM},"two\nlines",330521,active\n\n{people.FIRM},x,?,active\n'
    path.write_text(text, encoding="utf-8")
    assert complaint(path).line == 6


def test_an_overlong_cell_is_reported_and_reading_goes_on(write: Write) -> None:
    rows = [
        *people.ENTERPRISES,
        [people.OTHER_FIRM, "x" * 200_000, "330521", "active"],
        [people.firm_code(3), "", "330521", "active"],
    ]
    collected = read(write("e.csv", rows))
    assert [(bad.line, bad.column) for bad in collected.bad.kept] == [(3, None)]
    assert len(collected.entries()["enterprises"]) == 2


PERSONAL = [people.ANNA, people.PHONE, f"T{people.ANNA}"]


@pytest.mark.parametrize("number", PERSONAL)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_message_ever_shows_a_personal_number(write: Write, kind: Any, number: str) -> None:
    """INVARIANT 8: in whatever column of whatever file it stands, well-formed or not, or as a header."""
    header = [column.name for column in kind.columns]
    bad = number[:-1] + "?" if number != people.PHONE else number
    paths = [write("a.csv", [header, *([cell] * len(header) for cell in (number, bad, f"x{number}y"))])]
    paths.append(write("b.csv", [[*header, number], [""] * len(header)]))
    collected = read(*paths)
    messages = [str(message) for message in (*collected.bad.kept, *collected.warnings)]
    with pytest.raises(RegistryFileError) as refused:
        read(write("c.csv", [[number, "x"], ["1", "2"]]))
    for message in (*messages, str(refused.value)):
        assert number.removeprefix("T")[:-1] not in message


def test_an_identifier_that_looks_like_an_id_number_is_warned_of(write: Write) -> None:
    collected = read(write("j.csv", [people.EMPLOYMENTS[0], [people.ANNA, people.FIRM, "", ""]]))
    assert "looks like an ID number" in collected.warnings[0].what


def bomb() -> bytes:
    content = io.BytesIO()
    with (
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/sharedStrings.xml", "w") as member,
    ):
        for _ in range(513):
            member.write(bytes(2**20))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"PK\x03\x04 no archive", "no readable XLSX"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel file"),
        ("uscc,status".encode("utf-16"), "UTF-16"),
        (b"uscc,division,status\n\xff\xff\xff", "neither UTF-8 nor GB18030"),
        (b"uscc,uscc,division,status\n", "names a column twice: uscc"),
        (bomb, "unpacks to more"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: Any, reason: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content() if callable(content) else content)
    with pytest.raises(RegistryFileError, match=f"{path}.*{reason}"):
        read(path)


def test_a_workbook_that_counts_from_1904_is_refused(tmp_path: Path) -> None:
    workbook = Workbook()
    workbook.epoch = CALENDAR_MAC_1904
    sheet: Any = workbook.active
    sheet.append(["uscc", "division", "status"])
    workbook.save(tmp_path / "mac.xlsx")
    with pytest.raises(RegistryFileError, match="1904"):
        read(tmp_path / "mac.xlsx")


def test_numbers_in_xlsx_cells_are_taken_as_text_as_far_as_they_are_exact(tmp_path: Path) -> None:
    path = xlsx(
        tmp_path / "o.xlsx",
        [people.OPERATORS[0], ["P-1", "", int(people.ANNA.replace("X", "0")), 12900000001, "active"]],
    )
    assert "format the column as text" in complaint(path).reason
    path = xlsx(tmp_path / "p.xlsx", [people.OPERATORS[0], [17, "", None, 12900000001, "active"]])
    assert only(path) == OperatorEntry("17", "active", None, None, people.PHONE)
