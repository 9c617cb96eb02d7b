"""A welder at a machine presses the button: the gate decides, the lock follows, and the page tells it as it is."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from aiohttp import ClientResponse

from gateway import upkeep
from gateway.core.model import Status
from gateway.site.stream import MOST_OF_ONE
from gateway.site.welder.asks import CLOCKS_DIFFER_MS, LASTS_MS, may_ask, new_id
from gateway.site.welder.pace import MOST_A_MINUTE
from gateway.site.welder.sessions import Phase, phase_of
from gateway.store.overview import SessionFacts
from gateway.store.tables import LedgerRow, SessionRow, metadata
from gateway.wire import topics
from gateway.wire.codec import encode
from simulator.signals import OperatorEnds, Publish, Scanned
from tests.site.gate import until
from tests.site.served import NOW, Shown, Town, Visitor, town
from tests.store.databases import Databases

MACHINE = "/w/m/HJ-0001"
WITHIN_S = 10.0
_ledger = metadata.tables[LedgerRow.__tablename__]
_sessions = metadata.tables[SessionRow.__tablename__]
_ask = re.compile(r'name="ask" value="([^"]+)"')
_session = re.compile(r'data-live="/w/sessions/([^/"]+)/live"')
_phase = re.compile(r'data-phase="(\w+)"')


def ask_in(shown: Shown) -> str:
    """The one-time id of a machine's page."""
    found = _ask.search(shown.text)
    assert found, shown.text
    return found[1]


def session_in(shown: Shown) -> str:
    found = _session.search(shown.text)
    assert found, shown.text
    return found[1]


def phase_in(text: str) -> str:
    found = _phase.search(text)
    assert found, text
    return found[1]


def records(site: Town, kind: str) -> list[dict[str, object]]:
    """The bodies of the ledger's records of a kind."""
    with site.engine.connect() as connection:
        rows = connection.execute(sa.select(_ledger.c.record).where(_ledger.c.kind == kind).order_by(_ledger.c.seq))
        return [msgspec.json.decode(record)["body"] for record in rows.scalars()]


def sessions(site: Town) -> int:
    with site.engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(_sessions)).scalar_one()


async def press(visitor: Visitor, machine: str = MACHINE) -> Shown:
    return await visitor.post(f"{machine}/unlock", ask=ask_in(await visitor.get(machine)))


async def until_shown(visitor: Visitor, path: str, what: str) -> Shown:
    """The page once it tells so."""
    async with asyncio.timeout(WITHIN_S):
        while what not in (shown := await visitor.get(path)).text:  # noqa: ASYNC110 - as somebody who looks again
            await asyncio.sleep(0.01)
        return shown


# --- let in -----------------------------------------------------------------------------------------------------


async def test_one_press_unlocks_and_the_page_says_so_once_the_lock_has(site: Town) -> None:
    lock = await site.gate.lock()
    async with site.visitor("welder") as visitor:
        page = await visitor.get(MACHINE)
        for told in ("HJ-0001", "样例企业", "一号车间", "熔化焊接与热切割", "空闲，已上锁", "蓝码"):
            assert told in page.text
        answer = await press(visitor)
        assert answer.status == 200
        assert answer.path.startswith(f"{MACHINE}/asks/phone-")
        await until(lambda: lock.chip.relay == "closed")
        shown = await until_shown(visitor, answer.path, "已解锁")
        assert "结束作业，上锁" in shown.text
        assert "您正在使用" in (await visitor.get(MACHINE)).text
        assert "正在使用 HJ-0001" in (await visitor.get("/w")).text
    (decision,) = records(site, "decision")
    assert msgspec.convert(decision["asked"], dict)["method"] == "phone"
    assert "grant" not in shown.text


async def test_a_second_tap_asks_the_same_once_more(site: Town) -> None:
    await site.gate.lock()
    async with site.visitor("welder") as visitor:
        ask = ask_in(await visitor.get(MACHINE))
        first, second = await asyncio.gather(*[visitor.post(f"{MACHINE}/unlock", ask=ask) for _ in range(2)])
        third = await visitor.post(f"{MACHINE}/unlock", ask=ask)
        assert first.path == second.path == third.path == f"{MACHINE}/asks/{ask}"
    assert len(records(site, "decision")) == sessions(site) == 1


async def test_an_answer_that_waited_on_its_way_unlocks_nothing_and_that_is_said(site: Town) -> None:
    lock = await site.gate.lock()
    lock.held = True
    async with site.visitor("welder") as visitor:
        answer = await press(visitor)
        assert "已批准，等锁具回答" in answer.text
        assert 'http-equiv="refresh"' in answer.text
        site.clock.pass_s(31)
        shown = await visitor.get(answer.path)
        assert phase_in(shown.text) == "silent"
        assert "再解锁 HJ-0001" in shown.text
        lock.let_go()
        assert "没有接受" in (await until_shown(visitor, answer.path, 'data-phase="refused"')).text
    assert lock.chip.relay == "open"


# --- refused ----------------------------------------------------------------------------------------------------


async def test_a_refusal_shows_every_reason_with_what_to_do(site: Town) -> None:
    await site.gate.lock()
    async with site.visitor("welder", where="P-2") as visitor:
        shown = await press(visitor)
        for told in ("不能解锁", "本人已被禁止作业。", "申请解除", "查不到本人的特种作业操作证。", "培训机构"):
            assert told in shown.text
        await visitor.get("/language/en")
        shown = await visitor.get(shown.path)
        for told in ("Not unlocked", "You are barred from working.", "Who can help: "):
            assert told in shown.text
    assert sessions(site) == 0


async def test_a_lock_that_is_away_is_told_before_and_after(site: Town) -> None:
    lock = await site.gate.lock()
    site.gate.deliver(Publish(topics.to_gateway("HJ-0001", "status"), encode(Status(online=False))))
    await until(lambda: not site.parts.state.chips["HJ-0001"].online)
    async with site.visitor("welder") as visitor:
        await until_shown(visitor, MACHINE, "锁具不在线")
        assert "焊机锁具不在线，手机无法解锁。" in (await press(visitor)).text
    assert lock.chip.relay == "open"


async def test_a_gate_that_does_not_answer_is_told_and_nothing_is_asked_later(site: Town) -> None:
    assert site.gate.pipeline is not None
    await site.gate.lock()
    async with site.visitor("welder") as visitor:
        ask = ask_in(await visitor.get(MACHINE))
        site.gate.pipeline.drain()
        shown = await visitor.post(f"{MACHINE}/unlock", ask=ask)
        assert shown.status == 503
        assert "系统正在重启，这次没有解锁。" in shown.text
        assert ask_in(shown) == ask
    assert records(site, "decision") == []


async def test_a_machine_that_nobody_knows_is_not_asked_for(site: Town) -> None:
    async with site.visitor("welder") as visitor:
        assert "没有登记这个编号的焊机" in (await visitor.get("/w/m/HJ-9999")).text
        shown = await visitor.post("/w/m/HJ-9999/unlock", ask=new_id(visitor.token, "HJ-9999", NOW))
        assert shown.status == 404
    assert records(site, "decision") == []


async def test_who_presses_all_the_time_is_not_asked_for(site: Town) -> None:
    await site.gate.lock()
    async with site.visitor("welder", where="P-2") as visitor:
        for _ in range(MOST_A_MINUTE):
            assert (await press(visitor)).status == 200
        shown = await press(visitor)
        assert shown.status == 429
        assert "按得太快了" in shown.text
        assert len(records(site, "decision")) == MOST_A_MINUTE
        site.clock.pass_s(60)
        assert (await press(visitor)).status == 200


# --- the one-time id --------------------------------------------------------------------------------------------


async def test_invariant_nobody_asks_but_from_a_page_of_this_machine_and_sign_in(site: Town) -> None:
    await site.gate.lock()
    async with site.visitor("welder") as visitor, site.visitor("welder", where="P-2") as other:
        theirs = ask_in(await other.get(MACHINE))
        for ask in ("", "phone-1", theirs, new_id(visitor.token, "HJ-0002", NOW), "request-00000001"):
            shown = await visitor.post(f"{MACHINE}/unlock", ask=ask)
            assert shown.status == 422
            assert "没有解锁" in shown.text
    assert records(site, "decision") == []


async def test_invariant_a_page_that_was_kept_unlocks_nothing(site: Town) -> None:
    await site.gate.lock()
    async with site.visitor("welder") as visitor:
        ask = ask_in(await visitor.get(MACHINE))
        site.clock.pass_s(LASTS_MS / 1000 + 1)
        shown = await visitor.post(f"{MACHINE}/unlock", ask=ask)
        assert shown.status == 422
        assert "这个页面放得太久了" in shown.text
        assert records(site, "decision") == []
        assert (await visitor.post(f"{MACHINE}/unlock", ask=ask_in(shown))).path == f"{MACHINE}/asks/{ask_in(shown)}"


def test_an_id_holds_from_its_page_on_for_a_while() -> None:
    made = new_id("token", "HJ-0001", NOW)
    begins = NOW // 1000 * 1000
    moments = (begins - CLOCKS_DIFFER_MS - 1, begins - CLOCKS_DIFFER_MS, begins + LASTS_MS, begins + LASTS_MS + 1)
    assert [may_ask(made, "token", "HJ-0001", at) for at in moments] == [False, True, True, False]
    assert not may_ask(made, "other", "HJ-0001", NOW)
    assert new_id("token", "HJ-0001", NOW) != made


# --- others -----------------------------------------------------------------------------------------------------


async def test_invariant_what_others_ask_and_do_is_not_found(site: Town) -> None:
    lock = await site.gate.lock()
    async with site.visitor("welder") as visitor, site.visitor("welder", where="P-2") as other:
        answer = await press(visitor)
        session_id = session_in(answer)
        await until(lambda: lock.chip.relay == "closed")
        await visitor.get(answer.path)
        refused = await press(other)
        assert refused.path.startswith(f"{MACHINE}/asks/")
        assert (await visitor.get(refused.path)).status == 404
        await other.get(MACHINE)
        for path in (answer.path, f"/w/sessions/{session_id}", f"/w/sessions/{session_id}/live"):
            assert (await other.get(path)).status == 404, path
        assert (await other.post("/w/end", session_id=session_id)).status == 404
        assert (await other.post("/w/end")).status == 404
        assert "别人正在使用" in (await other.get(MACHINE)).text
        assert "样例甲" not in (await other.get(MACHINE)).text
    assert records(site, "control") == []
    assert lock.chip.relay == "closed"


async def test_what_was_asked_at_the_scanner_is_no_answer_of_the_phone_s(site: Town) -> None:
    lock = await site.gate.lock()
    lock.feed(Scanned("P-1"))
    await until(lambda: lock.chip.relay == "closed")
    assert lock.chip.session is not None
    async with site.visitor("welder") as visitor:
        assert (await visitor.get(f"{MACHINE}/asks/{lock.chip.session.request_id}")).status == 404
        assert "正在使用 HJ-0001" in (await visitor.get("/w")).text


# --- as it happens ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def followed(visitor: Visitor, session_id: str) -> AsyncIterator[ClientResponse]:
    async with visitor.client.get(f"{visitor.town.url}/w/sessions/{session_id}/live") as answer:
        yield answer


async def event_in(answer: ClientResponse) -> str:
    """The next event, all its lines."""
    async with asyncio.timeout(WITHIN_S):
        return (await answer.content.readuntil(b"\r\n\r\n")).decode()


async def test_a_session_is_told_from_the_answer_to_the_lock(site: Town) -> None:
    lock = await site.gate.lock()
    lock.held = True
    async with site.visitor("welder") as visitor, followed(visitor, session_in(await press(visitor))) as live:
        assert live.headers["Content-Type"] == "text/event-stream"
        assert live.headers["X-Content-Type-Options"] == "nosniff"
        assert phase_in(await event_in(live)) == "waiting"
        before = time.monotonic()
        lock.let_go()
        assert phase_in(await event_in(live)) == "unlocked"
        assert time.monotonic() - before < 1.0
        lock.feed(OperatorEnds())
        locked = await event_in(live)
        assert phase_in(locked) == "locked"
        assert "您在焊机上结束了作业。" in locked
        assert "event: over" in await event_in(live)
        assert await live.content.read() == b""


async def test_a_grant_that_the_lock_refuses_is_told(site: Town) -> None:
    lock = await site.gate.lock()
    lock.held = True
    async with site.visitor("welder") as visitor, followed(visitor, session_in(await press(visitor))) as live:
        assert phase_in(await event_in(live)) == "waiting"
        site.clock.pass_s(31)
        lock.let_go()
        while phase_in(await event_in(live)) != "refused":
            pass
        assert phase_in((await visitor.get("/w")).text) == "refused"


async def test_an_account_has_so_many_streams_and_no_more(site: Town) -> None:
    (await site.gate.lock()).held = True
    async with site.visitor("welder") as visitor:
        session_id = session_in(await press(visitor))
        path = f"{site.url}/w/sessions/{session_id}/live"
        opened = [await visitor.client.get(path) for _ in range(MOST_OF_ONE)]
        async with visitor.client.get(path) as refused:
            assert refused.status == 429
        opened.pop().close()
        async with asyncio.timeout(WITHIN_S):
            while (status := await _status(visitor, path)) == 429:  # noqa: ASYNC110 - as a browser that tries again
                await asyncio.sleep(0.05)
        assert status == 200
        for answer in opened:
            answer.close()


async def _status(visitor: Visitor, path: str) -> int:
    async with visitor.client.get(path) as answer:
        return answer.status


async def test_a_gateway_that_stops_waits_for_no_page(databases: Databases, tmp_path: Path) -> None:
    async with town(databases.engine(), tmp_path) as site:
        await site.gate.lock()
        async with site.visitor("welder") as visitor:
            session_id = session_in(await press(visitor))
            live = await visitor.client.get(f"{site.url}/w/sessions/{session_id}/live")
            await event_in(live)
            before = time.monotonic()
            await site.stop()
            assert time.monotonic() - before < 2.0
            live.close()


# --- the end ----------------------------------------------------------------------------------------------------


async def test_the_welder_ends_the_session_and_sees_when_it_is_locked(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is taken over at once, not when the gateway would next have looked."""
    monkeypatch.setattr(upkeep, "REGISTRY_POLL_S", 60.0)
    async with town(databases.engine(), tmp_path) as site, site.visitor("welder") as visitor:
        lock = await site.gate.lock()
        answer = await press(visitor)
        await until(lambda: lock.chip.relay == "closed")
        await until_shown(visitor, answer.path, "已解锁")
        lock.held = True
        shown = await visitor.post("/w/end", session_id=session_in(answer))
        assert "已要求上锁。" in shown.text
        await until_shown(visitor, shown.path, "正在上锁")
        again = await visitor.post("/w/end", session_id=session_in(answer))
        assert (again.status, again.path) == (200, shown.path)
        await until(lambda: bool(lock.waiting))
        lock.let_go()
        assert "已上锁" in (await until_shown(visitor, shown.path, "已按要求结束作业。")).text
        assert (await visitor.post("/w/end", session_id=session_in(answer))).status == 200
        assert lock.chip.relay == "open"
        (ordered,) = records(site, "control")
        assert (ordered["act"], ordered["by"], ordered["reason"]) == ("end_session", "样例 (P-1)", "焊工本人结束")


FACTS = SessionFacts(
    *("s-1", "HJ-0001", "P-1", "330521", NOW, None, NOW + 900_000, None, None, None, None),
    *(False, None, None, None, None, None),
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "known", "phase"),
    [
        ({}, {}, "waiting"),
        ({}, {"late": True}, "silent"),
        ({}, {"refused": True}, "refused"),
        ({}, {"refused": True, "late": True}, "refused"),
        ({"unlocked_at": NOW}, {"late": True, "refused": True}, "unlocked"),
        ({"unlocked_at": NOW, "current_a": 120.0}, {}, "welding"),
        ({"unlocked_at": NOW, "current_a": 0.0}, {}, "idle"),
        ({"unlocked_at": NOW}, {"ordered": True}, "locking"),
        ({"unlocked_at": NOW, "drained_at": NOW, "drain_reason": "revoked"}, {}, "locking"),
        ({"unlocked_at": NOW, "ended_at": NOW, "end_reason": "operator"}, {"ordered": True}, "locked"),
        ({"ended_at": NOW, "end_reason": "unused"}, {"late": True}, "silent"),
        ({"ended_at": NOW, "end_reason": "grant_rejected"}, {}, "refused"),
        ({"ended_at": NOW, "end_reason": "replaced"}, {}, "locked"),
    ],
)
def test_how_far_a_session_is(changed: dict[str, object], known: dict[str, bool], phase: Phase) -> None:
    facts = msgspec.structs.replace(FACTS, **changed)
    assert phase_of(facts, **{"late": False, "refused": False, "ordered": False} | known) == phase
