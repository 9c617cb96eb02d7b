"""Who stands where in a month: counties or towns, and firms."""

from collections.abc import Mapping
from typing import Literal

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import Days
from gateway.core.reach import Reach
from gateway.site import divisions
from gateway.site.regulator import months, words
from gateway.site.regulator.ground import Crumb, crumbs_to, part_named
from gateway.site.sheets import Cell
from gateway.site.visit import Visit
from gateway.store.figures.firms import RANK_BY, Rank, RankBy, rank_divisions, rank_firms
from gateway.store.figures.reading import COUNTY_DIGITS, TOWN_DIGITS, Part

FIRMS_SHOWN, DIVISIONS_SHOWN = 50, 100
FIRMS_EXPORTED = 100_000
Of = Literal["firms", "divisions"]
HEADER = (
    "名次", "代码", "名称", "允许", "拒绝", "拒绝率", "作业", "解锁小时", "起弧小时", "kWh",
)  # fmt: skip
LABELS: Mapping[RankBy, str] = {
    "refused": "拒绝次数",
    "refusal_rate": "拒绝率",
    "decisions": "决定次数",
    "sessions": "作业次数",
    "enabled_s": "解锁小时",
    "arc_s": "起弧小时",
    "energy_mwh": "用电量",
}


class Ranks(Struct, frozen=True):
    """``places`` are counties of anything larger, and towns of a county; of a county without towns none."""

    firms: list[Rank]
    places: list[Rank]


def by_named(text: str) -> RankBy:
    return next((known for known in RANK_BY if known == text), "refused")


def ranks(connection: Connection, reach: Reach, month: Days, by: RankBy, part: Part, firms: int) -> Ranks:
    widest = max(part.division, reach.division or "", key=len)
    digits = COUNTY_DIGITS if len(widest) < COUNTY_DIGITS else TOWN_DIGITS
    places = rank_divisions(connection, reach, month, by, DIVISIONS_SHOWN, part, digits)
    below = [place for place in places if place.key != widest]
    return Ranks(rank_firms(connection, reach, month, by, firms, part), below and places)


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/ranking``."""
    query = visit.request.query
    part, month, by = (
        part_named(visit, query),
        months.month_named(visit, query.get("month", "")),
        by_named(query.get("by", "")),
    )
    return visit.page(
        "regulator/ranking.html",
        crumbs=crumbs_to(visit, part.division or None, Crumb("/r/ranking", visit.text("排名"))),
        found=await visit.parts.read(ranks, visit.reach, month, by, part, FIRMS_SHOWN),
        month=months.named(month),
        months=months.latest(visit),
        by=by,
        labels=LABELS,
        part=part,
        names=divisions,
        words=words,
    )


async def table(visit: Visit, form: Mapping[str, str]) -> tuple[tuple[str, ...], list[list[Cell]]]:
    """Header and rows for a file: ``of`` firms or divisions."""
    part, month = part_named(visit, form), months.month_named(visit, form.get("month", ""))
    found = await visit.parts.read(ranks, visit.reach, month, by_named(form.get("by", "")), part, FIRMS_EXPORTED)
    of = found.places if form.get("of") == "divisions" else found.firms
    return HEADER, [_row(place, rank) for place, rank in enumerate(of, 1)]


def _row(place: int, rank: Rank) -> list[Cell]:
    name = rank.name or (divisions.full_name(rank.key) if rank.key.isdigit() else None)
    counts = (rank.allowed, rank.refused, round(rank.refusal_rate, 4), rank.sessions)
    return [place, rank.key, name, *counts, rank.enabled_s / 3600, rank.arc_s / 3600, rank.energy_mwh / 1_000_000]
