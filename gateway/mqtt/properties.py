"""MQTT 5 properties as the gateway needs them: a few written, a few read, whole packets at a time. No I/O.

MQTT 5.0 (OASIS), sections 1.5 and 2.2.2; the properties of PUBLISH in 3.3.2.3, of CONNACK in 3.2.2.3.
"""

from typing import Any

from msgspec import Struct

NONE = b"\x00"
"""Properties of a packet that has none: their length."""
LARGEST_INTERVAL_S = 0xFFFF_FFFF
LARGEST_PACKET_BYTES = 268_435_460
"""What a packet can have at most: a length of four bytes, and the bytes before it."""
_EXPIRY, _RESPONSE_TOPIC, _CORRELATION, _USER_PROPERTY = 0x02, 0x08, 0x09, 0x26
_SIZES = {
    0x01: 1,  # payload format indicator
    _EXPIRY: 4,
    0x23: 2,  # topic alias
}
"""Bytes of the properties of fixed length that a PUBLISH may have."""
_STRINGS = {
    0x03: 1,  # content type
    _RESPONSE_TOPIC: 1,
    _CORRELATION: 1,
    _USER_PROPERTY: 2,
}
"""How many strings or binary data, each after its length of two bytes, make the property."""
_SUBSCRIPTION = 0x0B
"""Subscription identifier: a variable byte integer."""


class Terms(Struct, frozen=True):
    """What a broker takes, from its CONNACK; the defaults are what MQTT 5 means by silence, and MQTT 3.1.1.

    ``keep_alive_s`` None: the client's own.
    """

    receive_maximum: int = 65_535
    maximum_qos: int = 2
    retain_available: bool = True
    maximum_packet_bytes: int = LARGEST_PACKET_BYTES
    keep_alive_s: int | None = None


def terms_of(connack: Any) -> Terms:
    """Of paho's decoded properties of a CONNACK."""
    return Terms(
        getattr(connack, "ReceiveMaximum", 65_535),
        getattr(connack, "MaximumQoS", 2),
        bool(getattr(connack, "RetainAvailable", 1)),
        getattr(connack, "MaximumPacketSize", LARGEST_PACKET_BYTES),
        getattr(connack, "ServerKeepAlive", None),
    )


# --- out ---


def publish_properties(expires_s: int | None, correlation: bytes | None) -> bytes:
    """Those of a PUBLISH, with their length before them. Raises OverflowError beyond the formats' 32 and 16 bits."""
    packed = b""
    if expires_s is not None:
        packed += b"\x02" + expires_s.to_bytes(4, "big")
    if correlation is not None:
        packed += b"\x09" + len(correlation).to_bytes(2, "big") + correlation
    return variable_length(len(packed)) + packed


def variable_length(value: int) -> bytes:
    """A variable byte integer, which is also how every packet's length is written."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# --- in ---


def span(body: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Where the properties begin and end whose length stands at ``at``; the end may lie beyond ``body``.

    None where no length can be read.
    """
    length, shift = 0, 0
    for here in range(at, min(at + 4, len(body))):
        byte = body[here]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return here + 1, here + 1 + length
        shift += 7
    return None


def asked(properties: bytes | bytearray) -> tuple[str | None, bytes | None]:
    """Response topic and correlation data of a PUBLISH's properties; neither where they cannot be read to the end.

    It is for the broker to refuse what breaks the standard: to end the connection over a message that it passed on
    would bring the same message again.
    """
    found: dict[int, bytes] = {}
    at, end = 0, len(properties)
    while at < end:
        kind = properties[at]
        stop = _end_of(properties, kind, at + 1)
        if stop is None or stop > end:
            return None, None
        if kind in (_RESPONSE_TOPIC, _CORRELATION):
            found[kind] = bytes(properties[at + 3 : stop])
        at = stop
    return _text(found.get(_RESPONSE_TOPIC)), found.get(_CORRELATION)


def _end_of(properties: bytes | bytearray, kind: int, at: int) -> int | None:
    """Where the value at ``at`` ends, perhaps beyond all bytes; None for a property that no PUBLISH has."""
    if kind in _SIZES:
        return at + _SIZES[kind]
    if kind == _SUBSCRIPTION:
        value = span(properties, at)
        return value[0] if value else None
    if kind not in _STRINGS:
        return None
    for _ in range(_STRINGS[kind]):
        at += 2 + int.from_bytes(properties[at : at + 2], "big")
    return at


def _text(raw: bytes | None) -> str | None:
    """None also for what is no UTF-8."""
    try:
        return raw.decode() if raw is not None else None
    except UnicodeDecodeError:
        return None
