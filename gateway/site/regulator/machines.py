"""One machine: what it is, how it stands, who used it, what it refused, and the orders about it."""

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Control
from gateway.registry.acts import holding
from gateway.site.regulator import usage, words
from gateway.site.regulator.ground import ACTORS, Crumb, crumbs_to, machine_named
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.controls import about_machine, acts
from gateway.store.overview import ChipFacts, Lost, MachineFacts, SessionFacts, Wanted

LATEST = 20
"""Sessions, decisions and orders that a profile shows."""


class About(Struct, frozen=True):
    """What is on record of a machine; ``sessions`` and ``orders`` with the latest first."""

    machine: MachineFacts
    chip: ChipFacts | None
    lost: list[Lost]
    sessions: list[SessionFacts]
    orders: list[Control]

    @property
    def held(self) -> Control | None:
        return holding(self.orders)

    @property
    def open(self) -> SessionFacts | None:
        return next((session for session in self.sessions if session.ended_at is None), None)

    @property
    def state(self) -> str:
        """A key of ``words.MACHINE_STATES``."""
        if self.open is not None:
            return self.open.state
        if self.held is not None:
            return "out_of_service"
        if self.chip is None:
            return "never_used"
        return "online" if self.chip.online else "silent"


def about(connection: Connection, machine_id: str) -> About | None:
    machine = overview.machine(connection, machine_id)
    if machine is None:
        return None
    return About(
        machine,
        overview.chip(connection, machine_id),
        overview.lost_evidence(connection, machine_id, LATEST),
        overview.sessions(connection, Wanted("all", machine_id=machine_id), LATEST),
        acts(connection, about_machine(machine_id)),
    )


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /r/machines/{machine_id}``."""
    return await profile(visit, machine_named(visit, visit.named("machine_id")).machine_id)


async def profile(
    visit: Visit, machine_id: str, status: int = 200, problem: str = "", reason: str = ""
) -> web.StreamResponse:
    """``problem``: why an order was not carried out, and the ``reason`` that was typed for it."""
    found = await visit.parts.read(about, machine_id)
    if found is None:
        raise web.HTTPNotFound
    machine = found.machine
    firm = Crumb(f"/r/firms/{machine.uscc}", machine.firm or machine.uscc)
    return visit.page(
        "regulator/machine.html",
        status,
        crumbs=crumbs_to(visit, machine.division, firm, Crumb(f"/r/machines/{machine_id}", machine_id)),
        found=found,
        used=await usage.of_machine(visit, machine_id),
        may_act=visit.account.role in ACTORS,
        problem=problem,
        reason=reason,
        words=words,
    )
