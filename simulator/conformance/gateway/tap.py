"""A line between the gateway and its broker on which the kit sees every packet, and can cut, hold back and repeat."""

import asyncio
import time
from typing import Any

from msgspec import Struct

from simulator.conformance import mqtt
from simulator.conformance.mqtt import Packet
from simulator.conformance.packet_log import PacketLog

READ_BYTES = 65_536


class Tapped(Struct, frozen=True):
    """One packet that passed. ``from_gateway``: else it came from the broker. Counted over all connections."""

    packet: Packet
    from_gateway: bool
    version: int
    connection: int
    at: float


class Tap:
    """The gateway is told to use this address as its broker. ``deaf``: it subscribes, and nothing is delivered."""

    def __init__(self, host: str, port: int, log: PacketLog) -> None:
        self.passed: list[Tapped] = []
        self.deaf = False
        self.connections = 0
        self._target = (host, port)
        self._log = log
        self._version = mqtt.V311
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection, both ways, without a word."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            far, other = await asyncio.open_connection(*self._target)
            self._writers.add(other)
            self.connections += 1
            await self._both_ways((reader, writer), (far, other))
        except OSError as error:
            self._log.note(f"tap: {error}")
        finally:
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()
                    self._writers.discard(end)

    async def _both_ways(
        self,
        gateway: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        ways = (
            asyncio.create_task(self._pass_on(gateway[0], broker[1], from_gateway=True), name="tap to broker"),
            asyncio.create_task(self._pass_on(broker[0], gateway[1], from_gateway=False), name="tap to gateway"),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_gateway: bool) -> None:
        splitter = mqtt.Splitter()
        while data := await reader.read(READ_BYTES):
            for packet in splitter.feed(data):
                if self._saw(packet, from_gateway=from_gateway):
                    writer.write(mqtt.whole(packet))
            await writer.drain()

    def _saw(self, packet: Packet, *, from_gateway: bool) -> bool:
        """Note the packet; False where it is to be lost."""
        if packet.kind == mqtt.CONNECT:
            self._version = mqtt.read_connect(packet).version
        self.passed.append(Tapped(packet, from_gateway, self._version, self.connections, time.monotonic()))
        return not (self.deaf and not from_gateway and packet.kind == mqtt.PUBLISH)
