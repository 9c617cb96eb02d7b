"""What a regulator orders: a machine locked and released from afar, a session ended. Each order records itself."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gateway.core.model import Control
from gateway.registry import orders
from gateway.registry.acts import LONGEST_REASON, SHORTEST_REASON, Author, author
from gateway.registry.values import personal_identifier
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
    problem = _unusable(visit, reason)
    if not problem:
        try:
            await asyncio.to_thread(_order, order, visit.by, reason, visit.now())
        except ControlError as error:
            problem = visit.pick("没有执行：情况已经变了，请看下面现在的状态。", str(error))
    if problem:
        return await machines.profile(visit, machine_id, 422, problem=problem, reason=reason)
    visit.parts.hurry()
    return visit.go(f"/r/machines/{machine_id}", said)


def _order(order: Order, by: str, reason: str, now: int) -> Any:
    return order(author(by, reason, now))


def _unusable(visit: Visit, reason: str) -> str:
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        return visit.text(
            "请写明原因，%(least)s 到 %(most)s 个字：它会永久留在账本里。", least=SHORTEST_REASON, most=LONGEST_REASON
        )
    if personal_identifier(reason):
        return visit.text("原因里像有身份证号或手机号。账本永久保存，请只写姓名或人员编号。")
    return ""
