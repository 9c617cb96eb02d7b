"""The gate's side of the scribe: orders go out, results come back in the same order."""

import asyncio
import socket
from collections import deque
from typing import cast

from gateway.errors import DatabaseUnavailable, WeldGateError
from gateway.store import orders
from gateway.store.journal import Batch


class Conflict(Exception):
    """The database refuses the content: a message is on record already, a session is open already, or a value is
    none that it takes. Trying the same again would fail again."""


class OutOfDate(Conflict):
    """Somebody else has changed what this rests on; made anew from what is there now, it may well be taken."""


class ScribeLost(WeldGateError):
    """The scribe's process has ended; without it nothing can be made durable."""


class Writer(asyncio.Protocol):
    """Use as ``async with Writer(sock) as writer``; the other end of ``sock`` is the scribe's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._transport: asyncio.WriteTransport | None = None
        self._incoming = bytearray()
        self._awaited: deque[asyncio.Future[orders.Result]] = deque()

    async def __aenter__(self) -> "Writer":
        await asyncio.get_running_loop().create_connection(lambda: self, sock=self._sock)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- orders ---

    def commit(self, batch: Batch) -> "asyncio.Future[orders.Result]":
        """Ask for the batch to be made durable; nothing of it is written unless the result is Committed."""
        return self._send(orders.Commit(batch))

    async def recall(self, order: orders.Recall) -> orders.Recalled:
        """What is on record. Raises DatabaseUnavailable."""
        result = checked(await self._send(order))
        assert isinstance(result, orders.Recalled)
        return result

    async def look_up(self, order: orders.LookUp) -> orders.Found:
        """What is on record of some messages and machines. Raises DatabaseUnavailable."""
        result = checked(await self._send(order))
        assert isinstance(result, orders.Found)
        return result

    async def probe(self) -> None:
        """Raises DatabaseUnavailable while the database takes no writes."""
        checked(await self._send(orders.Probe()))

    def _send(self, order: orders.Order) -> "asyncio.Future[orders.Result]":
        result: asyncio.Future[orders.Result] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            result.set_exception(ScribeLost("the scribe has ended; see the log, and start the gateway again"))
        else:
            self._awaited.append(result)
            self._transport.write(orders.frame(order))
        return result

    # --- the socket ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._incoming += data
        start = 0
        while len(self._incoming) >= start + orders.LENGTH_BYTES:
            body = start + orders.LENGTH_BYTES
            stop = body + int.from_bytes(self._incoming[start:body], "big")
            if len(self._incoming) < stop:
                break
            self._settle(orders.decode_result(self._incoming[body:stop]))
            start = stop
        del self._incoming[:start]

    def _settle(self, result: orders.Result) -> None:
        awaited = self._awaited.popleft()
        if not awaited.done():
            awaited.set_result(result)

    def connection_lost(self, error: Exception | None) -> None:
        while self._awaited:
            awaited = self._awaited.popleft()
            if not awaited.done():
                awaited.set_exception(ScribeLost(f"the scribe has ended: {error or 'its process is gone'}"))


def checked(result: orders.Result) -> orders.Result:
    """The result of something that worked; raises Conflict or DatabaseUnavailable for one that did not."""
    if isinstance(result, orders.Refused):
        raise OutOfDate(result.problem) if result.stale else Conflict(result.problem)
    if isinstance(result, orders.Unavailable):
        raise DatabaseUnavailable(f"database: {result.problem}")
    return result
