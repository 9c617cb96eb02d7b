"""paho-mqtt's client with its byte traffic in bulk: one ``recv`` for many packets, one ``send`` for many answers.

paho keeps the connection (CONNECT, SUBSCRIBE, keep-alive, TLS, errors). Taken over from it, at a fraction of the
time, are reading and writing the socket, arriving PUBLISH packets, and publishing at QoS 1 with its resend after a
reconnect. This rests on private parts of paho-mqtt 2.2.0, which is pinned; ``tests/mqtt/test_wire.py`` holds
the contract. MQTT 3.1.1 (OASIS, sections 2.2, 3.3, 3.4, 4.4).
"""

import ssl
import struct
from collections.abc import Callable

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket

READ_BYTES = 65_536
LONGEST_BODY_BYTES = 131_072
"""More of a packet is never held in memory: MQTT allows 256 MB. A longer PUBLISH is delivered cut short, so that it
is refused and acknowledged instead of coming again; topics take at most 64 KiB of it."""
MOST_PACKET_IDS = 65_535
"""Packet ids have 16 bits, and 0 is none (section 2.3.1)."""
_DUP = 0x08
_PUBLISH_QOS1 = 0x32
_RETAIN = 0x01
_PUBACK = b"\x40\x02"

OnPublish = Callable[[str, bytes, bool, int], None]
"""Called with topic, payload, retained and packet id (0 for QoS 0)."""


class Wire(paho.Client):
    """One client identity on one broker. Bytes wait in ``outgoing`` until ``flush``; nothing here blocks or threads."""

    def __init__(self, client_id: str, on_publish_in: OnPublish, on_outgoing: Callable[[], None]) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False,
            protocol=paho.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self._deliver = on_publish_in
        self._on_outgoing = on_outgoing
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._passed_over = 0
        self._unacknowledged: dict[int, bytearray] = {}

    # --- publishing at QoS 1 ---

    @property
    def unacknowledged(self) -> int:
        """How many published messages the broker has not acknowledged yet."""
        return len(self._unacknowledged)

    def publish_once(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Publish at QoS 1; kept until acknowledged, and sent again after a reconnect."""
        if len(self._unacknowledged) >= MOST_PACKET_IDS:
            raise OverflowError("every packet id awaits its acknowledgement; whoever publishes has to wait for room")
        mid = self._mid_generate()
        while mid in self._unacknowledged:
            mid = self._mid_generate()
        packet = _publish_packet(topic.encode(), payload, mid, retained=retained)
        self._unacknowledged[mid] = packet
        if self.is_connected():
            self._outgoing += packet
            self._on_outgoing()

    def acknowledge(self, mid: int) -> None:
        """Send the PUBACK for an arrived message."""
        self._outgoing += _PUBACK + mid.to_bytes(2, "big")
        self._on_outgoing()

    def resend_unacknowledged(self) -> None:
        """After a reconnect: everything once more, marked as a duplicate, in its first order (section 4.4)."""
        for packet in self._unacknowledged.values():
            packet[0] |= _DUP
            self._outgoing += packet
        self._on_outgoing()

    # --- the socket ---

    def forget_connection(self) -> None:
        """Before a new connection: bytes of the old one mean nothing there."""
        self._incoming.clear()
        self._outgoing.clear()
        self._passed_over = 0

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
            self._unacknowledged.pop(int.from_bytes(body[:2], "big"), None)
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._in_packet["command"] = first_byte
        self._in_packet["remaining_length"] = len(body)
        self._in_packet["packet"] = body
        self._in_packet["pos"] = 0
        try:
            return self._packet_handle()
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _arrived(self, first_byte: int, body: bytearray) -> MQTTErrorCode:
        qos = (first_byte >> 1) & 3
        topic_end = 2 + int.from_bytes(body[:2], "big")
        payload_at = topic_end + (2 if qos else 0)
        if qos > 1 or payload_at > len(body):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        topic = body[2:topic_end].decode("utf-8", "replace")
        mid = int.from_bytes(body[topic_end:payload_at], "big")
        self._deliver(topic, bytes(body[payload_at:]), bool(first_byte & _RETAIN), mid)
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


def _publish_packet(topic: bytes, payload: bytes, mid: int, *, retained: bool) -> bytearray:
    remaining = 2 + len(topic) + 2 + len(payload)
    packet = bytearray((_PUBLISH_QOS1 | (_RETAIN if retained else 0),))
    while True:
        byte, remaining = remaining & 0x7F, remaining >> 7
        packet.append(byte | (0x80 if remaining else 0))
        if not remaining:
            break
    packet += struct.pack("!H", len(topic))
    packet += topic
    packet += struct.pack("!H", mid)
    packet += payload
    return packet
