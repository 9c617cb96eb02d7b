"""A month in figures, as a page, on paper and as a PDF."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aiohttp import hdrs, web
from markupsafe import Markup
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import Days, begins, number_of
from gateway.core.reasons import REASONS
from gateway.site import assets, divisions, plots
from gateway.site.printing import PRINTER, PrintingError
from gateway.site.regulator import months, ranking, usage, words
from gateway.site.regulator.ground import Crumb, crumbs_to, part_named
from gateway.site.regulator.ranking import Ranks
from gateway.site.visit import Visit
from gateway.store.accounts import AccountBody, record
from gateway.store.figures.counts import (
    Bar,
    CodeCount,
    Tally,
    Usage,
    UsageOfDay,
    codes,
    decisions_over_time,
    tally,
    usage_by_day,
)
from gateway.store.figures.counts import usage as usage_in
from gateway.store.figures.machines import Fitted, MachineStates, fitted, machine_states
from gateway.store.figures.people import Certified, certified
from gateway.store.figures.reading import Part

RANKED = 10


class Report(Struct, frozen=True):
    """The month, the month before it, and how things stand today."""

    tally: Tally
    before: Tally
    usage: Usage
    usage_before: Usage
    bars: list[Bar]
    days: list[UsageOfDay]
    codes: list[CodeCount]
    ranks: Ranks
    machines: MachineStates
    fitted: Fitted
    people: Certified


def report(connection: Connection, visit: Visit, month: Days, part: Part) -> Report:
    reach, today = visit.reach, visit.today()
    before = _month_before(month)
    return Report(
        tally(connection, reach, month, part),
        tally(connection, reach, before, part),
        usage_in(connection, reach, month, part),
        usage_in(connection, reach, before, part),
        decisions_over_time(connection, reach, month, "day", part),
        usage_by_day(connection, reach, month, part),
        codes(connection, reach, month, "deny", part),
        ranking.ranks(connection, reach, month, "refused", part, RANKED),
        machine_states(connection, reach, part),
        fitted(connection, reach, part),
        certified(connection, reach, today, part),
    )


def _month_before(month: Days) -> Days:
    last = month.first - timedelta(days=1)
    return Days(last.replace(day=1), last)


async def listed(visit: Visit) -> web.StreamResponse:
    """``GET /r/reports``."""
    return visit.page(
        "regulator/reports.html",
        crumbs=crumbs_to(visit, None, Crumb("/r/reports", visit.text("月报"))),
        months=months.latest(visit),
    )


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/reports/{month}``."""
    month = _month(visit)
    return visit.page(
        "regulator/report.html",
        crumbs=crumbs_to(
            visit, None, Crumb("/r/reports", visit.text("月报")), Crumb(visit.request.path, months.named(month))
        ),
        **await _context(visit, month, part_named(visit, visit.request.query)),
    )


async def printed(visit: Visit) -> web.StreamResponse:
    """``POST /r/reports/{month}/pdf``: a file that leaves the gateway, and is on record first."""
    month, form = _month(visit), await visit.form()
    context = await _context(visit, month, part_named(visit, form))
    html = visit.rendered("regulator/report_paper.html", style=assets.assets()["report.css"].body.decode(), **context)
    await visit.parts.write(_on_record, visit, months.named(month), form.get("division", ""))
    try:
        pdf = await visit.request.app[PRINTER].pdf(html)
    except PrintingError as error:
        return visit.problem(503, visit.pick(error.chinese, str(error)), visit.text("请返回上一页再试。"))
    name = f"weldgate-report-{months.named(month)}.pdf"
    headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"', hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=pdf, content_type="application/pdf", headers=headers)


def _on_record(connection: Connection, visit: Visit, month: str, division: str) -> None:
    detail = {"what": "report", "month": month, **({"division": division[:12]} if division else {})}
    record(connection, AccountBody(visit.account.account_id, "did", visit.by, detail), visit.now())


def _month(visit: Visit) -> Days:
    return months.month_named(visit, visit.named("month"))


async def _context(visit: Visit, month: Days, part: Part) -> dict[str, Any]:
    found = await visit.parts.read(report, visit, month, part)
    code = part.division or visit.reach.division or ""
    each = usage.every_day(month, found.days)
    return {
        "found": found,
        "month": months.named(month),
        "days": month,
        "part": part,
        "place": divisions.full_name(code) if code else visit.text("全部区划"),
        "decided": _decided(visit, month, found.bars),
        "used": usage.plotted(visit, each),
        "names": divisions,
        "reasons": REASONS,
        "words": words,
    }


def _decided(visit: Visit, month: Days, bars: Sequence[Bar]) -> Markup:
    """Decisions by the day of the month."""
    known = {bar.since: bar for bar in bars}
    days = [month.first + timedelta(days=after) for after in range((month.last - month.first).days + 1)]
    each = [known.get(begins(number_of(day)), Bar(0, 0, 0)) for day in days]
    series = (
        plots.Series(visit.text("允许"), [bar.allowed for bar in each]),
        plots.Series(visit.text("拒绝"), [bar.refused for bar in each]),
    )
    return plots.columns(visit.text("每天的决定"), [f"{day:%m-%d}" for day in days], series)
