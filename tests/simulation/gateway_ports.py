"""What the pipeline sees of the world: a link to the modelled broker, and a modelled scribe behind its socket."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.store import orders
from gateway.store.journal import Batch
from gateway.store.writer import ScribeLost, checked
from gateway.wire.inbound import Outbound

if TYPE_CHECKING:
    from tests.simulation.gateway_host import GatewayHost, Process


class Gone(BaseException):
    """The process ends here: nobody in it can do anything about that."""


class Lost:
    """A scribe that is no more."""

    def carry_out(self, order: orders.Order) -> orders.Result:
        raise AssertionError("nobody asks it")


class ModelLink:
    """What the pipeline sees of the broker."""

    def __init__(self, host: "GatewayHost", process: "Process") -> None:
        self._host = host
        self._process = process

    def acknowledge(self, receipts: Iterable[tuple[int, int]]) -> None:
        process = self._process
        if not process.alive:
            raise Gone
        self._host.crash_point("replied")
        connection = process.connection
        for number, mid in receipts:
            if connection is not None and number == process.connection_number:
                connection.up(self._host._around.broker.acknowledged, mid)

    def publish(self, messages: Iterable[Outbound]) -> None:
        process, around = self._process, self._host._around
        if not process.alive:
            raise Gone
        self._host.crash_point("acknowledged")
        for message in messages:
            around.watcher.gateway_published(self._host, message)
            process.mid += 1
            process.unacknowledged[process.mid] = message
            if process.connection is not None:
                up = process.connection.up
                up(around.broker.from_client, process.mid, message.topic, message.payload, message.retained)
        self._host.keep_ticking()
        self._host.crash_point("published")

    def hold_back(self, held: bool) -> None:
        process = self._process
        process.held_back = held
        if not held:
            waiting, process.held = process.held, []
            for inbound in waiting:
                process.pipeline.deliver(inbound)

    async def room(self) -> None:
        """There is room for more than any run publishes."""


class ModelWriter:
    """What the pipeline sees of the scribe: orders go out, results come back in their order, some time later."""

    def __init__(self, host: "GatewayHost", process: "Process") -> None:
        self._host = host
        self._process = process

    def commit(self, batch: Batch) -> "asyncio.Future[orders.Result]":
        self._host.crash_point("handled")
        result = self._send(orders.Commit(batch))
        self._host.crash_point("sent")
        return result

    async def recall(self, order: orders.Recall) -> orders.Recalled:
        result = checked(await self._send(order))
        assert isinstance(result, orders.Recalled)
        self._host.keep_ticking()
        return result

    async def look_up(self, order: orders.LookUp) -> orders.Found:
        result = checked(await self._send(order))
        assert isinstance(result, orders.Found)
        self._host.keep_ticking()
        return result

    async def probe(self) -> None:
        checked(await self._send(orders.Probe()))

    def _send(self, order: orders.Order) -> "asyncio.Future[orders.Result]":
        process, host = self._process, self._host
        if not process.alive:
            raise Gone
        result: asyncio.Future[orders.Result] = process.loop.create_future()
        if isinstance(process.scribe, Lost):
            result.set_exception(ScribeLost("the scribe has ended"))
            return result
        process.awaited.append(result)
        least, most = host._around.commit_ms
        timeline = host._around.timeline
        process.scribe_free_at = (
            max(timeline.now, process.scribe_free_at) + least + int(host._random.random() * (most - least))
        )
        timeline.at(process.scribe_free_at, self._carry_out, order)
        return result

    def _carry_out(self, order: orders.Order) -> None:
        """The scribe does it, whether or not anybody waits for it any more."""
        process, host = self._process, self._host
        if isinstance(process.scribe, Lost):
            return
        result = process.scribe.carry_out(order)
        if isinstance(order, orders.Commit) and isinstance(result, orders.Committed):
            host._around.watcher.committed(host, order.batch, result)
            if process.alive:
                try:
                    host.crash_point("committed")
                except Gone:
                    return
        if process.alive:
            awaited = process.awaited.popleft()
            if not awaited.done():
                awaited.set_result(result)
            host.run_ready()
