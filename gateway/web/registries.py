"""The registries as decisions see them at this moment, and how they came to be so."""

import asyncio
from typing import Annotated

from msgspec import Meta, Struct

from gateway.core.model import (
    Certificate,
    Employment,
    EnterpriseStatus,
    Hold,
    MachineStatus,
    Millis,
    OperatorStatus,
    Process,
)
from gateway.registry.values import without_numbers
from gateway.store import versions
from gateway.store.versions import SourceState, Version
from gateway.web.call import Call, Services
from gateway.web.problems import ApiError


class OperatorView(Struct, frozen=True):
    """A person. ``status`` is null for somebody whom certificates or employments name and the operators' registry does
    not. Numbers of certificates are masked; days are days of the county."""

    operator_id: str
    status: OperatorStatus | None
    certificates: tuple[Certificate, ...]
    employments: tuple[Employment, ...]
    version: int


class EnterpriseView(Struct, frozen=True):
    """A firm."""

    uscc: str
    division: str
    status: EnterpriseStatus
    version: int


class MachineView(Struct, frozen=True):
    """A machine. ``chip`` is the registered lock chip, ``hold`` what locks the machine from afar."""

    machine_id: str
    chip: str | None
    uscc: str
    process: Process
    division: str
    status: MachineStatus
    hold: Hold | None
    version: int


class SourceView(Struct, frozen=True):
    """How a source stands. Times are Unix milliseconds; ``age_s`` is since it last confirmed what we hold, seconds."""

    source: str
    tried_at: Millis | None
    confirmed_at: Millis | None
    age_s: int | None
    failing_since: Millis | None
    problem: str | None


class RegistryView(Struct, frozen=True):
    """The version that decisions use, when a source last confirmed it (Unix milliseconds, and seconds ago; null before
    the first import), and every source that is asked."""

    version: int
    confirmed_at: Millis | None
    age_s: int | None
    sources: tuple[SourceView, ...]


class VersionsView(Struct, frozen=True):
    """Versions of the registries, the latest first."""

    versions: tuple[Version, ...]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """How many."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 50


async def operator(services: Services, call: Call) -> OperatorView:
    snapshot, operator_id = services.state.snapshot, call.named("operator_id")
    if not snapshot.knows_operator(operator_id):
        raise ApiError("not-found", "operator_id: no registry names anybody of this number; compare it with the badge")
    known = snapshot.operators.get(operator_id)
    return OperatorView(
        operator_id,
        known.status if known else None,
        snapshot.certificates.get(operator_id, ()),
        snapshot.employments.get(operator_id, ()),
        snapshot.version,
    )


async def enterprise(services: Services, call: Call) -> EnterpriseView:
    snapshot = services.state.snapshot
    known = snapshot.enterprises.get(call.named("uscc"))
    if known is None:
        raise ApiError("not-found", "uscc: no firm of this credit code is registered")
    return EnterpriseView(known.uscc, known.division, known.status, snapshot.version)


async def machine(services: Services, call: Call) -> MachineView:
    snapshot = services.state.snapshot
    known = snapshot.machines.get(call.named("machine_id"))
    if known is None:
        raise ApiError("not-found", "machine_id: no machine of this number is registered; compare it with the label")
    hold = snapshot.controls.hold(known.machine_id)
    fields = (known.machine_id, known.chip, known.uscc, known.process, known.division, known.status)
    return MachineView(*fields, hold, snapshot.version)


async def registry(services: Services, _: Call) -> RegistryView:
    snapshot, now = services.state.snapshot, services.state.wall_ms()
    found = await asyncio.to_thread(versions.sources, services.engine)
    confirmed_at = snapshot.confirmed_at if snapshot.version else None
    sources = tuple(_source(one, now) for one in found)
    return RegistryView(snapshot.version, confirmed_at, snapshot.age_s(now), sources)


def _source(known: SourceState, now: Millis) -> SourceView:
    age_s = None if known.confirmed_at is None else max(0, now - known.confirmed_at) // 1000
    problem = None if known.problem is None else without_numbers(known.problem)
    return SourceView(known.source, known.tried_at, known.confirmed_at, age_s, known.failing_since, problem)


async def history(services: Services, call: Call) -> VersionsView:
    found = await asyncio.to_thread(versions.latest, services.engine, call.query.limit)
    return VersionsView(tuple(found))
