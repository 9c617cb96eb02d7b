"""The gateway's connection to the broker on the event loop: delivers bytes, acknowledges, publishes, reconnects."""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct
from paho.mqtt.reasoncodes import ReasonCode

from gateway.clock import monotonic_ns
from gateway.mqtt.properties import terms_of
from gateway.mqtt.url import BrokerUrl, Tls, Version
from gateway.mqtt.wire import Asked, Calls, Wire
from gateway.wire.inbound import Inbound, Outbound

KEEPALIVE_S = 20
HOUSEKEEPING_S = 1.0
FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 15.0
"""Reconnects wait a random time up to a limit that doubles from the first to the longest."""
STABLE_AFTER_S = 5.0
"""Two gateways of one name take the connection from each other: neither gets back to quick retries by that."""
CONNACK_WITHIN_S = 10.0
WINDOW = 1000
"""Published messages that may await the broker's acknowledgement before the gate takes new work."""
REASON_CHARACTERS = 200
"""How much of a broker's own words about a refusal is repeated."""
UNANSWERED_WISHES = 2
"""Times that a connection may end over a wished subscription. A broker may hang up instead of refusing it."""
UNSUPPORTED_VERSION = 0x84
"""Reason code of a CONNACK of MQTT 5; paho makes the same of the return code 1 of 3.1.1."""


class Hooks(Struct, frozen=True):
    """Whom a link calls.

    ``deliver`` takes each arrived message in order. ``on_state`` hears of the connection, made or lost, and why.
    ``on_resumed`` is called where the broker has kept the session: it sends again whatever was not acknowledged.
    ``on_trouble`` hears of messages that the broker will not take; the connection goes on.
    """

    deliver: Callable[[Inbound], None]
    on_state: Callable[[bool, str], None]
    on_resumed: Callable[[], None]
    on_trouble: Callable[[str], None]


class _Unanswered(ConnectionError):
    """The broker ended the connection or kept silent at CONNECT, or refused the version of MQTT."""


class Link:
    """One broker connection with a persistent session.

    ``filters`` are subscribed at QoS 1 and have to be granted; ``wished`` ones, at QoS 0, may be refused. An
    acknowledgement counts only on the connection that its message came by: packet ids start anew with each.
    """

    def __init__(
        self,
        broker: BrokerUrl,
        client_id: str,
        filters: Sequence[str],
        will: Outbound,
        hooks: Hooks,
        tls: Tls,
        version: Version = "auto",
        *,
        wished: Sequence[str] = (),
    ) -> None:
        self._broker = broker
        self._filters = filters
        self._wished, self._unanswered = wished, 0
        self._wish: int | None = None
        self._hooks = hooks
        self._version: Version = version
        self._connection = 0
        self._arrivals: deque[int] = deque()
        self._done: set[int] = set()
        self._accepted = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._lost = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket: Any = None
        self._held_back = False
        self._closing = False
        self._flush_due = False
        self._window_open = asyncio.Event()
        self._window_open.set()
        self._all_acknowledged = asyncio.Event()
        self._refusal, self._answered = "", False
        self._refused = 0
        self._last_refused = ""
        self._wire = self._make_wire(client_id, will, tls)

    def _make_wire(self, client_id: str, will: Outbound, tls: Tls) -> Wire:
        wire = Wire(client_id, Calls(self._arrived, self._schedule_flush, self._on_refused))
        wire.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            wire.tls_set_context(tls.context())
        wire.will_set(will.topic, will.payload, qos=1, retain=will.retained)
        wire.on_connect = self._on_connect
        wire.on_subscribe = self._on_subscribe
        wire.on_disconnect = self._on_disconnect
        wire.on_socket_open = _no_delay
        wire.on_socket_close = self._on_socket_close
        return wire

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and every subscription."""
        return self._subscribed.is_set()

    @property
    def has_room(self) -> bool:
        """Whether what is published now goes out at once."""
        return self.connected and self._window_open.is_set() and self._wire.has_room

    async def run(self) -> None:
        """Stay connected until cancelled."""
        limit = FIRST_RETRY_S
        while True:
            began = monotonic_ns()
            try:
                await self._connect()
                await self._stay()
            except (OSError, TimeoutError) as error:
                self._hooks.on_state(False, str(error) or type(error).__name__)
            finally:
                self._drop()
            if monotonic_ns() - began > STABLE_AFTER_S * 1e9:
                limit = FIRST_RETRY_S
            await asyncio.sleep(random.uniform(0, limit))  # noqa: S311  (jitter, not secrecy)
            limit = min(limit * 2, LONGEST_RETRY_S)

    async def _connect(self) -> None:
        """By MQTT 5 if that may be; where the broker will have none of it and takes 3.1.1, that from now on."""
        if self._version != "auto":
            await self._attempt(five=self._version == "5")
            return
        try:
            await self._attempt(five=True)
        except _Unanswered:
            self._drop()
            await self._attempt(five=False)
            self._version = "3.1.1"

    async def _attempt(self, *, five: bool) -> None:
        self._lost.clear()
        self._refusal, self._answered = "", False
        self._arrivals.clear()
        self._done.clear()
        self._connection += 1
        await asyncio.to_thread(self._wire.dial, self._broker.host, self._broker.port, KEEPALIVE_S, five=five)
        self._attach()
        self._flush()
        try:
            async with asyncio.timeout(CONNACK_WITHIN_S):
                await _first_of(self._subscribed.wait(), self._lost.wait())
        except TimeoutError:
            self._refusal = f"the broker does not answer within {CONNACK_WITHIN_S:.0f} s"
        if not self._subscribed.is_set():
            error = ConnectionError if self._answered else _Unanswered
            raise error(self._refusal or "the broker closed the connection")

    async def _stay(self) -> None:
        # a broker waits one and a half times its keep-alive: with a short one, looking once a second is too late
        interval_s = min(HOUSEKEEPING_S, self._wire.keepalive / 4)
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(interval_s):
                    await self._lost.wait()
            except TimeoutError:
                if self._held_back:
                    self._wire.excuse_silence()
                self._wire.loop_misc()
                self._tell_refused()
        raise ConnectionError(self._refusal or "connection to the broker lost")

    def _drop(self) -> None:
        """Take the old socket off the loop and close it."""
        self._accepted.clear()
        self._subscribed.clear()
        self._wire.drop()
        self._tell_refused()

    # --- out ---

    def acknowledge(self, receipts: Iterable[tuple[int, int]]) -> None:
        """Acknowledge what came by this connection, in the order of arrival (MQTT 3.1.1, 4.6): where an earlier message
        waits for something, those behind it wait for their acknowledgement as well."""
        self._done.update(mid for connection, mid in receipts if connection == self._connection and mid)
        while self._arrivals and self._arrivals[0] in self._done and self._accepted.is_set():
            mid = self._arrivals.popleft()
            self._done.discard(mid)
            self._wire.acknowledge(mid)

    def publish(self, messages: Iterable[Outbound]) -> None:
        """Publish at QoS 1, now or after the next reconnect."""
        self._wire.publish_all(messages)
        if self._wire.unacknowledged >= WINDOW:
            self._window_open.clear()
        if self._held_back:
            self._read_or_not()

    async def room(self) -> None:
        """Wait until the broker has acknowledged enough for more to be published."""
        await self._window_open.wait()

    @property
    def unacknowledged(self) -> int:
        return self._wire.unacknowledged

    async def close(self, within_s: float) -> None:
        """Publish what waits and disconnect, at the latest after ``within_s``. What still arrives the broker keeps."""
        self._closing = True
        self._read_or_not()
        self._all_acknowledged.clear()
        if self.connected and self._wire.unacknowledged:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_acknowledged.wait(), within_s)
        if self.connected:
            self._wire.disconnect()
            self._flush()

    # --- in ---

    def hold_back(self, held: bool) -> None:
        """Stop (or go on) reading, so that the broker keeps what the gate cannot take yet."""
        self._held_back = held
        self._read_or_not()

    def _arrived(self, topic: str, payload: bytes, retained: bool, mid: int, wish: Asked) -> None:
        if self._closing:
            return
        if mid:
            self._arrivals.append(mid)
        self._hooks.deliver(Inbound(topic, payload, retained, monotonic_ns(), (self._connection, mid), *wish))

    # --- callbacks and the loop's readers and writers ---

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._answered = reason.value != UNSUPPORTED_VERSION
        terms = terms_of(properties)
        if reason.is_failure:
            self._give_up(f"the broker refused the connection: {_words(reason, properties)}")
            return
        if terms.maximum_qos == 0:
            self._give_up("the broker takes QoS 0 alone, so that messages may get lost; use a broker with QoS 1")
            return
        if flags.session_present:
            self._hooks.on_resumed()
        self._wire.subscribe([(name, 1) for name in self._filters])
        self._accepted.set()
        self._wire.start_sending(terms)

    def _give_up(self, why: str) -> None:
        """On this connection; the first reason is the one to tell."""
        self._refusal = self._refusal or why
        self._lost.set()

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        """Without its subscriptions the gate would be connected and deaf: rather try again, and say so."""
        if mid == self._wish and self.connected:
            self._unanswered = 0
            return
        refused = [name for name, code in zip(self._filters, codes, strict=False) if code.value != 1]
        if refused or len(codes) != len(self._filters):
            self._give_up(f"the broker refused the subscription to {', '.join(refused) or 'some topics'}")
            return
        self._subscribed.set()
        self._read_or_not()
        self._hooks.on_state(True, f"{self._broker}, MQTT {self._wire.version}")
        self._make_wishes()

    def _make_wishes(self) -> None:
        if self._wished and self._unanswered < UNANSWERED_WISHES:
            self._unanswered += 1
            _, self._wish = self._wire.subscribe([(name, 0) for name in self._wished])

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._give_up(f"the broker ended the connection: {_words(reason, properties)}")
        self._lost.set()

    def _on_refused(self, message: Outbound, why: str) -> None:
        self._refused += 1
        self._last_refused = f"{message.topic}: {why}"

    def _tell_refused(self) -> None:
        """Once a second at most: a broker that refuses one message may refuse them all."""
        if self._refused:
            self._hooks.on_trouble(f"messages refused by the broker: {self._refused}, the last to {self._last_refused}")
        self._refused = 0

    def _on_socket_close(self, _client: Any, _data: Any, sock: Any) -> None:
        """paho is about to close the socket: take it off the loop first."""
        if self._socket is not None:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
        self._socket = None
        self._lost.set()

    def _attach(self) -> None:
        """Put the freshly connected socket on the loop."""
        self._socket = self._wire.socket()
        self._read_or_not()

    def _read_or_not(self) -> None:
        """Read unless held back; but read acknowledgements while something has to wait for them, and while closing."""
        if self._socket is None:
            return
        needs_acknowledgements = self._closing or not self._window_open.is_set() or self._wire.is_waiting
        if self._held_back and self.connected and not needs_acknowledgements:
            self._loop.remove_reader(self._socket)
        else:
            self._loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        self._wire.loop_read()
        if not self._wire.unacknowledged:
            self._all_acknowledged.set()
        if not self._window_open.is_set() and self._wire.unacknowledged < WINDOW:
            self._window_open.set()
        if self._held_back:
            self._read_or_not()

    def _schedule_flush(self) -> None:
        if self._socket is not None and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits; the loop calls again when a full socket takes more."""
        self._flush_due = False
        sent_all = self._wire.flush()
        if self._socket is None:
            return
        if sent_all:
            self._loop.remove_writer(self._socket)
        else:
            self._loop.add_writer(self._socket, self._flush)


def _words(reason: ReasonCode, properties: Any) -> str:
    """A reason code's name, and what the broker adds to it."""
    said = str(getattr(properties, "ReasonString", ""))[:REASON_CHARACTERS]
    return f"{reason} ({said})" if said else str(reason)


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Until one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _no_delay(_client: Any, _data: Any, sock: Any) -> None:
    """Without this every answer waits for the peer's delayed TCP acknowledgement, 40 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
