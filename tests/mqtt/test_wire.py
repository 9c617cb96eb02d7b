"""What ``gateway.mqtt.wire`` rests on in paho-mqtt, and what it makes of the bytes of a connection."""

import inspect
import random
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from struct import pack

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gateway.mqtt.wire import LONGEST_BODY_BYTES, Wire
from tests.support import packets
from tests.support.fake_broker import publish_packet

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
    ],
)
def test_paho_has_the_methods_that_are_called_or_replaced(method: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(paho.Client, method)).parameters)
    assert found == ["self", *parameters]


@pytest.mark.parametrize("attribute", ["_sock", "_in_packet", "_last_bytes_received", "_last_msg_out"])
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


# --- bytes in -----------------------------------------------------------------------------------------------------


class Line:
    """A wire on one end of a socket pair; the test holds the other end."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, bytes, bool, int]] = []
        self.wire = Wire("test", self._take, lambda: None)
        ours, self.broker = socket.socketpair()
        for end in (ours, self.broker):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.setblocking(False)
        self.wire._sock = ours

    def _take(self, topic: str, payload: bytes, retained: bool, mid: int) -> None:
        self.arrived.append((topic, payload, retained, mid))

    def feed(self, data: bytes) -> MQTTErrorCode:
        self.broker.sendall(data)
        return self.wire.loop_read()

    def close(self) -> None:
        self.wire.drop()
        self.broker.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


MESSAGES = [
    ("weldgate/v1/HJ-0001/request", b"one", False, 1),
    ("weldgate/v1/HJ-0002/request", b"", False, 2),
    ("weldgate/v1/HJ-0003/event", b"x" * 200, True, 65_535),
    ("weldgate/v1/HJ-0004/状态", "多字节".encode(), False, 3),
]
STREAM = b"".join(
    publish_packet(topic, payload, mid, retain=retained) for topic, payload, retained, mid in MESSAGES
) + publish_packet("weldgate/v1/HJ-0005/usage", b"at QoS 0", 0, qos=0)
EXPECTED = [*MESSAGES, ("weldgate/v1/HJ-0005/usage", b"at QoS 0", False, 0)]


def test_packets_split_at_every_byte_are_read_alike(line: Line) -> None:
    for at in range(1, len(STREAM)):
        line.arrived.clear()
        assert line.feed(STREAM[:at]) == MQTTErrorCode.MQTT_ERR_SUCCESS
        assert line.feed(STREAM[at:]) == MQTTErrorCode.MQTT_ERR_SUCCESS
        assert line.arrived == EXPECTED, f"split at {at}"


def test_packets_in_single_bytes_are_read_alike(line: Line) -> None:
    for byte in STREAM:
        line.feed(bytes([byte]))
    assert line.arrived == EXPECTED


def test_packets_in_pieces_of_any_length_are_read_alike(line: Line) -> None:
    chance = random.Random(SEED)
    sent = [
        ("t", chance.randbytes(chance.choice((0, 1, 125, 126, 127, 128, 16_380, 16_384, 70_000)))) for _ in range(40)
    ]
    stream = b"".join(publish_packet(topic, payload, mid) for mid, (topic, payload) in enumerate(sent, 1))
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
    line.feed(b"".join(publish_packet("weldgate/v1/HJ-0001/usage", b"x" * 30, mid) for mid in range(1, MANY + 1)))
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
        pytest.param(b"\xf0\x00", id="AUTH, which is MQTT 5"),
        pytest.param(b"\x10\x00", id="a CONNECT from the broker"),
    ],
)
def test_a_packet_that_breaks_the_protocol_closes_the_connection(line: Line, packet: bytes) -> None:
    """And raises nothing: what raises in the loop's reader would be met again at each later byte."""
    assert line.feed(packet) != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert line.wire.socket() is None


def test_an_acknowledgement_of_nothing_is_passed_over(line: Line) -> None:
    assert line.feed(packets.puback(pack("!H", 99)) + STREAM) == MQTTErrorCode.MQTT_ERR_SUCCESS
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


def test_without_a_free_packet_id_it_says_so_instead_of_looking_for_one_for_ever(line: Line) -> None:
    line.wire._unacknowledged.update(dict.fromkeys(range(1, 65_536), bytearray()))
    with pytest.raises(OverflowError):
        line.wire.publish_once("t", b"one more")


def test_packet_ids_in_use_are_not_given_twice(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([1, 1, 1, 2])
    monkeypatch.setattr(line.wire, "_mid_generate", lambda: next(given))
    line.wire.publish_once("t", b"one")
    line.wire.publish_once("t", b"two")
    assert list(line.wire._unacknowledged) == [1, 2]


def test_of_an_enormous_message_little_is_held_and_it_is_delivered_cut_short(line: Line) -> None:
    """It has to be refused and acknowledged, or it would come again for ever."""
    huge = publish_packet("weldgate/v1/HJ-0001/event", b"x" * 3_000_000, 7)
    stream = huge + publish_packet("weldgate/v1/HJ-0001/request", b"after it", 8)
    held = 0
    for start in range(0, len(stream), 50_000):
        assert line.feed(stream[start : start + 50_000]) == MQTTErrorCode.MQTT_ERR_SUCCESS
        held = max(held, len(line.wire._incoming))
    [(topic, payload, _, mid), after] = line.arrived
    assert (topic, mid) == ("weldgate/v1/HJ-0001/event", 7)
    assert 4096 < len(payload) < LONGEST_BODY_BYTES
    assert after == ("weldgate/v1/HJ-0001/request", b"after it", False, 8)
    assert held < 2 * LONGEST_BODY_BYTES
