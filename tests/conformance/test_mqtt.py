"""The kit's packets: read back as they were written, and understood by a client that is not the kit's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from simulator.conformance import mqtt
from simulator.conformance.chip.broker import Broker
from simulator.conformance.mqtt import V5, V311, Connect, ProtocolError, Publish, Splitter, Will
from simulator.conformance.packet_log import PacketLog, describe

MACHINE = "HJ-CONFORM-1"
STATUS = f"weldgate/v1/{MACHINE}/status"
PROPERTIES = {mqtt.RESPONSE_TOPIC: b"a/b", mqtt.CORRELATION: b"\x00\xff", mqtt.MESSAGE_EXPIRY: b"\x00\x00\x00\x1e"}


def only(data: bytes) -> mqtt.Packet:
    (packet,) = Splitter().feed(data)
    return packet


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("clean", [True, False])
def test_a_connect_comes_back_whole(version: int, clean: bool) -> None:
    will = Will(STATUS, b'{"online": false}', 1, True)
    sent = Connect("chip-1", version, clean, 30, will, "user", "secret")
    assert mqtt.read_connect(only(mqtt.connect(sent))) == sent


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_publish_comes_back_whole(version: int, qos: int) -> None:
    properties = PROPERTIES if version == V5 else {}
    sent = Publish("a/b", b"x" * 300, qos, True, qos == 1, 7 * qos, properties)
    assert mqtt.read_publish(only(mqtt.publish(sent, version)), version) == sent


@pytest.mark.parametrize("version", [V311, V5])
def test_subscriptions_come_back_whole(version: int) -> None:
    packet = only(mqtt.subscribe(9, ("a/+", "b/#"), version))
    assert mqtt.read_subscribe(packet, version) == mqtt.Subscribe(9, (("a/+", 1), ("b/#", 1)))
    assert mqtt.read_packet_id(only(mqtt.suback(9, (1, 1), version))) == 9


def test_packets_are_whole_however_the_bytes_arrive() -> None:
    data = mqtt.publish(Publish("a", b"x" * 200)) + mqtt.puback(3) + mqtt.PING
    splitter = Splitter()
    packets = [packet for byte in data for packet in splitter.feed(bytes([byte]))]
    assert packets == Splitter().feed(data)
    assert [packet.kind for packet in packets] == [mqtt.PUBLISH, mqtt.PUBACK, mqtt.PINGREQ]


@pytest.mark.parametrize("data", [b"\x30\xff\xff\xff\xff\xff", b"\x30\xff\xff\xff\x7f"])
def test_an_impossible_length_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Splitter().feed(data)


@pytest.mark.parametrize(
    "body", [b"", b"\x00\x04MQTT\x09\x00\x00\x00", b"\x00\x03ABC\x04\x00\x00\x00", b"\x00\x04MQTT\x04\x00\x00"]
)
def test_a_connect_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        mqtt.read_connect(mqtt.Packet(mqtt.CONNECT, body))


def test_a_property_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ProtocolError, match="0x7f"):
        mqtt.read_publish(mqtt.Packet(mqtt.PUBLISH, b"\x00\x01a\x02\x7f\x00"), V5)


def test_the_log_shortens_long_payloads_and_quotes_junk_safely() -> None:
    long = describe(only(mqtt.publish(Publish("a", b"x" * 5000, packet_id=1))), V311)
    assert len(long) < 400
    assert "(5000 bytes)" in long
    assert describe(mqtt.Packet(mqtt.PUBLISH, b"\x00"), V311).startswith("PUBLISH (")


# --- against paho -------------------------------------------------------------------------------------------------


@pytest.fixture
async def broker() -> AsyncIterator[tuple[Broker, int]]:
    made = Broker(MACHINE, PacketLog())
    port = await made.start("127.0.0.1", 0)
    yield made, port
    await made.close()


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
async def test_a_client_that_is_not_ours_is_served(broker: tuple[Broker, int], version: Any) -> None:
    kit, port = broker
    heard: list[paho.MQTTMessage] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, MACHINE, protocol=version)
    client.will_set(STATUS, b'{"online": false}', 1, retain=True)
    client.on_connect = lambda client, *_: client.subscribe([("weldgate/v1/+/decision", 1)])
    client.on_subscribe = lambda client, *_: client.publish(STATUS, b'{"online": true}', 1, retain=True)
    client.on_message = lambda _client, _data, message: heard.append(message)
    await asyncio.to_thread(client.connect, "127.0.0.1", port)
    client.loop_start()
    try:
        assert await kit.until(lambda: kit.messages or None, 10)
        assert (kit.messages[0].kind, kit.messages[0].retain, kit.messages[0].qos) == ("status", True, 1)
        assert kit.connects[0].will == Will(STATUS, b'{"online": false}', 1, True)
        packet_id = kit.publish(Publish("weldgate/v1/HJ-CONFORM-1/decision", b"{}", 1, True))
        assert await kit.until(lambda: packet_id in kit.acknowledged or None, 10)
    finally:
        await asyncio.to_thread(client.disconnect)
        client.loop_stop()
    assert [(message.payload, message.retain) for message in heard] == [(b"{}", True)]


async def test_a_message_of_the_wrong_form_is_kept_with_its_fault(broker: tuple[Broker, int]) -> None:
    kit, port = broker
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(mqtt.connect(Connect("raw")))
    writer.write(mqtt.publish(Publish(f"weldgate/v1/{MACHINE}/usage", b'{"seq": -1}', packet_id=1)))
    writer.write(mqtt.publish(Publish("weldgate/v1/HJ-OTHER/usage", b"{}", packet_id=2)))
    assert await kit.until(lambda: len(kit.messages) == 2 or None, 10)
    assert [message.content for message in kit.messages] == [None, None]
    assert all(message.fault for message in kit.messages)
    assert await reader.readexactly(4) == mqtt.connack(V311)
    writer.close()
    await writer.wait_closed()
