"""How people and firms stand today, why, until when and what to do; and what runs out soon at a firm."""

import asyncio
from collections.abc import Iterable
from datetime import date
from typing import Literal

from msgspec import Struct

from gateway.core.colour import Cause, State, changes_on, explained, person_standing
from gateway.core.model import Colour, Process
from gateway.core.rules import local_time
from gateway.registry.expiring import Expiry, expiring
from gateway.registry.standing import firm_in, person_in
from gateway.web.call import Call, Services
from gateway.web.problems import ApiError


class CauseView(Struct, frozen=True):
    """Why somebody is not in order, and what to do. ``refuses``: machines refuse for it today. ``since`` and ``until``
    are its first and its last day by the calendar alone. ``certificate`` is the ``ref`` of the one that it is about."""

    code: str
    refuses: bool
    since: date | None
    until: date | None
    certificate: str | None
    item: Process | None
    message_zh: str
    remedy_zh: str
    message_en: str
    remedy_en: str


class PersonStandingView(Struct, frozen=True):
    """How a person stands today: the causes with the worst first, none for who is in order. ``changes_on`` is the next
    day on which the colour is another by the calendar alone."""

    operator_id: str
    colour: Colour
    state: State
    causes: tuple[CauseView, ...]
    changes_on: date | None
    version: int


class FirmStandingView(Struct, frozen=True):
    """How a firm stands today: its own causes, how many of its present people have which colour, and who of them stands
    worst with the first cause of it; both are null where everybody is in order."""

    uscc: str
    colour: Colour
    state: State
    causes: tuple[CauseView, ...]
    people: dict[Colour, int]
    worst: str | None
    worst_cause: CauseView | None
    version: int


class ExpiringView(Struct, frozen=True):
    """What runs out at the firm, the first to run out first."""

    expiring: tuple[Expiry, ...]
    version: int


class Ahead(Struct, frozen=True, forbid_unknown_fields=True):
    """Within how many days."""

    days: Literal[30, 60, 90] = 30


async def person(services: Services, call: Call) -> PersonStandingView:
    state, operator_id = services.state, call.named("operator_id")
    if not state.snapshot.knows_operator(operator_id):
        raise ApiError("not-found", "operator_id: no registry names anybody of this number; compare it with the badge")
    known, today = person_in(state.snapshot, operator_id), _today(services)
    stands = person_standing(known, state.rulebook, today)
    turns = changes_on(known, state.rulebook, today)
    return PersonStandingView(
        operator_id, stands.colour, stands.state, _views(stands.causes), turns, state.snapshot.version
    )


async def firm(services: Services, call: Call) -> FirmStandingView:
    snapshot, uscc = services.state.snapshot, _firm(services, call)
    version = snapshot.version
    stands, _ = await asyncio.to_thread(firm_in, snapshot, uscc, services.state.rulebook, _today(services))
    worst_cause = _view(stands.worst_cause) if stands.worst_cause else None
    about = (stands.colour, stands.state, _views(stands.causes), stands.people)
    return FirmStandingView(uscc, *about, stands.worst, worst_cause, version)


async def runs_out(services: Services, call: Call) -> ExpiringView:
    snapshot, uscc = services.state.snapshot, _firm(services, call)
    version, rulebook = snapshot.version, services.state.rulebook
    found = await asyncio.to_thread(expiring, snapshot, uscc, rulebook, _today(services), call.query.days)
    return ExpiringView(tuple(found), version)


def _today(services: Services) -> date:
    return local_time(services.state.wall_ms()).date()


def _firm(services: Services, call: Call) -> str:
    """A firm that is registered, or that people are registered with."""
    snapshot, uscc = services.state.snapshot, call.named("uscc")
    if uscc not in snapshot.enterprises and not snapshot.employees_of(uscc):
        raise ApiError("not-found", "uscc: no firm of this credit code is registered")
    return uscc


def _views(causes: Iterable[Cause]) -> tuple[CauseView, ...]:
    return tuple(map(_view, causes))


def _view(cause: Cause) -> CauseView:
    said = explained(cause.code)
    texts = (said.message_zh, said.remedy_zh, said.message_en, said.remedy_en)
    return CauseView(cause.code, cause.refuses, cause.since, cause.until, cause.certificate, cause.item, *texts)
