"""What a regulator orders: the machine refuses, the session ends, and who ordered it and why is on record."""

import pytest
from aiohttp import web

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
        assert "已锁定" in again.text
        assert "不用再操作" in again.text
        released = await visitor.post(f"{MACHINE}/release", reason="隐患已排除")
        assert "已解除锁定" in released.text
        await until(lambda: site.parts.state.snapshot.controls.hold("HJ-0001") is None)
    acts = [(act["act"], act["by"], act["reason"], act["level"]) for act in records(site, "control")]
    whose = "样例 (regulator)"
    assert acts == [("lock", whose, WHY, "regulator"), ("release", whose, "隐患已排除", "regulator")]


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


async def test_what_a_firm_holds_is_locked_besides_and_the_firm_cannot_lift_it(site: Town) -> None:
    async with site.visitor("firm") as firm, site.visitor("regulator", where=OURS) as visitor:
        await firm.post("/f/machines/HJ-0001/suspend", reason="等待检修")
        assert f"{MACHINE}/lock" in (await visitor.get(MACHINE)).text
        assert (await visitor.post(f"{MACHINE}/lock", reason=WHY)).status == 200
        refused = await firm.post("/f/machines/HJ-0001/release", reason="已经修好")
        assert refused.status == 422
        assert "请联系监管部门" in refused.text
        assert (await visitor.post(f"{MACHINE}/release", reason="隐患已排除")).status == 200
    assert [act["act"] for act in records(site, "control")] == ["out_of_service", "lock", "release"]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "请写明原因"),
        ("短", "请写明原因"),
        ("身份证 " + ANNA, "身份证号或手机号"),
        ("电话 " + PHONE, "身份证号或手机号"),
    ],
)
async def test_a_reason_that_says_nothing_or_too_much_changes_nothing(site: Town, reason: str, told: str) -> None:
    async with site.visitor("regulator", where=OURS) as visitor:
        await visitor.get(MACHINE)
        shown = await visitor.post(f"{MACHINE}/lock", reason=reason)
        assert shown.status == 422
        assert told in shown.text
    assert records(site, "control") == []


async def test_an_auditor_reads_and_orders_nothing(site: Town) -> None:
    async with site.visitor("auditor") as visitor:
        shown = await visitor.get(MACHINE)
        assert shown.status == 200
        assert "远程锁定" not in shown.text
        for path in (f"{MACHINE}/lock", f"{MACHINE}/release", "/r/sessions/session-00000000/end"):
            assert (await visitor.post(path, reason=WHY)).status == web.HTTPForbidden.status_code
    assert records(site, "control") == []
