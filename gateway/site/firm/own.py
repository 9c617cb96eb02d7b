"""What is the firm's own: whoever asks for anything else is told that there is none."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any

from aiohttp import web

from gateway.core.model import Control, Employment, Machine
from gateway.registry.acts import Author, author
from gateway.site.visit import Visit
from gateway.store.accounts import AccountBody, record
from gateway.store.changes import current_version

LOOKS, LOOK_EVERY_S = 40, 0.05
"""How long a page waits for the gate to go by what was just changed; the change holds anyway."""


def uscc_of(visit: Visit) -> str:
    """The firm's credit code."""
    if visit.reach.uscc is None:
        raise web.HTTPNotFound
    return visit.reach.uscc


def machine_of(visit: Visit, machine_id: str) -> Machine:
    """INVARIANT: a machine of the firm, or none."""
    machine = visit.parts.state.snapshot.machines.get(machine_id)
    if machine is None or not visit.reach.holds_machine(machine):
        raise web.HTTPNotFound
    return machine


def machine_ids(visit: Visit) -> list[str]:
    """The firm's machines, those that are scrapped left out."""
    machines = visit.parts.state.snapshot.machines.values()
    return sorted(
        one.machine_id for one in machines if visit.reach.holds_machine(one) and one.status != "decommissioned"
    )


def person_of(visit: Visit, operator_id: str) -> str:
    """INVARIANT: somebody whom the firm employs or is about to; who has left is somebody else's, or nobody's."""
    if not any(goes_on(work, visit.today()) for work in works(visit, operator_id)):
        raise web.HTTPNotFound
    return operator_id


def works(visit: Visit, operator_id: str) -> tuple[Employment, ...]:
    """The person's employments at the firm."""
    return visit.parts.state.snapshot.employments_at(operator_id, uscc_of(visit))


def goes_on(work: Employment, today: date) -> bool:
    """Whether it is not over, begun or not."""
    return work.until is None or work.until >= today


# --- what the firm does -----------------------------------------------------------------------------------------


def author_of(visit: Visit, reason: str) -> Author:
    """Raises ControlError for a reason that tells nobody anything."""
    return author(visit.by, reason, visit.now(), "supervisor")


async def order(visit: Visit, give: Callable[..., Control], *args: Any) -> None:
    """Give an order, which goes on record by itself, and have it taken over. Raises ControlError."""
    await asyncio.to_thread(give, visit.parts.engine, *args)
    await taken_over(visit)


async def taken_over(visit: Visit) -> None:
    """Have what was changed taken over by this gateway before the next page shows it."""
    version = await visit.parts.read(current_version)
    visit.parts.hurry()
    for _ in range(LOOKS):
        if visit.parts.state.snapshot.version >= version:
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def did(visit: Visit, what: str, operator_id: str | None = None, **detail: str) -> None:
    """Put on record what has no record of its own."""
    body = AccountBody(visit.account.account_id, "did", visit.by, {"what": what, **detail})
    await visit.parts.write(record, body, visit.now(), operator_id)
