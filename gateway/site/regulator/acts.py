"""What a regulator orders: a machine locked and released from afar, a session ended. Each order records itself."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from gateway.core.model import Control
from gateway.registry import orders
from gateway.registry.acts import Author, author
from gateway.site.regulator import machines
from gateway.site.regulator.ground import machine_named
from gateway.site.visit import Visit
from gateway.store import overview
from gateway.store.controls import ControlError

Order = Callable[[Author], Control]


async def lock(visit: Visit) -> web.StreamResponse:
    """``POST /r/machines/{machine_id}/lock``: until somebody releases it."""
    machine_id, engine = machine_named(visit, visit.named("machine_id")).machine_id, visit.parts.engine
    return await _carried_out(
        visit, machine_id, "locked", lambda by: orders.hold_machine(engine, "lock", machine_id, by)
    )


async def release(visit: Visit) -> web.StreamResponse:
    """``POST /r/machines/{machine_id}/release``."""
    machine_id, engine = machine_named(visit, visit.named("machine_id")).machine_id, visit.parts.engine
    return await _carried_out(
        visit, machine_id, "unlocked_again", lambda by: orders.release_machine(engine, machine_id, by)
    )


async def end_session(visit: Visit) -> web.StreamResponse:
    """``POST /r/sessions/{session_id}/end``: by the machine that it is at."""
    session_id, engine = visit.named("session_id"), visit.parts.engine
    session = await visit.parts.read(overview.session, session_id)
    if session is None:
        raise web.HTTPNotFound
    machine_id = machine_named(visit, session.machine_id).machine_id
    return await _carried_out(
        visit, machine_id, "session_ending", lambda by: orders.end_session(engine, session_id, by)
    )


async def _carried_out(visit: Visit, machine_id: str, said: str, order: Order) -> web.StreamResponse:
    reason = (await visit.form()).get("reason", "")
    try:
        await asyncio.to_thread(order, author(visit.by, reason, visit.now(), "regulator"))
    except ControlError as error:
        problem = visit.pick(error.chinese, str(error))
        return await machines.profile(visit, machine_id, 422, problem=problem, reason=reason)
    visit.parts.hurry()
    return visit.go(f"/r/machines/{machine_id}", said)
