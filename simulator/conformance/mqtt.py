"""MQTT packets of both ends as bytes, without any I/O: 3.1.1 and as much of 5 as the protocol's messages use.

Section numbers are those of the OASIS standards "MQTT 3.1.1" and, where marked, "MQTT 5".
"""

from struct import pack

from msgspec import Struct

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 0x80, 0x90, 0xA0, 0xB0
PINGREQ, PINGRESP, DISCONNECT = 0xC0, 0xD0, 0xE0
KIND_NAMES = {
    CONNECT: "CONNECT",
    CONNACK: "CONNACK",
    PUBLISH: "PUBLISH",
    PUBACK: "PUBACK",
    SUBSCRIBE: "SUBSCRIBE",
    SUBACK: "SUBACK",
    UNSUBSCRIBE: "UNSUBSCRIBE",
    UNSUBACK: "UNSUBACK",
    PINGREQ: "PINGREQ",
    PINGRESP: "PINGRESP",
    DISCONNECT: "DISCONNECT",
}
V311, V5 = 4, 5
LONGEST_BODY = 256 * 1024
"""Far above anything the protocol needs; a longer packet ends the connection."""
MESSAGE_EXPIRY, RESPONSE_TOPIC, CORRELATION, SESSION_EXPIRY = 0x02, 0x08, 0x09, 0x11
_FIXED = {0x01: 1, 0x02: 4, 0x11: 4, 0x13: 2, 0x17: 1, 0x18: 4, 0x19: 1, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1}
_FIXED |= {0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
_TEXTS = frozenset({0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F})
_USER_PROPERTY = 0x26

Properties = dict[int, bytes]


class ProtocolError(Exception):
    """Bytes that are no MQTT packet."""


class Packet(Struct, frozen=True):
    """One control packet: its first byte and its body."""

    first: int
    body: bytes

    @property
    def kind(self) -> int:
        return self.first & 0xF0


class Will(Struct, frozen=True):
    topic: str
    payload: bytes
    qos: int
    retain: bool


class Connect(Struct, frozen=True):
    """Section 3.1. ``version`` is 4 for MQTT 3.1.1."""

    client_id: str
    version: int = V311
    clean: bool = True
    keep_alive_s: int = 30
    will: Will | None = None
    user: str | None = None
    password: str | None = None
    properties: Properties = {}


class Publish(Struct, frozen=True):
    """Section 3.3; ``packet_id`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = {}


class Subscribe(Struct, frozen=True):
    """Section 3.8: filters with the QoS asked for."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


# --- reading ----------------------------------------------------------------------------------------------------


class Splitter:
    """Bytes in as they arrive, whole packets out."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Packet]:
        """Every packet that is complete now; raises ProtocolError."""
        self._buffer += data
        packets: list[Packet] = []
        while (found := self._first()) is not None:
            start, end = found
            packets.append(Packet(self._buffer[0], self._buffer[start:end]))
            self._buffer = self._buffer[end:]
        return packets

    def _first(self) -> tuple[int, int] | None:
        """Where the body of the first packet begins and ends; None while it is not all there."""
        length = 0
        for place, byte in enumerate(self._buffer[1:5]):
            length |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                if length > LONGEST_BODY:
                    raise ProtocolError(f"a packet of {length} bytes")
                start = 2 + place
                return (start, start + length) if len(self._buffer) >= start + length else None
        if len(self._buffer) >= 5:
            raise ProtocolError("a length of more than four bytes")
        return None


class _Reader:
    """Takes fields off the front of a body."""

    def __init__(self, body: bytes) -> None:
        self.rest = body

    def take(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise ProtocolError("a packet that ends in the middle of a field")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise ProtocolError("a text that is not UTF-8") from error

    def varying(self) -> int:
        """A variable byte integer (MQTT 5, section 1.5.5)."""
        value = 0
        for place in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                return value
        raise ProtocolError("a variable byte integer of more than four bytes")

    def properties(self, version: int) -> Properties:
        """MQTT 5, section 2.2.2; empty before. The last of several of one kind counts; user properties are passed."""
        found: Properties = {}
        if version != V5:
            return found
        inner = _Reader(self.take(self.varying()))
        while inner.rest:
            name = inner.varying()
            if name == _USER_PROPERTY:
                inner.binary(), inner.binary()
            elif name == 0x0B:
                inner.varying()
            elif name in _TEXTS:
                found[name] = inner.binary()
            elif name in _FIXED:
                found[name] = inner.take(_FIXED[name])
            else:
                raise ProtocolError(f"property {name:#04x} is not known")
        return found


def read_connect(packet: Packet) -> Connect:
    reader = _Reader(packet.body)
    if reader.text() != "MQTT":
        raise ProtocolError("CONNECT without the protocol's name")
    version, flags = reader.number(1), reader.number(1)
    if version not in (V311, V5):
        raise ProtocolError(f"protocol level {version}; 4 (MQTT 3.1.1) and 5 are spoken here")
    keep_alive_s = reader.number(2)
    properties = reader.properties(version)
    client_id = reader.text()
    will = _read_will(reader, flags, version) if flags & 0x04 else None
    user = reader.text() if flags & 0x80 else None
    password = reader.binary().decode("utf-8", "replace") if flags & 0x40 else None
    return Connect(client_id, version, bool(flags & 0x02), keep_alive_s, will, user, password, properties)


def _read_will(reader: _Reader, flags: int, version: int) -> Will:
    reader.properties(version)
    return Will(reader.text(), reader.binary(), (flags >> 3) & 3, bool(flags & 0x20))


def read_publish(packet: Packet, version: int) -> Publish:
    reader, flags = _Reader(packet.body), packet.first & 0x0F
    topic, qos = reader.text(), (flags >> 1) & 3
    packet_id = reader.number(2) if qos else 0
    properties = reader.properties(version)
    return Publish(topic, reader.rest, qos, bool(flags & 1), bool(flags & 8), packet_id, properties)


def read_subscribe(packet: Packet, version: int) -> Subscribe:
    reader = _Reader(packet.body)
    packet_id = reader.number(2)
    reader.properties(version)
    filters: list[tuple[str, int]] = []
    while reader.rest:
        filters.append((reader.text(), reader.number(1) & 3))
    return Subscribe(packet_id, tuple(filters))


def read_unsubscribe(packet: Packet, version: int) -> tuple[int, tuple[str, ...]]:
    """Packet id and filters."""
    reader = _Reader(packet.body)
    packet_id = reader.number(2)
    reader.properties(version)
    filters: list[str] = []
    while reader.rest:
        filters.append(reader.text())
    return packet_id, tuple(filters)


def read_packet_id(packet: Packet) -> int:
    """Of a PUBACK or SUBACK."""
    return _Reader(packet.body).number(2)


def read_connack(packet: Packet) -> tuple[bool, int]:
    """Whether the session was kept, and the return or reason code."""
    reader = _Reader(packet.body)
    return bool(reader.number(1) & 1), reader.number(1)


# --- writing ----------------------------------------------------------------------------------------------------


def connect(message: Connect) -> bytes:
    will, v5 = message.will, message.version == V5
    flags = (0x02 if message.clean else 0) | (0x80 if message.user is not None else 0)
    flags |= 0x40 if message.password is not None else 0
    flags |= (0x04 | will.qos << 3 | (0x20 if will.retain else 0)) if will else 0
    body = _text("MQTT") + bytes([message.version, flags]) + pack("!H", message.keep_alive_s)
    body += _properties(message.properties, message.version) + _text(message.client_id)
    if will:
        body += (b"\x00" if v5 else b"") + _text(will.topic) + _binary(will.payload)
    for text in (message.user, message.password):
        body += _text(text) if text is not None else b""
    return _packet(CONNECT, body)


def connack(version: int, code: int = 0, *, session_present: bool = False) -> bytes:
    return _packet(CONNACK, bytes([session_present, code]) + (b"\x00" if version == V5 else b""))


def publish(message: Publish, version: int = V311) -> bytes:
    first = PUBLISH | message.qos << 1 | message.retain | (8 if message.dup else 0)
    packet_id = pack("!H", message.packet_id) if message.qos else b""
    return _packet(first, _text(message.topic) + packet_id + _properties(message.properties, version) + message.payload)


def puback(packet_id: int) -> bytes:
    return _packet(PUBACK, pack("!H", packet_id))


def subscribe(packet_id: int, filters: tuple[str, ...], version: int = V311, qos: int = 1) -> bytes:
    body = pack("!H", packet_id) + _properties({}, version)
    return _packet(SUBSCRIBE | 2, body + b"".join(_text(name) + bytes([qos]) for name in filters))


def suback(packet_id: int, codes: tuple[int, ...], version: int = V311) -> bytes:
    return _packet(SUBACK, pack("!H", packet_id) + _properties({}, version) + bytes(codes))


def unsuback(packet_id: int, filters: int, version: int = V311) -> bytes:
    return _packet(UNSUBACK, pack("!H", packet_id) + (b"\x00" + bytes(filters) if version == V5 else b""))


def whole(packet: Packet) -> bytes:
    """The bytes of a packet that was read."""
    return _packet(packet.first, packet.body)


PING = bytes([PINGREQ, 0])
PONG = bytes([PINGRESP, 0])
GOODBYE = bytes([DISCONNECT, 0])


def _properties(values: Properties, version: int) -> bytes:
    if version != V5:
        return b""
    body = b"".join(bytes([name]) + (_binary(value) if name in _TEXTS else value) for name, value in values.items())
    return _length(len(body)) + body


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _length(len(body)) + body


def _length(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _binary(value: bytes) -> bytes:
    return pack("!H", len(value)) + value
