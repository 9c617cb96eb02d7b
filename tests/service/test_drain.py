"""SIGTERM: what is in flight is committed and answered, nothing new is taken, exit code 0 within seconds."""

import time

from tests.service import county
from tests.service.conftest import StartGateway
from tests.support.brokers import Mosquitto, free_port
from tests.support.chips import ROOT, Chips
from tests.support.gateway import Gateway
from tests.support.waiting import eventually

AT_ONCE_S = 3.0
"""Far below the limits for drain and goodbye: an orderly end does not run into one."""


def drained_within(gateway: Gateway, limit_s: float = AT_ONCE_S) -> None:
    began = time.monotonic()
    assert gateway.drain() == 0, gateway.log
    assert time.monotonic() - began < limit_s


def test_idle(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips:
        topic = f"{ROOT}/gateway/{gateway.instance}/status"
        chips.wait_on(topic, lambda content: content["online"])
        drained_within(gateway)
        chips.wait_on(topic, lambda content: not content["online"])


def test_while_the_broker_is_away(start_gateway: StartGateway) -> None:
    gateway = start_gateway(f"mqtt://127.0.0.1:{free_port()}").until_live()
    drained_within(gateway)


def test_after_the_broker_went_away(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    mosquitto.kill()
    eventually(lambda: gateway.not_ready("broker"), what="noticed")
    drained_within(gateway)


def test_in_flight_is_answered_and_what_comes_later_waits_at_the_broker(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips:
        with gateway.locked_database():
            before = [chips.request(county.machine(number), county.welder(number)) for number in range(1, 9)]
            gateway.settle()
            gateway.terminate()
            gateway.settle()
            later = [chips.request(county.machine(number), county.welder(number)) for number in range(9, 17)]
        assert gateway.ended() == 0, gateway.log
        answered = {seen.content["request_id"] for seen in chips.seen if seen.topic.endswith("/decision")}
        assert answered >= set(before)
        assert not answered & set(later)
        assert gateway.rows("SELECT count(*) AS n FROM ledger WHERE kind = 'decision'")[0]["n"] == len(before)
        gateway.start()
        for number, request_id in enumerate(later, 9):
            assert chips.answer(county.machine(number), request_id).content["outcome"] == "allow"
        gateway.intact()
