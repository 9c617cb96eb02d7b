"""What a firm does on its portal: hire and leave, codes, orders, grants; each on record, each within its own firm."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from gateway.core.rules import local_time
from gateway.registry.acts import author
from gateway.registry.orders import hold_machine
from gateway.registry.sources import PORTAL
from gateway.store import accounts
from gateway.store.versions import latest
from tests.registry.people import ANNA, FIRM
from tests.site.firm_town import CAROL, ask, locked, move_in, records, taken_over, weld
from tests.site.served import Shown, Town, Visitor

REASON = "绝缘层破损，待修"


@pytest.fixture
async def firm(site: Town, tmp_path: Path) -> AsyncIterator[Visitor]:
    await move_in(site, tmp_path)
    async with site.visitor("firm", "wang") as visitor:
        yield visitor


def day(town: Town, days: int = 0) -> str:
    return (local_time(town.clock.now).date() + timedelta(days=days)).isoformat()


def said(shown: Shown) -> str:
    """The problem that a page tells."""
    found = re.search(r'class="wrong" role="alert">(.*?)</p>', shown.text, re.DOTALL)
    return found[1].strip() if found else ""


def did(town: Town) -> list[dict[str, str]]:
    bodies = [msgspec.json.decode(row.record)["body"] for row in records(town, "account")]
    return [body["detail"] for body in bodies if body["act"] == "did"]


# --- hire and leave ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [{"operator_id": "P-9", "name": "样例丙"}, {"id_number": CAROL}])
async def test_somebody_is_hired_by_number_and_name_or_by_id_number(firm: Visitor, who: dict[str, str]) -> None:
    town = firm.town
    shown = await firm.post("/f/hire", since=day(town), **who)
    assert (shown.path, shown.status) == ("/f/people/P-9", 200)
    assert "已登记到岗" in shown.text
    assert [work.uscc == FIRM for work in town.parts.state.snapshot.employments["P-9"]].count(True) == 1
    assert await ask(town, "P-9") == "allow"
    assert did(town)[-1] | {"event": ""} == {"what": "hire", "uscc": FIRM, "day": day(town), "event": ""}
    assert CAROL.encode() not in b"".join(row.record for kind in ("account", "registry") for row in records(town, kind))


async def test_a_hire_is_a_version_of_the_registries_that_names_the_portal_and_the_account(firm: Visitor) -> None:
    await firm.post("/f/hire", since=day(firm.town), operator_id="P-9", name="样例·丙")
    with firm.town.engine.connect() as connection:
        account = accounts.by_login(connection, "wang")
    assert latest(firm.town.engine, 1)[0].source == PORTAL
    assert account is not None
    assert f"hire:{account.account_id}:".encode() in records(firm.town, "registry")[-1].record


UNNAMED: tuple[dict[str, str], ...] = (
    {"operator_id": "P-9", "name": "样例乙"},
    {"operator_id": "P-9", "name": ""},
    {"operator_id": "P-404", "name": "样例丙"},
    {"id_number": CAROL[:-1]},
    {"id_number": "T" + CAROL},
    {"id_number": "12900000009"},
    {},
)


async def test_invariant_nobody_is_hired_who_cannot_be_named(firm: Visitor) -> None:
    for who in UNNAMED:
        shown = await firm.post("/f/hire", since=day(firm.town), **who)
        assert (shown.status, said(shown)[:7]) == (422, "没有找到这个人"), who
        assert "样例·丙" not in shown.text
        assert CAROL[:-1] not in shown.text
    assert not firm.town.parts.state.snapshot.employments_at("P-9", FIRM)


async def test_whoever_guesses_has_to_wait(firm: Visitor) -> None:
    for _ in range(20):
        await firm.post("/f/hire", since=day(firm.town), operator_id="P-9", name="猜")
    shown = await firm.post("/f/hire", since=day(firm.town), operator_id="P-9", name="样例丙")
    assert (shown.status, "请过" in said(shown)) == (429, True)
    assert "请过" in said(await firm.post("/f/grants", **GRANT | {"code": "operator_not_employed"}))


async def test_a_first_day_is_a_day_near_today(firm: Visitor) -> None:
    for since in ("", "tomorrow", "20260101", "2099-01-01", "1999-01-01"):
        shown = await firm.post("/f/hire", since=since, operator_id="P-9", name="样例丙")
        assert (shown.status, said(shown)) == (422, "请选择到岗日期，离今天不超过一年。"), since


async def test_who_is_there_is_not_hired_again(firm: Visitor) -> None:
    shown = await firm.post("/f/hire", since=day(firm.town), operator_id="P-1", name="样例甲")
    assert said(shown) == "这个人已经是本单位人员，不用再登记。"


async def test_invariant_who_left_is_locked_at_the_next_look_and_gone_from_the_portal(firm: Visitor) -> None:
    town = firm.town
    session = await weld(town, "P-1")
    shown = await firm.post("/f/people/P-1/leave", until=day(town, -1))
    assert (shown.path, "已登记离岗" in shown.text) == ("/f/people", True)
    assert await locked(town, session) == "revoked"
    assert await ask(town, "P-1") == "deny"
    assert (await firm.get("/f/people/P-1")).status == 404
    assert re.search(r"样例甲 <small>P-1</small>.*重新登记到岗", (await firm.get("/f/people")).text, re.DOTALL)
    assert did(town)[-1]["what"] == "leave"


async def test_the_last_day_is_a_day_of_work(firm: Visitor) -> None:
    shown = await firm.post("/f/people/P-1/leave", until=day(firm.town))
    assert shown.path == "/f/people/P-1"
    assert await ask(firm.town, "P-1") == "allow"


async def test_nobody_leaves_before_they_came(firm: Visitor) -> None:
    await firm.post("/f/hire", since=day(firm.town, 10), operator_id="P-9", name="样例丙")
    shown = await firm.post("/f/people/P-9/leave", until=day(firm.town, 9))
    assert (shown.status, said(shown)) == (422, "最后一天不能早于到岗日期。")
    assert "P-9" in (await firm.get("/f/people")).text, "who is about to come is shown"


# --- sign-in codes ----------------------------------------------------------------------------------------------


async def test_a_code_is_shown_once_and_signs_the_welder_in(firm: Visitor) -> None:
    town = firm.town
    shown = await firm.post("/f/people/P-1/code")
    code = re.search(r'class="code">([A-Z0-9-]+)<', shown.text)
    assert code is not None
    assert "data:image/svg+xml" in shown.text
    assert code[1] not in (await firm.get("/f/people/P-1")).text
    assert "还没登录过" in (await firm.get("/f/people/P-1")).text
    async with town.visitor() as welder:
        form = {"phone": "129 0000 0001", "code": code[1], "pin": "190734", "again": "190734"}
        assert (await welder.post("/first-use", **form)).path != "/first-use"
    assert "账号在用" in (await firm.get("/f/people/P-1")).text
    again = await firm.post("/f/people/P-1/code")
    assert code[1] not in again.text
    acts = [msgspec.json.decode(row.record)["body"]["act"] for row in records(town, "account") if row.operator_id]
    assert acts == ["added", "secret_set", "signed_in", "code_given"]


async def test_without_a_telephone_number_there_is_nothing_to_sign_in_with(firm: Visitor) -> None:
    shown = await firm.post("/f/people/P-2/code")
    assert (shown.status, said(shown)[:12]) == (422, "登记中没有这个人的手机号")


async def test_an_account_is_disabled_and_comes_back(firm: Visitor) -> None:
    assert (await firm.post("/f/people/P-1/disable")).status == 404
    await firm.post("/f/people/P-1/code")
    assert "账号已停用" in (await firm.post("/f/people/P-1/disable")).text
    assert (await firm.post("/f/people/P-1/disable")).status == 422
    assert "账号已恢复使用" in (await firm.post("/f/people/P-1/enable")).text


# --- machines ---------------------------------------------------------------------------------------------------


async def test_a_machine_is_suspended_and_released_with_reasons(firm: Visitor) -> None:
    town = firm.town
    session = await weld(town, "P-1")
    shown = await firm.post("/f/machines/HJ-0001/suspend", reason=REASON)
    assert (shown.path, "焊机已停用" in shown.text, REASON in shown.text) == ("/f/machines/HJ-0001", True, True)
    assert await locked(town, session) == "out_of_service"
    assert await ask(town, "P-1") == "deny"
    assert "已解除停用" in (await firm.post("/f/machines/HJ-0001/release", reason="已经修好并测过")).text
    bodies = [msgspec.json.decode(row.record)["body"] for row in records(town, "control")]
    assert [(body["act"], body["by"], body["level"]) for body in bodies] == [
        ("out_of_service", "样例 (wang)", "supervisor"),
        ("release", "样例 (wang)", "supervisor"),
    ]


async def test_an_order_needs_a_reason_that_may_be_kept(firm: Visitor) -> None:
    for reason, says in (("", "请写明原因"), ("坏", "请写明原因"), (f"{ANNA} 说坏了", "身份证号")):
        shown = await firm.post("/f/machines/HJ-0001/suspend", reason=reason)
        assert (shown.status, says in said(shown)) == (422, True), reason
    assert firm.town.parts.state.snapshot.controls.hold("HJ-0001") is None


async def test_invariant_a_firm_does_not_release_what_others_hold(firm: Visitor) -> None:
    town = firm.town
    hold_machine(town.engine, "lock", "HJ-0001", author("county", "seen from the road", town.clock.now, "regulator"))
    await taken_over(town)
    page = await firm.get("/f/machines/HJ-0001")
    assert "不是由本单位停用的" in page.text
    assert "/release" not in page.text
    shown = await firm.post("/f/machines/HJ-0001/release", reason="我们觉得可以了")
    assert (shown.status, "请联系监管部门解除" in said(shown)) == (422, True)
    assert town.parts.state.snapshot.controls.hold("HJ-0001") is not None
    await firm.get("/language/en")
    shown = await firm.post("/f/machines/HJ-0001/release", reason="we think it is fine")
    assert "ask the regulator to release it" in said(shown)


async def test_a_session_is_ended(firm: Visitor) -> None:
    town = firm.town
    session = await weld(town, "P-1")
    shown = await firm.post("/f/machines/HJ-0001/end", session_id=session.session_id, reason="人不在焊机旁")
    assert "已下令结束作业" in shown.text
    assert await locked(town, session) == "remote"
    again = await firm.post("/f/machines/HJ-0001/end", session_id=session.session_id, reason="人不在焊机旁")
    assert said(again).startswith("已经下令结束")


async def test_invariant_no_session_elsewhere_is_ended(firm: Visitor) -> None:
    session = await weld(firm.town, "P-9", "HJ-0009")
    shown = await firm.post("/f/machines/HJ-0001/end", session_id=session.session_id, reason="人不在焊机旁")
    assert shown.status == 404
    assert not records(firm.town, "control")


# --- temporary grants -------------------------------------------------------------------------------------------

GRANT = {"machine": "HJ-0001", "person": "P-9", "name": "样例丙", "minutes": "30", "reason": "借调一天，手续在办"}


async def asked(firm: Visitor, **different: str) -> str:
    """A grant that waits; its id."""
    shown = await firm.post("/f/grants", **GRANT | {"code": "operator_not_employed"} | different)
    assert "请另一位同事" in shown.text, said(shown)
    found = re.search(r"/f/grants/([a-z0-9-]+)/end", shown.text)
    assert found is not None
    return found[1]


async def test_two_people_let_somebody_pass(firm: Visitor) -> None:
    town = firm.town
    assert await ask(town, "P-9") == "deny"
    override_id = await asked(firm)
    assert f"/f/grants/{override_id}/approve" not in (await firm.get("/f/grants")).text
    shown = await firm.post(f"/f/grants/{override_id}/approve")
    assert (shown.status, said(shown)) == (422, "这是您自己申请的，要由另一个人批准。")
    assert "待批准 样例" not in shown.text
    async with town.visitor("firm", "libo") as other:
        assert f"/f/grants/{override_id}/approve" in (await other.get("/f/grants")).text
        assert "已批准" in (await other.post(f"/f/grants/{override_id}/approve")).text
        assert await ask(town, "P-9") == "allow"
        assert "生效中" in (await other.get("/f")).text
        assert "临时放行已结束" in (await other.post(f"/f/grants/{override_id}/end", reason="手续已办好")).text
    acts = [(row.operator_id, msgspec.json.decode(row.record)["body"]["act"]) for row in records(town, "control")]
    assert acts == [("P-9", f"override_{act}") for act in ("asked", "approved", "ended")]


async def test_invariant_a_personal_number_in_the_wrong_field_is_not_repeated(firm: Visitor) -> None:
    for number in (CAROL, "12900000009"):
        pages = [
            await firm.post("/f/hire", since=day(firm.town), operator_id=number, name=number),
            await firm.post("/f/grants", **GRANT | {"person": number, "name": number, "reason": f"call {number}"}),
            await firm.get(f"/f/grants?person={number}&machine={number}"),
            await firm.get(f"/f/hire?person={number}"),
            await firm.get(f"/f/people?find={number}"),
            await firm.get(f"/f/refusals?person={number}&machine={number}"),
        ]
        assert [number in page.text for page in pages] == [False] * len(pages)


UNASKABLE = (
    ({"machine": "HJ-0009"}, "请选择本单位的焊机"),
    ({"machine": ""}, "请选择本单位的焊机"),
    ({"name": ""}, "没有找到这个人"),
    ({"person": "P-404"}, "没有找到这个人"),
    ({"minutes": "61"}, "时长要在 1 到 60 分钟之间"),
    ({"minutes": "-5"}, "时长要在"),
    ({"code": "operator_blocked"}, "不能临时放行"),
    ({"code": "nonsense"}, "没有这个拒绝原因"),
    ({"reason": "急"}, "请写明原因"),
)


async def test_what_cannot_be_asked_for_is_told(firm: Visitor) -> None:
    for different, says in UNASKABLE:
        shown = await firm.post("/f/grants", **GRANT | {"code": "operator_not_employed"} | different)
        assert (shown.status, says in said(shown)) == (422, True), (different, said(shown))
    assert not records(firm.town, "control")


async def test_something_has_to_be_let_pass(firm: Visitor) -> None:
    assert said(await firm.post("/f/grants", **GRANT)) == "请选择要放行的原因。"


async def test_what_a_regulator_lets_pass_a_firm_does_not(firm: Visitor) -> None:
    override_id = await asked(firm, code="certificate_unverified", person="P-1", name="")
    async with firm.town.visitor("firm", "libo") as other:
        page = await other.get("/f/grants")
        assert f"/f/grants/{override_id}/approve" not in page.text
        assert "要由监管人员批准" in page.text
        shown = await other.post(f"/f/grants/{override_id}/approve")
        assert (shown.status, "只有监管人员可以放行" in said(shown)) == (422, True)


async def test_invariant_nobody_lets_themselves_pass(firm: Visitor) -> None:
    async with firm.town.visitor("firm", "zhao") as visitor:
        with firm.town.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE accounts SET name = '样例甲' WHERE login = 'zhao'")
        shown = await visitor.post("/f/grants", **GRANT | {"person": "P-1", "code": "permit_missing"})
        assert said(shown) == "不能给自己申请或批准放行，需要另外两个人。"


async def test_invariant_a_grant_of_another_firm_is_not_there(firm: Visitor) -> None:
    override_id = await asked(firm)
    async with firm.town.visitor("firm", "next", "91990000000000002X") as other:
        for act in ("approve", "end"):
            assert (await other.post(f"/f/grants/{override_id}/{act}", reason="nothing of ours")).status == 404
        assert override_id not in (await other.get("/f/grants")).text


async def test_an_ask_is_withdrawn(firm: Visitor) -> None:
    override_id = await asked(firm)
    assert "临时放行已结束" in (await firm.post(f"/f/grants/{override_id}/end", reason="不需要了吧")).text
    assert said(await firm.post(f"/f/grants/{override_id}/end", reason="不需要了吧")).startswith("这个放行已经结束")
