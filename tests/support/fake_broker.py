"""A broker of which every packet is seen and every answer is chosen: for what a real broker hides.

It speaks to one client at a time MQTT 3.1.1 or 5, whichever the client asks for, blocking, from the test's own thread.
"""

import socket
from dataclasses import dataclass
from struct import pack
from typing import Self

from gateway.mqtt.url import Version
from tests.support import packets

WITHIN_S = 15.0
CONNECT, SUBSCRIBE, PINGREQ, DISCONNECT = 0x10, 0x80, 0xC0, 0xE0
LEVEL_5 = 5
NO_PROPERTIES = b"\x00"
UNSUPPORTED_VERSION = b"\x20\x02\x00\x01"
"""A CONNACK as a broker sends it that knows MQTT 3.1.1 alone."""


@dataclass(frozen=True)
class Packet:
    """One packet from the client; ``five`` where the connection speaks MQTT 5."""

    first: int
    body: bytes
    five: bool = False

    @property
    def kind(self) -> int:
        return self.first & 0xF0

    @property
    def dup(self) -> bool:
        return bool(self.first & 0x08)

    @property
    def topic(self) -> str:
        return self.body[2 : self._topic_end].decode()

    @property
    def mid(self) -> int:
        """Packet id of a PUBLISH at QoS 1, a PUBACK or a SUBSCRIBE."""
        at = self._topic_end if self.kind == packets.PUBLISH else 0
        return int.from_bytes(self.body[at : at + 2], "big")

    @property
    def properties(self) -> bytes:
        """Those of a PUBLISH, without their length (one byte)."""
        at = self._topic_end + 2
        return self.body[at + 1 : at + 1 + self.body[at]] if self.five else b""

    @property
    def payload(self) -> bytes:
        at = self._topic_end + 2
        return self.body[at + 1 + self.body[at] :] if self.five else self.body[at:]

    @property
    def _topic_end(self) -> int:
        return 2 + int.from_bytes(self.body[:2], "big")


class Connection:
    """One client's connection, accepted. PUBLISH packets are acknowledged as they are read unless told otherwise."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.acknowledges = True
        self.five = False
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def welcome(
        self, return_code: int = 0, granted: int = 1, properties: bytes = b"", session_present: int = 0
    ) -> Packet:
        """Answer CONNECT and, where accepted, SUBSCRIBE with the granted QoS (0x80 refuses); the CONNECT.

        ``properties`` are those of the CONNACK, in MQTT 5.
        """
        connect = self.next(CONNECT)
        more = bytes([len(properties)]) + properties if self.five else b""
        self.send(packets.packet(packets.CONNACK, bytes([session_present, return_code]) + more))
        if return_code == 0:
            subscribe = self.next(SUBSCRIBE)
            filters = subscribe.body.count(b"weldgate/")
            answer = pack("!H", subscribe.mid) + (NO_PROPERTIES if self.five else b"") + bytes([granted]) * filters
            self.send(packets.packet(packets.SUBACK, answer))
        return connect

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def publish(
        self,
        topic: str | bytes,
        payload: bytes,
        mid: int,
        *,
        qos: int = 1,
        dup: bool = False,
        retain: bool = False,
        properties: bytes = NO_PROPERTIES,
    ) -> None:
        """``properties`` with their length before them; in MQTT 5 alone."""
        if self.five:
            payload = properties + payload
        self.send(publish_packet(topic, payload, mid, qos=qos, dup=dup, retain=retain))

    def next(self, *kinds: int, within_s: float = WITHIN_S) -> Packet:
        """The next packet of one of these kinds (of any kind without); others are passed over."""
        self.socket.settimeout(within_s)
        while True:
            packet = self._read()
            if packet.kind == CONNECT:
                self.five = packet.body[6] == LEVEL_5
            if packet.kind == packets.PUBLISH and self.acknowledges:
                self.send(packets.puback(pack("!H", packet.mid)))
            if not kinds or packet.kind in kinds:
                return packet

    def next_about_chips(self, within_s: float = WITHIN_S) -> Packet:
        """The next PUBACK or PUBLISH, the gateway's own status and the feed aside."""
        while True:
            packet = self.next(packets.PUBLISH, packets.PUBACK, within_s=within_s)
            if packet.kind == packets.PUBACK or (packet.topic.endswith("/decision") and "/feed/" not in packet.topic):
                return packet

    def is_silent(self, for_s: float) -> bool:
        """Whether neither acknowledgement nor decision comes for a while."""
        try:
            self.next_about_chips(for_s)
        except TimeoutError:
            return True
        return False

    def ended(self) -> bool:
        """Waits until the client closes."""
        try:
            while True:
                self.next()
        except (ConnectionError, EOFError):
            return True

    def _read(self) -> Packet:
        while True:
            for first, start, end in packets.whole_packets(self._buffer):
                body, self._buffer = self._buffer[start:end], self._buffer[end:]
                return Packet(first, body, self.five)
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError("the client has closed the connection")
            self._buffer += data


class FakeBroker:
    """Listens on a free port; ``with`` stops listening. ``version`` is what its client is to speak."""

    def __init__(self, version: Version = "auto") -> None:
        self.version: Version = version
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WITHIN_S)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def accept(self) -> Connection:
        """The next client, before its CONNECT is read."""
        sock, _ = self._listener.accept()
        sock.settimeout(WITHIN_S)
        return Connection(sock)

    def client(self) -> Connection:
        """The next client, connected and subscribed."""
        connection = self.accept()
        connection.welcome()
        return connection


def publish_packet(
    topic: str | bytes, payload: bytes, mid: int, *, qos: int = 1, dup: bool = False, retain: bool = False
) -> bytes:
    """A PUBLISH as a broker sends it; in MQTT 5 the payload begins with the properties."""
    raw = topic.encode() if isinstance(topic, str) else topic
    first = packets.PUBLISH | qos << 1 | (0x08 if dup else 0) | retain
    return packets.packet(first, pack("!H", len(raw)) + raw + (pack("!H", mid) if qos else b"") + payload)
