"""The API of one gate in memory, over a database of its own, on a port of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any

from aiohttp import ClientSession, web
from msgspec import Struct
from sqlalchemy import Engine

from gateway.observe.events import Observed
from gateway.registry.push import Senders, sign
from gateway.store.api_tokens import SCOPES, add_token
from gateway.store.vault import Keys, SealKey, Vault
from gateway.web.api import MAX_BODY_BYTES, Api
from gateway.web.call import Services
from gateway.web.deliveries import Deliveries, Trust
from gateway.web.routes import ROOT
from tests.gate.gates import CODE_KEY, CODE_KEY_BEFORE, NOW, Gate

HOST = "127.0.0.1"
SECRET, OLD_SECRET, OTHERS_SECRET = b"s" * 32, b"o" * 32, b"x" * 32
SENDERS: Senders = {"exam-centre": (SECRET, OLD_SECRET), "city": (OTHERS_SECRET,)}
VAULT = Vault(Keys(b"i" * 32, (SealKey(1, 0, b"v" * 32),)))


class Answer(Struct):
    status: int
    kind: str
    body: Any
    headers: Mapping[str, str]


class Served:
    """Calls it as anybody would; ``seen`` is what its observers heard."""

    def __init__(self, gate: Gate, engine: Engine) -> None:
        self.gate, self.engine, self.port = gate, engine, 0
        self.seen: list[Observed] = []
        self.changes = 0
        self.token = self.add_token()

    def add_token(self, *scopes: str, days: int | None = None) -> str:
        """A token with these scopes, or with all."""
        return add_token(self.engine, "test", scopes or tuple(SCOPES), self.gate.clock.now, days)[1]

    async def call(
        self, method: str, path: str, body: bytes | IO[bytes] | None = None, *, token: str | None = "", **headers: str
    ) -> Answer:
        """With the test's own token unless another, or None, is given."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        async with ClientSession() as client:
            answer = await client.request(method, f"http://{HOST}:{self.port}{ROOT}{path}", data=body, headers=sent)
            text = await answer.text()
            content = json.loads(text) if "json" in answer.content_type else text
            return Answer(answer.status, answer.content_type, content, answer.headers)

    async def get(self, path: str, **how: Any) -> Answer:
        return await self.call("GET", path, **how)

    async def push(self, *events: Mapping[str, Any], secret: bytes = SECRET, **how: Any) -> Answer:
        body = json.dumps({"events": events}).encode()
        return await self.call("POST", "/registry/events", body, token=None, **signed(body, secret) | how)


def signed(body: bytes, secret: bytes = SECRET, at_s: int = NOW // 1000, delivery_id: str = "msg-1") -> dict[str, str]:
    """The headers of a delivery."""
    return {
        "Content_Type": "application/json",
        "webhook_id": delivery_id,
        "webhook_timestamp": str(at_s),
        "webhook_signature": sign(secret, delivery_id, str(at_s), body),
    }


@asynccontextmanager
async def serving(gate: Gate, engine: Engine, routes: Sequence[Any] | None = None) -> AsyncIterator[Served]:
    served = Served(gate, engine)

    def changed() -> None:
        served.changes += 1

    deliveries = Deliveries(engine, VAULT, Trust(SENDERS), gate.clock, changed)
    services = Services(gate.state, engine, VAULT, (CODE_KEY, CODE_KEY_BEFORE), deliveries)
    api = Api(services, served.seen.append, *([tuple(routes)] if routes else []))
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    api.add_to(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        served.port = runner.addresses[0][1]
        yield served
    finally:
        await runner.cleanup()


async def status_line(port: int, head: bytes) -> bytes:
    """The status line for what no client library would send."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(head)
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line
