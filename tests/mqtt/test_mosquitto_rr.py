"""``mosquitto_rr``, which knows nothing of the project, asks a real gateway by MQTT 5 and gets its answer."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.conftest import StartGateway, started_mosquitto
from tests.support.brokers import Mosquitto
from tests.support.chips import ROOT, Chips, a_request, new_id

MACHINE, WELDER = "HJ-0001", "P0001"
REPLY = f"{ROOT}/{MACHINE}/reply/7"
START_BY_S = 30


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    broker = started_mosquitto()
    yield broker
    broker.close()


def ask(broker: Mosquitto, request: dict[str, Any], response_topic: str, *options: str, wait_s: int = 10) -> str:
    """One request; what it prints of the answer: topic, correlation data, expiry and payload, each on a line."""
    program = shutil.which("mosquitto_rr")
    assert program is not None, "mosquitto_rr is not installed: as root `apt-get install mosquitto-clients`"
    command = [program, "-V", "5", "-p", str(broker.port), "-q", "1", "-W", str(wait_s), "-F", "%t\\n%D\\n%E\\n%p"]
    command += ["-t", f"{ROOT}/{MACHINE}/request", "-e", response_topic, "-m", json.dumps(request), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout


def test_it_gets_its_answer_where_it_wants_it_with_its_correlation_data_and_an_expiry(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    start_gateway(mosquitto.url).until_ready()
    request = a_request(WELDER, new_id())
    said = ask(mosquitto, request, REPLY, "-D", "publish", "correlation-data", "question-7")
    topic, correlation, expiry, payload = said.splitlines()
    answer = json.loads(payload)
    assert (topic, correlation) == (REPLY, "question-7")
    assert (answer["request_id"], answer["outcome"]) == (request["request_id"], "allow")
    assert 0 < int(expiry) <= START_BY_S


def test_by_3_1_1_it_gets_the_same_answer_on_the_topic_of_decisions(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    start_gateway(mosquitto.url).until_ready()
    request = a_request(WELDER, new_id())
    decisions = f"{ROOT}/{MACHINE}/decision"
    first = ask(mosquitto, request, decisions).splitlines()
    again = ask(mosquitto, request, decisions, "-V", "311").splitlines()
    assert (first[0], again[0]) == (decisions, decisions)
    assert first[-1] == again[-1], "a repeat gets the same bytes"


def test_a_topic_of_another_machine_gets_nothing(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    start_gateway(mosquitto.url).until_ready()
    request = a_request(WELDER, new_id())
    with Chips(mosquitto.port) as chips:
        assert ask(mosquitto, request, f"{ROOT}/HJ-0002/reply", wait_s=2) == ""
        assert chips.answer(MACHINE, request["request_id"]).content["outcome"] == "allow"


def test_refusals_have_no_expiry(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    """A grant ends at its start-by; what has to be put right is true for longer."""
    start_gateway(mosquitto.url).until_ready()
    said = ask(mosquitto, a_request("P-EXPIRED", new_id()), REPLY)
    assert '"outcome":"deny"' in said
    assert said.splitlines()[2] == ""


def test_a_gateway_told_to_speak_3_1_1_answers_on_the_topic_of_decisions(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url, options=("--mqtt", "3.1.1")).until_ready()
    (connected,) = [event for event in gateway.events("recovered") if event["where"] == "broker"]
    assert connected["detail"].endswith("MQTT 3.1.1")
    request = a_request(WELDER, new_id())
    with Chips(mosquitto.port) as chips:
        assert ask(mosquitto, request, REPLY, wait_s=2) == ""
        assert chips.answer(MACHINE, request["request_id"]).content["outcome"] == "allow"
