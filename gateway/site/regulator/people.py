"""One person: colour and causes, certificates, employments, sessions and decisions. The name stands in full: whoever
inspects a workplace compares it with a paper; numbers stay masked."""

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.colour import changes_on, explained, person_standing
from gateway.core.model import Certificate, Employment
from gateway.core.rules import employed_on
from gateway.registry.standing import person_in
from gateway.site.regulator import usage, words
from gateway.site.regulator.ground import Crumb, crumbs_to, person_named, snapshot_of
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.overview import OperatorFacts, SessionFacts, Wanted

LATEST = 20


class About(Struct, frozen=True):
    """What is on record of a person; ``operator`` is None where only other registries name them."""

    operator: OperatorFacts | None
    certificates: list[Certificate]
    employments: list[tuple[Employment, str | None]]
    sessions: list[SessionFacts]


def about(connection: Connection, operator_id: str) -> About:
    return About(
        overview.operator(connection, operator_id),
        overview.certificates(connection, operator_id),
        overview.employments(connection, operator_id),
        overview.sessions(connection, Wanted("all", operator_id=operator_id), LATEST),
    )


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/people/{operator_id}``."""
    operator_id = person_named(visit, visit.named("operator_id"))
    found = await visit.parts.read(about, operator_id)
    rulebook, person = visit.parts.state.rulebook, person_in(snapshot_of(visit), operator_id)
    standing = person_standing(person, rulebook, visit.today())
    held = _within(visit, found)
    return visit.page(
        "regulator/person.html",
        crumbs=_crumbs(visit, operator_id, held),
        operator_id=operator_id,
        found=found,
        held=held,
        standing=standing,
        changes=changes_on(person, rulebook, visit.today()),
        causes=[(cause, explained(cause.code)) for cause in standing.causes],
        used=await usage.of_person(visit, operator_id),
        words=words,
    )


Work = tuple[Employment, str | None]
"""An employment with the firm's name."""


def _within(visit: Visit, found: About) -> list[Work]:
    """Employments at firms within reach."""
    firms = snapshot_of(visit).enterprises
    known = ((work, name, firms.get(work.uscc)) for work, name in found.employments)
    return [
        (work, name)
        for work, name, firm in known
        if visit.reach.holds_firm(firm.division if firm else "", work.uscc)
    ]


def _crumbs(visit: Visit, operator_id: str, held: list[Work]) -> list[Crumb]:
    """By the firm that employs them today."""
    here, today = Crumb(visit.request.path, operator_id), visit.today()
    for work, name in held:
        if employed_on(work, today):
            firm = snapshot_of(visit).enterprises.get(work.uscc)
            above = Crumb(f"/r/firms/{work.uscc}", name or work.uscc)
            return list(crumbs_to(visit, firm.division if firm else None, above, here))
    return list(crumbs_to(visit, None, here))
