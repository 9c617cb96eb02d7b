"""The regulator's console: what each page tells, in both languages, and that nobody reads beyond their reach."""

from pathlib import Path

import pytest

from tests.registry.people import ANNA, FIRM, OTHER_FIRM, PHONE
from tests.site.console_town import (
    OURS,
    SECRETS,
    THEIRS,
    busy_morning,
    decision_of,
    file_of,
    fold,
    neighbours,
    records,
    table_of,
)
from tests.site.served import Town

LISTS = (
    *("/r", "/r/now", f"/r/divisions/{OURS}", f"/r/firms/{FIRM}", "/r/machines", "/r/machines/HJ-0001"),
    *("/r/people/P-1", "/r/colours?colour=red", "/r/colours?colour=grey", "/r/colours?colour=blue"),
    *("/r/refusals?days=1", "/r/oddities", "/r/ranking", "/r/decisions", "/r/reports/2026-06"),
)
"""Pages of one county."""


@pytest.fixture
async def county(site: Town, tmp_path: Path) -> Town:
    busy_morning(await neighbours(site, tmp_path))
    fold(site)
    return site


# --- reach ------------------------------------------------------------------------------------------------------


async def test_invariant_nobody_reads_beyond_their_reach(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        for path in LISTS:
            shown = await visitor.get(path)
            assert shown.status == 200, path
            assert not [secret for secret in SECRETS if secret in shown.text], path
    async with county.visitor("regulator", "all", where="33") as visitor:
        assert "秘密焊接厂" in (await visitor.get("/r/decisions")).text


@pytest.mark.parametrize("role", ["regulator", "auditor"])
async def test_invariant_what_is_out_of_reach_is_not_found(county: Town, role: str) -> None:
    theirs = decision_of(county, "HJ-9009")
    nobody = decision_of(county, "HJ-7777")
    paths = [
        *(f"/r/divisions/{THEIRS}", "/r/divisions/33", f"/r/firms/{OTHER_FIRM}", "/r/machines/HJ-9009"),
        *("/r/people/P-9", f"/r/decisions/{theirs}", f"/r/decisions/{nobody}", "/r/decisions/99999"),
        *(f"/r/{page}?division={THEIRS}" for page in ("refusals", "colours", "oddities", "ranking", "machines")),
        *("/r/machines/HJ-0", "/r/firms/X", "/r/people/P-0", "/r/decisions/x", f"/r/reports/2026-06?division={THEIRS}"),
    ]
    async with county.visitor(role, where=OURS) as visitor:  # type: ignore[arg-type]
        for path in paths:
            assert (await visitor.get(path)).status == 404, path
        found = await visitor.get(f"/r/decisions?division={THEIRS}")
        assert "没有这样的决定" in found.text
    async with county.visitor("regulator", "all", where="") as visitor:
        assert (await visitor.get(f"/r/decisions/{nobody}")).status == 200


async def test_invariant_orders_reach_no_further_than_eyes(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        for act in ("lock", "release"):
            assert (await visitor.post(f"/r/machines/HJ-9009/{act}", reason="现场检查")).status == 404
        assert (await visitor.post("/r/sessions/session-000003/end", reason="现场检查")).status == 404
    assert records(county, "control") == []


async def test_invariant_files_hold_no_more_than_pages(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        for what in ("decisions", "machines", "people"):
            told = str(await table_of(visitor, what))
            assert not [secret for secret in SECRETS if secret in told], what
        pdf = await file_of(visitor, "/r/reports/2026-06/pdf")
        assert pdf.startswith(b"%PDF-")
        assert (await visitor.post("/r/export/usage", division=THEIRS)).status == 404
        assert (await visitor.post("/r/export/machines", division=THEIRS)).status == 404
        assert (await visitor.post("/r/export/secrets")).status == 404
        assert (await visitor.post("/r/export/decisions", since="yesterday")).status == 422
        assert (await visitor.post("/r/export/decisions", person=ANNA)).status == 422
        await table_of(visitor, "people", state=ANNA)
        assert ANNA not in str(records(county, "account"))


async def test_numbers_that_are_personal_stand_on_no_page(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        for path in (*LISTS, f"/r/decisions/{decision_of(county, 'HJ-0001')}"):
            text = (await visitor.get(path)).text
            assert ANNA not in text
            assert PHONE not in text
            assert path.startswith("/r/people") == ("样例甲" in text), path


# --- what pages tell --------------------------------------------------------------------------------------------


async def test_the_first_page_tells_how_things_stand(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        assert (await visitor.get("/")).path == "/r"
        shown = await visitor.get("/r")
        for told in ("湖州市德清县", "50.0%", "HJ-0001", "操作证已过有效期", "今天每小时的决定", 'data-live="/r/live"'):
            assert told in shown.text, told
        english = await visitor.get("/language/en?to=/r")
        for told in ("Allowed today", "Certified", "Fitted with a lock", "certificate"):
            assert told in english.text, told
        assert "wall" in (await visitor.get("/r?wall=1")).text.split("<body")[1][:40]


async def test_a_county_without_anything_says_so(site: Town) -> None:
    async with site.visitor("regulator", where=OURS) as visitor:
        for path, told in (
            ("/r", "还没有决定"),
            ("/r/refusals", "这段时间没有拒绝"),
            ("/r/decisions", "没有这样的决定"),
            ("/r/ranking", "这个月没有决定"),
            ("/r/machines/HJ-0001", "没有人在使用"),
            ("/r/oddities", "没有这样的焊机"),
            ("/r/people/P-2", "没有证书记录"),
            ("/r/colours?colour=yellow", "没有这个颜色的人"),
        ):
            assert told in (await visitor.get(path)).text, path


async def test_from_a_province_down_to_a_person(county: Town) -> None:
    async with county.visitor("regulator", where="33") as visitor:
        assert "湖州市德清县" in (await visitor.get("/r/divisions")).text
        assert f"/r/divisions/{OURS}" in (await visitor.get("/r/divisions/3305")).text
        assert f"/r/firms/{FIRM}" in (await visitor.get(f"/r/divisions/{OURS}")).text
        firm = (await visitor.get(f"/r/firms/{FIRM}")).text
        for told in ("/r/machines/HJ-0001", "/r/people/P-1", "样**", "红码 1", "蓝码 1"):
            assert told in firm, told
        assert "没有这样的两个人" in (await visitor.get(f"/r/firms/{FIRM}?together=1")).text
        person = (await visitor.get("/r/people/P-1")).text
        for told in ("样例甲", "蓝码", "允许 1 次，拒绝 1 次", "熔化焊接与热切割", f"/r/firms/{FIRM}"):
            assert told in person, told
        assert "本人已被禁止作业" in (await visitor.get("/r/people/P-2")).text


async def test_people_by_colour_with_why(county: Town) -> None:
    async with county.visitor("auditor", where=OURS) as visitor:
        red = (await visitor.get("/r/colours?colour=red")).text
        assert "P-2" in red
        assert "P-1" not in red
        assert "本人已被禁止作业" in red
        assert (await visitor.get("/accounts")).status == 200


async def test_refusals_by_reason_lead_to_the_decisions(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        shown = (await visitor.get("/r/refusals?days=1")).text
        assert "operator_blocked" in shown
        assert "100.0%" in shown
        listed = (await visitor.get("/r/decisions?reason=operator_blocked&since=2026-06-15&until=2026-06-15")).text
        assert f"/r/decisions/{decision_of(county, 'HJ-0001')}" in listed
        assert "没有这样的决定" in (await visitor.get("/r/decisions?reason=operator_blocked&until=2026-06-14")).text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("since=yesterday", "日期要写成"),
        ("since=2026-06-15&until=2026-06-14", "结束日期在开始日期之前"),
        ("division=%E6%B5%99", "行政区划代码只有数字"),
        (f"person={ANNA}", "请不要输入身份证号"),
        (f"machine={PHONE}", "请不要输入身份证号"),
    ],
)
async def test_a_filter_that_cannot_be_read_is_told(county: Town, query: str, told: str) -> None:
    async with county.visitor("regulator") as visitor:
        shown = await visitor.get(f"/r/decisions?{query}")
        assert shown.status == 422
        assert told in shown.text
        assert ANNA not in shown.text
        assert PHONE not in shown.text


async def test_decisions_go_on_page_by_page(site: Town, tmp_path: Path) -> None:
    shift = await neighbours(site, tmp_path)
    for _ in range(30):
        busy_morning(shift)
    fold(site)
    async with site.visitor("regulator", where=OURS) as visitor:
        first = (await visitor.get("/r/decisions")).text
        assert first.count("/r/decisions/") == 50
        path = first.split('rel="next"')[0].rsplit('href="', 1)[1].partition('"')[0].replace("&amp;", "&")
        second = (await visitor.get(path)).text
        assert second.count("/r/decisions/") == 10
        assert 'rel="next"' not in second


async def test_what_is_typed_finds_machines_people_firms_and_places(county: Town) -> None:
    async with county.visitor("regulator", where=OURS) as visitor:
        for typed, path in (
            ("hj-0001", "/r/machines/HJ-0001"),
            ("P-1", "/r/people/P-1"),
            (FIRM, f"/r/firms/{FIRM}"),
            (OURS, f"/r/divisions/{OURS}"),
        ):
            assert (await visitor.post("/r/find", what=typed)).path == path, typed
        assert f"/r/firms/{FIRM}" in (await visitor.post("/r/find", what="样例企")).text
        for typed in (*SECRETS, "秘密", THEIRS, "%", "__"):
            assert "范围内没有" in (await visitor.post("/r/find", what=typed)).text or typed == "%", typed
        for typed, told in (("x", "至少输入两个字"), (ANNA, "不要输入身份证号"), (PHONE, "不要输入身份证号")):
            shown = await visitor.post("/r/find", what=typed)
            assert shown.status == 422
            assert told in shown.text
            assert ANNA not in shown.text


async def test_months_that_are_none_are_not_found(county: Town) -> None:
    async with county.visitor("regulator") as visitor:
        for month in ("2026-13", "2026-07", "june", "1999-01"):
            assert (await visitor.get(f"/r/reports/{month}")).status == 404, month
        shown = (await visitor.get("/r/reports/2026-06")).text
        for told in ("上个月", "50.0%", "拒绝的原因", "每天的决定"):
            assert told in shown, told


# --- as it happens ----------------------------------------------------------------------------------------------


async def test_decisions_are_told_as_they_are_made_and_no_others(site: Town, tmp_path: Path) -> None:
    shift = await neighbours(site, tmp_path)
    async with (
        site.visitor("regulator", where=OURS) as visitor,
        visitor.client.get(site.url + "/r/live") as stream,
    ):
        assert stream.content_type == "text/event-stream"
        busy_morning(shift)
        told = ""
        while decision_of(site, "HJ-0001") and "</li>" not in told:
            told += (await stream.content.readline()).decode()
        told += (await stream.content.read(20_000)).decode()
        assert f"/r/decisions/{decision_of(site, 'HJ-0001')}" in told
        assert not [secret for secret in (*SECRETS, "HJ-7777") if secret in told]
