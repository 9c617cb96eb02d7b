"""A queue that is full: the broker acknowledges to the chips and drops; the gateway hears of it and says so."""

import asyncio
from collections.abc import Iterator
from struct import pack

import pytest

from gateway.mqtt.embedded import EmbeddedBroker
from gateway.wire import topics
from tests.mqtt.conftest import running
from tests.service.conftest import StartGateway, started_mosquitto
from tests.support import packets
from tests.support.brokers import Limits, Mosquitto
from tests.support.chips import Chips
from tests.support.fake_broker import SUBSCRIBE, FakeBroker
from tests.support.gateway import Gateway
from tests.support.waiting import eventually

QUEUED, SAID = 20, 50
DROPPED = "weldgate_broker_dropped_messages"


@pytest.fixture
def small() -> Iterator[Mosquitto]:
    """A Mosquitto with room for 20 waiting messages that tells its figures every second."""
    started_mosquitto().close()  # skips where it is not installed
    broker = Mosquitto(Limits(queued=QUEUED, extra=("sys_interval 1",))).start()
    yield broker
    broker.close()


def said(gateway: Gateway) -> list[str]:
    return [entry["problem"] for entry in gateway.events("trouble") if entry["where"] == "broker_queue"]


def test_a_gateway_that_comes_back_to_an_overrun_queue_says_what_was_lost(
    small: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(small.url).until_ready()
    eventually(lambda: gateway.metric(DROPPED) == 0, what="the broker tells that it has dropped nothing")
    gateway.kill()
    with Chips(small.port) as chips:
        for _ in range(SAID):
            chips.event("HJ-0001", "tamper")  # returns once the broker has acknowledged it
    gateway.start().until_ready()
    eventually(lambda: gateway.metric(DROPPED) == SAID - QUEUED, what="the dropped messages counted")
    (problem,) = eventually(lambda: said(gateway), what="the dropped messages told")
    assert problem.startswith(f"the broker has dropped {SAID - QUEUED} messages")
    assert gateway.metric('weldgate_trouble_total{where="broker_queue"}') == 1
    eventually(lambda: gateway.metric('weldgate_chip_events_total{kind="tamper"}') == QUEUED, what="the rest arrived")


# --- brokers that do not tell -----------------------------------------------------------------------------------

WISHED = (topics.BROKER_DROPPED,)


@pytest.fixture(params=["3.1.1", "5"])
def broker(request: pytest.FixtureRequest) -> Iterator[FakeBroker]:
    with FakeBroker(request.param) as broker:
        yield broker


async def test_the_figure_is_asked_for_at_qos_0_once_the_rest_is_granted(broker: FakeBroker) -> None:
    async with running(broker.url, version=broker.version, wished=WISHED) as gate:
        with await asyncio.to_thread(broker.client) as connection:
            await gate.until(lambda: gate.link.connected)
            wish = await asyncio.to_thread(connection.next, SUBSCRIBE)
            assert wish.body.endswith(topics.BROKER_DROPPED.encode() + b"\x00")
            connection.publish(topics.BROKER_DROPPED, b"0", 0, qos=0, retain=True)
            await gate.until(lambda: gate.arrived)
    assert [(one.topic, one.payload) for one in gate.arrived] == [(topics.BROKER_DROPPED, b"0")]


async def test_a_broker_that_refuses_the_figure_is_as_good_as_any(broker: FakeBroker) -> None:
    async with running(broker.url, version=broker.version, wished=WISHED) as gate:
        with await asyncio.to_thread(broker.client) as connection:
            wish = await asyncio.to_thread(connection.next, SUBSCRIBE)
            answer = pack("!H", wish.mid) + (b"\x00" if connection.five else b"") + b"\x80"
            connection.send(packets.packet(packets.SUBACK, answer))
            connection.publish("weldgate/v1/HJ-0001/request", b"x", 1)
            await gate.until(lambda: gate.arrived)
            assert gate.link.connected
            assert [connected for connected, _ in gate.said] == [True]


async def test_a_broker_that_hangs_up_over_the_figure_is_not_asked_for_ever(broker: FakeBroker) -> None:
    async with running(broker.url, version=broker.version, wished=WISHED) as gate:
        for _ in range(2):
            with await asyncio.to_thread(broker.client) as connection:
                await asyncio.to_thread(connection.next, SUBSCRIBE)
        with await asyncio.to_thread(broker.client) as connection:
            connection.publish("weldgate/v1/HJ-0001/request", b"x", 1)
            await gate.until(lambda: gate.arrived)
            gate.link.acknowledge([gate.arrived[0].receipt])
            assert (await asyncio.to_thread(connection.next)).kind == packets.PUBACK, "and no third wish before it"


async def test_the_embedded_broker_has_no_figures_and_nobody_minds() -> None:
    async with EmbeddedBroker() as embedded, running(embedded.url, wished=WISHED) as gate:
        await gate.until(lambda: gate.link.connected)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await gate.until(lambda: gate.arrived)
        assert gate.link.connected
