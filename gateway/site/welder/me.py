"""The welder: how they stand, why, what to do until when, their certificates, and what they are using now."""

from collections.abc import Sequence
from datetime import date

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.colour import Cause, Standing, changes_on, explained, person_standing
from gateway.core.model import Certificate, Employment
from gateway.core.reasons import Reason
from gateway.registry.standing import person_in
from gateway.site.visit import Visit
from gateway.site.welder import recent, sessions
from gateway.store import overview


class Explained(Struct, frozen=True):
    """A cause with its words."""

    cause: Cause
    reason: Reason


def standing_of(visit: Visit) -> Standing:
    """By the registries in memory, today."""
    state = visit.parts.state
    person = person_in(state.snapshot, visit.reach.operator_id or "")
    return person_standing(person, state.rulebook, visit.today())


def explain(standing: Standing, certificate: str | None = None) -> list[Explained]:
    """What stands in the way or has to be done, of all or of one certificate."""
    return [
        Explained(cause, explained(cause.code))
        for cause in standing.causes
        if certificate is None or cause.certificate == certificate
    ]


async def home(visit: Visit, status: int = 200, problem: str = "") -> web.StreamResponse:
    """``GET /w``."""
    standing = standing_of(visit)
    return visit.page(
        "welder/home.html",
        status,
        standing=standing,
        causes=explain(standing),
        session=await sessions.running(visit),
        machines=recent.machines(visit),
        problem=problem,
    )


async def shown(visit: Visit) -> web.StreamResponse:
    return await home(visit)


async def certificates(visit: Visit) -> web.StreamResponse:
    """``GET /w/certificates``: numbers are masked, as everywhere."""
    operator_id, state = visit.reach.operator_id or "", visit.parts.state
    held, works = await visit.parts.read(_on_record, operator_id)
    standing = standing_of(visit)
    return visit.page(
        "welder/certificates.html",
        standing=standing,
        held=[(certificate, explain(standing, certificate.ref)) for certificate in held],
        others=[one for one in explain(standing) if one.cause.certificate is None],
        works=[(work, firm, _is_over(work, visit.today())) for work, firm in works],
        changes=changes_on(person_in(state.snapshot, operator_id), state.rulebook, visit.today()),
    )


def _on_record(
    connection: Connection, operator_id: str
) -> tuple[Sequence[Certificate], Sequence[tuple[Employment, str | None]]]:
    return overview.certificates(connection, operator_id), overview.employments(connection, operator_id)


def _is_over(work: Employment, today: date) -> bool:
    return work.until is not None and work.until < today
