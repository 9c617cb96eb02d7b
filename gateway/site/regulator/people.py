"""One person: colour and causes, certificates, employments, sessions and decisions. The name stands in full: whoever
inspects a workplace compares it with a paper; numbers stay masked."""

from aiohttp import web

from gateway.core.colour import changes_on, explained, person_standing
from gateway.core.reasons import REASONS
from gateway.core.rules import employed_on
from gateway.registry.standing import person_in
from gateway.site.regulator import usage, words
from gateway.site.regulator.ground import Crumb, crumbs_to, snapshot_of
from gateway.site.visit import Visit
from gateway.store.figures.people import PersonProfile, person


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/people/{operator_id}``."""
    operator_id = visit.named("operator_id")
    found = await visit.parts.read(person, visit.reach, operator_id, visit.today())
    if found is None:
        raise web.HTTPNotFound
    rulebook, known = visit.parts.state.rulebook, person_in(snapshot_of(visit), operator_id)
    standing = person_standing(known, rulebook, visit.today())
    return visit.page(
        "regulator/person.html",
        crumbs=_crumbs(visit, operator_id, found),
        found=found,
        standing=standing,
        changes=changes_on(known, rulebook, visit.today()),
        causes=[(cause, explained(cause.code)) for cause in standing.causes],
        used=usage.used(visit, found.usage),
        reasons=REASONS,
        words=words,
    )


def _crumbs(visit: Visit, operator_id: str, found: PersonProfile) -> list[Crumb]:
    """By a firm within reach that employs them today."""
    here = Crumb(visit.request.path, operator_id)
    for work, name in found.employments:
        firm = snapshot_of(visit).enterprises.get(work.uscc)
        if firm is not None and employed_on(work, visit.today()):
            return list(crumbs_to(visit, firm.division, Crumb(f"/r/firms/{work.uscc}", name or work.uscc), here))
    return list(crumbs_to(visit, None, here))
