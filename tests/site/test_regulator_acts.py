"""What a regulator orders: the machine refuses, the session ends, and who ordered it and why is on record."""

import pytest
from aiohttp import web

from gateway.registry.acts import SHORTEST_REASON
from simulator.signals import Scanned
from tests.registry.people import ANNA, PHONE
from tests.site.console_town import OURS, records
from tests.site.gate import until
from tests.site.served import Town

MACHINE = "/r/machines/HJ-0001"
WHY = "现场检查发现无监护人"


async def test_a_machine_is_locked_until_somebody_releases_it(site: Town) -> None:
    lock = await site.gate.lock()
    async with site.visitor("regulator", where=OURS) as visitor:
        assert "没有人在使用" in (await visitor.get(MACHINE)).text
        shown = await visitor.post(f"{MACHINE}/lock", reason=WHY)
        assert shown.path == MACHINE
        assert "焊机已远程锁定" in shown.text
        assert WHY in shown.text
        await until(lambda: site.parts.state.snapshot.controls.hold("HJ-0001") is not None)
        lock.feed(Scanned("P-1", "scan"))
        await until(lambda: len(records(site, "decision")) == 1)
        assert "machine_out_of_service" in records(site, "decision")[0]["decision"]["reasons"]
        again = await visitor.post(f"{MACHINE}/lock", reason=WHY)
        assert again.status == 422
        assert "情况已经变了" in again.text
        released = await visitor.post(f"{MACHINE}/release", reason="隐患已排除")
        assert "已解除锁定" in released.text
        await until(lambda: site.parts.state.snapshot.controls.hold("HJ-0001") is None)
    acts = [(act["act"], act["by"], act["reason"]) for act in records(site, "control")]
    assert acts == [("lock", "样例 (regulator)", WHY), ("release", "样例 (regulator)", "隐患已排除")]


async def test_a_session_is_ended_and_the_lock_closes(site: Town) -> None:
    lock = await site.gate.lock()
    lock.feed(Scanned("P-1", "scan"))
    await until(lambda: site.parts.state.sessions.at_machine("HJ-0001") is not None)
    session = site.parts.state.sessions.at_machine("HJ-0001")
    assert session is not None
    async with site.visitor("regulator", where=OURS) as visitor:
        assert f"/r/sessions/{session.session_id}/end" in (await visitor.get(MACHINE)).text
        shown = await visitor.post(f"/r/sessions/{session.session_id}/end", reason=WHY)
        assert (shown.status, shown.path) == (200, MACHINE)
        await until(lambda: bool(records(site, "command")))
        assert (await visitor.post("/r/sessions/session-00000000/end", reason=WHY)).status == 404
    assert [act["act"] for act in records(site, "control")] == ["end_session"]
    assert records(site, "command")[0]["reason"] == "remote"


@pytest.mark.parametrize("reason", ["", "短", "身份证 " + ANNA, "电话 " + PHONE])
async def test_a_reason_that_says_nothing_or_too_much_changes_nothing(site: Town, reason: str) -> None:
    async with site.visitor("regulator", where=OURS) as visitor:
        await visitor.get(MACHINE)
        shown = await visitor.post(f"{MACHINE}/lock", reason=reason)
        assert shown.status == 422
        assert ("请写明原因" if len(reason) < SHORTEST_REASON else "像有身份证号或手机号") in shown.text
    assert records(site, "control") == []


async def test_an_auditor_reads_and_orders_nothing(site: Town) -> None:
    async with site.visitor("auditor") as visitor:
        shown = await visitor.get(MACHINE)
        assert shown.status == 200
        assert "远程锁定" not in shown.text
        for path in (f"{MACHINE}/lock", f"{MACHINE}/release", "/r/sessions/session-00000000/end"):
            assert (await visitor.post(path, reason=WHY)).status == web.HTTPForbidden.status_code
    assert records(site, "control") == []
