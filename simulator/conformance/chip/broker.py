"""The broker end that a device connects to: every packet is seen, and every answer is the kit's choice."""

import asyncio
import time
from collections.abc import Callable
from ssl import SSLContext
from typing import TypeVar

import msgspec
from msgspec import Struct

from gateway.wire.codec import ChipMessage, MalformedMessage, decode
from gateway.wire.topics import ChipTopic, chip_topic
from simulator.conformance import mqtt
from simulator.conformance.mqtt import Connect, Packet, Publish
from simulator.conformance.packet_log import PacketLog

READ_BYTES = 65_536
T = TypeVar("T")


class Arrived(Struct, frozen=True):
    """One message of the device; ``content`` is None where it is not by the protocol, ``fault`` then says why.

    ``at`` is the kit's monotonic clock in seconds, ``connection`` counts from 1.
    """

    topic: str
    kind: ChipTopic | None
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    at: float
    connection: int
    content: ChipMessage | None = None
    fault: str = ""


class Broker:
    """One device at a time; a second connection takes over from the first (section 3.1.4)."""

    def __init__(self, machine_id: str, log: PacketLog) -> None:
        self.accepts = True
        self.acknowledges = True
        self.messages: list[Arrived] = []
        self.connects: list[Connect] = []
        self.refused = 0
        self.subscribed: dict[str, int] = {}
        self.acknowledged: set[int] = set()
        self._machine_id = machine_id
        self._log = log
        self._writer: asyncio.StreamWriter | None = None
        self._version = mqtt.V311
        self._packet_id = 0
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._handlers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int, tls: SSLContext | None = None) -> int:
        """Listen; returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, ssl=tls)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._handlers.values()):
            writer.transport.abort()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether a device is there and its CONNECT was accepted."""
        return self._writer is not None

    # --- out ---

    def publish(self, message: Publish) -> int:
        """Send a message to the device; its packet id, 0 where nobody is connected."""
        if self._writer is None:
            return 0
        self._packet_id = self._packet_id % 65_535 + 1
        numbered = msgspec.structs.replace(message, packet_id=self._packet_id)
        self.acknowledged.discard(numbered.packet_id)
        self.send(mqtt.publish(numbered, self._version))
        return numbered.packet_id

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        if self._writer is None:
            return
        try:
            for packet in mqtt.Splitter().feed(data):
                self._log.packet("kit  →", packet, self._version)
        except mqtt.ProtocolError:
            self._log.note(f"kit  → {len(data)} bytes that are no packet")
        self._writer.write(data)

    def cut(self) -> None:
        """The network is gone: no DISCONNECT, no FIN that a device could wait for politely."""
        if self._writer is not None:
            self._log.note("kit cuts the connection")
            self._writer.transport.abort()
            self._gone(self._writer)

    # --- waiting ---

    async def until(self, find: Callable[[], T | None], within_s: float) -> T | None:
        """The first thing that ``find`` finds, looked for at each news; None if it finds nothing in time."""
        try:
            async with asyncio.timeout(within_s):
                while (found := find()) is None:
                    await self._news.wait()
                return found
        except TimeoutError:
            return find()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # --- in ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._handlers[task] = writer
            task.add_done_callback(self._handlers.pop)
        splitter = mqtt.Splitter()
        try:
            while data := await reader.read(READ_BYTES):
                for packet in splitter.feed(data):
                    self._take(packet, writer)
        except (OSError, mqtt.ProtocolError) as error:
            self._log.note(f"connection lost: {error}")
        finally:
            writer.transport.abort()
            self._gone(writer)

    def _gone(self, writer: asyncio.StreamWriter) -> None:
        if self._writer is writer:
            self._log.note("the device is off the air")
            self._writer = None
            self.subscribed = {}
            self._tell()

    def _take(self, packet: Packet, writer: asyncio.StreamWriter) -> None:
        if packet.kind == mqtt.CONNECT:
            self._connect(packet, writer)
        elif writer is not self._writer:
            raise mqtt.ProtocolError("a packet without an accepted CONNECT")
        else:
            self._log.packet("chip →", packet, self._version)
            self._handle(packet)
        self._tell()

    def _connect(self, packet: Packet, writer: asyncio.StreamWriter) -> None:
        connect = mqtt.read_connect(packet)
        self._log.packet("chip →", packet, connect.version)
        if not self.accepts:
            self._log.note("kit refuses the connection: server unavailable")
            writer.write(mqtt.connack(connect.version, 0x88 if connect.version == mqtt.V5 else 3))
            self.refused += 1
            self._tell()
            raise mqtt.ProtocolError("refused")
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer, self._version, self.subscribed = writer, connect.version, {}
        self.connects.append(connect)
        self.send(mqtt.connack(connect.version))

    def _handle(self, packet: Packet) -> None:
        match packet.kind:
            case mqtt.PUBLISH:
                self._published(mqtt.read_publish(packet, self._version))
            case mqtt.PUBACK:
                self.acknowledged.add(mqtt.read_packet_id(packet))
            case mqtt.SUBSCRIBE:
                subscribe = mqtt.read_subscribe(packet, self._version)
                self.subscribed |= dict(subscribe.filters)
                codes = tuple(min(qos, 1) for _, qos in subscribe.filters)
                self.send(mqtt.suback(subscribe.packet_id, codes, self._version))
            case mqtt.UNSUBSCRIBE:
                packet_id, filters = mqtt.read_unsubscribe(packet, self._version)
                self.subscribed = {name: qos for name, qos in self.subscribed.items() if name not in filters}
                self.send(mqtt.unsuback(packet_id, len(filters), self._version))
            case mqtt.PINGREQ:
                self.send(mqtt.PONG)

    def _published(self, message: Publish) -> None:
        self.messages.append(self._read(message))
        if message.qos == 1 and self.acknowledges:
            self.send(mqtt.puback(message.packet_id))

    def _read(self, message: Publish) -> Arrived:
        place = chip_topic(message.topic)
        kind = place[1] if place and place[0] == self._machine_id else None
        fault = "" if kind else f"topic {message.topic} is not one of {self._machine_id}"
        content: ChipMessage | None = None
        if kind is not None:
            try:
                content = decode(kind, message.payload)
            except MalformedMessage as error:
                fault = str(error)
        return Arrived(
            message.topic,
            kind,
            message.payload,
            message.qos,
            message.retain,
            message.dup,
            time.monotonic(),
            len(self.connects),
            content,
            fault,
        )
