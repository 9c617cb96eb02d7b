"""Labels for machines: a sheet to print, each with the address that a welder's telephone opens."""

from collections.abc import Iterator, Sequence

import aiohttp_jinja2
import segno
from aiohttp import hdrs, web
from markupsafe import Markup
from msgspec import Struct

from gateway.site import terms
from gateway.site.firm import own, words
from gateway.site.printing import PRINTER, PrintingError
from gateway.site.visit import Visit
from gateway.store import firms, overview

COLUMNS, ROWS = 3, 8
PER_SHEET = COLUMNS * ROWS
WIDTH_MM, HEIGHT_MM = 210 / COLUMNS, 297 / ROWS
"""A4 in 24, as label paper is sold: 70 mm by 37.125 mm."""
MOST = 1_200
"""Fifty sheets; more take longer to print than anybody waits."""
RECORDED = 40
"""Machines that the record names; of more it says how many."""


class Label(Struct, frozen=True):
    """Where it stands on its sheet, millimetres from the top left, and what is on it."""

    left: float
    top: float
    machine_id: str
    process: str
    location: str | None
    qr: Markup


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/labels``; ``machine`` is chosen already."""
    return await _page(visit, chosen=visit.request.query.getall("machine", []))


async def _page(visit: Visit, status: int = 200, problem: str = "", chosen: Sequence[str] = ()) -> web.StreamResponse:
    machines = [one for one in await visit.parts.read(firms.machines, visit.reach) if _is_used(one)]
    return visit.page(
        "firm/labels.html",
        status,
        machines=machines,
        chosen=chosen,
        address=visit.address,
        problem=problem,
        per_sheet=PER_SHEET,
        words=words,
    )


def _is_used(machine: firms.OwnMachine) -> bool:
    return machine.status != "decommissioned"


async def printed(visit: Visit) -> web.StreamResponse:
    """``POST /f/labels``: the sheets as PDF; ``skip`` leaves out the first places of a sheet that was begun."""
    form, uscc = await visit.request.post(), own.uscc_of(visit)
    known = {one.machine_id: one for one in await visit.parts.read(firms.machines, visit.reach) if _is_used(one)}
    chosen = sorted(known) if "all" in form else [str(one) for one in dict.fromkeys(form.getall("machine", []))]
    if any(machine_id not in known for machine_id in chosen):
        raise web.HTTPNotFound
    skip = (await visit.form()).get("skip", "") or "0"
    if not chosen or len(chosen) > MOST or not skip.isdecimal() or int(skip[:3]) >= PER_SHEET:
        problem = visit.text(
            "请选择 1 到 %(most)s 台焊机；跳过的格数在 0 到 %(skip)s 之间。", most=MOST, skip=PER_SHEET - 1
        )
        return await _page(visit, 422, problem, chosen)
    firm = await visit.parts.read(overview.firm, uscc)
    html = sheets(visit, [known[machine_id] for machine_id in chosen], int(skip), firm.name if firm else None)
    try:
        pdf = await visit.request.app[PRINTER].pdf(html)
    except PrintingError as error:
        return await _page(visit, 503, visit.pick(error.chinese, str(error)), chosen)
    await own.did(visit, "labels", count=str(len(chosen)), machines=" ".join(chosen[:RECORDED]))
    return _as_file(pdf, f"labels-{visit.today()}.pdf")


def _as_file(pdf: bytes, name: str) -> web.Response:
    headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
    return web.Response(body=pdf, content_type="application/pdf", headers=headers)


def sheets(visit: Visit, machines: Sequence[firms.OwnMachine], skip: int, firm: str | None) -> str:
    """The sheets as HTML for the printer."""
    labels = list(_labels(visit, machines, skip))
    pages = [
        [label for place, label in labels if place // PER_SHEET == number]
        for number in range(-(-(skip + len(machines)) // PER_SHEET))
    ]
    marks = [(WIDTH_MM * column, HEIGHT_MM * row) for column in range(COLUMNS + 1) for row in range(ROWS + 1)]
    context = {"pages": pages, "marks": marks, "firm": firm or own.uscc_of(visit), "visit": visit}
    return aiohttp_jinja2.render_string("firm/sheets.html", visit.request, context)


def _labels(visit: Visit, machines: Sequence[firms.OwnMachine], skip: int) -> Iterator[tuple[int, Label]]:
    for place, machine in enumerate(machines, skip):
        row, column = divmod(place % PER_SHEET, COLUMNS)
        qr = picture(f"{visit.address}/w/m/{machine.machine_id}")
        process = terms.PROCESSES.get(machine.process, machine.process)  # type: ignore[call-overload]
        yield place, Label(WIDTH_MM * column, HEIGHT_MM * row, machine.machine_id, process, machine.location, qr)


def picture(address: str) -> Markup:
    """A QR code that a quarter of dirt leaves readable (ISO/IEC 18004, level Q), with the margin that it needs."""
    made = segno.make(address, error="q", micro=False)
    return Markup(made.svg_inline(border=4, dark="#000", light="#fff", omitsize=True))  # noqa: S704  (made here)
