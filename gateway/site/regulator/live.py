"""The latest decisions within an account's reach, as they are made: server-sent events, each a piece of the page.

More than a person can read is not sent: of each half second the latest, and how many were left out.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse
from msgspec import Struct

from gateway.core.model import Millis, Outcome
from gateway.core.reasons import REASONS
from gateway.site.live import FOLLOWER, Wanted
from gateway.site.regulator import words
from gateway.site.regulator.ground import snapshot_of
from gateway.site.stream import stream, watched
from gateway.site.visit import Visit
from gateway.store.figures.decisions import DecisionEntry
from gateway.store.following import Line, latest

SHOWN_AT_ONCE = 12
BREATH_S = 0.5
LOOK_EVERY_S = 5.0
FOLLOWED_S = 3600.0
"""Then the browser opens another one, if somebody is still signed in."""


class Glimpse(Struct, frozen=True):
    """A decision as the running list shows it."""

    seq: int
    at: Millis
    machine_id: str | None
    operator_id: str | None
    outcome: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


class _Decision(Struct):
    outcome: Outcome
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class _Body(Struct):
    decision: _Decision


_decode = msgspec.json.Decoder(_Body).decode


def glimpse(line: Line) -> Glimpse | None:
    """None of a record that cannot be read."""
    try:
        decision = _decode(line.body).decision
    except msgspec.MsgspecError:
        return None
    about = line.machine_id, line.operator_id
    return Glimpse(line.seq, line.at, *about, decision.outcome, decision.reasons, decision.warnings)


def glimpse_of(entry: DecisionEntry) -> Glimpse:
    about = entry.machine_id, entry.operator_id
    return Glimpse(entry.seq, entry.at, *about, entry.outcome, entry.reasons, entry.warnings)


def within(visit: Visit) -> Wanted:
    """Decisions at machines within reach; at one that is not registered, with a reach of everywhere.

    INVARIANT: nobody is told of what lies outside their reach.
    """
    machines, reach = snapshot_of(visit).machines, visit.reach

    def wanted(line: Line) -> bool:
        machine = machines.get(line.machine_id or "")
        return line.kind == "decision" and (reach.holds_machine(machine) if machine else reach.holds_firm("", ""))

    return wanted


async def followed(visit: Visit) -> web.StreamResponse:
    """``GET /r/live``."""
    seq = await visit.parts.read(latest)
    async with stream(visit) as opened:
        with visit.request.app[FOLLOWER].watch(within(visit), seq) as lines, suppress(TimeoutError):
            async with asyncio.timeout(FOLLOWED_S):
                await _tell(visit, lines, opened)
    return opened


async def _tell(visit: Visit, lines: "asyncio.Queue[Line]", opened: EventSourceResponse) -> None:
    while watched(visit, opened):
        news = await _next(lines)
        if news:
            shown = [one for one in map(glimpse, news[-SHOWN_AT_ONCE:]) if one is not None]
            await opened.send(part(visit, shown))
            if len(news) > len(shown):
                await opened.send(str(len(news) - len(shown)), event="skipped")
        await asyncio.sleep(BREATH_S)


async def _next(lines: "asyncio.Queue[Line]") -> Sequence[Line]:
    """What has come, or nothing after a while."""
    try:
        async with asyncio.timeout(LOOK_EVERY_S):
            news = [await lines.get()]
    except TimeoutError:
        return ()
    while not lines.empty():
        news.append(lines.get_nowait())
    return news


def part(visit: Visit, glimpses: Sequence[Glimpse]) -> str:
    """Items of the list, the latest first."""
    latest_first = sorted(glimpses, key=lambda one: one.seq, reverse=True)
    return visit.rendered("regulator/parts/glimpses.html", glimpses=latest_first, reasons=REASONS, words=words)
