"""The site over a real database with a small town's registries, and visitors who use it as a browser would."""

import asyncio
import csv
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientResponse, ClientSession, CookieJar, web
from msgspec import Struct
from sqlalchemy import Engine

from gateway.core.accounts import Account, Provider, Role
from gateway.core.policy import Policy, Rulebook
from gateway.gate.state import GateState
from gateway.observe.events import Hub, Observed
from gateway.registry.importer import Store, import_files
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.site import oidc
from gateway.site.faces import PAGES
from gateway.site.guard import Network
from gateway.site.live import Follower
from gateway.site.parts import Parts
from gateway.site.site import Site
from gateway.store import accounts
from gateway.store.vault import Keys, SealKey, Vault
from tests.gate.gates import CODE_KEY, NOW, Clock
from tests.registry.people import FILES, FIRM
from tests.site.gate import Gate, gate_on

HOST = "127.0.0.1"
VAULT = Vault(Keys(b"i" * 32, (SealKey(1, 0, b"v" * 32),)))
PASSWORD, PIN = "a long sentence of mine", "190734"
WHERE: Mapping[Role, str] = {
    "welder": "P-1", "firm": FIRM, "regulator": "3305", "gateway_operator": "", "auditor": "",
}  # fmt: skip
TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')


class Shown(Struct):
    """An answer as its reader has it."""

    status: int
    path: str
    text: str
    headers: Mapping[str, str]


class Visitor:
    """One browser. Follows redirects; sends forms with the token of the page that it was on before."""

    def __init__(self, town: "Town", client: ClientSession) -> None:
        self.town = town
        self.client = client
        self.token = ""

    async def get(self, path: str, **headers: str) -> Shown:
        async with self.client.get(self.town.url + path, headers=headers) as answer:
            return await self._shown(answer)

    async def post(self, path: str, origin: str | None = "", **fields: str) -> Shown:
        headers = {} if origin is None else {"Origin": origin or self.town.url}
        sent = {"form_token": self.token, **fields}
        async with self.client.post(self.town.url + path, data=sent, headers=headers) as answer:
            return await self._shown(answer)

    async def _shown(self, answer: ClientResponse) -> Shown:
        text = "" if answer.content_type == "text/event-stream" else await answer.text()  # a stream has no end
        if found := TOKEN.search(text):
            self.token = found[1]
        return Shown(answer.status, answer.url.path, text, answer.headers)


class Town:
    """A site that is served; ``gate`` decides behind it, ``seen`` is what its observers heard."""

    def __init__(self, engine: Engine, clock: Clock, parts: Parts, gate: Gate) -> None:
        self.engine, self.clock, self.parts, self.gate = engine, clock, parts, gate
        self.seen: list[Observed] = []
        self.port = 0
        self.stop: Callable[[], Awaitable[None]] = _not_served

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def account(self, role: Role, login: str = "", where: str | None = None) -> tuple[Account, str]:
        """A new account and the code for its first sign-in."""
        place = WHERE[role] if where is None else where
        name = place if role == "welder" else login or role
        with self.engine.begin() as connection:
            return accounts.add(connection, role, name, "样例", place, "test", self.clock.now)

    @asynccontextmanager
    async def visitor(
        self, role: Role | None = None, login: str = "", where: str | None = None
    ) -> AsyncIterator[Visitor]:
        """A browser, signed in with a new account of the role."""
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
            visitor = Visitor(self, client)
            if role is not None:
                account, _ = self.account(role, login, where)
                with self.engine.begin() as connection:
                    token = accounts.sign_in(connection, account, HOST, "test", self.clock.now)
                client.cookie_jar.update_cookies({"weldgate": token})
                await visitor.get("/account")
            yield visitor


async def _not_served() -> None:
    raise AssertionError("nothing is served")


@asynccontextmanager
async def town(
    engine: Engine, folder: Path, proxies: tuple[Network, ...] = (), provider: Provider | None = None
) -> AsyncIterator[Town]:
    """Served on a port of its own, with the registries of ``tests.registry.people``."""
    clock = Clock()
    import_files(
        Store(engine, VAULT), [written(folder / f"{name}.csv", rows) for name, rows in FILES.items()], clock.now
    )
    state = GateState(Snapshot(), Rulebook(Policy()), clock, (CODE_KEY,))
    state.snapshot.apply(read_delta(engine, 0))
    seen: list[Observed] = []
    everybody = Hub()
    everybody.add(seen.append)
    async with gate_on(engine, state, everybody) as gate:
        parts = Parts(
            *(state, engine, VAULT, (CODE_KEY,), everybody, gate.hurry, gate.ask, proxies),
            by_provider=provider is not None,
        )
        follower = Follower(parts)
        everybody.add(follower)
        served = Town(engine, clock, parts, gate)
        served.seen = seen
        app = web.Application()
        Site(parts, follower, (*PAGES, *oidc.pages(provider))).add_to(app)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        following = asyncio.create_task(follower.run(), name="ledger follower")
        try:
            await web.TCPSite(runner, HOST, 0).start()
            served.port, served.stop = runner.addresses[0][1], runner.cleanup
            yield served
        finally:
            following.cancel()
            await runner.cleanup()


def written(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


__all__ = ["NOW", "PASSWORD", "PIN", "Shown", "Town", "Visitor", "town", "written"]
