"""Registries on the network for tests: the simulator's service and one that answers by a script, on loopback."""

import csv
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from gateway.registry.remote import Client, Ports, open_client
from gateway.registry.sources import Source
from simulator.registry_service.county import load
from simulator.registry_service.push import Pusher
from simulator.registry_service.service import Service
from tests.registry.people import FILES

HOST = "127.0.0.1"
NOW = 1_790_000_000_000
"""Unix milliseconds at the start of a test."""


class Time:
    """Both clocks; who sleeps sets them forward at once."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.passed_s

    def wall_ms(self) -> int:
        return NOW + round(self.passed_s * 1000)

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)
        self.passed_s += seconds

    def ports(self) -> Ports:
        return Ports(self.monotonic, self.wall_ms, self.sleep, Random(1))


def make_service(
    folder: Path,
    time: Time,
    files: Mapping[str, Sequence[Sequence[str]]] = FILES,
    token: str | None = None,
    pusher: Pusher | None = None,
) -> Service:
    """The simulator's service with a handful of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return Service(load(folder, time.wall_ms()), time.wall_ms, Random(1), token, pusher)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve on a free port; the URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        yield f"http://{HOST}:{port}"
    finally:
        await runner.cleanup()


class Script:
    """Answers request after request as it was told, the last answer again and again; remembers what was asked."""

    def __init__(self, *answers: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._answers = [
            answer if isinstance(answer, web.Response) else page(answer, status, headers) for answer in answers
        ]
        self.asked: list[web.Request] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        told = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return web.Response(status=told.status, body=told.body, headers=told.headers)


def page(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer of JSON, or of the bytes given."""
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **(headers or {})})


def described(url: str, **given: Any) -> Source:
    """A source at ``url`` that is asked fast and seldom again; ``given`` are further keys of its section."""
    section = {"kind": "http", "base_url": url, "registries": ["operators"], "rate_per_s": 1000, "retries": 2}
    return msgspec.convert({**section, **given}, Source)


@asynccontextmanager
async def client(url: str, time: Time, **given: Any) -> AsyncIterator[Client]:
    async with open_client("province", described(url, **given), time.ports()) as opened:
        yield opened
