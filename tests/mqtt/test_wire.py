"""What ``gateway.mqtt.wire`` rests on in paho-mqtt, and what it makes of the bytes of a connection."""

import inspect
import random
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from struct import pack
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt import properties as paho_properties
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.mqtt.properties import Terms, terms_of
from gateway.mqtt.wire import LONGEST_BODY_BYTES, RECEIVE_MAXIMUM, SESSION_EXPIRY_S, Asked, Calls, Wire
from gateway.wire.inbound import Outbound
from tests.support import packets
from tests.support.fake_broker import NO_PROPERTIES, publish_packet

Properties: Any = paho_properties.Properties
"""paho's own; it has no types."""
PINNED = "2.2.0"
SEED = 3
MANY = 3_000

# --- the contract with paho's private parts -----------------------------------------------------------------------


def test_paho_is_the_version_whose_private_parts_are_known() -> None:
    assert metadata.version("paho-mqtt") == PINNED
    assert f'"paho-mqtt=={PINNED}"' in Path(__file__, "../../../pyproject.toml").resolve().read_text()


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("_sock_recv", ["bufsize"]),
        ("_sock_send", ["buf"]),
        ("_sock_close", []),
        ("_mid_generate", []),
        ("_packet_handle", []),
        ("_loop_rc_handle", ["rc"]),
        ("_packet_queue", ["command", "packet", "mid", "qos", "info"]),
        ("loop_read", ["max_packets"]),
        ("loop_misc", []),
        ("want_write", []),
        ("connect", ["host", "port", "keepalive", "bind_address", "bind_port", "clean_start", "properties"]),
    ],
)
def test_paho_has_the_methods_that_are_called_or_replaced(method: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(paho.Client, method)).parameters)
    assert found == ["self", *parameters]


@pytest.mark.parametrize(
    "attribute", ["_sock", "_in_packet", "_last_bytes_received", "_last_msg_out", "_protocol", "_keepalive", "_ping_t"]
)
def test_paho_has_the_attributes_that_are_set(attribute: str) -> None:
    assert attribute in vars(paho.Client(CallbackAPIVersion.VERSION2))


def test_paho_keeps_a_packet_under_these_names() -> None:
    assert {"command", "remaining_length", "packet", "pos"} <= set(paho.Client(CallbackAPIVersion.VERSION2)._in_packet)


def test_paho_has_the_functions_and_constants() -> None:
    assert paho.time_func() > 0
    assert (paho.PUBLISH, paho.PUBACK) == (packets.PUBLISH, packets.PUBACK)


def test_paho_queues_every_packet_that_it_makes_itself_by_the_one_replaced_method() -> None:
    """CONNECT, SUBSCRIBE, PINGREQ and DISCONNECT: all go through ``_packet_queue``."""
    queueing = "_out_packet.append("
    assert inspect.getsource(paho.Client).count(queueing) == 1
    assert queueing in inspect.getsource(paho.Client._packet_queue)


def test_paho_asks_for_the_session_by_either_version_on_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """``_protocol`` chooses, at each new connection; MQTT 5 goes with the limits that we announce."""
    line = Line(five=False)
    ours = line.wire._sock
    assert ours is not None
    monkeypatch.setattr(line.wire, "_create_socket", lambda: ours)
    line.wire._sock = None
    for five, level in ((True, 5), (False, 4), (True, 5)):
        line.wire.dial("127.0.0.1", 1883, 20, five=five)
        line.wire.flush()
        ((_, start, end),) = packets.whole_packets(connect := line.broker.recv(1 << 16))
        body = connect[start:end]
        assert (body[6], body[7] & 0x02, line.wire.version) == (level, 0, "5" if five else "3.1.1")
        limits = b"\x11" + SESSION_EXPIRY_S.to_bytes(4, "big") + b"\x21" + RECEIVE_MAXIMUM.to_bytes(2, "big")
        assert (limits in body) == five
        line.wire._sock = None
    line.wire._sock = ours
    line.close()


def test_paho_names_the_limits_of_a_broker_like_this() -> None:
    connack = Properties(PacketTypes.CONNACK)
    assert terms_of(connack) == Terms(65_535, 2, True, 268_435_460, None)
    connack.ReceiveMaximum, connack.MaximumQoS, connack.RetainAvailable = 20, 1, 0
    connack.MaximumPacketSize, connack.ServerKeepAlive = 5_000, 7
    again, _ = Properties(PacketTypes.CONNACK).unpack(connack.pack())
    assert terms_of(again) == Terms(20, 1, False, 5_000, 7)


def test_paho_knows_reason_codes_by_their_names() -> None:
    assert str(ReasonCode(PacketTypes.PUBACK, identifier=0x87)) == "Not authorized"
    with pytest.raises(KeyError):
        ReasonCode(PacketTypes.PUBACK, identifier=0xFF)
    with pytest.raises(ValueError, match="exactly one name"):
        ReasonCode(PacketTypes.PUBACK, identifier=0x84)


# --- bytes in -----------------------------------------------------------------------------------------------------


class Line:
    """A wire on one end of a socket pair; the test holds the other end."""

    def __init__(self, *, five: bool) -> None:
        self.five = five
        self.arrived: list[tuple[str, bytes, bool, int]] = []
        self.wishes: list[Asked] = []
        self.refused: list[tuple[str, str]] = []
        self.wire = Wire("test", Calls(self._take, lambda: None, self._refuse))
        self.wire._five = five
        self.wire._protocol = paho.MQTTv5 if five else paho.MQTTv311
        ours, self.broker = socket.socketpair()
        for end in (ours, self.broker):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.setblocking(False)
        self.wire._sock = ours

    def _take(self, topic: str, payload: bytes, retained: bool, mid: int, wish: Asked) -> None:
        self.arrived.append((topic, payload, retained, mid))
        self.wishes.append(wish)

    def _refuse(self, message: Outbound, why: str) -> None:
        self.refused.append((message.topic, why))

    def packet(self, topic: str, payload: bytes, mid: int, **flags: Any) -> bytes:
        """A PUBLISH of the wire's version, without properties."""
        return publish_packet(topic, NO_PROPERTIES + payload if self.five else payload, mid, **flags)

    def stream(self) -> bytes:
        """Every expected message."""
        many = [self.packet(topic, payload, mid, retain=retained) for topic, payload, retained, mid in MESSAGES]
        return b"".join(many) + self.packet("weldgate/v1/HJ-0005/usage", b"at QoS 0", 0, qos=0)

    def feed(self, data: bytes) -> MQTTErrorCode:
        self.broker.sendall(data)
        return self.wire.loop_read()

    def close(self) -> None:
        self.wire.drop()
        self.broker.close()


@pytest.fixture(params=["3.1.1", "5"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """Each test runs with both versions of MQTT."""
    line = Line(five=request.param == "5")
    yield line
    line.close()


MESSAGES = [
    ("weldgate/v1/HJ-0001/request", b"one", False, 1),
    ("weldgate/v1/HJ-0002/request", b"", False, 2),
    ("weldgate/v1/HJ-0003/event", b"x" * 200, True, 65_535),
    ("weldgate/v1/HJ-0004/状态", "多字节".encode(), False, 3),
]
EXPECTED = [*MESSAGES, ("weldgate/v1/HJ-0005/usage", b"at QoS 0", False, 0)]


def test_packets_split_at_every_byte_are_read_alike(line: Line) -> None:
    stream = line.stream()
    for at in range(1, len(stream)):
        line.arrived.clear()
        assert line.feed(stream[:at]) == MQTTErrorCode.MQTT_ERR_SUCCESS
        assert line.feed(stream[at:]) == MQTTErrorCode.MQTT_ERR_SUCCESS
        assert line.arrived == EXPECTED, f"split at {at}"


def test_packets_in_single_bytes_are_read_alike(line: Line) -> None:
    for byte in line.stream():
        line.feed(bytes([byte]))
    assert line.arrived == EXPECTED


def test_packets_in_pieces_of_any_length_are_read_alike(line: Line) -> None:
    chance = random.Random(SEED)
    sent = [
        ("t", chance.randbytes(chance.choice((0, 1, 125, 126, 127, 128, 16_380, 16_384, 70_000)))) for _ in range(40)
    ]
    stream = b"".join(line.packet(topic, payload, mid) for mid, (topic, payload) in enumerate(sent, 1))
    while stream:
        size = chance.choice((1, 2, 3, 100, 65_536))
        line.feed(stream[:size])
        stream = stream[size:]
    assert [(topic, payload) for topic, payload, _, _ in line.arrived] == sent


def test_many_packets_are_read_in_few_calls(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    recv = line.wire._sock_recv

    def counted(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return recv(size)

    monkeypatch.setattr(line.wire, "_sock_recv", counted)
    line.feed(b"".join(line.packet("weldgate/v1/HJ-0001/usage", b"x" * 30, mid) for mid in range(1, MANY + 1)))
    assert [mid for *_, mid in line.arrived] == list(range(1, MANY + 1))
    assert calls < MANY / 100


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"\x34\x07\x00\x01t\x00\x01xx", id="QoS 2, which was not subscribed to"),
        pytest.param(b"\x36\x07\x00\x01t\x00\x01xx", id="QoS 3, which does not exist"),
        pytest.param(b"\x32\x03\x00\x09t", id="a topic longer than its packet"),
        pytest.param(b"\x32\x00", id="a PUBLISH without a body"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="a length of five bytes"),
        pytest.param(b"\x90\x00", id="a SUBACK without a body"),
        pytest.param(b"\x20\x00", id="a CONNACK without a body"),
        pytest.param(b"\x20\x01\x00", id="a CONNACK cut short"),
        pytest.param(b"\xd0\x01\x00", id="a PINGRESP with a body"),
        pytest.param(b"\x00\x00", id="a packet type that is none"),
        pytest.param(b"\xf0\x00", id="AUTH, which nobody asked for"),
        pytest.param(b"\x10\x00", id="a CONNECT from the broker"),
    ],
)
def test_a_packet_that_breaks_the_protocol_closes_the_connection(line: Line, packet: bytes) -> None:
    """And raises nothing: what raises in the loop's reader would be met again at each later byte."""
    assert line.feed(packet) != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert line.wire.socket() is None


def test_an_acknowledgement_of_nothing_is_passed_over(line: Line) -> None:
    assert line.feed(packets.puback(pack("!H", 99)) + line.stream()) == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert line.arrived == EXPECTED


# --- bytes out ----------------------------------------------------------------------------------------------------


def test_bytes_that_a_full_socket_does_not_take_are_kept_and_sent_later(line: Line) -> None:
    payload = b"x" * 4_000_000
    line.wire._packet_queue(0, publish_packet("t", payload, 1), 0, 0)
    assert not line.wire.flush()
    line.broker.setblocking(False)
    received = bytearray()
    while not line.wire.flush() or len(received) < len(payload):
        try:
            received += line.broker.recv(1 << 20)
        except BlockingIOError:
            continue
    while len(received) < len(publish_packet("t", payload, 1)):
        received += line.broker.recv(1 << 20)
    assert bytes(received) == publish_packet("t", payload, 1)


def test_without_a_free_packet_id_a_message_waits_instead_of_looking_for_one_for_ever(line: Line) -> None:
    line.wire.publish_all([Outbound("t", b"")] * 65_535)
    line.wire.publish_all([Outbound("t", b"one more")])
    assert line.wire.unacknowledged == 65_536
    assert line.wire.is_waiting


def test_of_an_enormous_message_little_is_held_and_it_is_delivered_cut_short(line: Line) -> None:
    """It has to be refused and acknowledged, or it would come again for ever."""
    huge = line.packet("weldgate/v1/HJ-0001/event", b"x" * 3_000_000, 7)
    stream = huge + line.packet("weldgate/v1/HJ-0001/request", b"after it", 8)
    held = 0
    for start in range(0, len(stream), 50_000):
        assert line.feed(stream[start : start + 50_000]) == MQTTErrorCode.MQTT_ERR_SUCCESS
        held = max(held, len(line.wire._incoming))
    [(topic, payload, _, mid), after] = line.arrived
    assert (topic, mid) == ("weldgate/v1/HJ-0001/event", 7)
    assert 4096 < len(payload) < LONGEST_BODY_BYTES
    assert after == ("weldgate/v1/HJ-0001/request", b"after it", False, 8)
    assert held < 2 * LONGEST_BODY_BYTES


# --- MQTT 5 -------------------------------------------------------------------------------------------------------


@pytest.fixture
def five() -> Iterator[Line]:
    line = Line(five=True)
    yield line
    line.close()


def publish_5(properties: bytes, payload: bytes = b"payload", mid: int = 1) -> bytes:
    """A PUBLISH with these properties; their length comes before them."""
    return publish_packet("t", packets.length(len(properties)) + properties + payload, mid)


RESPONSE = b"\x08\x00\x05reply"
CORRELATION = b"\x09\x00\x03\x00\xff\x01"
USER = b"\x26\x00\x01k\x00\x01v"


@pytest.mark.parametrize(
    ("properties", "wish"),
    [
        pytest.param(RESPONSE + CORRELATION, ("reply", b"\x00\xff\x01"), id="both"),
        pytest.param(CORRELATION, (None, b"\x00\xff\x01"), id="correlation alone"),
        pytest.param(
            USER + b"\x01\x01\x02\x00\x00\x00\x1e\x03\x00\x01j" + b"\x0b\x80\x01" + RESPONSE + USER,
            ("reply", None),
            id="among others",
        ),
        pytest.param(USER * 40 + RESPONSE, ("reply", None), id="with a length of two bytes"),
    ],
)
def test_what_the_sender_asks_of_its_answer_is_delivered(
    five: Line, properties: bytes, wish: tuple[str | None, bytes | None]
) -> None:
    assert five.feed(publish_5(properties)) == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert five.arrived == [("t", b"payload", False, 1)]
    assert five.wishes == [wish]


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(b"\x7f\x00", id="a property that does not exist"),
        pytest.param(b"\x08\x00\x50reply", id="a response topic longer than all properties"),
        pytest.param(b"\x08\x00", id="a length cut short"),
        pytest.param(b"\x02\x00", id="an expiry cut short"),
        pytest.param(b"\x0b\xff\xff\xff\xff", id="a subscription identifier of five bytes"),
        pytest.param(b"\x08\x00\x02\xff\xfe", id="a response topic that is no UTF-8"),
        pytest.param(RESPONSE + b"\x26\x00\x01k", id="a user property without a value"),
    ],
)
def test_a_message_with_properties_that_cannot_be_read_is_one_without(five: Line, properties: bytes) -> None:
    """It is acknowledged in the end. To close the connection over it would bring it again, for ever."""
    assert five.feed(publish_5(properties)) == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert five.arrived == [("t", b"payload", False, 1)]
    assert five.wishes == [(None, None)]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="without a length"),
        pytest.param(b"\x80", id="with a length cut short"),
        pytest.param(b"\x80\x80\x80\x80\x01", id="with a length of five bytes"),
        pytest.param(b"\x30payload", id="longer than the packet"),
    ],
)
def test_properties_behind_which_no_payload_can_be_found_close_the_connection(five: Line, body: bytes) -> None:
    assert five.feed(publish_packet("t", body, 1)) != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert five.wire.socket() is None
    assert five.arrived == []


def test_a_message_with_enormous_properties_is_delivered_empty(five: Line) -> None:
    """Held in memory it is cut within them; it has to be refused and acknowledged, or it would come for ever."""
    stream = publish_5(USER * 40_000) + five.packet("t", b"after it", 2)
    for start in range(0, len(stream), 50_000):
        assert five.feed(stream[start : start + 50_000]) == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert five.arrived == [("t", b"", False, 1), ("t", b"after it", False, 2)]


def test_what_stands_behind_a_goodbye_counts_no_more(five: Line) -> None:
    assert five.feed(b"\xe0\x02\x8e\x00" + five.stream()) != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert five.arrived == []
