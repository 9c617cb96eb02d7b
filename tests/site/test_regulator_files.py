"""Files that leave the gateway: on record first, safe in a spreadsheet, within bounds."""

import io
from pathlib import Path

import openpyxl
import pypdfium2  # type: ignore[import-untyped]
import pytest

from gateway.core.reach import EVERYWHERE
from gateway.site import sheets
from gateway.site.exporting import MOST_AT_ONCE, ExportError, Exports
from gateway.site.sheets import BOM, Decisions, Job, Source, write_csv, write_xlsx
from gateway.store.figures.decisions import Wanted
from tests.site.console_town import HERE, OURS, busy_morning, file_of, fold, neighbours, records, table_of
from tests.site.served import NOW, Town

NOWHERE = Source("sqlite:////nowhere/at/all.db", EVERYWHERE, Decisions(Wanted()))


@pytest.fixture
async def county(site: Town, tmp_path: Path) -> Town:
    shift = await neighbours(site, tmp_path)
    busy_morning(shift)
    shift.refuse(NOW, HERE, "=cmd|' /C calc'!A0", ("operator_unknown",))
    fold(site)
    return site


async def test_a_table_is_on_record_and_safe_in_a_spreadsheet(county: Town) -> None:
    async with county.visitor("auditor", "reader", where=OURS) as visitor:
        header, *rows = await table_of(visitor, "decisions", outcome="deny", person="")
        assert header[:3] == ["记录号", "时间", "结果"]
        assert [row[11] for row in rows] == ["operator_unknown", "certificate_expired operator_blocked"]
        assert rows[0][8] == "'=cmd|' /C calc'!A0"
        assert rows[1][9] == "样**"
        book = openpyxl.load_workbook(io.BytesIO(await file_of(visitor, "/r/export/decisions", format="xlsx")))
        assert [cell.data_type for row in book.worksheets[0] for cell in row if "cmd" in str(cell.value)] == ["s"]
        usage = await table_of(visitor, "usage", month="2026-06")
        assert [*usage[1][1:3], *usage[1][7:10]] == ["HJ-0001", "P-1", "1", "3600", "1800"]
        await visitor.get("/language/en")
        assert (await table_of(visitor, "people", colour="red"))[1][2] == "Red"
    done = [body for body in records(county, "account") if body["act"] == "did"]
    assert [(body["by"], body["detail"]["table"], body["detail"]["format"]) for body in done] == [
        ("样例 (reader)", "decisions", "csv"),
        ("样例 (reader)", "decisions", "xlsx"),
        ("样例 (reader)", "usage", "csv"),
        ("样例 (reader)", "people", "csv"),
    ]
    assert done[0]["detail"]["outcome"] == "deny"


async def test_a_month_is_printed_with_plots_and_on_record(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        made = pypdfium2.PdfDocument(await file_of(visitor, "/r/reports/2026-06/pdf"))
        text = "".join(page.get_textpage().get_text_range() for page in made)
        for told in ("湖州市德清县", "2026-06", "66.7%", "样例 (regulator)"):
            assert told in text, told
        assert any(found.type == pypdfium2.raw.FPDF_PAGEOBJ_PATH for page in made for found in page.get_objects())
    done = records(county, "account")[-1]
    assert done["detail"] == {"what": "report", "month": "2026-06"}


async def test_few_files_are_made_at_a_time_and_who_leaves_ends_one() -> None:
    exports, job = Exports(), Job("csv", ["n"], [[n] for n in range(50_000)])
    running = [exports.file(job) for _ in range(MOST_AT_ONCE)]
    for one in running:
        assert (await anext(one)).startswith(BOM.encode())
    with pytest.raises(ExportError):
        await anext(exports.file(job))
    await running[0].aclose()
    pieces = [piece async for piece in exports.file(job)]
    assert b"".join(pieces).count(b"\r\n") == 50_001
    await running[1].aclose()


async def test_a_file_that_cannot_be_finished_is_told() -> None:
    job = Job("xlsx", ["n"], source=NOWHERE)
    with pytest.raises(ExportError):
        async for _ in Exports().file(job):
            pass


def test_a_sheet_has_an_end_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_XLSX_ROWS", 2)
    out = io.BytesIO()
    write_xlsx(Job("xlsx", ["n"], too_many="more"), iter([[1], [2], [3]]), out)
    book = openpyxl.load_workbook(io.BytesIO(out.getvalue()))
    assert [row[0].value for row in book.worksheets[0]] == ["n", 1, 2, "more"]


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_no_cell_becomes_a_formula(cell: str) -> None:
    out = io.BytesIO()
    write_csv(Job("csv", [cell]), [[cell, -1]], out)
    text = out.getvalue().decode("utf-8-sig")
    assert text.count("'" + cell) == 2
    assert text.rstrip().endswith(",-1")
