"""What the embedded broker promises, and amqtt by itself does not."""

import signal
import subprocess
import sys
from functools import partial

import pytest

from gateway.mqtt.embedded import BrokerStartError, EmbeddedBroker
from tests.support.raw_client import RawClient

REQUESTS, REQUEST = "weldgate/v1/+/request", "weldgate/v1/HJ-0001/request"
OFFLINE = ("weldgate/v1/HJ-0001/status", '{"online":false}')


@pytest.fixture
def client(embedded_broker: EmbeddedBroker) -> partial[RawClient]:
    """Makes clients of a broker that this test has for itself."""
    return partial(RawClient, int(embedded_broker.url.rpartition(":")[2]))


def test_a_message_that_was_not_acknowledged_comes_again(client: partial[RawClient]) -> None:
    with client("gate", clean=False) as gate, client("chip") as chip:
        gate.subscribe(REQUESTS)
        chip.publish(REQUEST, b"one")
        assert gate.receive(acknowledge=False).payload == b"one"
    with client("gate", clean=False) as gate:
        again = gate.receive()
        assert (again.payload, again.dup, again.retain) == (b"one", True, False)


def test_what_came_meanwhile_waits_in_order_and_is_not_flagged_as_retained(client: partial[RawClient]) -> None:
    gate = client("gate", clean=False)
    gate.subscribe(REQUESTS)
    gate.leave()
    with client("chip") as chip:
        for number in range(20):
            chip.publish(REQUEST, b"%d" % number)
    with client("gate", clean=False) as gate:
        waited = [gate.receive() for _ in range(20)]
    assert [int(message.payload) for message in waited] == list(range(20))
    assert not any(message.retain or message.dup for message in waited)


def test_retained_messages_go_to_those_alone_who_subscribed(client: partial[RawClient]) -> None:
    with client("gate") as gate, client("chip") as chip:
        gate.subscribe("weldgate/v1/+/status")
        chip.publish("weldgate/v1/HJ-0001/status", b"up", retain=True)
        assert not gate.receive().retain, "it is flagged for those alone who subscribe after it"
        with client("other") as other:
            other.subscribe("weldgate/v1/HJ-0002/decision")
            chip.publish("weldgate/v1/HJ-0002/decision", b"yours")
            assert other.receive().payload == b"yours", "nothing foreign came before it"
            other.subscribe("weldgate/v1/HJ-0001/status")
            assert other.receive().retain


def test_a_lost_connection_publishes_the_last_will(client: partial[RawClient]) -> None:
    with client("gate") as gate:
        gate.subscribe("weldgate/v1/+/status")
        with client("chip", will=OFFLINE):
            pass
        will = gate.receive()
        assert (will.topic, will.payload.decode()) == OFFLINE


def test_a_silent_client_is_given_up_after_one_and_a_half_keep_alives(client: partial[RawClient]) -> None:
    with client("gate") as gate, client("chip", will=OFFLINE, keep_alive_s=1) as chip:
        gate.subscribe("weldgate/v1/+/status")
        assert gate.receive().payload.decode() == OFFLINE[1]
        assert chip.closed_by_broker()


@pytest.mark.parametrize("clean", [True, False])
def test_a_new_connection_with_the_same_id_takes_over(client: partial[RawClient], clean: bool) -> None:
    with client("gate", clean=clean) as old, client("gate", clean=clean) as new, client("chip") as chip:
        assert old.closed_by_broker()
        new.subscribe(REQUESTS)
        chip.publish(REQUEST, b"to the new one")
        assert new.receive().payload == b"to the new one"


def test_a_shared_subscription_is_refused_rather_than_silently_empty(client: partial[RawClient]) -> None:
    with client("gate") as gate:
        assert gate.subscribe(f"$share/gate/{REQUESTS}") == 0x80


async def test_a_taken_port_is_said(embedded_broker: EmbeddedBroker) -> None:
    port = int(embedded_broker.url.rpartition(":")[2])
    with pytest.raises(BrokerStartError, match=f"port {port}"):
        await EmbeddedBroker(port).start()


def test_it_ends_with_the_process_that_started_it() -> None:
    program = (
        "import asyncio; from gateway.mqtt.embedded import EmbeddedBroker\n"
        "async def main():\n    await EmbeddedBroker().start(); print('up', flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stderr.read() == b"", "the broker holds the other end of stderr until it ends"
