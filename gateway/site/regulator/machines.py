"""One machine: what it is, how it stands, who used it, what it refused, and the orders about it."""

from datetime import date

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Control
from gateway.core.reach import Reach
from gateway.core.reasons import REASONS
from gateway.registry.acts import holding
from gateway.site.regulator import usage, words
from gateway.site.regulator.ground import ACTORS, Crumb, crumbs_to, machine_named
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.controls import about_machine, acts
from gateway.store.figures.machines import MachineProfile, machine
from gateway.store.overview import Lost, SessionFacts, Wanted

LATEST = 20
"""Gaps in a chip's numbers that a profile shows."""


class About(Struct, frozen=True):
    """What is on record of a machine; ``orders`` with the latest first, ``open`` its session that has not ended."""

    profile: MachineProfile
    open: SessionFacts | None
    orders: list[Control]
    lost: list[Lost]

    @property
    def held(self) -> Control | None:
        return holding(self.orders)


def about(connection: Connection, reach: Reach, machine_id: str, today: date) -> About | None:
    """None where there is none within reach."""
    found = machine(connection, reach, machine_id, today)
    if found is None:
        return None
    running = overview.sessions(connection, Wanted("open", machine_id=machine_id), 1)
    return About(
        found,
        running[0] if running else None,
        acts(connection, about_machine(machine_id)),
        overview.lost_evidence(connection, machine_id, LATEST),
    )


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/machines/{machine_id}``."""
    return await profile(visit, machine_named(visit, visit.named("machine_id")).machine_id)


async def profile(
    visit: Visit, machine_id: str, status: int = 200, problem: str = "", reason: str = ""
) -> web.StreamResponse:
    """``problem``: why an order was not carried out, and the ``reason`` that was typed for it."""
    found = await visit.parts.read(about, visit.reach, machine_id, visit.today())
    if found is None:
        raise web.HTTPNotFound
    facts = found.profile.facts
    firm = Crumb(f"/r/firms/{facts.uscc}", facts.firm or facts.uscc)
    return visit.page(
        "regulator/machine.html",
        status,
        crumbs=crumbs_to(visit, facts.division, firm, Crumb(f"/r/machines/{machine_id}", machine_id)),
        found=found,
        used=usage.used(visit, found.profile.usage),
        may_act=visit.account.role in ACTORS,
        problem=problem,
        reason=reason,
        reasons=REASONS,
        words=words,
    )
