"""Many lock chips behind one MQTT connection: they ask, report, and remember every message that comes back."""

import socket
import time
from collections.abc import Callable
from itertools import count
from threading import Condition
from typing import Any, Self

import msgspec
import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion

from gateway.clock import now_ms
from gateway.wire.messages import DecisionMessage

ROOT = "weldgate/v1"
WITHIN_S = 15.0
_numbers = count(1)


def new_id(kind: str = "req") -> str:
    """An id as a chip makes it, unique in this run."""
    return f"{kind}-{next(_numbers):08}"


class Seen(Struct, frozen=True):
    """One message that arrived."""

    topic: str
    payload: bytes
    retained: bool
    at: float

    @property
    def content(self) -> Any:
        return msgspec.json.decode(self.payload)


class Chips:
    """``with`` connects and leaves. Hears decisions, commands, the feed and the gateways' status."""

    def __init__(self, port: int, client_id: str = "chips") -> None:
        self.seen: list[Seen] = []
        self.on_seen: Callable[[Seen], None] = lambda _: None
        self._news = Condition()
        self._subscribed = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv311)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_socket_open = _at_once
        self._client.max_inflight_messages_set(0)
        self._client.reconnect_delay_set(1, 1)
        self._port = port

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self.until_subscribed()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def until_subscribed(self) -> None:
        """Waits until what is published from now on is heard, also after the broker went away."""
        self._wait(lambda: self._subscribed, WITHIN_S, "subscribed")

    # --- out ---

    def publish(self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False) -> None:
        """Returns once the broker has it."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(WITHIN_S)

    def send(self, topic: str, payload: bytes | str) -> None:
        """Returns at once; paho repeats it after a reconnect."""
        self._client.publish(topic, payload, 1)

    def to_gateway(self, machine_id: str, kind: str, message: dict[str, Any]) -> None:
        self.publish(f"{ROOT}/{machine_id}/{kind}", msgspec.json.encode(message))

    def request(self, machine_id: str, credential: str, request_id: str | None = None, **other: Any) -> str:
        """Scan a code; the request's id."""
        message = a_request(credential, request_id or new_id(), **other)
        self.to_gateway(machine_id, "request", message)
        return str(message["request_id"])

    def event(self, machine_id: str, kind: str, session_id: str | None = None, **other: Any) -> str:
        event_id = new_id("evt")
        message = {"event_id": event_id, "seq": 1, "kind": kind, "at": now_ms(), "session_id": session_id}
        self.to_gateway(machine_id, "event", message | other)
        return event_id

    def usage(self, machine_id: str, session_id: str, seq: int, **other: Any) -> None:
        message = {
            "session_id": session_id,
            "seq": seq,
            "at": now_ms(),
            "relay": "closed",
            "enabled_s": 10 * seq,
            "arc_s": 6 * seq,
            "idle_s": 4 * seq,
            "arcs": seq,
            "energy_wh": 12.5 * seq,
        }
        self.to_gateway(machine_id, "usage", message | other)

    # --- in ---

    def answers(self, machine_id: str, request_id: str) -> list[Seen]:
        """Every decision on this request so far."""
        return [seen for seen in self.on(f"{ROOT}/{machine_id}/decision") if seen.content["request_id"] == request_id]

    def answer(self, machine_id: str, request_id: str, *, number: int = 1, within_s: float = WITHIN_S) -> Seen:
        """Waits for the first (or a later) decision on a request."""
        what = f"answer {number} to {request_id} at {machine_id}"
        self._wait(lambda: len(self.answers(machine_id, request_id)) >= number, within_s, what)
        return self.answers(machine_id, request_id)[number - 1]

    def answered(self, machine_id: str) -> set[str]:
        """Every request id of the machine that has a decision."""
        return {seen.content["request_id"] for seen in self.on(f"{ROOT}/{machine_id}/decision")}

    def is_quiet_for(self, seconds: float) -> bool:
        """Whether no decision at all arrives for a while."""

        def decisions() -> int:
            return sum(seen.topic.endswith("/decision") for seen in self.seen)

        with self._news:
            before = decisions()
            return not self._news.wait_for(lambda: decisions() > before, seconds)

    def ask(self, machine_id: str, credential: str, **other: Any) -> DecisionMessage:
        """Scan a code and wait for the decision."""
        request_id = self.request(machine_id, credential, **other)
        return msgspec.json.decode(self.answer(machine_id, request_id).payload, type=DecisionMessage)

    def codes(self, machine_id: str, credential: str, **other: Any) -> list[str]:
        """Scan a code; the codes of the refusal, none for an allow."""
        return [reason.code for reason in self.ask(machine_id, credential, **other).reasons]

    def commands(self, machine_id: str) -> list[Seen]:
        """Every command to the machine so far: ``command_id`` and the signed ``command``."""
        return self.on(f"{ROOT}/{machine_id}/command")

    def command(self, machine_id: str, *, number: int = 1, within_s: float = WITHIN_S) -> Seen:
        """Waits for the first (or a later) command to a machine."""
        self._wait(lambda: len(self.commands(machine_id)) >= number, within_s, f"command {number} to {machine_id}")
        return self.commands(machine_id)[number - 1]

    def on(self, topic: str) -> list[Seen]:
        with self._news:
            return [seen for seen in self.seen if seen.topic == topic]

    def wait_on(self, topic: str, good: Callable[[Any], bool], within_s: float = WITHIN_S) -> Seen:
        """Waits for a message on a topic whose content is ``good``."""

        def found() -> list[Seen]:
            return [seen for seen in self.on(topic) if good(seen.content)]

        self._wait(lambda: bool(found()), within_s, f"a message on {topic}")
        return found()[0]

    # --- paho's thread ---

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(f"{ROOT}/{filter_}", 1) for filter_ in ("+/decision", "+/command", "feed/#", "gateway/#")])

    def _on_disconnect(self, *_: Any) -> None:
        self._subscribed = False

    def _on_subscribe(self, *_: Any) -> None:
        with self._news:
            self._subscribed = True
            self._news.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        seen = Seen(message.topic, bytes(message.payload), message.retain, time.monotonic())
        with self._news:
            self.seen.append(seen)
            self._news.notify_all()
        self.on_seen(seen)

    def _wait(self, good: Callable[[], bool], within_s: float, what: str) -> None:
        with self._news:
            assert self._news.wait_for(good, within_s), f"not within {within_s} s: {what}"


def a_request(credential: str, request_id: str, **other: Any) -> dict[str, Any]:
    """What a chip sends when a code was scanned."""
    message = {
        "request_id": request_id,
        "credential": credential,
        "challenge": f"challenge-of-{request_id}",
        "method": "scan",
        "at": now_ms(),
    }
    return message | other


def _at_once(_client: paho.Client, _data: Any, sock: Any) -> None:
    """No waiting for more to send (Nagle): it would make every answer look 40 ms slower."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
