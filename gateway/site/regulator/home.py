"""How things stand now, within all that an account sees: figures, today by the hour, and decisions as they are made."""

from collections.abc import Sequence

from aiohttp import web
from markupsafe import Markup
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import HOUR_MS, Days, begins, number_of
from gateway.core.reach import Reach
from gateway.core.reasons import REASONS
from gateway.site import divisions, plots
from gateway.site.regulator import live, words
from gateway.site.regulator.ground import crumbs_to
from gateway.site.visit import Visit
from gateway.store.figures.counts import Bar, decisions_over_time
from gateway.store.figures.decisions import DecisionEntry, decisions
from gateway.store.figures.overview import Overview, overview

LATEST = 20
HOURS = 24


class Now(Struct, frozen=True):
    """What the first page shows: figures, decisions of today by the hour, the latest of them."""

    overview: Overview
    hours: list[Bar]
    latest: list[DecisionEntry]


def now(connection: Connection, reach: Reach, today: Days) -> Now:
    return Now(
        overview(connection, reach, today.first, refusals=1),
        decisions_over_time(connection, reach, today, "hour"),
        decisions(connection, reach, limit=LATEST).rows,
    )


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r``; with ``wall=1`` for a screen on a wall."""
    found = await _found(visit)
    reach = visit.reach.division or ""
    return visit.page(
        "regulator/home.html",
        crumbs=crumbs_to(visit, reach),
        place=divisions.full_name(reach) if reach else visit.text("全部区划"),
        found=found,
        plot=by_hour(visit, found.hours),
        glimpses=[live.glimpse_of(entry) for entry in found.latest],
        wall=visit.request.query.get("wall") == "1",
        reasons=REASONS,
        words=words,
    )


async def figures(visit: Visit) -> web.StreamResponse:
    """``GET /r/now``: the part with figures alone, which the page fetches anew."""
    found = await _found(visit)
    return visit.page("regulator/parts/now.html", found=found, plot=by_hour(visit, found.hours), words=words)


async def _found(visit: Visit) -> Now:
    return await visit.parts.read(now, visit.reach, Days(visit.today(), visit.today()))


def by_hour(visit: Visit, hours: Sequence[Bar]) -> Markup:
    """Today's decisions by the hour of the day."""
    first = begins(number_of(visit.today()))
    known = {(bar.since - first) // HOUR_MS: bar for bar in hours}
    bars = [known.get(hour, Bar(0, 0, 0)) for hour in range(HOURS)]
    series = (
        plots.Series(visit.text("允许"), [bar.allowed for bar in bars]),
        plots.Series(visit.text("拒绝"), [bar.refused for bar in bars]),
    )
    return plots.columns(visit.text("今天每小时的决定"), [f"{hour}:00" for hour in range(HOURS)], series)
