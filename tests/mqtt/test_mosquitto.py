"""The link on a real Mosquitto, by both versions of MQTT: sessions, redelivery, retained messages, expiry, refusals."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt import properties
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes

from gateway.mqtt.embedded import EmbeddedBroker
from gateway.mqtt.url import Version
from gateway.wire.inbound import Outbound
from tests.mqtt.conftest import WITHIN_S, Gate, running
from tests.service.conftest import started_mosquitto
from tests.support.brokers import Limits, Mosquitto
from tests.support.raw_client import RawClient

Properties: Any = properties.Properties
"""paho's own; it has no types."""
TOPIC, DECISION = "weldgate/v1/HJ-0001/request", "weldgate/v1/HJ-0001/decision"
EXPIRES_S = 1
AFTER_THAT_S = EXPIRES_S + 1.1
"""Mosquitto counts whole seconds."""


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    broker = started_mosquitto()
    yield broker
    broker.close()


@pytest.fixture(params=["3.1.1", "5"])
def version(request: pytest.FixtureRequest) -> Version:
    chosen: Version = request.param
    return chosen


@asynccontextmanager
async def gate_on(broker: Mosquitto, version: Version) -> AsyncIterator[Gate]:
    async with running(broker.url, version=version) as gate:
        await gate.until(lambda: gate.link.connected)
        yield gate


class Chip:
    """Hears its decisions by either version; its session outlives the connection. ``with`` connects."""

    def __init__(self, port: int, version: Version) -> None:
        self._heard: Queue[paho.MQTTMessage] = Queue()
        self._subscribed: Queue[bool] = Queue()
        self._port, self._five = port, version == "5"
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            "chip",
            clean_session=None if self._five else False,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311,
        )
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._subscribed.put(True)
        self._client.on_message = lambda _client, _data, message: self._heard.put(message)

    def __enter__(self) -> Self:
        if self._five:
            keeps = Properties(PacketTypes.CONNECT)
            keeps.SessionExpiryInterval = 600
            self._client.connect("127.0.0.1", self._port, clean_start=False, properties=keeps)
        else:
            self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self._subscribed.get(timeout=WITHIN_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribe(self, *_: object) -> None:
        self._client.subscribe(DECISION, 1)

    def next(self) -> paho.MQTTMessage:
        return self._heard.get(timeout=WITHIN_S)

    def heard_nothing_more(self) -> bool:
        try:
            self._heard.get_nowait()
        except Empty:
            return True
        return False


# --- sessions -----------------------------------------------------------------------------------------------------


async def test_what_comes_while_the_gate_is_away_waits_for_it(mosquitto: Mosquitto, version: Version) -> None:
    async with gate_on(mosquitto, version) as gate:
        assert gate.resumed == 0
    with RawClient(mosquitto.port, "chip") as chip:
        chip.publish(TOPIC, b"while away")
    async with gate_on(mosquitto, version) as gate:
        await gate.until(lambda: gate.arrived)
        assert (gate.arrived[0].payload, gate.arrived[0].retained) == (b"while away", False)
        assert gate.resumed == 1


@pytest.mark.parametrize(("before", "after"), [("3.1.1", "5"), ("5", "3.1.1")])
async def test_the_session_is_the_same_by_either_version(mosquitto: Mosquitto, before: Version, after: Version) -> None:
    """So that a gateway may be updated, or told to speak the other, while chips go on."""
    async with gate_on(mosquitto, before):
        pass
    with RawClient(mosquitto.port, "chip") as chip:
        chip.publish(TOPIC, b"in between")
    async with gate_on(mosquitto, after) as gate:
        await gate.until(lambda: gate.arrived)
        assert gate.resumed == 1


async def test_what_was_not_acknowledged_comes_again_and_nothing_else(mosquitto: Mosquitto, version: Version) -> None:
    with RawClient(mosquitto.port, "chip") as chip:
        async with gate_on(mosquitto, version) as gate:
            for payload in (b"committed", b"not committed"):
                await asyncio.to_thread(chip.publish, TOPIC, payload)
            await gate.until(lambda: len(gate.arrived) == 2)
            gate.link.acknowledge([gate.arrived[0].receipt])
            await gate.link.close(within_s=5)
        async with gate_on(mosquitto, version) as gate:
            await asyncio.to_thread(chip.publish, TOPIC, b"later")
            await gate.until(lambda: len(gate.arrived) >= 2)
            assert [inbound.payload for inbound in gate.arrived] == [b"not committed", b"later"]


async def test_a_replay_is_told_from_a_message_that_is_passed_on(mosquitto: Mosquitto, version: Version) -> None:
    with RawClient(mosquitto.port, "chip") as chip:
        chip.publish(TOPIC, b"kept", retain=True)
        async with gate_on(mosquitto, version) as gate:
            await gate.until(lambda: gate.arrived)
            await asyncio.to_thread(chip.publish, TOPIC, b"passed on", retain=True)
            await gate.until(lambda: len(gate.arrived) == 2)
            assert [(inbound.payload, inbound.retained) for inbound in gate.arrived] == [
                (b"kept", True),
                (b"passed on", False),
            ]


# --- which version ------------------------------------------------------------------------------------------------


async def test_left_to_itself_it_speaks_5_with_mosquitto(mosquitto: Mosquitto) -> None:
    async with gate_on(mosquitto, "auto") as gate:
        assert gate.said == [(True, f"{mosquitto.url}, MQTT 5")]


async def test_left_to_itself_it_speaks_3_1_1_with_the_embedded_broker_without_delay(
    embedded_broker: EmbeddedBroker,
) -> None:
    began = time.monotonic()
    async with running(embedded_broker.url) as gate:
        await gate.until(lambda: gate.link.connected)
        assert gate.said == [(True, f"{embedded_broker.url}, MQTT 3.1.1")]
    assert time.monotonic() - began < 1


async def test_the_embedded_broker_refuses_5_and_stays_as_it_is(embedded_broker: EmbeddedBroker) -> None:
    async with running(embedded_broker.url, version="5") as gate:
        await gate.until(lambda: gate.said)
        assert "Unsupported protocol version" in gate.said[0][1]
    with RawClient(int(embedded_broker.url.rpartition(":")[2]), "chip") as chip:
        chip.publish(TOPIC, b"still there")


# --- what goes out ------------------------------------------------------------------------------------------------


async def test_more_than_the_broker_takes_at_once_gets_through_in_order(version: Version) -> None:
    broker = Mosquitto(Limits(inflight=20)).start()
    try:
        with Chip(broker.port, version) as chip:
            async with gate_on(broker, version) as gate:
                gate.link.publish(Outbound(DECISION, b"%d" % number) for number in range(500))
                await gate.until(lambda: gate.link.unacknowledged == 0)
            assert [int(chip.next().payload) for _ in range(500)] == list(range(500))
    finally:
        broker.close()


async def test_a_decision_that_is_too_late_never_arrives(mosquitto: Mosquitto, version: Version) -> None:
    """Whatever the chip speaks: the broker drops it. The other side of it is the chip's own check."""
    with Chip(mosquitto.port, version):
        pass
    async with gate_on(mosquitto, "5") as gate:
        gate.link.publish([Outbound(DECISION, b"allow", expires_s=EXPIRES_S), Outbound(DECISION, b"deny")])
        await gate.until(lambda: gate.link.unacknowledged == 0)
    await asyncio.sleep(AFTER_THAT_S)
    with Chip(mosquitto.port, version) as chip:
        assert chip.next().payload == b"deny"
        assert chip.heard_nothing_more()


async def test_a_decision_in_time_arrives_by_either_version(mosquitto: Mosquitto, version: Version) -> None:
    with Chip(mosquitto.port, version) as chip:
        async with gate_on(mosquitto, "5") as gate:
            gate.link.publish([Outbound(DECISION, b"allow", expires_s=30, correlation=b"7")])
            heard = await asyncio.to_thread(chip.next)
            assert heard.payload == b"allow"
            if version == "5":
                properties_of: Any = heard.properties
                assert 0 < properties_of.MessageExpiryInterval <= 30
                assert properties_of.CorrelationData == b"7"


async def test_by_3_1_1_nothing_expires_at_the_broker(mosquitto: Mosquitto, version: Version) -> None:
    """That a late grant opens nothing is not left to it."""
    with Chip(mosquitto.port, version):
        pass
    async with gate_on(mosquitto, "3.1.1") as gate:
        gate.link.publish([Outbound(DECISION, b"allow", expires_s=EXPIRES_S)])
        await gate.until(lambda: gate.link.unacknowledged == 0)
    await asyncio.sleep(AFTER_THAT_S)
    with Chip(mosquitto.port, version) as chip:
        assert chip.next().payload == b"allow"


async def test_what_the_broker_does_not_let_the_gateway_say_is_told(tmp_path: Path) -> None:
    rights = tmp_path / "acl"
    rights.write_text("topic readwrite weldgate/v1/#\ntopic deny weldgate/v1/HJ-0001/decision\n")
    rights.chmod(0o600)
    broker = Mosquitto(Limits(extra=(f"acl_file {rights}",))).start()
    try:
        async with gate_on(broker, "5") as gate:
            gate.link.publish([Outbound(DECISION, b"allow"), Outbound("weldgate/v1/HJ-0002/decision", b"allow")])
            await gate.until(lambda: gate.trouble)
            assert gate.trouble == [f"messages refused by the broker: 1, the last to {DECISION}: Not authorized"]
            assert gate.link.unacknowledged == 0
            assert gate.link.connected
    finally:
        broker.close()
