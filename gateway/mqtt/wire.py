"""paho-mqtt's client with its byte traffic in bulk: one ``recv`` for many packets, one ``send`` for many answers.

paho keeps the connection (CONNECT, SUBSCRIBE, keep-alive, TLS, errors). Taken over from it, at a fraction of the
time, are reading and writing the socket, arriving PUBLISH packets, and publishing at QoS 1 with its resend after a
reconnect. This rests on private parts of paho-mqtt 2.2.0, which is pinned; ``tests/mqtt/test_wire.py`` holds
the contract. MQTT 3.1.1 and 5.0 (OASIS, sections 2.2, 3.3, 3.4, 4.4 of both, 4.9 of the latter).
"""

import ssl
import struct
from collections.abc import Callable, Iterable

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.clock import monotonic_ns
from gateway.mqtt.outbox import Kept, Outbox
from gateway.mqtt.properties import NONE, Terms, asked, publish_properties, span, variable_length
from gateway.wire.inbound import Outbound

READ_BYTES = 65_536
LONGEST_BODY_BYTES = 131_072
"""More of a packet is never held in memory: MQTT allows 256 MB. A longer PUBLISH is delivered cut short, so that it
is refused and acknowledged instead of coming again; topics take at most 64 KiB of it."""
SESSION_EXPIRY_S = 7 * 86_400
"""How long an MQTT 5 broker keeps what chips say for a gateway that is away: longer than any repair takes. By 3.1.1 it
is for the broker to say."""
RECEIVE_MAXIMUM = 4_096
"""Messages that an MQTT 5 broker may send without our acknowledgement: as many as the gate's inbox takes."""
_DUP = 0x08
_PUBLISH_QOS1 = 0x32
_RETAIN = 0x01
_PUBACK = b"\x40\x02"
_FAILURE = 0x80
"""The least reason code that refuses (MQTT 5.0, section 2.4)."""

Asked = tuple[str | None, bytes | None]
"""Response topic and correlation data."""
NOTHING_ASKED: Asked = (None, None)


class Calls(Struct, frozen=True):
    """What a wire calls.

    ``arrived`` gets topic, payload, retained, packet id (0 for QoS 0) and what the answer is to be like; ``outgoing``
    is told that bytes wait; ``refused`` gets a message that the broker will not take, and why.
    """

    arrived: Callable[[str, bytes, bool, int, Asked], None]
    outgoing: Callable[[], None]
    refused: Callable[[Outbound, str], None]


class Wire(paho.Client):
    """One client identity on one broker. Bytes wait in ``outgoing`` until ``flush``; nothing here blocks or threads."""

    def __init__(self, client_id: str, calls: Calls) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False,
            protocol=paho.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self._deliver = calls.arrived
        self._on_outgoing = calls.outgoing
        self._on_refused = calls.refused
        self._five = False
        self._terms = Terms()
        self._own_keepalive_s = 0
        self._outbox = Outbox(self._mid_generate)
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._passed_over = 0

    def dial(self, host: str, port: int, keepalive_s: int, *, five: bool) -> None:
        """Connect and ask for the session by MQTT 5 or 3.1.1; blocks until the transport stands. Raises OSError."""
        self._incoming.clear()
        self._outgoing.clear()
        self._passed_over = 0
        self._five, self._own_keepalive_s = five, keepalive_s
        self._protocol = paho.MQTTv5 if five else paho.MQTTv311
        if five:
            self.connect(host, port, keepalive_s, clean_start=False, properties=_connect_properties())
        else:
            self.connect(host, port, keepalive_s)

    @property
    def version(self) -> str:
        """Of MQTT, as it was last asked for."""
        return "5" if self._five else "3.1.1"

    # --- publishing at QoS 1 ---

    @property
    def unacknowledged(self) -> int:
        """How many published messages the broker has not acknowledged yet."""
        return len(self._outbox)

    @property
    def has_room(self) -> bool:
        """Whether the broker takes one more message now."""
        return self._outbox.has_room

    @property
    def is_waiting(self) -> bool:
        """Whether something has to wait until the broker has acknowledged something else."""
        return self._outbox.is_waiting

    def publish_all(self, messages: Iterable[Outbound]) -> None:
        """At QoS 1, as soon as the broker takes them; kept until acknowledged, sent again after a reconnect."""
        self._outbox.add(messages, monotonic_ns())
        if self._sock is not None and self.is_connected():
            self._send_waiting()

    def _send_waiting(self) -> None:
        """As much as the broker takes now."""
        terms = self._terms
        for kept, again in self._outbox.take():
            packet = self._packet(kept, again=again)
            if len(packet) > terms.maximum_packet_bytes:
                self._refused(kept.mid, f"{len(packet)} bytes, the broker takes {terms.maximum_packet_bytes}")
                continue
            self._outgoing += packet
        self._on_outgoing()

    def _packet(self, kept: Kept, *, again: bool) -> bytearray:
        message, properties = kept.message, b""
        if self._five:
            properties = NONE
            if message.expires_s is not None or message.correlation is not None:
                properties = publish_properties(kept.expires_s(monotonic_ns()), message.correlation)
        retain = _RETAIN if message.retained and self._terms.retain_available else 0
        first = _PUBLISH_QOS1 | retain | (_DUP if again else 0)
        return _publish_packet(first, message.topic.encode(), kept.mid, properties, message.payload)

    def _settled(self, body: bytearray) -> None:
        """A PUBACK, which may refuse with a reason: the message is done with either way."""
        mid = int.from_bytes(body[:2], "big")
        if len(body) > 2 and body[2] >= _FAILURE:
            self._refused(mid, _reason_name(body[2]))
        else:
            self._outbox.settled(mid)

    def _refused(self, mid: int, why: str) -> None:
        message = self._outbox.settled(mid)
        if message is not None:
            self._on_refused(message, why)

    def acknowledge(self, mid: int) -> None:
        """Send the PUBACK for an arrived message."""
        self._outgoing += _PUBACK + mid.to_bytes(2, "big")
        self._on_outgoing()

    def start_sending(self, terms: Terms) -> None:
        """The broker has accepted the connection, on its terms: everything that it has not acknowledged, once more."""
        self._terms = terms
        # asking more often than the broker wants is allowed, and tells sooner that it has gone
        self._keepalive = min(terms.keep_alive_s or self._own_keepalive_s, self._own_keepalive_s)
        self._outbox.start_again(terms.receive_maximum)
        self._send_waiting()

    # --- the socket ---

    def excuse_silence(self) -> None:
        """Nothing is read for now, so that nothing heard from the broker means nothing."""
        self._last_bytes_received = paho.time_func()
        self._ping_t = 0.0

    def drop(self) -> None:
        """Close the socket at once, without a word to the broker."""
        self._sock_close()

    def want_write(self) -> bool:
        return bool(self._outgoing)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002  (paho's signature)
        """Read what is there and handle every whole packet in it."""
        while self._sock is not None:
            try:
                data = self._sock_recv(READ_BYTES)
            except BlockingIOError:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            if not data:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            self._last_bytes_received = paho.time_func()
            self._incoming += data
            problem = self._handle_packets()
            if problem != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return self._loop_rc_handle(problem)
            if self._outbox.is_due:
                self._send_waiting()
            if len(data) < READ_BYTES and not self._decrypted_waiting():
                break
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _decrypted_waiting(self) -> bool:
        """TLS: bytes that were read off the socket already and that it will not announce again."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _handle_packets(self) -> MQTTErrorCode:
        buffer, start, end = self._incoming, 0, len(self._incoming)
        if self._passed_over:
            start = min(self._passed_over, end)
            self._passed_over -= start
        while (frame := _frame(buffer, start, end)) is not None:
            body, stop = frame
            if body < 0:
                return MQTTErrorCode.MQTT_ERR_PROTOCOL
            here = min(stop, body + LONGEST_BODY_BYTES)
            if here > end:
                break
            problem = self._handle(buffer[start], buffer[body:here])
            if problem != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return problem
            start = min(stop, end)
            self._passed_over = stop - start
        del buffer[:start]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle(self, first_byte: int, body: bytearray) -> MQTTErrorCode:
        kind = first_byte & 0xF0
        if kind == paho.PUBLISH:
            return self._arrived(first_byte, body)
        if kind == paho.PUBACK:
            self._settled(body)
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._in_packet["command"] = first_byte
        self._in_packet["remaining_length"] = len(body)
        self._in_packet["packet"] = body
        self._in_packet["pos"] = 0
        try:
            problem = self._packet_handle()
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if problem == MQTTErrorCode.MQTT_ERR_SUCCESS and self._sock is None:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST  # DISCONNECT: what stands behind it counts no more
        return problem

    def _arrived(self, first_byte: int, body: bytearray) -> MQTTErrorCode:
        qos = (first_byte >> 1) & 3
        topic_end = 2 + int.from_bytes(body[:2], "big")
        payload_at = topic_end + (2 if qos else 0)
        if qos > 1 or payload_at > len(body):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        topic = body[2:topic_end].decode("utf-8", "replace")
        mid = int.from_bytes(body[topic_end:payload_at], "big")
        wish = NOTHING_ASKED
        if self._five:
            if body[payload_at : payload_at + 1] == NONE:
                payload_at += 1
            elif (found := _properties_of(body, payload_at)) is None:
                return MQTTErrorCode.MQTT_ERR_PROTOCOL
            else:
                wish, payload_at = asked(body[found[0] : found[1]]), found[1]
        self._deliver(topic, bytes(body[payload_at:]), bool(first_byte & _RETAIN), mid, wish)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _packet_queue(
        self, _command: int, packet: bytes | bytearray, _mid: int, _qos: int, _info: object = None
    ) -> MQTTErrorCode:
        self._outgoing += packet
        self._on_outgoing()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def flush(self) -> bool:
        """Send what waits; False while the socket takes no more."""
        while self._outgoing and self._sock is not None:
            try:
                sent = self._sock_send(self._outgoing)
            except BlockingIOError:
                return False
            except OSError:
                self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
                return True
            del self._outgoing[:sent]
            self._last_msg_out = paho.time_func()
        return True


def _frame(buffer: bytearray, start: int, end: int) -> tuple[int, int] | None:
    """Where the body of the packet at ``start`` begins and ends; None while that is unknown; (-1, 0) if malformed."""
    length, shift = 0, 0
    for at in range(start + 1, min(start + 5, end)):
        byte = buffer[at]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at + 1, at + 1 + length
        shift += 7
    return (-1, 0) if end - start > 4 else None


def _properties_of(body: bytearray, at: int) -> tuple[int, int] | None:
    """Where a PUBLISH's properties begin and end; beyond ``body`` only where that was cut short."""
    found = span(body, at)
    if found is None or (found[1] > len(body) and len(body) < LONGEST_BODY_BYTES):
        return None
    return found


def _publish_packet(first: int, topic: bytes, mid: int, properties: bytes, payload: bytes) -> bytearray:
    packet = bytearray((first,))
    packet += variable_length(4 + len(topic) + len(properties) + len(payload))
    packet += struct.pack("!H", len(topic))
    packet += topic
    packet += struct.pack("!H", mid)
    packet += properties
    packet += payload
    return packet


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    return properties


def _reason_name(code: int) -> str:
    """Of a PUBACK; brokers may send a code that the standard does not know."""
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except (KeyError, ValueError):
        return f"reason code 0x{code:02x}"
