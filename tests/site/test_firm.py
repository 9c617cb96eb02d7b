"""The firm's portal: what a firm sees of itself, and that it sees nothing of others."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.reasons import REASONS
from gateway.site.firm import PAGES
from tests.registry.people import ANNA, BERT, FIRM, OTHER_FIRM, PHONE
from tests.site.firm_town import CAROL, MORE, add, ask, chip_spoke, move_in, weld
from tests.site.served import Shown, Town, Visitor

PATHS = ("/f", "/f/people", "/f/people/P-1", "/f/hire", "/f/machines", "/f/machines/HJ-0001", "/f/grants",
         "/f/refusals", "/f/labels")  # fmt: skip


@pytest.fixture
async def firm(site: Town, tmp_path: Path) -> AsyncIterator[Visitor]:
    await move_in(site, tmp_path)
    async with site.visitor("firm") as visitor:
        yield visitor


def plain(shown: Shown) -> str:
    """The page's text without tags, its white space made one."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown.text))


def refusals(shown: Shown) -> int:
    """How many a page lists."""
    return shown.text.count('<th scope="row">')


async def test_the_portal_begins_with_what_has_to_be_done(firm: Visitor) -> None:
    text = plain(await firm.get("/f"))
    assert "样例企业" in text
    assert "红码 1" in text  # P-2 is blocked
    assert "蓝码 1" in text
    assert "锁具从未联系 2" in text
    assert "现在没有人在作业。" in text
    assert "今天没有人被拒绝。" in text


async def test_it_shows_who_welds_and_who_was_refused_and_what_to_do(firm: Visitor) -> None:
    await weld(firm.town, "P-1")
    await ask(firm.town, "P-2")
    text = plain(await firm.get("/f"))
    assert "HJ-0001 已许可，等待合闸 样例甲 P-1" in text
    reason = REASONS["operator_blocked"]
    assert f"{reason.message_zh} 1 {reason.remedy_zh}" in text


async def test_every_page_speaks_both_languages_and_shows_no_personal_number(firm: Visitor) -> None:
    await weld(firm.town, "P-1")
    await ask(firm.town, "P-2")
    for language, people in (("zh", "人员"), ("en", "People")):
        await firm.get(f"/language/{language}")
        for path in PATHS:
            shown = await firm.get(path)
            assert (shown.status, "<h1" in shown.text, people in shown.text) == (200, True, True), path
            assert not [number for number in (ANNA, BERT, CAROL, PHONE) if number in shown.text], path
            assert len(shown.text.encode()) < 60_000, path


async def test_a_person_s_page_tells_where_they_may_weld_and_why_not(firm: Visitor) -> None:
    text = plain(await firm.get("/f/people/P-1"))
    assert re.search(r"可以 1 台 HJ-0001", text)
    assert re.search(rf"不可以 1 台 {REASONS['certificate_wrong_item'].message_zh}.* HJ-0002", text)
    blocked = plain(await firm.get("/f/people/P-2"))
    assert "不能作业" in blocked
    assert "可以 1 台" not in blocked.replace("不可以", "")


async def test_a_machine_s_page_tells_who_may_start_it_and_who_was_refused(firm: Visitor) -> None:
    await weld(firm.town, "P-1")
    await ask(firm.town, "P-9")
    chip_spoke(firm.town, "HJ-0001", online=True)
    text = plain(await firm.get("/f/machines/HJ-0001"))
    assert re.search(r"样例甲 P-1 可以", text)
    assert re.search(r"样例乙 P-2 不可以", text)
    assert "5 分钟前" in text
    assert "没有登记为这家企业的人员" in text


async def test_refusals_are_found_by_day_machine_and_person(firm: Visitor) -> None:
    await ask(firm.town, "P-2", "HJ-0001")
    await ask(firm.town, "P-9", "HJ-0002")
    for query, shown in (
        ("", 2),
        ("machine=hj-0002", 1),
        ("person=P-2", 1),
        ("machine=HJ-0002&person=P-2", 0),
        ("day=2020-01-01", 0),
        ("day=nonsense", 2),
        ("after=nonsense", 2),
        ("after=1.1", 0),
    ):
        assert refusals(await firm.get(f"/f/refusals?{query}")) == shown, query


async def test_a_long_list_of_refusals_goes_on(firm: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.site.firm.refusals.AT_ONCE", 2)
    for _ in range(3):
        await ask(firm.town, "P-2")
    first = await firm.get("/f/refusals")
    link = re.search(r'href="(/f/refusals\?[^"]*after=[0-9.]+)"', first.text)
    assert link is not None
    assert (refusals(first), refusals(await firm.get(link[1].replace("&amp;", "&")))) == (2, 1)


async def test_a_refusal_that_may_be_let_pass_leads_to_the_form_filled_in(firm: Visitor) -> None:
    await ask(firm.town, "P-2", "HJ-0001")
    assert "/f/grants?" not in (await firm.get("/f/refusals")).text, "nobody lets a blocked person pass"
    await ask(firm.town, "P-9", "HJ-0001")
    link = re.search(r'href="(/f/grants\?[^"]+)"', (await firm.get("/f/refusals")).text)
    assert link is not None
    shown = await firm.get(link[1].replace("&amp;", "&"))
    assert 'value="P-9"' in shown.text
    assert re.search(r'value="operator_not_employed" checked', shown.text)
    assert "<option selected>HJ-0001</option>" in shown.text


async def test_people_are_chosen_by_colour_and_found_by_name(firm: Visitor) -> None:
    blue = (await firm.get("/f/people?colour=blue")).text
    assert ("样例甲" in blue, "样例乙" in blue) == (True, False)
    assert re.findall(r'aria-current="true">(.*?)</a>', blue) == ["蓝码 1"]
    assert "样例甲" not in (await firm.get("/f/people?find=样例乙")).text
    assert "没有符合条件的人员" in (await firm.get("/f/people?find=nobody")).text


async def test_machines_are_chosen_by_state(firm: Visitor) -> None:
    await weld(firm.town, "P-1")
    shown = (await firm.get("/f/machines?state=granted")).text
    assert ("HJ-0001" in shown, "HJ-0002" in shown) == (True, False)
    assert re.findall(r'aria-current="true">(.*?)</a>', shown) == ["已许可，等待合闸 1"]
    assert re.search(r"HJ-0001.*HJ-0002", (await firm.get("/f/machines")).text, re.DOTALL), "those in use come first"


async def test_who_may_weld_today_is_told_whoever_welds_there_now(firm: Visitor) -> None:
    await weld(firm.town, "P-1")
    await firm.post("/f/hire", operator_id="P-9", name="样例丙", since="2026-06-15")
    assert re.search(r"样例·丙 P-9 可以", plain(await firm.get("/f/machines/HJ-0001")))


# --- nothing of others ------------------------------------------------------------------------------------------


async def test_invariant_what_is_another_firm_s_is_not_there(firm: Visitor) -> None:
    for path in ("/f/people/P-9", "/f/people/P-404", "/f/machines/HJ-0009", "/f/machines/HJ-0404"):
        shown = await firm.get(path)
        assert (shown.status, "没有这个页面" in shown.text) == (404, True), path


async def test_invariant_nothing_is_done_to_another_firm_s(firm: Visitor) -> None:
    before = firm.town.parts.state.snapshot.version
    named = {"operator_id": "P-9", "machine_id": "HJ-0009", "override_id": "none"}
    for page in PAGES:
        if page.method == "POST" and "{" in page.path:
            shown = await firm.post(page.path.format(**named), reason="it leaks badly", until="2026-01-01")
            assert shown.status == 404, page.path
    assert firm.town.parts.state.snapshot.version == before


async def test_invariant_no_page_tells_of_another_firm(firm: Visitor) -> None:
    await weld(firm.town, "P-9", "HJ-0009")
    await ask(firm.town, "P-2", "HJ-0009")
    for path in PATHS:
        text = (await firm.get(path)).text
        theirs = ("HJ-0009", "秘密车间", "隔壁企业", OTHER_FIRM, "样例·丙")
        assert not [one for one in theirs if one in text], path


async def test_invariant_a_refusal_before_a_machine_was_theirs_is_not_theirs(firm: Visitor, tmp_path: Path) -> None:
    await ask(firm.town, "P-2", "HJ-0009")
    moved = [MORE["machines"][0], ["HJ-0009", "C-9", FIRM, "fusion", "330521", "三号车间", "active"]]
    await add(firm.town, tmp_path, machines=moved)
    assert (await firm.get("/f/machines/HJ-0009")).status == 200
    assert refusals(await firm.get("/f/refusals")) == 0


async def test_a_firm_without_anything_is_told_what_to_do(site: Town) -> None:
    async with site.visitor("firm", where=OTHER_FIRM) as visitor:
        assert "登记到岗" in (await visitor.get("/f")).text
        assert "还没有登记焊机" in (await visitor.get("/f/machines")).text
        assert "还没有在岗人员" in (await visitor.get("/f/people")).text
        assert "还没有登记焊机" in (await visitor.get("/f/labels")).text
        assert "这一天没有" in (await visitor.get("/f/refusals")).text
        assert "本单位还没有登记焊机" in (await visitor.get("/f/grants")).text
