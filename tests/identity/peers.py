"""One MQTT connection under one identity, and what it hears."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.chips import Seen

WITHIN_S = 15.0


@dataclass(frozen=True)
class Proof:
    """What a client shows of itself: a certificate, or user name and password."""

    tls: ssl.SSLContext | None = None
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class Door:
    """Where to connect, and how."""

    port: int
    protocol: MQTTProtocolVersion = paho.MQTTv311


def by_certificate(authority: Path, certificate: Path, key: Path) -> Proof:
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate, key)
    return Proof(context)


class Peer:
    """``with`` connects and leaves. Raises ConnectionRefusedError when the broker does not let it in."""

    def __init__(
        self,
        door: Door,
        client_id: str,
        proof: Proof,
        will: tuple[str, bytes] | None = None,
        *,
        lasting: bool = False,
    ) -> None:
        self.seen: list[Seen] = []
        self.drops = 0
        self._news = Condition()
        self._connack: Any = None
        self._codes: dict[int, list[Any]] = {}
        self._door = door
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if door.protocol == paho.MQTTv5 else not lasting,
            protocol=door.protocol,
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(proof.user, proof.password)
        if proof.tls is not None:
            self._client.tls_set_context(proof.tls)
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._door.port)
        self._client.loop_start()
        self.until(lambda: self._connack is not None or self.drops > 0, "an answer to CONNECT")
        if self._connack is None or self._connack.is_failure:
            self._client.loop_stop()
            raise ConnectionRefusedError(str(self._connack))
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def vanish(self) -> None:
        """Break the connection without a goodbye, so that the last will is due."""
        sock = self._client.socket()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        self.until(lambda: self.drops > 0, "the connection's end")

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Returns once the broker has acknowledged, or the packet is out at QoS 0."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(WITHIN_S)

    def subscribe(self, topic_filter: str) -> bool:
        """Whether the broker has granted it."""
        _, mid = self._client.subscribe(topic_filter, 1)
        assert mid is not None
        self.until(lambda: mid in self._codes, f"SUBACK of {topic_filter}")
        return not self._codes[mid][0].is_failure

    def hears(self, topic: str, payload: bytes) -> Seen:
        """Waits for this message."""

        def found() -> list[Seen]:
            return [seen for seen in self.seen if (seen.topic, seen.payload) == (topic, payload)]

        self.until(lambda: bool(found()), f"{payload!r} on {topic}; came: {self.heard}")
        return found()[0]

    @property
    def heard(self) -> list[tuple[str, bytes]]:
        return [(seen.topic, seen.payload) for seen in self.seen]

    # --- paho's thread ---

    def _on_connect(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._news:
            self._connack = reason
            self._news.notify_all()

    def _on_disconnect(self, *_: Any) -> None:
        with self._news:
            self.drops += 1
            self._news.notify_all()

    def _on_subscribe(self, _client: paho.Client, _data: Any, mid: int, codes: list[Any], _properties: Any) -> None:
        with self._news:
            self._codes[mid] = codes
            self._news.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self.seen.append(Seen(message.topic, bytes(message.payload), message.retain, 0.0))
            self._news.notify_all()

    def until(self, good: Callable[[], bool], what: str) -> None:
        with self._news:
            assert self._news.wait_for(good, WITHIN_S), f"not within {WITHIN_S} s: {what}"
