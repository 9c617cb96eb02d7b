"""Who was refused at the firm's machines, why, and what to do."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.core.reasons import Reason
from gateway.core.rules import COUNTY_ZONE
from gateway.registry.acts import OVERRIDABLE
from gateway.registry.values import half_width
from gateway.site.firm import own, words
from gateway.site.visit import Visit
from gateway.store import firms
from gateway.store.firms import Refusal, Sought

SHOWN_AT_MOST = 200


class Told(Struct, frozen=True):
    """A refusal in words. ``grantable``: everything that refused may be let pass for a while."""

    refusal: Refusal
    reasons: list[Reason]
    grantable: bool


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/refusals`` of a ``day`` (default: today), a ``machine``, a ``person``."""
    asked = visit.request.query
    day = words.read_day(asked.get("day", "")) or visit.today()
    machine_id = half_width(asked.get("machine", "")[:64])
    operator_id = half_width(asked.get("person", "")[:64], upper=False)
    sought = Sought(own.uscc_of(visit), *bounds(day), machine_id or None, operator_id or None)
    found, names = await visit.parts.read(_found, sought)
    return visit.page(
        "firm/refusals.html",
        told=[tell(one) for one in found[:SHOWN_AT_MOST]],
        more=len(found) > SHOWN_AT_MOST,
        most=SHOWN_AT_MOST,
        names=names,
        day=day,
        before=day - timedelta(days=1),
        after=day + timedelta(days=1) if day < visit.today() else None,
        machine=machine_id,
        person=operator_id,
        machine_ids=own.machine_ids(visit),
        words=words,
    )


def _found(connection: Connection, sought: Sought) -> tuple[Sequence[Refusal], Mapping[str, str | None]]:
    return firms.refusals(connection, sought, SHOWN_AT_MOST + 1), firms.names_of(connection, sought.uscc)


def tell(refusal: Refusal) -> Told:
    grantable = refusal.operator_id is not None and set(refusal.reasons) <= set(OVERRIDABLE)
    return Told(refusal, words.reasons_of(refusal.reasons), grantable)


def bounds(day: date) -> tuple[Millis, Millis]:
    """A day of the county, from its first moment to before the next one's."""
    begin = datetime(day.year, day.month, day.day, tzinfo=COUNTY_ZONE)
    return round(begin.timestamp() * 1000), round((begin + timedelta(days=1)).timestamp() * 1000)


def by_reason(found: Iterable[Refusal]) -> list[tuple[Reason, int]]:
    """How often each reason refused, the most frequent first."""
    counts = Counter(code for refusal in found for code in refusal.reasons)
    return [(reason, count) for code, count in counts.most_common() for reason in words.reasons_of([code])]
