"""The brokers that other tests stand on do what those tests suppose."""

from tests.support.brokers import Limits, Mosquitto
from tests.support.raw_client import RawClient

TOPIC = "weldgate/v1/HJ-0001/request"
MANY = 2_000
"""Twice Mosquitto's own limit, at which it begins to drop."""


def test_mosquitto_keeps_what_a_morning_brings(mosquitto: Mosquitto) -> None:
    with RawClient(mosquitto.port, "gate", clean=False) as gate:
        gate.subscribe(TOPIC)
        gate.leave()
    with RawClient(mosquitto.port, "chip") as chip:
        for number in range(MANY):
            chip.publish(TOPIC, b"%d" % number)
    with RawClient(mosquitto.port, "gate", clean=False) as gate:
        assert [int(gate.receive().payload) for _ in range(MANY)] == list(range(MANY))


def test_mosquitto_comes_back_on_its_port_after_a_power_failure(mosquitto: Mosquitto) -> None:
    with RawClient(mosquitto.port, "chip") as chip:
        mosquitto.kill()
        assert chip.closed_by_broker()
    mosquitto.start()
    with RawClient(mosquitto.port, "chip") as chip:
        assert chip.subscribe(TOPIC) == 1


def test_mosquitto_with_persistence_keeps_a_queue_across_a_restart(mosquitto: Mosquitto) -> None:
    broker = Mosquitto(Limits(persistence=True)).start()
    try:
        with RawClient(broker.port, "gate", clean=False) as gate:
            gate.subscribe(TOPIC)
            gate.leave()
        with RawClient(broker.port, "chip") as chip:
            chip.publish(TOPIC, b"kept")
        broker.restart()
        with RawClient(broker.port, "gate", clean=False) as gate:
            assert gate.receive().payload == b"kept"
    finally:
        broker.close()
