"""Refusals by reason and by time."""

from aiohttp import web
from markupsafe import Markup
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import HOUR_MS, Days, begins, up_to
from gateway.core.reach import Reach
from gateway.core.reasons import REASONS
from gateway.core.rules import local_time
from gateway.site import plots
from gateway.site.regulator import words
from gateway.site.regulator.ground import Crumb, crumbs_to, part_named
from gateway.site.visit import Visit
from gateway.store.figures.counts import (
    Bar,
    CodeBar,
    CodeCount,
    Tally,
    Unit,
    codes,
    codes_over_time,
    decisions_over_time,
    tally,
)
from gateway.store.figures.reading import Part

SPANS = (1, 7, 30, 90)
"""Days that are offered; one day is shown by the hour."""


class Refusals(Struct, frozen=True):
    tally: Tally
    bars: list[Bar]
    codes: list[CodeCount]
    by_time: list[CodeBar]


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/refusals``."""
    part, typed = part_named(visit, visit.request.query), visit.request.query.get("days", "")
    span = next((days for days in SPANS if str(days) == typed), 7)
    days, unit = up_to(visit.today(), span), _unit(span)
    found = await visit.parts.read(_read, visit.reach, days, unit, part)
    starts = moments(days, unit)
    return visit.page(
        "regulator/refusals.html",
        crumbs=crumbs_to(visit, part.division or None, Crumb("/r/refusals", visit.text("拒绝"))),
        found=found,
        plot=_plot(visit, found, starts, unit),
        sparks={one.code: _spark(one.code, found.by_time, starts) for one in found.codes},
        span=span,
        spans=SPANS,
        days=days,
        part=part,
        reasons=REASONS,
        words=words,
    )


def _unit(span: int) -> Unit:
    return "hour" if span == 1 else "day"


def _read(connection: Connection, reach: Reach, days: Days, unit: Unit, part: Part) -> Refusals:
    return Refusals(
        tally(connection, reach, days, part),
        decisions_over_time(connection, reach, days, unit, part),
        codes(connection, reach, days, "deny", part),
        codes_over_time(connection, reach, days, unit, "deny", part),
    )


def moments(days: Days, unit: Unit) -> list[int]:
    """When each hour or day begins."""
    first, last = days.numbers
    if unit == "day":
        return [begins(number) for number in range(first, last + 1)]
    return [begins(first) + hour * HOUR_MS for hour in range((begins(last + 1) - begins(first)) // HOUR_MS)]


def _plot(visit: Visit, found: Refusals, starts: list[int], unit: Unit) -> Markup:
    known = {bar.since: bar.refused for bar in found.bars}
    labels = [f"{local_time(at):{'%H:%M' if unit == 'hour' else '%m-%d'}}" for at in starts]
    return plots.columns(
        visit.text("拒绝的次数"),
        labels,
        (plots.Series(visit.text("拒绝"), [known.get(at, 0) for at in starts]),),
        first_colour=1,
    )


def _spark(code: str, bars: list[CodeBar], starts: list[int]) -> Markup:
    known = {bar.since: bar.decisions for bar in bars if bar.code == code}
    return plots.spark([known.get(at, 0) for at in starts])
