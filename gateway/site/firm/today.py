"""The firm today, at a glance: what has to be done comes first."""

import asyncio
from collections.abc import Sequence

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.colour import explained
from gateway.core.days import Days
from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.core.reasons import Reason
from gateway.registry.acts import Overriding
from gateway.registry.controls import Controls
from gateway.registry.expiring import Expiry, expiring
from gateway.registry.standing import firm_in
from gateway.site.firm import grants, machines, own, refusals, words
from gateway.site.firm.machines import Fleet
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.figures import counts
from gateway.store.figures.counts import CodeCount, Tally
from gateway.store.overview import FirmFacts

AHEAD_DAYS = (30, 60, 90)
EXPIRIES_SHOWN = 12
HOURS_2_MS = 2 * 3_600_000
"""What was asked for earlier has lapsed, or is over."""


class About(Struct, frozen=True):
    """Which firm, what it may see, which day, and since when grants that were asked for may still count."""

    uscc: str
    reach: Reach
    today: Days
    asked_since: Millis


class Known(Struct, frozen=True):
    """What the database holds of the firm today."""

    firm: FirmFacts | None
    fleet: Fleet
    tally: Tally
    refused: Sequence[CodeCount]
    stories: Sequence[Overriding]


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f``."""
    uscc, state, day = own.uscc_of(visit), visit.parts.state, visit.today()
    about = About(uscc, visit.reach, Days(day, day), visit.now() - HOURS_2_MS)
    known = await visit.parts.read(_known, about, state.snapshot.controls)
    firm, people = await asyncio.to_thread(firm_in, state.snapshot, uscc, state.rulebook, day)
    ahead = await asyncio.to_thread(expiring, state.snapshot, uscc, state.rulebook, day, AHEAD_DAYS[-1])
    told = [grants.tell(visit, story) for story in known.stories]
    return visit.page(
        "firm/today.html",
        uscc=uscc,
        known=known,
        firm=firm,
        own_causes=[(cause, explained(cause.code)) for cause in firm.causes],
        counts=words.counted(people.values()),
        people=len(people),
        refused=refusals.by_reason(known.refused),
        waiting=[one for one in told if one.state == "asked"],
        running=[one for one in told if one.state == "in_force"],
        ahead=[(expiry, _said(expiry)) for expiry in ahead[:EXPIRIES_SHOWN]],
        ahead_counts=[(days, sum(one.days_left <= days for one in ahead)) for days in AHEAD_DAYS],
        ahead_all=len(ahead),
        words=words,
    )


def _said(expiry: Expiry) -> Reason:
    return explained(expiry.code)


def _known(connection: Connection, about: About, controls: Controls) -> Known:
    return Known(
        overview.firm(connection, about.uscc),
        machines.fleet_of(connection, about.reach, controls),
        counts.tally(connection, about.reach, about.today),
        counts.codes(connection, about.reach, about.today),
        grants.at_own_machines(connection, about.uscc, about.asked_since),
    )
