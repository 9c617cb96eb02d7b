"""A link under test, run as a task, and what it delivered and said."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.mqtt.link import Hooks, Link
from gateway.mqtt.url import Tls, Version, parse_broker_url
from gateway.wire.inbound import Inbound, Outbound
from tests.service.conftest import prepared, start_gateway

__all__ = ["prepared", "start_gateway"]

WITHIN_S = 15.0
WILL = Outbound("weldgate/v1/gateway/test/status", b'{"online":false}', retained=True)
FILTERS = ("weldgate/v1/+/request", "weldgate/v1/+/event")


class Gate:
    """Takes what the link delivers."""

    def __init__(self, url: str, ca: Path | None = None, version: Version = "auto", wished: Sequence[str] = ()) -> None:
        self.arrived: list[Inbound] = []
        self.said: list[tuple[bool, str]] = []
        self.trouble: list[str] = []
        self.resumed = 0
        self._news = asyncio.Event()
        self.link = Link(
            parse_broker_url(url),
            "weldgate-test",
            FILTERS,
            WILL,
            Hooks(self._take, self._hear, self._resume, self.trouble.append),
            Tls(ca_file=str(ca) if ca else None),
            version,
            wished=wished,
        )

    def _take(self, inbound: Inbound) -> None:
        self.arrived.append(inbound)
        self._news.set()

    def _hear(self, connected: bool, detail: str) -> None:
        self.said.append((connected, detail))
        self._news.set()

    def _resume(self) -> None:
        self.resumed += 1

    async def until(self, good: Any) -> None:
        """Waits until ``good()`` is true; looks again at whatever happens."""
        async with asyncio.timeout(WITHIN_S):
            while not good():
                self._news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.02)


@asynccontextmanager
async def running(
    url: str, ca: Path | None = None, version: Version = "auto", wished: Sequence[str] = ()
) -> AsyncIterator[Gate]:
    """A gate whose link stays connected until the end of the block."""
    gate = Gate(url, ca, version, wished)
    task = asyncio.create_task(gate.link.run(), name="link")
    try:
        yield gate
        assert not task.done(), "the link's task has died"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
