"""A line between the kit's chips and the broker on which a test changes what the gateway seems to say."""

import asyncio
from itertools import count

from simulator.conformance import mqtt
from simulator.conformance.mqtt import Connect, Packet, Publish
from tests.conformance.bent import Bent, Line

READ_BYTES = 65_536


class Between:
    """Listens; every connection is passed on to the broker, bent on its way.

    ``async with`` closes it, and raises what a variant has raised: one that crashes proves nothing.
    """

    def __init__(self, broker_port: int, bent: Bent) -> None:
        self.bent = bent
        self.port = 0
        self._broker_port = broker_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._numbers = count(1)
        self._closed = False
        self._crashes: list[Exception] = []

    async def __aenter__(self) -> "Between":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._closed = True
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._crashes:
            raise self._crashes[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far, broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        self._writers += [writer, broker]
        if self._closed:
            writer.transport.abort()
        line = Passing(next(self._numbers), writer, broker, self.bent)
        ways = [asyncio.create_task(line.up(reader)), asyncio.create_task(line.down(far))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        ended = await asyncio.gather(*ways, return_exceptions=True)
        self._crashes += [one for one in ended if isinstance(one, Exception) and not isinstance(one, OSError)]
        writer.transport.abort()
        broker.transport.abort()


class Passing(Line):
    """One connection."""

    def __init__(self, number: int, kit: asyncio.StreamWriter, broker: asyncio.StreamWriter, bent: Bent) -> None:
        super().__init__(number)
        self._kit, self._broker, self._bent = kit, broker, bent
        self._injected = count(60_000)

    def back(self, message: Publish) -> None:
        """Say something to the kit that the gateway never said."""
        numbered = Publish(message.topic, message.payload, 1, message.retain, False, next(self._injected))
        self._kit.write(mqtt.publish(numbered, self.version))

    async def up(self, reader: asyncio.StreamReader) -> None:
        splitter = mqtt.Splitter()
        while data := await reader.read(READ_BYTES):
            for packet in splitter.feed(data):
                self._from_kit(packet)

    async def down(self, reader: asyncio.StreamReader) -> None:
        splitter = mqtt.Splitter()
        while data := await reader.read(READ_BYTES):
            for packet in splitter.feed(data):
                self._from_broker(packet)

    def _from_kit(self, packet: Packet) -> None:
        if packet.kind == mqtt.CONNECT:
            connect: Connect = mqtt.read_connect(packet)
            self.version, self.client_id = connect.version, connect.client_id
            self._bent.connected(self)
        elif packet.kind == mqtt.PUBLISH:
            message = mqtt.read_publish(packet, self.version)
            bent = self._bent.up(message, self)
            if bent is None:
                self._kit.write(mqtt.puback(message.packet_id))
            else:
                self._broker.write(mqtt.publish(bent, self.version))
            return
        elif packet.kind == mqtt.PUBACK:
            if mqtt.read_packet_id(packet) >= 60_000:
                return
        elif packet.kind == mqtt.SUBSCRIBE:
            self._broker.write(mqtt.whole(packet))
            for name, _ in mqtt.read_subscribe(packet, self.version).filters:
                self._bent.subscribed(name, self)
            return
        self._broker.write(mqtt.whole(packet))

    def _from_broker(self, packet: Packet) -> None:
        if packet.kind != mqtt.PUBLISH:
            self._kit.write(mqtt.whole(packet))
            return
        message = mqtt.read_publish(packet, self.version)
        bent = self._bent.down(message, self)
        if bent is None:
            self._broker.write(mqtt.puback(message.packet_id))
            return
        self._kit.write(mqtt.publish(bent, self.version))
