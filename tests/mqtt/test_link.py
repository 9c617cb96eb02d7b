"""One connection to the broker after the other: what is acknowledged, what is sent again, when it reads."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from struct import pack

import pytest

from gateway.mqtt.link import KEEPALIVE_S, WINDOW
from gateway.mqtt.url import parse_broker_url
from gateway.wire.inbound import Outbound
from tests.mqtt.conftest import FILTERS, WILL, Gate, running
from tests.support import packets
from tests.support.fake_broker import CONNECT, DISCONNECT, SUBSCRIBE, Connection, FakeBroker, Packet

TOPIC = "weldgate/v1/HJ-0001/request"
QUIET_S = 0.3


@pytest.fixture(params=["3.1.1", "5"])
def broker(request: pytest.FixtureRequest) -> Iterator[FakeBroker]:
    """Each test runs with both versions of MQTT."""
    with FakeBroker(request.param) as broker:
        yield broker


def gate_of(broker: FakeBroker) -> AbstractAsyncContextManager[Gate]:
    return running(broker.url, version=broker.version)


async def client_of(broker: FakeBroker) -> Connection:
    return await asyncio.to_thread(broker.client)


async def next_packet(connection: Connection, *kinds: int) -> Packet:
    return await asyncio.to_thread(connection.next, *kinds)


async def publishes(connection: Connection, number: int) -> list[Packet]:
    return [await next_packet(connection, packets.PUBLISH) for _ in range(number)]


def messages(number: int, first: int = 0) -> list[Outbound]:
    return [Outbound(f"t/{at}", b"%d" % at) for at in range(first, first + number)]


async def test_it_says_who_it_is_and_leaves_a_will(broker: FakeBroker) -> None:
    async with gate_of(broker):
        with await asyncio.to_thread(broker.accept) as connection:
            body = (await next_packet(connection, CONNECT)).body
            protocol, level, flags, keep_alive = body[:6], body[6], body[7], int.from_bytes(body[8:10], "big")
            assert (protocol, keep_alive) == (b"\x00\x04MQTT", KEEPALIVE_S)
            assert level == {"3.1.1": 4, "5": 5}[broker.version]
            assert not flags & 0x02, "the session outlives the connection"
            assert flags & 0x2C == 0x2C, "a will at QoS 1, retained"
            assert b"weldgate-test" in body
            assert WILL.topic.encode() in body
            assert WILL.payload in body
            connection.send(b"\x20\x03\x00\x00\x00" if connection.five else b"\x20\x02\x00\x00")
            subscribe = (await next_packet(connection, SUBSCRIBE)).body
            assert subscribe[3 if connection.five else 2 :] == b"".join(
                pack("!H", len(name)) + name.encode() + b"\x01" for name in FILTERS
            )


async def test_nagle_is_off(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker):
            await gate.until(lambda: gate.link.connected)
            sock = gate.link._wire.socket()
            assert isinstance(sock, socket.socket)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_acknowledgements_go_out_in_the_order_given(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            for mid in (7, 3, 9, 65_535, 1):
                connection.publish(TOPIC, b"x", mid)
            await gate.until(lambda: len(gate.arrived) == 5)
            gate.link.acknowledge(inbound.receipt for inbound in gate.arrived)
            assert [(await next_packet(connection, packets.PUBACK)).mid for _ in range(5)] == [7, 3, 9, 65_535, 1]


async def test_nothing_is_acknowledged_unasked(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            connection.publish(TOPIC, b"x", 1)
            await gate.until(lambda: gate.arrived)
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(connection.next, packets.PUBACK, within_s=QUIET_S)


async def test_a_message_at_qos_0_is_never_acknowledged(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            connection.publish(TOPIC, b"x", 0, qos=0)
            connection.publish(TOPIC, b"y", 4)
            await gate.until(lambda: len(gate.arrived) == 2)
            gate.link.acknowledge(inbound.receipt for inbound in gate.arrived)
            assert (await next_packet(connection, packets.PUBACK)).mid == 4


async def test_a_receipt_of_an_earlier_connection_is_not_acknowledged(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            connection.publish(TOPIC, b"first", 1)
            await gate.until(lambda: gate.arrived)
        with await client_of(broker) as connection:
            connection.publish(TOPIC, b"second", 2)
            await gate.until(lambda: len(gate.arrived) == 2)
            gate.link.acknowledge(inbound.receipt for inbound in gate.arrived)
            assert (await next_packet(connection, packets.PUBACK)).mid == 2


async def test_what_was_not_acknowledged_is_sent_again_in_order_and_marked(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            connection.acknowledges = False
            await gate.until(lambda: gate.link.connected)
            gate.link.publish(messages(5))
            first = await publishes(connection, 5)
            connection.send(packets.puback(pack("!H", first[1].mid)) + packets.puback(pack("!H", first[3].mid)))
            await gate.until(lambda: gate.link.unacknowledged == 3)
        await gate.until(lambda: not gate.link.connected)
        gate.link.publish(messages(2, first=5))  # while nobody is there
        with await client_of(broker) as connection:
            again = await publishes(connection, 5)
            assert [packet.topic for packet in again] == ["t/0", "t/2", "t/4", "t/5", "t/6"]
            assert [packet.mid for packet in again[:3]] == [first[0].mid, first[2].mid, first[4].mid]
            assert all(packet.dup for packet in again[:3])
            await gate.until(lambda: gate.link.unacknowledged == 0)


async def test_bytes_of_a_broken_connection_do_not_reach_the_next(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            connection.send(b"\x32\x50\x00\x05half a pack")
        with await client_of(broker) as connection:
            connection.publish(TOPIC, b"whole", 1)
            await gate.until(lambda: gate.arrived)
            assert gate.arrived[0].payload == b"whole"


async def test_held_back_it_does_not_read_and_goes_on_where_it_stopped(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            await gate.until(lambda: gate.link.connected)
            gate.link.hold_back(True)
            connection.publish(TOPIC, b"1", 1)
            connection.publish(TOPIC, b"2", 2)
            await asyncio.sleep(QUIET_S)
            assert gate.arrived == []
            gate.link.hold_back(False)
            await gate.until(lambda: len(gate.arrived) == 2)
            assert [inbound.payload for inbound in gate.arrived] == [b"1", b"2"]


async def test_held_back_it_stays_so_over_a_reconnect(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker):
            await gate.until(lambda: gate.link.connected)
            gate.link.hold_back(True)
            gate.link._wire.drop()
        with await client_of(broker) as connection:
            await gate.until(lambda: gate.link.connected)
            connection.publish(TOPIC, b"1", 1)
            await asyncio.sleep(QUIET_S)
            assert gate.arrived == []
            gate.link.hold_back(False)
            await gate.until(lambda: gate.arrived)


async def test_with_a_full_window_it_waits_and_reads_the_acknowledgements_all_the_same(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            connection.acknowledges = False
            await gate.until(lambda: gate.link.connected)
            await gate.link.room()
            gate.link.hold_back(True)
            gate.link.publish(messages(WINDOW))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(gate.link.room(), QUIET_S)
            sent = await publishes(connection, WINDOW)
            connection.send(packets.puback(pack("!H", sent[0].mid)))
            await asyncio.wait_for(gate.link.room(), 5)
            connection.publish(TOPIC, b"1", 1)
            await asyncio.sleep(QUIET_S)
            assert gate.arrived == [], "with room again it is held back again"


async def test_at_the_end_it_waits_for_acknowledgements_and_says_goodbye(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            connection.acknowledges = False
            await gate.until(lambda: gate.link.connected)
            gate.link.hold_back(True)
            gate.link.publish(messages(1))
            closing = asyncio.create_task(gate.link.close(within_s=10))
            (sent,) = await publishes(connection, 1)
            connection.publish(TOPIC, b"late", 1)
            assert not closing.done()
            connection.send(packets.puback(pack("!H", sent.mid)))
            await asyncio.wait_for(closing, 2)
            assert (await next_packet(connection, DISCONNECT)).kind == DISCONNECT
            assert gate.arrived == [], "what comes while it closes the broker keeps"


@pytest.mark.parametrize(
    ("code", "code_of_5", "says"),
    [
        (2, 0x85, "identifier"),
        (3, 0x88, "unavailable"),
        (4, 0x86, "user name or password"),
        (5, 0x87, "not authorized"),
    ],
)
async def test_a_refusal_by_the_broker_is_said(broker: FakeBroker, code: int, code_of_5: int, says: str) -> None:
    async with gate_of(broker) as gate:
        with await asyncio.to_thread(broker.accept) as connection:
            await asyncio.to_thread(connection.welcome, code_of_5 if broker.version == "5" else code)
            await gate.until(lambda: gate.said)
            connected, detail = gate.said[0]
            assert not connected
            assert says in detail.lower()


async def test_a_refused_subscription_is_said_and_tried_again(broker: FakeBroker) -> None:
    """Connected and deaf is worse than not connected: nobody would notice."""
    async with gate_of(broker) as gate:
        with await asyncio.to_thread(broker.accept) as connection:
            await asyncio.to_thread(connection.welcome, granted=0x80)
            await gate.until(lambda: gate.said)
            connected, detail = gate.said[0]
            assert not connected
            assert FILTERS[0] in detail
        with await client_of(broker):
            await gate.until(lambda: gate.link.connected)
            assert gate.said[-1][0]


async def test_what_arrives_before_the_subscriptions_are_confirmed_can_be_acknowledged(broker: FakeBroker) -> None:
    """A broker that kept the session may send what waited at once."""
    async with gate_of(broker) as gate:
        with await asyncio.to_thread(broker.accept) as connection:
            await next_packet(connection, CONNECT)
            connection.send(b"\x20\x03\x01\x00\x00" if connection.five else b"\x20\x02\x01\x00")
            connection.publish(TOPIC, b"waited", 6)
            await gate.until(lambda: gate.arrived)
            gate.link.acknowledge([gate.arrived[0].receipt])
            assert (await next_packet(connection, packets.PUBACK)).mid == 6
            assert not gate.link.connected


@pytest.mark.parametrize(
    "junk", [b"HTTP/1.1 400 Bad Request\r\n" * 10, b"\x90\x00", b"\xf0\xff\xff\xff\xff", b"\x00" * 20]
)
async def test_a_broker_that_talks_nonsense_is_left_and_tried_again(broker: FakeBroker, junk: bytes) -> None:
    async with gate_of(broker) as gate:
        with await client_of(broker) as connection:
            await gate.until(lambda: gate.link.connected)
            connection.send(junk)
            assert await asyncio.to_thread(connection.ended)
        with await client_of(broker) as connection:
            connection.publish(TOPIC, b"sense", 1)
            await gate.until(lambda: gate.arrived)


async def test_a_lost_connection_is_told_and_made_again(broker: FakeBroker) -> None:
    async with gate_of(broker) as gate:
        for _ in range(3):
            with await client_of(broker):
                await gate.until(lambda: gate.link.connected)
            await gate.until(lambda: not gate.link.connected)
        assert [connected for connected, _ in gate.said] == [True, False] * 3


def test_the_password_stands_in_no_representation() -> None:
    url = parse_broker_url("mqtt://gate:not-to-be-seen@127.0.0.1")
    assert "not-to-be-seen" not in f"{url} {url!r}"
    assert url.password == "not-to-be-seen"
