"""MQTT 3.1.1 packets by hand: as little as a device needs, so that a test says exactly what it sends and when."""

from collections.abc import Iterator
from struct import pack

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
_QOS_1 = 0x02
_CLEAN_SESSION = 0x02
_WILL_QOS_1_RETAINED = 0x2C


def connect(client_id: str, *, clean: bool = True, will: tuple[str, str] | None = None, keep_alive_s: int = 0) -> bytes:
    """A CONNECT; ``will`` is topic and payload, QoS 1 and retained."""
    flags = (_CLEAN_SESSION if clean else 0) | (_WILL_QOS_1_RETAINED if will else 0)
    head = _text("MQTT") + bytes([4, flags]) + pack("!H", keep_alive_s)
    return packet(0x10, head + _text(client_id) + b"".join(map(_text, will or ())))


def subscribe(topic_filter: str) -> bytes:
    """One filter, QoS 1, packet id 1."""
    return packet(0x82, pack("!H", 1) + _text(topic_filter) + b"\x01")


def publish(topic: str, payload: bytes, packet_id: int, *, retain: bool = False) -> bytes:
    return packet(PUBLISH | _QOS_1 | retain, _text(topic) + pack("!H", packet_id) + payload)


def publish_template(topic: str, payload: bytes) -> bytes:
    """A QoS 1 PUBLISH to be filled by ``%``: the packet id first; what else is filled must keep its length."""
    head = bytes([PUBLISH | _QOS_1]) + length(len(_text(topic)) + 2 + len(payload)) + _text(topic)
    return head.replace(b"%", b"%%") + b"%b" + payload.replace(b"%", b"%%")


def puback(packet_id: bytes) -> bytes:
    return b"\x40\x02" + packet_id


DISCONNECT = b"\xe0\x00"


def whole_packets(data: bytes) -> Iterator[tuple[int, int, int]]:
    """First byte, start and end of the body of each whole packet in ``data``."""
    at, size = 0, len(data)
    while at + 2 <= size:
        length, shift, body = data[at + 1] & 0x7F, 7, at + 2
        while data[body - 1] & 0x80:
            if body == size:
                return
            length |= (data[body] & 0x7F) << shift
            shift, body = shift + 7, body + 1
        if body + length > size:
            return
        yield data[at], body, body + length
        at = body + length


def packet(first: int, body: bytes) -> bytes:
    """A whole control packet from its first byte and its body."""
    return bytes([first]) + length(len(body)) + body


def length(value: int) -> bytes:
    """A packet's length, and every other variable byte integer."""
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def _text(value: str) -> bytes:
    raw = value.encode()
    return pack("!H", len(raw)) + raw
