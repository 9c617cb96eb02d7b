"""A chip's end of an MQTT connection of which every packet is the kit's choice: MQTT 3.1.1 or 5, clean or not."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from simulator.conformance import mqtt
from simulator.conformance.cases import Failed
from simulator.conformance.mqtt import Connect, Packet, Properties, Publish
from simulator.conformance.packet_log import PacketLog
from simulator.link import Broker

READ_BYTES = 65_536
BROKER_WITHIN_S = 10.0
T = TypeVar("T")


class Seen(Struct, frozen=True):
    """One message that arrived; ``at`` is the kit's monotonic clock in seconds."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    at: float
    properties: Properties

    @property
    def content(self) -> dict[str, Any]:
        """The JSON object; empty for anything else."""
        try:
            return msgspec.json.decode(self.payload, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return {}


class Device:
    """One client of the broker. ``acknowledges`` False leaves every message unanswered, as a chip that hangs."""

    def __init__(self, broker: Broker, client_id: str, log: PacketLog, *, version: int, clean: bool) -> None:
        self.acknowledges = True
        self.seen: list[Seen] = []
        self._broker = broker
        self._connect = Connect(
            client_id,
            version,
            clean,
            keep_alive_s=0,
            user=broker.username,
            password=broker.password,
            properties={} if clean or version != mqtt.V5 else {mqtt.SESSION_EXPIRY: (3600).to_bytes(4, "big")},
        )
        self._log = log
        self._name = client_id
        self._packet_id = 0
        self._answers: dict[tuple[int, int], Packet] = {}
        self._news = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def connect(self) -> "Device":
        """Raises OSError, also where the broker turns us away."""
        broker = self._broker
        tls = ssl.create_default_context(cafile=broker.ca_file) if broker.tls else None
        reader, self._writer = await asyncio.open_connection(broker.host, broker.port, ssl=tls)
        self._reading = asyncio.create_task(self._read(reader), name=f"device {self._name}")
        self._send(mqtt.connect(self._connect))
        _, code = mqtt.read_connack(await self._answer(mqtt.CONNACK, 0))
        if code:
            raise ConnectionRefusedError(code, f"the broker turns {self._name} away with code {code}")
        return self

    async def subscribe(self, *filters: str) -> "Device":
        packet_id = self._next_id()
        self._send(mqtt.subscribe(packet_id, filters, self._connect.version))
        await self._answer(mqtt.SUBACK, packet_id)
        return self

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        dup: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """QoS 1; returns once the broker has it."""
        packet_id = self._next_id()
        message = Publish(topic, payload, 1, retain, dup, packet_id, properties or {})
        self._send(mqtt.publish(message, self._connect.version))
        await self._answer(mqtt.PUBACK, packet_id)

    async def vanish(self) -> None:
        """The line is dead: no DISCONNECT."""
        await self._close(b"")

    async def leave(self) -> None:
        """An orderly goodbye."""
        await self._close(mqtt.GOODBYE)

    async def until(self, find: Callable[[], T | None], within_s: float) -> T | None:
        """The first thing that ``find`` finds, looked for at each message; None if it finds nothing in time."""
        try:
            async with asyncio.timeout(within_s):
                while (found := find()) is None:
                    await self._news.wait()
                return found
        except TimeoutError:
            return find()

    def on(self, topic: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.topic == topic]

    # --- the line ---

    async def _close(self, last: bytes) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            if last:
                writer.write(last)
                await writer.drain()
            writer.transport.abort()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % 65_535 + 1
        return self._packet_id

    def _send(self, data: bytes) -> None:
        if self._writer is None:
            raise ConnectionError(f"{self._name} is not connected")
        for packet in mqtt.Splitter().feed(data):
            self._log.packet(f"{self._name} →", packet, self._connect.version)
        self._writer.write(data)

    async def _answer(self, kind: int, packet_id: int) -> Packet:
        found = await self.until(lambda: self._answers.pop((kind, packet_id), None), BROKER_WITHIN_S)
        if found is None:
            raise Failed(f"{mqtt.KIND_NAMES[kind]} from the broker", f"none within {BROKER_WITHIN_S:g} s")
        return found

    async def _read(self, reader: asyncio.StreamReader) -> None:
        splitter = mqtt.Splitter()
        try:
            while data := await reader.read(READ_BYTES):
                for packet in splitter.feed(data):
                    self._take(packet)
        except OSError:
            pass
        finally:
            if self._writer is not None:
                self._writer.transport.abort()

    def _take(self, packet: Packet) -> None:
        self._log.packet(f"→ {self._name}", packet, self._connect.version)
        if packet.kind == mqtt.PUBLISH:
            message = mqtt.read_publish(packet, self._connect.version)
            seen = Seen(
                message.topic, message.payload, message.retain, message.qos, time.monotonic(), message.properties
            )
            self.seen.append(seen)
            if message.qos and self.acknowledges:
                self._send(mqtt.puback(message.packet_id))
        elif packet.kind in (mqtt.PUBACK, mqtt.SUBACK):
            self._answers[packet.kind, mqtt.read_packet_id(packet)] = packet
        elif packet.kind == mqtt.CONNACK:
            self._answers[mqtt.CONNACK, 0] = packet
        self._news.set()
        self._news = asyncio.Event()
