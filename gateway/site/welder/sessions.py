"""The welder's session: how far it is, told as it happens until the machine is locked again, and ended at will."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Control, Event, Millis
from gateway.gate.entry import EventBody
from gateway.registry import orders
from gateway.registry.acts import author
from gateway.site.live import FOLLOWER
from gateway.site.stream import stream, watched
from gateway.site.visit import Visit
from gateway.site.welder import words
from gateway.store import controls, overview
from gateway.store.controls import ControlError
from gateway.store.following import Line, latest
from gateway.store.overview import SessionFacts, Wanted

Phase = Literal["waiting", "unlocked", "welding", "idle", "locking", "locked", "refused", "silent"]
OVER: tuple[Phase, ...] = ("locked", "refused", "silent")
"""Nothing more happens, or a new request is needed."""
WHY_ENDED = "焊工本人结束"
FOLLOWED_S = 1800.0
"""How long one stream goes on; a browser that still watches opens another."""
LOOK_EVERY_S = 5.0
"""Usage, by which welding shows, is no record of the ledger: it is looked up."""
LOOK_WHILE_WAITING_S = 1.0
_event = msgspec.json.Decoder(EventBody).decode
_payload = msgspec.json.Decoder(Event).decode


class Told(Struct, frozen=True):
    """What a page tells of a session. ``ended`` is why it is over, in the visitor's language."""

    session_id: str
    machine_id: str
    phase: Phase
    since: Millis
    ended: str


async def running(visit: Visit) -> Told | None:
    """The welder's open session."""
    found = await visit.parts.read(_running, visit.reach.operator_id or "")
    return tell(visit, found, refused=refused_in(visit, found)) if found else None


def _running(connection: Connection, operator_id: str) -> SessionFacts | None:
    return next(iter(overview.sessions(connection, Wanted("open", operator_id=operator_id), 1)), None)


async def own(visit: Visit, session_id: str) -> SessionFacts:
    """INVARIANT: nobody sees or ends another's. Raises HTTPNotFound."""
    session = await visit.parts.read(overview.session, session_id)
    if session is None or session.operator_id is None or session.operator_id != visit.reach.operator_id:
        raise web.HTTPNotFound
    return session


def tell(visit: Visit, session: SessionFacts, *, refused: bool) -> Told:
    """``refused``: the chip said that it does not take the grant."""
    state = visit.parts.state
    start_by_ms = state.rulebook.policy.lease.start_by_s * 1000
    ordered = state.snapshot.controls.is_ended(session.session_id)
    phase = phase_of(session, late=visit.now() > session.granted_at + start_by_ms, refused=refused, ordered=ordered)
    since = session.ended_at or session.unlocked_at or session.granted_at
    reason = next((text for word, text in words.ENDS.items() if word == session.end_reason), "")
    return Told(session.session_id, session.machine_id, phase, since, reason and visit.text(reason))


def phase_of(session: SessionFacts, *, late: bool, refused: bool, ordered: bool) -> Phase:
    """What the chip has told, as far as it is on record; ``late``: a lock may not begin any more. ``ordered``: somebody
    has ordered the session's end."""
    match session.state:
        case "ended":
            never = session.unlocked_at is None
            if never and session.end_reason == "grant_rejected":
                return "refused"
            return "silent" if never and session.end_reason == "unused" else "locked"
        case "granted" if refused:
            return "refused"
        case "granted" if late:
            return "silent"
        case "granted":
            return "waiting"
        case "draining":
            return "locking"
        case _ if ordered:
            return "locking"
        case "unlocked" | "welding" | "idle" as running_on:
            return running_on


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /w/sessions/{session_id}``."""
    session = await own(visit, visit.named("session_id"))
    return visit.page("welder/session.html", told=tell(visit, session, refused=refused_in(visit, session)), problem="")


def refused_in(visit: Visit, session: SessionFacts) -> bool:
    """Whether this gateway has heard the chip refuse the grant for now."""
    known = visit.parts.state.sessions.at_machine(session.machine_id)
    return known is not None and known.session_id == session.session_id and known.live.grant_refused


# --- as it happens ----------------------------------------------------------------------------------------------


async def live(visit: Visit) -> web.StreamResponse:
    """``GET /w/sessions/{session_id}/live``: the part of the page that tells of the session, whenever it changes."""
    seq = await visit.parts.read(latest)
    session = await own(visit, visit.named("session_id"))
    follower = visit.request.app[FOLLOWER]
    async with stream(visit) as opened:
        with follower.watch(_about_a_lock, seq, session.machine_id) as lines, suppress(TimeoutError):
            async with asyncio.timeout(FOLLOWED_S):  # then the browser opens another one
                await _follow(visit, session, lines, opened)
    return opened


def _about_a_lock(line: Line) -> bool:
    return line.kind in ("event", "command", "session_end", "control")


async def _follow(
    visit: Visit, session: SessionFacts, lines: "asyncio.Queue[Line]", opened: EventSourceResponse
) -> None:
    """Until the machine is locked. What is told is read anew each time: it is on record."""
    before, refused = "", refused_in(visit, session)
    while watched(visit, opened):
        session = await own(visit, session.session_id)
        told = tell(visit, session, refused=refused)
        part = visit.rendered("welder/parts/session.html", told=told)
        if part != before:
            await opened.send(part)
            before = part
        if told.phase == "locked" or session.ended_at is not None:
            await opened.send(told.phase, event="over")
            return
        news = await _next(lines, LOOK_WHILE_WAITING_S if told.phase == "waiting" else LOOK_EVERY_S)
        refused = refused or any(_refuses(line, session.session_id) for line in news)


async def _next(lines: "asyncio.Queue[Line]", within_s: float) -> Sequence[Line]:
    """What has come, none after a while."""
    try:
        async with asyncio.timeout(within_s):
            news = [await lines.get()]
    except TimeoutError:
        return ()
    while not lines.empty():
        news.append(lines.get_nowait())
    return news


def _refuses(line: Line, session_id: str) -> bool:
    if line.kind != "event":
        return False
    event = _payload(_event(line.body).payload.encode())
    return event.kind == "grant_rejected" and event.session_id == session_id


# --- the end ----------------------------------------------------------------------------------------------------


async def end(visit: Visit) -> web.StreamResponse:
    """``POST /w/end``: the lock goes out within a second, and opens the relay between arcs."""
    session = await own(visit, (await visit.form()).get("session_id", ""))
    there = f"/w/sessions/{session.session_id}"
    if session.ended_at is not None or await visit.parts.read(_ordered, session.session_id):
        return visit.go(there)
    try:
        await asyncio.to_thread(_order_end, visit, session.session_id)
    except ControlError as error:
        problem = visit.pick("没能结束作业。请直接在焊机上结束，或联系单位安全管理人员。", str(error))
        told = tell(visit, session, refused=False)
        return visit.page("welder/session.html", 422, told=told, problem=problem)
    visit.parts.hurry()
    return visit.go(there, "session_ending")


def _order_end(visit: Visit, session_id: str) -> Control:
    return orders.end_session(visit.parts.engine, session_id, author(visit.by, WHY_ENDED, visit.now()))


def _ordered(connection: Connection, session_id: str) -> bool:
    return bool(controls.acts(connection, controls.about_session(session_id)))
