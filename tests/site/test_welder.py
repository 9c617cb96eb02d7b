"""What a welder finds besides the button: how they stand, machines, code, certificates, and the application."""

import json
import re
from pathlib import Path

import pytest
from yarl import URL

from gateway.core.credential import read_code
from gateway.registry.importer import Store, import_files
from gateway.site.assets import assets
from gateway.site.welder.machines import machine_id_in
from gateway.site.welder.recent import KEPT
from simulator.signals import Scanned
from tests.registry.people import ANNA, BERT, FIRM, OTHER_FIRM, PHONE
from tests.site.gate import until
from tests.site.served import VAULT, Town, written

MACHINES = ["machine_id", "chip", "uscc", "process", "division", "location", "status"]
FIRMS = ["uscc", "name", "division", "status"]


async def more_machines(site: Town, folder: Path, *rows: list[str]) -> None:
    """Another firm, and these machines."""
    files = [
        written(folder / "firms.csv", [FIRMS, [OTHER_FIRM, "样例乙厂", "330522", "active"]]),
        written(folder / "machines.csv", [MACHINES, *rows]),
    ]
    import_files(Store(site.engine, VAULT), files, site.clock.now)
    site.parts.hurry()
    await until(lambda: rows[-1][0] in site.parts.state.snapshot.machines)


def theirs(machine_id: str) -> list[str]:
    return [machine_id, "", OTHER_FIRM, "pressure", "330522", "秘密车间", "active"]


# --- home -------------------------------------------------------------------------------------------------------


async def test_home_tells_who_is_in_order_so_and_where_to_begin(site: Town) -> None:
    async with site.visitor("welder") as visitor:
        shown = await visitor.get("/w")
        for told in ("蓝码", "一切正常", "扫焊机上的码", "或输入焊机编号"):
            assert told in shown.text
        for absent in ("正在使用", "最近用过", "焊机会拒绝"):
            assert absent not in shown.text
        assert (await visitor.get("/")).path == "/w"


async def test_home_tells_who_is_not_why_and_what_to_do(site: Town) -> None:
    async with site.visitor("welder", where="P-2") as visitor:
        shown = await visitor.get("/w")
        for told in (
            "红码",
            "不能作业",
            "本人已被禁止作业。",
            "申请解除",
            "焊机会拒绝",
            "查不到本人的特种作业操作证。",
        ):
            assert told in shown.text
        english = await visitor.get("/language/en?to=/w")
        for told in ("Red", "May not weld", "You are barred from working.", "machines refuse"):
            assert told in english.text


async def test_machines_used_lately_are_listed_for_who_used_them(site: Town, tmp_path: Path) -> None:
    numbers = [f"HJ-100{number}" for number in range(KEPT + 1)]
    await more_machines(site, tmp_path, *[theirs(number) for number in numbers])
    async with site.visitor("welder") as visitor:
        for number in (*numbers, numbers[-2]):
            await visitor.get(f"/w/m/{number}")
        listed = re.findall(r'href="/w/m/([^"]+)"', (await visitor.get("/w")).text)
        assert listed == [numbers[-2], numbers[-1], *reversed(numbers[1:-2])]
        kept = visitor.client.cookie_jar.filter_cookies(URL(site.url + "/w"))["machines"].value
        async with site.visitor("welder", where="P-2") as other:
            other.client.cookie_jar.update_cookies({"machines": kept})
            assert "/w/m/" not in (await other.get("/w")).text


# --- finding a machine ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed", ["HJ-0001", " hj-0001 ", "ＨＪ－０００１", "https://weld.example.org/w/m/HJ-0001", "/w/m/hj-0001"]
)
async def test_a_machine_is_found_by_its_number_or_its_label(site: Town, typed: str) -> None:
    async with site.visitor("welder") as visitor:
        assert (await visitor.post("/w/find", machine=typed)).path == "/w/m/HJ-0001"
        assert (await visitor.get("/w/m/hj-0001")).path == "/w/m/HJ-0001"


@pytest.mark.parametrize(
    "typed", ["", "焊机甲", "HJ-9999", ANNA, PHONE, "https://evil.example/", "HJ-0001/../../account"]
)
async def test_invariant_nothing_else_that_is_typed_or_scanned_gets_into_an_address(site: Town, typed: str) -> None:
    async with site.visitor("welder") as visitor:
        shown = await visitor.post("/w/find", machine=typed)
        assert (shown.status, shown.path) == (422, "/w/find")
        assert "焊机标签" in shown.text or "焊机的标签" in shown.text
        if typed:
            assert typed not in shown.text.replace("HJ-0001", "")


def test_the_number_in_a_label_is_what_counts_not_whose_address_it_is() -> None:
    assert machine_id_in("https://other.example/w/m/HJ-0001") == "HJ-0001"
    assert machine_id_in("https://other.example/HJ-0001") is None


async def test_invariant_where_another_firm_s_machine_stands_and_what_it_does_is_not_told(
    site: Town, tmp_path: Path
) -> None:
    await more_machines(site, tmp_path, theirs("HJ-2001"))
    async with site.visitor("welder") as visitor:
        shown = await visitor.get("/w/m/HJ-2001")
        assert shown.status == 200
        for told in ("HJ-2001", "样例乙厂", "压力焊", "解锁这台焊机"):
            assert told in shown.text
        for absent in ("秘密车间", "330522", OTHER_FIRM, "锁具不在线", "空闲"):
            assert absent not in shown.text


async def test_a_machine_that_was_taken_out_of_service_says_so(site: Town, tmp_path: Path) -> None:
    await more_machines(site, tmp_path, ["HJ-0001", "C-1", FIRM, "fusion", "330521", "", "suspended"])
    await until(lambda: site.parts.state.snapshot.machines["HJ-0001"].status == "suspended")
    async with site.visitor("welder") as visitor:
        assert "已停用" in (await visitor.get("/w/m/HJ-0001")).text
        assert "out of service" in (await visitor.get("/language/en?to=/w/m/HJ-0001")).text


# --- code and certificates --------------------------------------------------------------------------------------


async def test_the_code_is_one_s_own_is_kept_nowhere_and_opens_a_machine(site: Town) -> None:
    lock = await site.gate.lock()
    async with site.visitor("welder") as visitor:
        shown = await visitor.get("/w/code")
        assert shown.headers["Cache-Control"] == "no-store"
        assert "<svg" in shown.text
        found = re.search(r"WG1/[^<\s]+", shown.text)
        assert found
        code = read_code(found[0])
        assert code is not None
        assert code.operator_id == "P-1"
        assert found[0] in (await visitor.get("/w/code/now")).text
        lock.feed(Scanned(found[0]))
        await until(lambda: lock.chip.relay == "closed")
        site.clock.pass_s(30)
        assert found[0] not in (await visitor.get("/w/code/now")).text


async def test_who_is_not_on_record_has_no_code_and_learns_what_to_do(site: Town) -> None:
    async with site.visitor("welder", where="P-9") as visitor:
        shown = await visitor.get("/w/code")
        assert "还没有您的登记" in shown.text
        assert "WG1/" not in shown.text
        assert "没有您的特种作业操作证记录" in (await visitor.get("/w/certificates")).text
        assert "没有证书记录" in (await visitor.get("/w")).text


async def test_certificates_are_shown_with_their_days_and_without_their_numbers(site: Town) -> None:
    async with site.visitor("welder") as visitor:
        shown = await visitor.get("/w/certificates")
        for told in ("熔化焊接与热切割", "钎焊", "2030-01-01", "有效", "已核验", "样例企业", "至今"):
            assert told in shown.text
        for absent in (ANNA, BERT, PHONE):
            assert absent not in shown.text
        english = await visitor.get("/language/en?to=/w/certificates")
        for told in ("Fusion welding", "Brazing", "verified", "until now"):
            assert told in english.text


# --- the application --------------------------------------------------------------------------------------------


async def test_the_manifest_names_pictures_that_are_there(site: Town) -> None:
    async with site.visitor() as visitor:
        shown = await visitor.get("/w/manifest.webmanifest")
        assert shown.headers["Content-Type"].startswith("application/manifest+json")
        manifest = json.loads(shown.text)
        assert (manifest["start_url"], manifest["display"]) == ("/w", "standalone")
        for icon in manifest["icons"]:
            async with visitor.client.get(site.url + icon["src"]) as picture:
                assert (picture.status, picture.content_type) == (200, "image/png")


async def test_invariant_the_worker_keeps_files_and_one_page_and_nothing_of_the_gateway_s(site: Town) -> None:
    async with site.visitor() as visitor:
        shown = await visitor.get("/w/worker.js")
        assert shown.headers["Service-Worker-Allowed"] == "/w"
        found = re.search(r"const KEPT = (\[.*?\]);", shown.text)
        assert found
        kept = json.loads(found[1])
        served = {asset.url for asset in assets().values()}
        assert kept
        assert set(kept) <= served
        assert set(re.findall(r'"(/[^"]*)"', shown.text.replace(found[0], ""))) == {"/w/offline", "/"}
        assert "sync" not in shown.text.replace("async", "")


async def test_the_page_without_a_network_names_nobody_and_promises_nothing(site: Town) -> None:
    async with site.visitor("welder") as visitor:
        shown = await visitor.get("/w/offline")
        for told in ("手机没有网络", "以后也不会自动解锁", "No network"):
            assert told in shown.text
        assert "样例" not in shown.text
        assert visitor.token not in shown.text


async def test_only_the_page_with_the_camera_allows_web_assembly(site: Town) -> None:
    async with site.visitor("welder") as visitor:
        allowed = {
            path: "wasm-unsafe-eval" in (await visitor.get(path)).headers["Content-Security-Policy"]
            for path in ("/w", "/w/m/HJ-0001", "/w/code", "/w/certificates", "/w/scan")
        }
        assert [path for path, allows in allowed.items() if allows] == ["/w/scan"]
        for url in re.findall(r'data-(?:reader|wasm)="([^"]+)"', (await visitor.get("/w/scan")).text):
            async with visitor.client.get(site.url + url) as file:
                assert file.status == 200


async def test_pages_are_light(site: Town) -> None:
    """Each page with its style and scripts, as they go over the air, in bytes."""
    async with site.visitor("welder") as visitor:
        for path in ("/w", "/w/m/HJ-0001", "/w/code", "/w/certificates"):
            page = await visitor.get(path)
            files = re.findall(r'(?:src|href)="(/static/[^"]+\.(?:js|css))"', page.text)
            assert files
            weight = len(page.text.encode()) + sum(len(asset.body) for asset in assets().values() if asset.url in files)
            assert weight < 100_000, (path, weight)
