"""A broker of which every packet is seen and every answer is chosen: for what a real broker hides.

It speaks MQTT 3.1.1 to one client at a time, blocking, from the test's own thread.
"""

import socket
from dataclasses import dataclass
from struct import pack
from typing import Self

from tests.support import packets

WITHIN_S = 15.0
CONNECT, SUBSCRIBE, PINGREQ, DISCONNECT = 0x10, 0x80, 0xC0, 0xE0


@dataclass(frozen=True)
class Packet:
    """One packet from the client."""

    first: int
    body: bytes

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
    def payload(self) -> bytes:
        return self.body[self._topic_end + 2 :]

    @property
    def _topic_end(self) -> int:
        return 2 + int.from_bytes(self.body[:2], "big")


class Connection:
    """One client's connection, accepted. PUBLISH packets are acknowledged as they are read unless told otherwise."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.acknowledges = True
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def welcome(self, return_code: int = 0, granted: int = 1) -> Packet:
        """Answer CONNECT and, where accepted, SUBSCRIBE with the granted QoS (0x80 refuses); the CONNECT."""
        connect = self.next(CONNECT)
        self.send(bytes([0x20, 2, 0, return_code]))
        if return_code == 0:
            subscribe = self.next(SUBSCRIBE)
            filters = subscribe.body.count(b"weldgate/")
            self.send(bytes([packets.SUBACK, 2 + filters]) + pack("!H", subscribe.mid) + bytes([granted]) * filters)
        return connect

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def publish(
        self, topic: str, payload: bytes, mid: int, *, qos: int = 1, dup: bool = False, retain: bool = False
    ) -> None:
        self.send(publish_packet(topic, payload, mid, qos=qos, dup=dup, retain=retain))

    def next(self, *kinds: int, within_s: float = WITHIN_S) -> Packet:
        """The next packet of one of these kinds (of any kind without); others are passed over."""
        self.socket.settimeout(within_s)
        while True:
            packet = self._read()
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
                return Packet(first, body)
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError("the client has closed the connection")
            self._buffer += data


class FakeBroker:
    """Listens on a free port; ``with`` stops listening."""

    def __init__(self) -> None:
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
    topic: str, payload: bytes, mid: int, *, qos: int = 1, dup: bool = False, retain: bool = False
) -> bytes:
    """A PUBLISH as a broker sends it."""
    whole = packets.publish(topic, payload, mid, retain=retain)
    if qos == 0:
        topic_bytes = topic.encode()
        body = pack("!H", len(topic_bytes)) + topic_bytes + payload
        return packets.packet(packets.PUBLISH | retain, body)
    return bytes([whole[0] | (0x08 if dup else 0)]) + whole[1:]
