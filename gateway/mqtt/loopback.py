"""amqtt's broker for clients on this machine; where amqtt loses or misdelivers messages, each override says how.

The overrides use amqtt's private methods: the version is pinned, and a contract test holds each of them.
"""

import logging
from collections.abc import Mapping
from typing import Self

from amqtt import broker as amqtt  # type: ignore[import-untyped]
from amqtt.errors import MQTTError  # type: ignore[import-untyped]
from amqtt.mqtt import connect  # type: ignore[import-untyped]

from gateway.mqtt.passwords import matches
from gateway.wire import acl

MAX_UNACKNOWLEDGED = 50_000
"""Messages per session; a packet id has 16 bits. What comes on top is dropped with a warning."""
PUBACK = b"\x40\x02"
PROTOCOL_LEVEL = 4
"""MQTT 3.1.1 in a CONNECT."""
CONNACK_PROTOCOL_VERSION = b"\x20\x02\x00\x01"
CONNACK_NOT_AUTHORIZED = b"\x20\x02\x00\x05"
REFUSED = 0x80
"""SUBACK's return code for a filter that will not be served (MQTT 3.1.1, section 3.9.3)."""
_log = logging.getLogger(__name__)


class UnknownVersionError(MQTTError):  # type: ignore[misc]
    """A CONNECT of another version than MQTT 3.1.1."""


class Payload(connect.ConnectPayload):  # type: ignore[misc]
    """Of a CONNECT. One of MQTT 5 has properties before it, which amqtt takes for lengths, and waits for ever."""

    @classmethod
    async def from_stream(cls, reader: object, fixed: object, variable: connect.ConnectVariableHeader) -> Self:
        if variable.proto_level != PROTOCOL_LEVEL:
            raise UnknownVersionError(f"MQTT of level {variable.proto_level}")
        payload: Self = await super().from_stream(reader, fixed, variable)
        return payload


class Handler(amqtt.BrokerProtocolHandler):  # type: ignore[misc]
    """Keeps each QoS 1 message in its session until the PUBACK, also across connections (amqtt forgets it in 5 s)."""

    broker: "LoopbackBroker"
    """The one broker of this process; amqtt makes the handlers and tells them nothing of it."""
    _caught_up = False
    """What waits from the connection before is sent first: until then nothing new may overtake it."""

    @classmethod
    async def init_from_connect(
        cls, reader: amqtt.ReaderAdapter, writer: amqtt.WriterAdapter, *others: object
    ) -> tuple[Self, amqtt.Session]:
        """Turns away who is not who they say before anybody's session is touched; drops a will on a foreign topic."""
        try:
            handler, session = await super().init_from_connect(reader, writer, *others)
        except UnknownVersionError:
            await _refuse(writer, CONNACK_PROTOCOL_VERSION)
            raise
        if not cls.broker.admit(session):
            await _refuse(writer, CONNACK_NOT_AUTHORIZED)
            raise MQTTError("wrong user name or password")
        if session.will_flag and not cls.broker.may_publish(session, session.will_topic):
            session.will_flag = False
        return handler, session

    @property
    def connected(self) -> bool:
        """False as soon as the transport is closing: writing to it raises, in the midst of the publisher's message."""
        return self._caught_up and not self.writer.is_closed and not self.writer._writer.is_closing()

    async def handle_publish(self, packet: amqtt.Any) -> None:
        """Route, then acknowledge. amqtt acknowledges first, and what it still queues goes with the connection."""
        if packet.qos == amqtt.QOS_2:
            await super().handle_publish(packet)
            return
        topic, data = packet.topic_name, packet.data or b""
        if not topic.startswith("$") and self.broker.may_publish(self.session, topic):
            await self.broker.route(self.session, topic, data, retain=packet.retain_flag)
        if packet.qos:
            self.writer.write(PUBACK + packet.packet_id.to_bytes(2, "big"))

    async def mqtt_publish(
        self, topic: str, data: bytes, qos: int, retain: bool, _ack_timeout: int | None = None
    ) -> amqtt.OutgoingApplicationMessage:
        """Write and go on, without a task that waits for the PUBACK; without a connection, keep for the next one."""
        packet_id = self.session.next_packet_id if qos else None
        message = amqtt.OutgoingApplicationMessage(packet_id, topic, qos, data, retain)
        if packet_id is not None:
            self.session.inflight_out[packet_id] = message
        if self.connected:
            self._write(message)
        return message

    async def handle_puback(self, puback: amqtt.Any) -> None:
        self.session.inflight_out.pop(puback.variable_header.packet_id, None)

    async def _retry_deliveries(self) -> None:
        for message in self.session.inflight_out.values():
            self._write(message)
        self._caught_up = True

    def _write(self, message: amqtt.OutgoingApplicationMessage) -> None:
        message.publish_packet = message.build_publish_packet(dup=message.publish_packet is not None)
        self.writer.write(message.publish_packet.to_bytes())

    def handle_read_timeout(self) -> None:
        """A silent client has gone: its last will is due (MQTT-3.1.2-24). amqtt would wait for ever."""
        if self._disconnect_waiter is not None and not self._disconnect_waiter.done():
            self._disconnect_waiter.set_result(None)


async def _refuse(writer: amqtt.WriterAdapter, connack: bytes) -> None:
    writer.write(connack)
    await writer.drain()
    await writer.close()


class LoopbackBroker(amqtt.Broker):  # type: ignore[misc]
    """Finds plain filters by lookup, and sends retained messages to those alone who subscribed.

    A client is what its id says. With ``passwords`` (hashes by name) it is what its user name says, and has to prove
    it; without them an id that is no identity of the protocol may do everything: test tools on this machine.
    """

    def __init__(self, port: int, passwords: Mapping[str, str] | None = None) -> None:
        for noisy in ("amqtt", "transitions", "asyncio"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        Handler.broker = self
        amqtt.BrokerProtocolHandler = Handler  # the name under which Broker makes its handlers
        connect.ConnectPacket.PAYLOAD = Payload
        listener = amqtt.ListenerConfig(bind=f"127.0.0.1:{port}")
        super().__init__(amqtt.BrokerConfig(listeners={"default": listener}, plugins={}))
        self._wildcards: set[str] = set()
        self._passwords = passwords

    @property
    def port(self) -> int:
        """The port that it listens on, also where it chose one itself."""
        return int(self._servers["default"].instance.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Raises OSError when the port cannot be had."""
        try:
            await super().start()
        except amqtt.BrokerError as error:
            raise error.__cause__ or error from None

    async def _authenticate(self, *_: object) -> bool:
        """Everybody whom ``admit`` has let in. (With amqtt's anonymous plug-in no session persists.)"""
        return True

    def admit(self, session: amqtt.Session) -> bool:
        """Whether the client is who it says; with passwords its user name becomes its client id."""
        if self._passwords is None:
            return True
        name = session.username or ""
        if not matches(session.password or "", self._passwords.get(name, "")):
            return False
        session.client_id = name
        return True

    def may_publish(self, session: amqtt.Session, topic: str) -> bool:
        """MQTT 3.1.1 has no refusal of a message: the caller drops it."""
        allowed = self._is_open_to(session) or acl.may_publish(session.client_id, topic)
        if not allowed:
            _log.warning("%s may not publish to %s: dropped", session.client_id, topic)
        return allowed

    async def _topic_filtering(self, session: amqtt.Session, topic: str, action: amqtt.Action) -> bool:
        """What amqtt asks before a subscription and before a message of QoS 2."""
        if action == amqtt.Action.SUBSCRIBE:
            return self._is_open_to(session) or acl.may_subscribe(session.client_id, topic)
        return self.may_publish(session, topic)

    def _is_open_to(self, session: amqtt.Session) -> bool:
        return self._passwords is None and acl.role_of(session.client_id) is None

    async def _initialize_client_session(self, *connection: object) -> tuple[Handler, amqtt.Session]:
        """A client may be silent for one and a half times its keep-alive (MQTT-3.1.2-24)."""
        handler, session = await super()._initialize_client_session(*connection)
        session.keep_alive = (session.keep_alive * 3 + 1) // 2
        return handler, session

    async def add_subscription(self, subscription: tuple[str, int], session: amqtt.Session) -> int:
        """Refuses ``$share``, where amqtt would agree and deliver nothing."""
        topic_filter, qos = subscription
        if topic_filter.startswith("$share/"):
            return REFUSED
        code = int(await super().add_subscription((topic_filter, min(qos, amqtt.QOS_1)), session))
        if code != REFUSED and ("+" in topic_filter or "#" in topic_filter):
            self._wildcards.add(topic_filter)
        return code

    async def route(self, source: amqtt.Session, topic: str, data: bytes, *, retain: bool) -> None:
        """One published message: to its subscribers, and to those who will come."""
        await self._broadcast_message(source, topic, data)
        if retain:
            await self.retain_message(source, topic, data, amqtt.QOS_1)

    async def _broadcast_message(self, _source: object, topic: str, data: bytes | None, _qos: int = 0) -> None:
        """Straight to the subscribers, in the publisher's order."""
        wildcards = [candidate for candidate in self._wildcards if self._matches(topic, candidate)]
        for topic_filter in (topic, *wildcards):
            for target, qos in self._subscriptions.get(topic_filter, ()):
                await self._deliver(target, topic, data or b"", qos)

    async def _deliver(self, target: amqtt.Session, topic: str, data: bytes, qos: int) -> None:
        """To one subscriber; one that is away gets it later if its session and the QoS say so."""
        handler = self._get_handler(target)
        if handler is None or not (handler.connected or (qos and not target.clean_session)):
            return
        if len(target.inflight_out) >= MAX_UNACKNOWLEDGED:
            _log.warning("%s has %d unacknowledged messages: one dropped", target.client_id, MAX_UNACKNOWLEDGED)
            return
        await handler.mqtt_publish(topic, data, qos, retain=False)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: amqtt.Session
    ) -> None:
        """On connecting, amqtt calls this for everybody's filters: 200 chips would get 40,000 foreign messages."""
        subscribed = self._subscriptions.get(subscription[0], ())
        if any(target is session for target, _ in subscribed):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _delete_session(self, client_id: str) -> None:
        """A new connection ends the one with the same id before it (MQTT-3.1.4-2); amqtt leaves it half alive."""
        handler = self._sessions.get(client_id, (None, None))[1]
        await super()._delete_session(client_id)
        if handler is not None and handler.connected:
            await handler.handle_connection_closed()
            await handler.stop()
