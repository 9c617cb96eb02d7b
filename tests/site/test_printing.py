"""PDF made by the real printer: labels that a telephone reads, and a printer that keeps within its bounds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pypdfium2  # type: ignore[import-untyped]
import pytest
import zxingcpp
from msgspec import Struct

from gateway.site.child import started
from gateway.site.firm.labels import HEIGHT_MM, WIDTH_MM
from gateway.site.printing import WAITING_AT_MOST, Printer, PrintingError
from tests.site.firm_town import move_in, records
from tests.site.served import Town, Visitor

POINTS_PER_MM = 72 / 25.4
SCALE = 4


@pytest.fixture
async def firm(site: Town, tmp_path: Path) -> AsyncIterator[Visitor]:
    await move_in(site, tmp_path)
    async with site.visitor("firm") as visitor:
        yield visitor


async def labels(firm: Visitor, *machines: str, **fields: str) -> bytes:
    """The sheets as they come down."""
    sent = [("form_token", firm.token), *(("machine", one) for one in machines), *fields.items()]
    headers = {"Origin": firm.town.url}
    async with firm.client.post(firm.town.url + "/f/labels", data=sent, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/pdf")
        assert "attachment" in answer.headers["Content-Disposition"]
        return await answer.read()


class Sheet(Struct, frozen=True):
    """A page as paper: its size in millimetres, its text, and what a scanner reads in which column and row."""

    size: tuple[int, ...]
    text: str
    codes: dict[str, tuple[int, int]]


def read(pdf: bytes) -> list[Sheet]:
    document = pypdfium2.PdfDocument(pdf)
    try:
        return [_read(page) for page in document]
    finally:
        document.close()


def _read(page: pypdfium2.PdfPage) -> Sheet:
    found = {}
    for code in zxingcpp.read_barcodes(page.render(scale=SCALE).to_pil()):
        corner, scale = code.position.top_left, POINTS_PER_MM * SCALE
        found[code.text] = (int(corner.x / scale / WIDTH_MM), int(corner.y / scale / HEIGHT_MM))
    size = tuple(round(side / POINTS_PER_MM) for side in page.get_size())
    return Sheet(size, page.get_textpage().get_text_bounded(), found)


async def test_each_label_is_read_as_the_address_of_its_machine(firm: Visitor) -> None:
    sheets = read(await labels(firm, "HJ-0001", "HJ-0002", skip="23"))
    assert [sheet.size for sheet in sheets] == [(210, 297)] * 2
    address = f"{firm.town.url}/w/m"
    assert [sheet.codes for sheet in sheets] == [{f"{address}/HJ-0001": (2, 7)}, {f"{address}/HJ-0002": (0, 0)}]
    text = "".join(sheet.text for sheet in sheets)
    for told in ("HJ-0001", "样例企业", "熔化焊接与热切割", "压力焊", "一号车间", "扫码解锁"):
        assert told in text
    acts = [msgspec.json.decode(row.record)["body"] for row in records(firm.town, "account")]
    assert acts[-1]["detail"] == {"what": "labels", "count": "2", "machines": "HJ-0001 HJ-0002"}


async def test_all_machines_of_the_firm_and_no_other_are_printed(firm: Visitor) -> None:
    (sheet,) = read(await labels(firm, all="1"))
    assert sorted(address.rpartition("/")[2] for address in sheet.codes) == ["HJ-0001", "HJ-0002"]


async def test_what_cannot_be_printed_is_told(firm: Visitor) -> None:
    assert "请选择 1 到" in (await firm.post("/f/labels")).text
    for skip in ("24", "-1", "x", "9999"):
        assert (await firm.post("/f/labels", machine="HJ-0001", skip=skip)).status == 422
    assert (await firm.post("/f/labels", machine="HJ-0009")).status == 404
    assert not [row for row in records(firm.town, "account") if b'"labels"' in row.record]


# --- the printer ------------------------------------------------------------------------------------------------


async def test_invariant_nothing_is_fetched_for_a_document(tmp_path: Path) -> None:
    """Neither from the network nor from the gateway's files; what is in the document itself is there."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    (tmp_path / "secret.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><text y="9">SECRET</text></svg>')
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        html = f'<p>HERE</p><img src="http://127.0.0.1:{port}/x.png"><img src="file://{tmp_path}/secret.svg">'
        made = await Printer().pdf(html)
    assert asked == []
    (sheet,) = read(made)
    assert ("HERE" in sheet.text, "SECRET" in sheet.text) == (True, False)


async def test_a_document_that_takes_too_long_is_given_up_and_the_next_one_is_printed() -> None:
    printer = Printer(within_s=0.05)
    with pytest.raises(PrintingError, match="took longer") as given_up:
        await printer.pdf("<p>x</p>")
    assert "打印用时太长" in given_up.value.chinese
    printer._within_s = 20
    assert (await printer.pdf("<p>x</p>")).startswith(b"%PDF-")


async def test_one_prints_at_a_time_and_few_wait() -> None:
    printer = Printer()
    wanted = [asyncio.ensure_future(printer.pdf("<p>x</p>")) for _ in range(WAITING_AT_MOST + 3)]
    done, waiting = await asyncio.wait(wanted, timeout=0.01)
    assert len(done) == 2
    assert all("wait to be printed" in str(one.exception()) for one in done)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    assert (await printer.pdf("<p>y</p>")).startswith(b"%PDF-"), "who gave up waits no more"


async def test_a_child_does_not_know_the_gateway_s_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELDGATE_BROKER", "mqtt://me:xyzzy@broker")
    child = await started("tests.site.environment")
    told, _ = await child.communicate()
    assert b"PATH" in told
    assert b"xyzzy" not in told
