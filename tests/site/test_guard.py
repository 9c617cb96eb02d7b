"""Where forms may come from, whose word about the visitor counts, and what browsers are told."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.core.accounts import ROLES, Role
from gateway.observe.events import Denied
from gateway.site.assets import FOR_EVER, assets
from gateway.site.faces import PAGES
from tests.site.served import Town, town
from tests.store.databases import Databases

PROXY = {
    "X_Forwarded_For": "203.0.113.9, 198.51.100.7",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "weld.example",
}


def headers(named: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in named.items()}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
async def test_invariant_a_form_from_elsewhere_changes_nothing(site: Town, origin: str | None) -> None:
    async with site.visitor("regulator") as visitor:
        assert (await visitor.post("/sign-out", origin=origin)).status == 403
        assert (await visitor.get("/account")).path == "/account"
    assert any(isinstance(event, Denied) and event.kind == "origin" for event in site.seen)


async def test_invariant_a_form_without_its_session_s_token_changes_nothing(site: Town) -> None:
    async with site.visitor("regulator", "one") as visitor, site.visitor("regulator", "two") as other:
        visitor.token = other.token
        assert (await visitor.post("/sign-out")).status == 403
        assert (await visitor.post("/sign-out", form_token="")).status == 403
        assert (await visitor.get("/account")).path == "/account"


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_invariant_each_page_is_for_its_roles_alone(site: Town, role: Role | None) -> None:
    """The authorisation matrix: each role at each row of the table. What is not refused may still not be found."""
    async with site.visitor(role) as visitor:
        for page in PAGES:
            if page.roles is None or page.path == "/sign-out":
                continue
            path = page.path.replace("{", "").replace("}", "")
            shown = await (visitor.get(path) if page.method == "GET" else visitor.post(path))
            if role is None:
                assert shown.path.startswith("/sign-in"), page
            else:
                assert (shown.status == 403) == (role not in page.roles), (page, shown.status)


async def test_every_page_has_the_headers_that_protect_it(site: Town) -> None:
    async with site.visitor() as visitor:
        for path in ("/sign-in", "/first-use/staff", "/account"):
            told = (await visitor.get(path)).headers
            assert "default-src 'none'" in told["Content-Security-Policy"]
            assert "unsafe" not in told["Content-Security-Policy"]
            assert told["X-Content-Type-Options"] == "nosniff"
            assert told["Cache-Control"] == "no-store"
            assert "Strict-Transport-Security" not in told


async def test_files_may_be_kept_for_ever_under_the_digest_of_what_they_hold(site: Town) -> None:
    async with site.visitor() as visitor:
        for asset in assets().values():
            async with visitor.client.get(site.url + asset.url) as shown:
                assert (shown.status, shown.headers["Cache-Control"]) == (200, FOR_EVER)
                assert await shown.read() == asset.body
        assert (await visitor.client.get(site.url + "/static/000000000000/site.css")).status == 404


async def test_a_proxy_counts_only_where_it_is_configured(site: Town, databases: Databases, tmp_path: Path) -> None:
    async with site.visitor() as visitor:
        told = (await visitor.get("/sign-in", **headers(PROXY))).headers
        assert "Strict-Transport-Security" not in told
    other = tmp_path / "other"
    other.mkdir()
    async with town(databases.engine(), other, (ip_network("127.0.0.0/8"), ip_network("198.51.100.0/24"))) as behind:
        behind.account("regulator", "hall")
        async with behind.visitor() as visitor:
            told = (await visitor.get("/sign-in", **headers(PROXY))).headers
            assert "Strict-Transport-Security" in told
            sent = headers(PROXY) | {"Origin": "https://weld.example"}
            form = {"login": "hall", "code": "WRONG", "password": "a long sentence", "again": "a long sentence"}
            answer = await visitor.client.post(behind.url + "/first-use/staff", data=form, headers=sent)
            assert answer.status == 422
        assert Denied("sign_in", "203.0.113.9", limited=False) in behind.seen


async def test_a_page_in_english_is_chosen_once_and_leads_nowhere_else(site: Town) -> None:
    async with site.visitor() as visitor:
        assert "Welders&#39; sign-in" in (await visitor.get("/language/en?to=/sign-in")).text
        assert "Welders&#39; sign-in" in (await visitor.get("/sign-in")).text
        assert "焊工登录" in (await visitor.get("/language/zh?to=//evil.example")).text
        assert (await visitor.get("/language/fr")).status == 404
