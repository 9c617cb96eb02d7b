"""The same request id gets the byte-identical decision, for ever, and never a second session."""

import msgspec

from tests.service.conftest import Service, StartGateway
from tests.support.brokers import Mosquitto
from tests.support.chips import ROOT, Chips, a_request, new_id
from tests.support.waiting import eventually

MORE_THAN_IS_REMEMBERED = 4_300
"""Above the number of answers that the gateway keeps in memory."""


def one_of_each(service: Service, machine: str, request_id: str) -> None:
    """One record, one session."""
    assert len(service.gateway.decisions(request_id)) == 1
    assert len(service.gateway.sessions(machine)) == 1


def test_a_repeat_gets_the_same_bytes(service: Service) -> None:
    machine, welder = service.pair()
    request_id = service.chips.request(machine, welder)
    first = service.chips.answer(machine, request_id)
    service.chips.request(machine, welder, request_id)
    assert service.chips.answer(machine, request_id, number=2).payload == first.payload
    one_of_each(service, machine, request_id)
    assert service.gateway.metric('weldgate_repeats_total{kind="decision"}') >= 1


def test_a_refusal_is_repeated_too_though_the_welder_could_weld_by_now(service: Service) -> None:
    (machine, welder), (_, other) = service.pair(), service.pair()
    session_id = service.chips.ask(machine, other).session_id
    request_id = service.chips.request(machine, welder)
    refused = service.chips.answer(machine, request_id)
    assert refused.content["outcome"] == "deny"
    service.chips.event(machine, "locked", session_id)
    service.chips.request(machine, welder, request_id)
    assert service.chips.answer(machine, request_id, number=2).payload == refused.payload
    assert service.chips.ask(machine, welder).outcome == "allow", "a new request is a new decision"


def test_repeats_that_arrive_together_get_the_same_bytes(service: Service) -> None:
    machine, welder = service.pair()
    request_id, repeats = new_id(), 25
    payload = msgspec.json.encode(a_request(welder, request_id))
    with service.gateway.locked_database():  # so that they share a batch
        for _ in range(repeats):
            service.chips.send(f"{ROOT}/{machine}/request", payload)
        eventually(lambda: service.gateway.metric('weldgate_queue_messages{queue="scribe"}') > 0, what="waiting")
    service.chips.answer(machine, request_id, number=repeats)
    assert len({seen.payload for seen in service.chips.answers(machine, request_id)}) == 1
    one_of_each(service, machine, request_id)


def test_the_same_id_with_other_content_gets_the_same_bytes(service: Service) -> None:
    machine, welder = service.pair()
    request_id = service.chips.request(machine, "P-EXPIRED")
    first = service.chips.answer(machine, request_id)
    service.chips.request(machine, welder, request_id, challenge="another challenge")
    assert service.chips.answer(machine, request_id, number=2).payload == first.payload
    service.chips.publish(f"{ROOT}/{machine}/request", b'{"request_id":"%b"}' % request_id.encode())
    assert service.chips.answer(machine, request_id, number=3).payload == first.payload
    assert len(service.gateway.decisions(request_id)) == 1
    assert service.gateway.sessions(machine) == []


def test_the_same_id_from_another_machine_is_another_request(service: Service) -> None:
    (machine, welder), (other_machine, other_welder) = service.pair(), service.pair()
    request_id = service.chips.request(machine, welder)
    service.chips.request(other_machine, other_welder, request_id)
    mine, other = service.chips.answer(machine, request_id), service.chips.answer(other_machine, request_id)
    assert mine.content["outcome"] == other.content["outcome"] == "allow"
    assert mine.content["session_id"] != other.content["session_id"]
    assert len(service.gateway.decisions(request_id)) == 2


def test_a_repeated_event_is_recorded_once(service: Service) -> None:
    machine, _ = service.pair()
    event_id = service.chips.event(machine, "tamper")
    for _ in range(3):
        service.chips.event(machine, "tamper", event_id=event_id)
    last = service.chips.event(machine, "tamper")
    eventually(lambda: service.gateway.rows("SELECT 1 FROM ledger WHERE message_id = ?", last), what="recorded")
    assert len(service.gateway.rows("SELECT 1 FROM ledger WHERE message_id = ?", event_id)) == 1


def test_an_answer_that_memory_has_forgotten_comes_from_the_ledger(service: Service) -> None:
    machine, welder = service.pair()
    request_id = service.chips.request(machine, welder)
    first = service.chips.answer(machine, request_id)
    others = [new_id() for _ in range(MORE_THAN_IS_REMEMBERED)]
    for other in others:
        service.chips.send(f"{ROOT}/HJ-9999/request", msgspec.json.encode(a_request(welder, other)))
    service.chips.wait_on(f"{ROOT}/HJ-9999/decision", lambda content: content["request_id"] == others[-1], 60)
    service.chips.request(machine, welder, request_id)
    assert service.chips.answer(machine, request_id, number=2).payload == first.payload
    one_of_each(service, machine, request_id)
    answered = {seen.content["request_id"] for seen in service.chips.on(f"{ROOT}/HJ-9999/decision")}
    assert answered >= set(others)


def test_a_repeat_after_a_power_failure_gets_the_same_bytes(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips:
        allowed, refused = chips.request("HJ-0001", "P0001"), chips.request("HJ-0002", "P-EXPIRED")
        first = chips.answer("HJ-0001", allowed).payload, chips.answer("HJ-0002", refused).payload
        gateway.kill()
        gateway.start()  # not waited for: the repeats are already there when it connects
        chips.request("HJ-0001", "P0001", allowed)
        chips.request("HJ-0002", "P0002", refused)
        again = (
            chips.answer("HJ-0001", allowed, number=2).payload,
            chips.answer("HJ-0002", refused, number=2).payload,
        )
        assert again == first
        assert len(gateway.decisions(allowed)) == len(gateway.decisions(refused)) == 1
        assert len(gateway.sessions("HJ-0001")) == 1
        gateway.intact()
