"""Who was refused at the firm's machines, why, and what to do."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import Days
from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.core.reasons import Reason
from gateway.registry.acts import OVERRIDABLE
from gateway.registry.values import half_width
from gateway.site.firm import own, words
from gateway.site.visit import Visit
from gateway.store import firms
from gateway.store.figures.counts import CodeCount
from gateway.store.figures.decisions import DecisionEntry, Wanted, decisions
from gateway.store.figures.reading import Page

AT_ONCE = 100


class Told(Struct, frozen=True):
    """A refusal in words. ``grantable``: everything that refused may be let pass for a while."""

    refusal: DecisionEntry
    reasons: list[Reason]
    grantable: bool


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/refusals`` of a ``day`` (default: today), a ``machine``, a ``person``; ``after`` goes on with a list."""
    asked = visit.request.query
    day = words.read_day(asked.get("day", "")) or visit.today()
    machine_id = half_width(asked.get("machine", "")[:64])
    operator_id = half_width(asked.get("person", "")[:64], upper=False)
    since, until = Days(day, day).moments
    wanted = Wanted(
        machine_id=machine_id or None, operator_id=operator_id or None, outcome="deny", since=since, until=until
    )
    found, names = await visit.parts.read(_found, visit.reach, wanted, _place(asked.get("after", "")))
    return visit.page(
        "firm/refusals.html",
        told=[tell(one) for one in found.rows],
        after=".".join(map(str, found.after)) if found.after else "",
        names=names,
        day=day,
        earlier=day - timedelta(days=1),
        later=day + timedelta(days=1) if day < visit.today() else None,
        machine=words.shown_again(machine_id),
        person=words.shown_again(operator_id),
        machine_ids=own.machine_ids(visit),
        words=words,
    )


def _found(
    connection: Connection, reach: Reach, wanted: Wanted, place: tuple[Millis, int] | None
) -> tuple[Page[DecisionEntry], Mapping[str, str | None]]:
    """INVARIANT: only what was decided at machines that were the firm's then."""
    return decisions(connection, reach, wanted, AT_ONCE, place), firms.names_of(connection, reach)


def _place(text: str) -> tuple[Millis, int] | None:
    """Where a list goes on, as its page named it; None for its beginning."""
    at, _, seq = text.partition(".")
    return (int(at), int(seq)) if at.isdecimal() and seq.isdecimal() and len(text) < 32 else None


def tell(refusal: DecisionEntry) -> Told:
    grantable = refusal.operator_id is not None and set(refusal.reasons) <= set(OVERRIDABLE)
    return Told(refusal, words.reasons_of(refusal.reasons), grantable)


def by_reason(counts: Iterable[CodeCount]) -> list[tuple[Reason, int]]:
    """How often each reason refused, in words."""
    return [(reason, one.decisions) for one in counts for reason in words.reasons_of([one.code])]
