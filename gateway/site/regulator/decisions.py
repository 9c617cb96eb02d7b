"""The list of decisions, narrowed by whatever is asked, a page at a time from the latest on."""

from aiohttp import web

from gateway.core.reasons import REASONS
from gateway.site.regulator import words
from gateway.site.regulator.filters import Filter, filter_of
from gateway.site.regulator.ground import Crumb, crumbs_to
from gateway.site.visit import Visit
from gateway.store.figures.decisions import DecisionEntry, decisions
from gateway.store.figures.reading import Page

AT_ONCE = 50


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/decisions``."""
    asked = filter_of(visit, visit.request.query)
    after = _place(visit.request.query.get("after", ""))
    found: Page[DecisionEntry] = Page([], None)
    if not asked.problem:
        found = await visit.parts.read(decisions, visit.reach, asked.wanted, AT_ONCE, after)
    return visit.page(
        "regulator/decisions.html",
        422 if asked.problem else 200,
        crumbs=crumbs_to(visit, asked.wanted.division or None, Crumb("/r/decisions", visit.text("决定"))),
        asked=asked,
        found=found,
        earlier=_earlier(asked, found),
        first=after is None,
        reasons=REASONS,
        words=words,
    )


def _earlier(asked: Filter, found: Page[DecisionEntry]) -> str:
    """The address of the next page; "" behind the last."""
    if found.after is None:
        return ""
    return f"/r/decisions?{asked.query}{'&' if asked.query else ''}after={'-'.join(map(str, found.after))}"


def _place(text: str) -> tuple[int, int] | None:
    """Where a page begins; what is no place begins at the latest."""
    at, _, seq = text.partition("-")
    if len(text) < 40 and text.isascii() and at.isdigit() and seq.isdigit():
        return int(at), int(seq)
    return None
