"""Signing in by a real OpenID provider (panva's oidc-provider, certified by the OpenID Foundation)."""

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar
from yarl import URL

from gateway.core.accounts import Provider
from gateway.observe.events import Denied
from gateway.store import accounts
from tests.site.served import HOST, Town, town
from tests.store.databases import Databases

HERE = Path(__file__).parent / "provider"
SECRET = "a secret of theirs and ours"
FORM = re.compile(r'action="([^"]+)"')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def site(databases: Databases, tmp_path: Path) -> AsyncIterator[Town]:
    provider = Provider(f"http://{HOST}:{free_port()}", "weldgate", SECRET, "preferred_username")
    async with town(databases.engine(), tmp_path, provider=provider) as served:
        served.account("regulator", "hall")
        async with running(provider, f"{served.url}/sign-in/oidc/back"):
            yield served


@asynccontextmanager
async def running(provider: Provider, back: str) -> AsyncIterator[None]:
    """Missing: skipped on a laptop, failed in CI."""
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        missing = "the identity provider is not installed: run `make test`"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    port = str(URL(provider.issuer).port)
    process = await asyncio.create_subprocess_exec(
        "node", "serve.mjs", port, provider.client_id, provider.client_secret, back,
        cwd=HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
        yield
    finally:
        process.kill()
        await process.wait()


async def vouched_for(site: Town, client: ClientSession, login: str, begin: str = "/sign-in/oidc?to=/account") -> str:
    """Go through the provider's pages as this person; the address of the way back, not yet followed."""
    answer = await client.get(site.url + begin)
    for fields in ({"prompt": "login", "login": login, "password": "any"}, {"prompt": "consent"}):
        action = FORM.search(await answer.text())
        assert action, await answer.text()
        answer = await client.post(URL(action[1]), data=fields, allow_redirects=False)
        while answer.status in (302, 303):
            there = answer.url.join(URL(answer.headers["Location"], encoded=True))
            if there.port == site.port:
                return str(there)
            answer = await client.get(there, allow_redirects=False)
    raise AssertionError("the provider did not send anybody back")


@asynccontextmanager
async def browser() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
        yield client


async def test_whom_the_provider_vouches_for_has_the_account_of_that_name(site: Town) -> None:
    async with browser() as client:
        assert "统一身份认证" in await (await client.get(site.url + "/sign-in/staff")).text()
        back = await vouched_for(site, client, "hall")
        shown = await client.get(URL(back, encoded=True))
        assert (shown.status, shown.url.path) == (200, "/account")
        assert (await client.get(URL(back, encoded=True))).status == 403, "once"


async def test_without_an_account_or_with_a_disabled_one_nobody_gets_in(site: Town) -> None:
    gone, _ = site.account("auditor", "gone")
    with site.engine.begin() as connection:
        accounts.disable(connection, gone.account_id, "test", site.clock.now)
    for login in ("stranger", "gone"):
        async with browser() as client:
            shown = await client.get(URL(await vouched_for(site, client, login), encoded=True))
            assert shown.status == 403
            assert (await client.get(site.url + "/account")).url.path == "/sign-in"
    assert any(isinstance(event, Denied) for event in site.seen)


async def test_invariant_a_code_that_another_browser_fetched_signs_nobody_in(site: Town) -> None:
    """OAuth 2.0 Security Best Current Practice (RFC 9700), 2.1: forged and injected answers."""
    async with browser() as attacker, browser() as victim:
        back = await vouched_for(site, attacker, "hall")
        assert (await victim.get(URL(back, encoded=True))).status == 403
        await vouched_for(site, victim, "stranger")
        assert (await victim.get(URL(back, encoded=True))).status == 403
        assert (await victim.get(site.url + "/account")).url.path == "/sign-in"


async def test_an_answer_without_a_code_or_with_a_made_up_one_is_refused(site: Town) -> None:
    async with browser() as client:
        back = URL(await vouched_for(site, client, "hall"), encoded=True)
        state = back.query["state"]
        for query in ({}, {"state": state}, {"state": state, "code": "made-up"}, {"state": "other", "code": "x"}):
            assert (await client.get(back.with_query(query))).status == 403


async def test_a_provider_that_is_away_is_told_and_passwords_still_work(databases: Databases, tmp_path: Path) -> None:
    provider = Provider(f"http://{HOST}:{free_port()}", "weldgate", SECRET, "preferred_username")
    async with town(databases.engine(), tmp_path, provider=provider) as site, site.visitor() as visitor:
        shown = await visitor.get("/sign-in/oidc")
        assert shown.status == 502
        assert "统一身份认证暂时不能使用" in shown.text
        assert (await visitor.get("/sign-in/staff")).status == 200
