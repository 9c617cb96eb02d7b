"""MQTT 5: what the broker allows is kept to, what it refuses is told, and without it 3.1.1 is spoken."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from struct import pack

import pytest

from gateway.clock import monotonic_ns
from gateway.mqtt import link
from gateway.mqtt.link import KEEPALIVE_S
from gateway.wire.inbound import Outbound
from tests.mqtt.conftest import WILL, Gate, running
from tests.support import packets
from tests.support.fake_broker import CONNECT, DISCONNECT, PINGREQ, UNSUPPORTED_VERSION, Connection, FakeBroker, Packet

TOPIC = "weldgate/v1/HJ-0001/request"
QUIET_S = 0.3
RECEIVE_MAXIMUM = 20
AT_MOST_20 = b"\x21" + pack("!H", RECEIVE_MAXIMUM)
NOT_AUTHORIZED = 0x87
SECOND_NS = 1_000_000_000


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with FakeBroker() as broker:
        yield broker


async def accepted(broker: FakeBroker) -> Connection:
    return await asyncio.to_thread(broker.accept)


async def next_packet(connection: Connection, *kinds: int) -> Packet:
    return await asyncio.to_thread(connection.next, *kinds)


async def publishes(connection: Connection, number: int) -> list[Packet]:
    return [await next_packet(connection, packets.PUBLISH) for _ in range(number)]


async def nothing_comes(connection: Connection) -> bool:
    try:
        await asyncio.to_thread(connection.next, packets.PUBLISH, within_s=QUIET_S)
    except TimeoutError:
        return True
    return False


def messages(number: int) -> list[Outbound]:
    return [Outbound(f"t/{at}", b"%d" % at) for at in range(number)]


@asynccontextmanager
async def connected(broker: FakeBroker, gate: Gate, properties: bytes = b"") -> AsyncIterator[Connection]:
    """A connection by MQTT 5 on the broker's terms; it acknowledges nothing unasked."""
    with await accepted(broker) as connection:
        connection.acknowledges = False
        await asyncio.to_thread(connection.welcome, properties=properties)
        await gate.until(lambda: gate.link.connected)
        yield connection


def acknowledge(connection: Connection, *sent: Packet) -> None:
    connection.send(b"".join(packets.puback(pack("!H", packet.mid)) for packet in sent))


# --- the broker's terms -------------------------------------------------------------------------------------------


async def test_no_more_are_under_way_than_the_broker_receives_at_once(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate, AT_MOST_20) as connection:
        gate.link.publish(messages(RECEIVE_MAXIMUM + 2))
        sent = await publishes(connection, RECEIVE_MAXIMUM)
        assert await nothing_comes(connection)
        assert not gate.link.has_room
        acknowledge(connection, sent[7])
        (next_one,) = await publishes(connection, 1)
        assert next_one.topic == f"t/{RECEIVE_MAXIMUM}"
        assert await nothing_comes(connection)
        acknowledge(connection, *sent[:2])
        assert [packet.topic for packet in await publishes(connection, 1)] == [f"t/{RECEIVE_MAXIMUM + 1}"]
        await gate.until(lambda: gate.link.has_room)


async def test_what_is_sent_again_keeps_to_it_too_and_to_the_new_one(broker: FakeBroker) -> None:
    async with running(broker.url) as gate:
        async with connected(broker, gate, AT_MOST_20) as connection:
            gate.link.publish(messages(RECEIVE_MAXIMUM + 5))
            first = await publishes(connection, RECEIVE_MAXIMUM)
        async with connected(broker, gate, b"\x21\x00\x03") as connection:
            for start in range(0, RECEIVE_MAXIMUM + 5, 3):
                again = await publishes(connection, min(3, RECEIVE_MAXIMUM + 5 - start))
                assert [packet.topic for packet in again] == [f"t/{start + at}" for at in range(len(again))]
                assert [packet.dup for packet in again] == [start + at < RECEIVE_MAXIMUM for at in range(len(again))]
                assert all(packet.mid == first[start + at].mid for at, packet in enumerate(again) if packet.dup)
                assert await nothing_comes(connection)
                acknowledge(connection, *again)
            await gate.until(lambda: gate.link.unacknowledged == 0)


async def test_held_back_it_goes_on_sending_what_had_to_wait_and_then_reads_no_more(broker: FakeBroker) -> None:
    """The gate is full, but its answers must not stay behind for that."""
    async with running(broker.url) as gate, connected(broker, gate, b"\x21\x00\x01") as connection:
        gate.link.hold_back(True)
        gate.link.publish(messages(3))
        for number in range(3):
            (sent,) = await publishes(connection, 1)
            assert sent.topic == f"t/{number}"
            if number < 2:
                acknowledge(connection, sent)
        connection.publish(TOPIC, b"x", 1)
        assert await nothing_comes(connection)
        assert gate.arrived == []


async def test_the_goodbye_waits_for_what_was_held_back(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate, b"\x21\x00\x01") as connection:
        gate.link.publish(messages(2))
        closing = asyncio.create_task(gate.link.close(within_s=10))
        for _ in range(2):
            acknowledge(connection, *await publishes(connection, 1))
        await asyncio.wait_for(closing, 2)
        assert (await next_packet(connection, DISCONNECT)).body == b""


@pytest.mark.parametrize(("server_s", "kept_s"), [(5, 5), (600, KEEPALIVE_S), (0, KEEPALIVE_S)])
async def test_the_brokers_keep_alive_counts_where_it_is_shorter(
    broker: FakeBroker, server_s: int, kept_s: int
) -> None:
    async with running(broker.url) as gate, connected(broker, gate, b"\x13" + pack("!H", server_s)):
        assert gate.link._wire.keepalive == kept_s


async def test_a_broker_with_a_short_keep_alive_is_asked_in_time(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate, b"\x13\x00\x01") as connection:
        for number in range(3):
            await asyncio.sleep(QUIET_S)  # out of step with whatever looks once a second
            gate.link.publish([Outbound(f"t/{number}", b"")])
            acknowledge(connection, *await publishes(connection, 1))
            await asyncio.to_thread(connection.next, PINGREQ, within_s=1.5)
            connection.send(b"\xd0\x00")
        assert gate.link.connected


async def test_the_brokers_keep_alive_is_forgotten_with_the_connection(broker: FakeBroker) -> None:
    async with running(broker.url) as gate:
        async with connected(broker, gate, b"\x13\x00\x01"):
            pass
        async with connected(broker, gate):
            assert gate.link._wire.keepalive == KEEPALIVE_S


async def test_to_a_broker_without_retained_messages_none_is_sent(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate, b"\x25\x00") as connection:
        gate.link.publish([Outbound("t", b"", retained=True)])
        (sent,) = await publishes(connection, 1)
        assert not sent.first & 0x01


async def test_a_message_larger_than_the_broker_takes_is_told_and_stops_nobody(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate, b"\x27\x00\x00\x01\x00\x21\x00\x01") as connection:
        exact, more = Outbound("fits", b"x" * (256 - 12)), Outbound("large", b"x" * (256 - 12))
        gate.link.publish([more, exact, *messages(1)])
        (sent,) = await publishes(connection, 1)
        assert (sent.topic, len(sent.body)) == ("fits", 253)
        acknowledge(connection, sent)
        assert [packet.topic for packet in await publishes(connection, 1)] == ["t/0"]
        await gate.until(lambda: gate.trouble)
        assert gate.trouble == ["messages refused by the broker: 1, the last to large: 257 bytes, the broker takes 256"]
        assert gate.link.connected


async def test_a_broker_of_qos_0_alone_will_not_do(broker: FakeBroker) -> None:
    async with running(broker.url) as gate:
        with await accepted(broker) as connection:
            await next_packet(connection, CONNECT)
            connection.send(b"\x20\x05\x00\x00\x02\x24\x00")
            await gate.until(lambda: gate.said)
            assert "QoS 1" in gate.said[0][1]
        async with connected(broker, gate, b"\x24\x01") as connection:
            assert connection.five, "it is not taken for a broker without MQTT 5"


# --- what a message carries ---------------------------------------------------------------------------------------


async def test_a_message_says_when_it_expires_and_what_it_answers(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate) as connection:
        gate.link.publish([Outbound("t", b"answer", expires_s=30, correlation=b"\x00me")])
        (sent,) = await publishes(connection, 1)
        assert sent.properties == b"\x02\x00\x00\x00\x1e" + b"\x09\x00\x03\x00me"
        assert sent.payload == b"answer"


async def test_what_had_to_wait_expires_no_later_for_that(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(broker.url) as gate:
        async with connected(broker, gate) as connection:
            gate.link.publish([Outbound("sent before", b"", expires_s=30)])
            await publishes(connection, 1)
        await gate.until(lambda: not gate.link.connected)
        gate.link.publish([Outbound("never sent", b"", expires_s=2)])
        later = monotonic_ns() + 10 * SECOND_NS
        monkeypatch.setattr("gateway.mqtt.wire.monotonic_ns", lambda: later)
        async with connected(broker, gate) as connection:
            before, never = await publishes(connection, 2)
            assert int.from_bytes(before.properties[1:], "big") in (19, 20)
            assert int.from_bytes(never.properties[1:], "big") == 1, "0 would be read as never by some brokers"


async def test_by_3_1_1_the_same_message_goes_out_without(broker: FakeBroker) -> None:
    async with running(broker.url, version="3.1.1") as gate, connected(broker, gate) as connection:
        assert not connection.five
        gate.link.publish([Outbound("t", b"answer", expires_s=30, correlation=b"me")])
        (sent,) = await publishes(connection, 1)
        assert sent.body[2 + len("t") + 2 :] == b"answer"


async def test_what_the_sender_asks_of_its_answer_arrives(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate) as connection:
        wish = b"\x08\x00\x05reply" + b"\x09\x00\x02me"
        connection.publish(TOPIC, b"x", 1, properties=packets.length(len(wish)) + wish)
        connection.publish(TOPIC, b"y", 2)
        await gate.until(lambda: len(gate.arrived) == 2)
        assert [(one.payload, one.response_topic, one.correlation) for one in gate.arrived] == [
            (b"x", "reply", b"me"),
            (b"y", None, None),
        ]


async def test_properties_that_cannot_be_read_cost_neither_message_nor_connection(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate) as connection:
        connection.publish(TOPIC, b"x", 1, properties=b"\x03\x7f\x00\x00")
        await gate.until(lambda: gate.arrived)
        gate.link.acknowledge([gate.arrived[0].receipt])
        assert (await next_packet(connection, packets.PUBACK)).mid == 1
        assert gate.arrived[0].payload == b"x"


async def test_a_broker_whose_packets_cannot_be_read_is_left_and_tried_again(broker: FakeBroker) -> None:
    async with running(broker.url) as gate:
        async with connected(broker, gate) as connection:
            connection.publish(TOPIC, b"", 1, properties=b"\xff\xff\xff\xff\xff")
            assert await asyncio.to_thread(connection.ended)
        async with connected(broker, gate):
            assert gate.arrived == []


# --- what the broker refuses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "name"), [(NOT_AUTHORIZED, "Not authorized"), (0xFE, "reason code 0xfe")])
async def test_a_refused_message_is_told_and_not_sent_again(broker: FakeBroker, code: int, name: str) -> None:
    async with running(broker.url) as gate:
        async with connected(broker, gate, b"\x21\x00\x02") as connection:
            gate.link.publish(messages(3))
            refused, other = await publishes(connection, 2)
            connection.send(packets.packet(packets.PUBACK, pack("!H", refused.mid) + bytes([code, 0])))
            await publishes(connection, 1)  # the refusal made room
            acknowledge(connection, other)
            await gate.until(lambda: gate.trouble)
            assert gate.trouble == [f"messages refused by the broker: 1, the last to t/0: {name}"]
        async with connected(broker, gate) as connection:
            assert [packet.topic for packet in await publishes(connection, 1)] == ["t/2"]


async def test_many_refusals_are_told_together(broker: FakeBroker) -> None:
    async with running(broker.url) as gate, connected(broker, gate) as connection:
        gate.link.publish(messages(50))
        answers = [pack("!H", packet.mid) + bytes([NOT_AUTHORIZED]) for packet in await publishes(connection, 50)]
        connection.send(b"".join(packets.packet(packets.PUBACK, answer) for answer in answers))
        await gate.until(lambda: gate.trouble)
        assert gate.trouble == ["messages refused by the broker: 50, the last to t/49: Not authorized"]


async def test_an_acknowledgement_that_nobody_takes_is_none_the_worse(broker: FakeBroker) -> None:
    """Reason code 0x10, no matching subscribers: the chip is away."""
    async with running(broker.url) as gate, connected(broker, gate) as connection:
        gate.link.publish(messages(1))
        (sent,) = await publishes(connection, 1)
        connection.send(packets.packet(packets.PUBACK, pack("!H", sent.mid) + b"\x10"))
        await gate.until(lambda: gate.link.unacknowledged == 0)
        assert gate.trouble == []


@pytest.mark.parametrize(
    ("goodbye", "said"),
    [
        (b"\xe0\x02\x8e\x00", "the broker ended the connection: Session taken over"),
        (b"\xe0\x01\x8b", "the broker ended the connection: Server shutting down"),
        (b"\xe0\x09\x98\x07\x1f\x00\x04noon", "the broker ended the connection: Administrative action (noon)"),
        (b"\xe0\x00", "the broker ended the connection: Normal disconnection"),
    ],
)
async def test_the_brokers_goodbye_is_told_and_tried_again(broker: FakeBroker, goodbye: bytes, said: str) -> None:
    async with running(broker.url) as gate:
        async with connected(broker, gate) as connection:
            connection.send(goodbye)
            await gate.until(lambda: not gate.link.connected and len(gate.said) == 2)
            assert gate.said[1] == (False, said)
        async with connected(broker, gate):
            assert gate.link.connected


# --- which version ------------------------------------------------------------------------------------------------


async def refused_version(broker: FakeBroker, answer: bytes) -> None:
    """One CONNECT of MQTT 5 is answered like this, and closed."""
    with await accepted(broker) as connection:
        await next_packet(connection, CONNECT)
        assert connection.five
        connection.send(answer)
        await asyncio.to_thread(connection.ended) if answer else None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(UNSUPPORTED_VERSION, id="as by 3.1.1"),
        pytest.param(b"\x20\x03\x00\x84\x00", id="as by 5"),
        pytest.param(b"\x20\x02\x00\x84", id="as by 5, cut short"),
        pytest.param(b"", id="by closing"),
    ],
)
async def test_where_5_is_refused_3_1_1_is_spoken_at_once_and_from_then_on(broker: FakeBroker, answer: bytes) -> None:
    async with running(broker.url) as gate:
        await refused_version(broker, answer)
        async with connected(broker, gate) as connection:
            assert not connection.five
            ((made, detail),) = gate.said
            assert (made, detail.endswith("MQTT 3.1.1")) == (True, True)
        for _ in range(2):
            async with connected(broker, gate) as connection:
                assert not connection.five


async def test_a_broker_that_does_not_know_what_to_say_to_5_is_asked_by_3_1_1(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNACK_WITHIN_S", QUIET_S)
    async with running(broker.url) as gate:
        with await accepted(broker) as connection:
            assert (await next_packet(connection, CONNECT)).body[6] == 5
            assert await asyncio.to_thread(connection.ended)
        async with connected(broker, gate) as connection:
            assert not connection.five


async def test_a_broker_that_takes_neither_for_now_is_asked_by_5_again(broker: FakeBroker) -> None:
    """It may be starting, and to have less than it can give for ever would be a pity."""
    async with running(broker.url) as gate:
        for five in (True, False):
            with await accepted(broker) as connection:
                assert (await next_packet(connection, CONNECT)).body[6] == (5 if five else 4)
        async with connected(broker, gate) as connection:
            assert connection.five
            assert [made for made, _ in gate.said] == [False, True]
            assert gate.said[1][1].endswith("MQTT 5")


async def test_a_wrong_password_is_no_reason_to_try_3_1_1(broker: FakeBroker) -> None:
    async with running(broker.url) as gate:
        with await accepted(broker) as connection:
            await asyncio.to_thread(connection.welcome, 0x86)
        async with connected(broker, gate) as connection:
            assert connection.five


async def test_told_to_speak_5_it_speaks_nothing_else(broker: FakeBroker) -> None:
    async with running(broker.url, version="5") as gate:
        for _ in range(2):
            await refused_version(broker, UNSUPPORTED_VERSION)
        await gate.until(lambda: gate.said)
        connected_, why = gate.said[0]
        assert not connected_
        assert "Unsupported protocol version" in why


async def test_told_to_speak_3_1_1_it_speaks_nothing_else(broker: FakeBroker) -> None:
    async with running(broker.url, version="3.1.1") as gate:
        for _ in range(2):
            async with connected(broker, gate) as connection:
                assert not connection.five


async def test_what_waits_for_the_first_connection_goes_out_in_the_version_that_is_found(broker: FakeBroker) -> None:
    async with running(broker.url) as gate:
        gate.link.publish([Outbound("t", b"early", expires_s=30)])
        await refused_version(broker, UNSUPPORTED_VERSION)
        async with connected(broker, gate) as connection:
            (sent,) = await publishes(connection, 1)
            assert (sent.payload, sent.dup) == (b"early", False)


async def test_the_will_is_the_same(broker: FakeBroker) -> None:
    async with running(broker.url):
        with await accepted(broker) as connection:
            body = (await next_packet(connection, CONNECT)).body
            assert body[7] & 0x2C == 0x2C, "a will at QoS 1, retained"
            will = b"\x00" + pack("!H", len(WILL.topic)) + WILL.topic.encode() + pack("!H", len(WILL.payload))
            assert will + WILL.payload in body, "with no properties of its own: it is sent without delay"
