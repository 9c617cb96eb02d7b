"""A blocking MQTT client on a bare socket: acknowledges, leaves and vanishes exactly when a test says so."""

import socket
from dataclasses import dataclass
from typing import Self

from tests.support import packets

WITHIN_S = 10.0


@dataclass(frozen=True)
class Message:
    """A PUBLISH that has arrived."""

    topic: str
    payload: bytes
    packet_id: bytes
    dup: bool
    retain: bool


class RawClient:
    """One connection; ``with`` closes it without a goodbye. Raises TimeoutError when the broker keeps silent."""

    def __init__(
        self,
        port: int,
        client_id: str,
        *,
        clean: bool = True,
        will: tuple[str, str] | None = None,
        keep_alive_s: int = 0,
    ) -> None:
        self._buffer = b""
        self._messages: list[Message] = []
        self._packet_id = 1
        self._socket = socket.create_connection(("127.0.0.1", port), WITHIN_S)
        self._socket.sendall(packets.connect(client_id, clean=clean, will=will, keep_alive_s=keep_alive_s))
        self._answer(packets.CONNACK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def subscribe(self, topic_filter: str) -> int:
        """The return code of the SUBACK: the granted QoS, or 0x80."""
        self._socket.sendall(packets.subscribe(topic_filter))
        return self._answer(packets.SUBACK)[-1]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """QoS 1; returns once the broker has acknowledged."""
        self._packet_id += 1
        self._socket.sendall(packets.publish(topic, payload, self._packet_id, retain=retain))
        self._answer(packets.PUBACK)

    def receive(self, *, acknowledge: bool = True, within_s: float = WITHIN_S) -> Message:
        """The next message."""
        self._socket.settimeout(within_s)
        while not self._messages:
            self._file(*self._next_packet())
        message = self._messages.pop(0)
        if acknowledge:
            self._socket.sendall(packets.puback(message.packet_id))
        return message

    def leave(self) -> None:
        """An orderly goodbye."""
        self._socket.sendall(packets.DISCONNECT)
        self._socket.close()

    def closed_by_broker(self) -> bool:
        """Waits for the end of the connection."""
        return self._socket.recv(1) == b""

    def _answer(self, kind: int) -> bytes:
        """The body of the next packet of this kind; messages that come before it are kept."""
        while True:
            first, body = self._next_packet()
            if first & 0xF0 == kind:
                return body
            self._file(first, body)

    def _file(self, first: int, body: bytes) -> None:
        if first & 0xF0 == packets.PUBLISH:
            end = 2 + int.from_bytes(body[:2], "big")
            message = Message(
                body[2:end].decode(), body[end + 2 :], body[end : end + 2], bool(first & 0x08), bool(first & 0x01)
            )
            self._messages.append(message)

    def _next_packet(self) -> tuple[int, bytes]:
        while True:
            for first, start, end in packets.whole_packets(self._buffer):
                body, self._buffer = self._buffer[start:end], self._buffer[end:]
                return first, body
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionError("the broker has closed the connection")
            self._buffer += data
