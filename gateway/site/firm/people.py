"""The firm's people: how they stand, why, and what to do; those who come, and those who have left."""

import asyncio
from collections.abc import Iterable
from datetime import date

from aiohttp import web
from msgspec import Struct

from gateway.core.colour import SEVERITY, Standing, person_standing
from gateway.core.model import Employment
from gateway.core.policy import Rulebook
from gateway.registry.snapshot import Snapshot
from gateway.registry.standing import person_in
from gateway.site import terms
from gateway.site.firm import own, words
from gateway.site.visit import Visit
from gateway.store import firms
from gateway.store.firms import Member


class Row(Struct, frozen=True):
    """Somebody whom the firm employs today or is about to."""

    member: Member
    standing: Standing
    causes: list[words.Explained]


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/people``; ``colour`` shows one colour alone, ``find`` whose name or number holds it."""
    state = visit.parts.state
    members = await visit.parts.read(firms.members, visit.reach)
    present, former = parted(members, visit.today())
    rows = await asyncio.to_thread(stand, present, state.snapshot, state.rulebook, visit.today())
    colour, find = visit.request.query.get("colour", ""), visit.request.query.get("find", "").strip()[:64]
    fitting = [row for row in rows if colour in ("", row.standing.colour) and _is(row.member, find)]
    return visit.page(
        "firm/people.html",
        rows=fitting,
        everybody=len(rows),
        counts=words.counted(row.standing for row in rows),
        former=former,
        colour=colour if colour in terms.COLOURS else "",
        find=words.shown_again(find),
        words=words,
    )


def parted(members: Iterable[Member], today: date) -> tuple[list[Member], list[Member]]:
    """Who is employed or about to be, and who has left; each person once, by the latest employment."""
    latest: dict[str, Member] = {}
    for member in members:
        before = latest.get(member.operator_id)
        if before is None or _order(member, today) >= _order(before, today):
            latest[member.operator_id] = member
    present = [member for member in latest.values() if _goes_on(member, today)]
    former = [member for member in latest.values() if not _goes_on(member, today)]
    return present, sorted(former, key=lambda member: member.until or today, reverse=True)


def _goes_on(member: Member, today: date) -> bool:
    return own.goes_on(Employment("", member.since, member.until), today)


def _order(member: Member, today: date) -> tuple[bool, date, date]:
    return _goes_on(member, today), member.until or date.max, member.since or date.min


def stand(members: Iterable[Member], snapshot: Snapshot, rulebook: Rulebook, today: date) -> list[Row]:
    """How each stands, the worst first."""
    rows = []
    for member in members:
        standing = person_standing(person_in(snapshot, member.operator_id), rulebook, today)
        rows.append(Row(member, standing, words.causes_of(standing)))
    return sorted(rows, key=lambda row: -SEVERITY.index(row.standing.state))


def _is(member: Member, find: str) -> bool:
    return find.casefold() in f"{member.name or ''} {member.operator_id}".casefold()
