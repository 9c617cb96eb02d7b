"""The HTTP API: a code for a welder's phone, for whoever has the token, accepted by the gate."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pydantic import SecretStr

from gateway.core.credential import STEP_S
from gateway.web.api import Api
from tests.gate.gates import CODE_KEY, CODE_KEY_BEFORE, NOW, Gate, decision_of, make_gate
from tests.support.brokers import free_port

TOKEN = "t" * 32
HOST = "127.0.0.1"


class Served:
    """The API of one gate on a port of its own."""

    def __init__(self, gate: Gate, port: int) -> None:
        self.gate, self.port = gate, port

    async def post(self, path: str, token: str | None = TOKEN) -> tuple[int, str, Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with ClientSession() as client:
            answer = await client.post(f"http://{HOST}:{self.port}{path}", headers=headers)
            body = await answer.text()
            assert answer.headers.get("Cache-Control") == "no-store" or answer.status in (404, 405)
            return answer.status, answer.content_type, json.loads(body) if body.startswith("{") else body

    async def code(self, operator_id: str = "P000123", token: str | None = TOKEN) -> tuple[int, str, Any]:
        return await self.post(f"/api/v1/operators/{operator_id}/code", token)

    async def raw(self, authorization: bytes) -> bytes:
        """The status line for a header that no client library would send."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        head = b"POST /api/v1/operators/P000123/code HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n"
        writer.write(head + b"Authorization: " + authorization + b"\r\n\r\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line


@asynccontextmanager
async def serving(token: str | None = TOKEN) -> AsyncIterator[Served]:
    gate, port = make_gate(), free_port()
    app = web.Application()
    api = Api(gate.state, (CODE_KEY, CODE_KEY_BEFORE), SecretStr(token) if token else None)
    app.add_routes(api.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield Served(gate, port)
    finally:
        await runner.cleanup()


async def test_a_code_is_given_with_its_time_and_the_gate_takes_it_once() -> None:
    async with serving() as api:
        status, kind, body = await api.code()
        assert (status, kind) == (200, "application/json")
        assert (body["operator_id"], body["valid_until"] - body["valid_from"]) == ("P000123", STEP_S * 1000)
        assert body["valid_from"] <= NOW < body["valid_until"]
        assert decision_of(api.gate.request(body["code"])).outcome == "allow"
        assert decision_of(api.gate.request(body["code"])).reasons == ("credential_replayed",)


async def test_within_half_a_minute_the_code_is_the_same_and_then_another() -> None:
    async with serving() as api:
        codes = []
        for _ in range(3):
            codes.append((await api.code())[2]["code"])
            api.gate.clock.pass_s(STEP_S / 2)
        assert codes[0] == codes[1] != codes[2]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "t", "令牌"])
async def test_without_the_token_there_is_no_code_and_the_problem_says_what_to_send(token: str | None) -> None:
    async with serving() as api:
        status, kind, body = await api.code(token=token)
        assert (status, kind) == (401, "application/problem+json")
        assert body == {
            "title": "Unauthorized",
            "status": 401,
            "detail": "header Authorization: send 'Bearer' and the API's token",
            "type": "about:blank",
        }


@pytest.mark.parametrize("header", [b"Bearer \xff\xfe", b"Basic dDp0", b"bearer", TOKEN.encode()])
async def test_a_header_that_is_no_text_or_no_token_is_refused_like_any_other(header: bytes) -> None:
    async with serving() as api:
        assert b" 401 " in await api.raw(header)


async def test_somebody_who_is_not_registered_is_told_so() -> None:
    async with serving() as api:
        status, kind, body = await api.code("P999999")
        assert (status, kind, body["title"]) == (404, "application/problem+json", "Not Found")
        assert "operator_id" in body["detail"]
        assert "P999999" not in body["detail"]


async def test_without_a_token_among_the_settings_there_is_no_api() -> None:
    async with serving(token=None) as api:
        assert (await api.code())[0] == 404


async def test_the_token_stands_in_no_answer() -> None:
    async with serving() as api:
        for answer in (await api.code(), await api.code("nobody"), await api.code(token="wrong")):
            assert TOKEN not in json.dumps(answer)
