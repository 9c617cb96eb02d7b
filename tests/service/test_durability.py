"""Commit, then acknowledge, then answer: seen packet by packet at a broker that hides nothing."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.service import county
from tests.service.conftest import StartGateway
from tests.support import packets
from tests.support.chips import ROOT, a_request, new_id
from tests.support.fake_broker import Connection, FakeBroker
from tests.support.gateway import Gateway
from tests.support.waiting import eventually

LONGER_THAN_A_COMMIT_S = 1.5
MANY = 20


@pytest.fixture(scope="module")
def broker() -> Iterator[FakeBroker]:
    with FakeBroker() as broker:
        yield broker


@pytest.fixture(scope="module")
def gateway(broker: FakeBroker, start_gateway_of_module: StartGateway) -> Gateway:
    return start_gateway_of_module(broker.url)


@pytest.fixture(scope="module")
def connection(broker: FakeBroker, gateway: Gateway) -> Iterator[Connection]:
    with broker.client() as connection:
        gateway.until_ready()
        yield connection


def scan(connection: Connection, number: int, mid: int, **flags: Any) -> str:
    """A request of machine and welder ``number`` arrives with packet id ``mid``."""
    request_id = new_id()
    payload = msgspec.json.encode(a_request(county.welder(number), request_id))
    connection.publish(f"{ROOT}/{county.machine(number)}/request", payload, mid, **flags)
    return request_id


def test_neither_acknowledgement_nor_answer_before_the_commit_then_acknowledgement_first(
    gateway: Gateway, connection: Connection
) -> None:
    with gateway.locked_database():
        request_id = scan(connection, 1, mid=77)
        assert connection.is_silent(LONGER_THAN_A_COMMIT_S)
        assert gateway.decisions(request_id) == []
    acknowledgement = connection.next_about_chips()
    assert (acknowledgement.kind, acknowledgement.mid) == (packets.PUBACK, 77)
    assert gateway.decisions(request_id) != [], "what is acknowledged is on record"
    answer = connection.next_about_chips()
    assert (answer.kind, answer.topic) == (packets.PUBLISH, f"{ROOT}/{county.machine(1)}/decision")
    assert msgspec.json.decode(answer.payload)["request_id"] == request_id


def test_acknowledgements_go_out_in_the_order_of_receipt(gateway: Gateway, connection: Connection) -> None:
    mids = [900 - number for number in range(MANY)]
    with gateway.locked_database():
        asked = [scan(connection, 2 + number, mid) for number, mid in enumerate(mids)]
        assert connection.is_silent(LONGER_THAN_A_COMMIT_S)
    came = [connection.next_about_chips() for _ in range(2 * MANY)]
    assert [packet.mid for packet in came if packet.kind == packets.PUBACK] == mids
    answers = [packet for packet in came if packet.kind == packets.PUBLISH]
    assert [msgspec.json.decode(packet.payload)["request_id"] for packet in answers] == asked
    for request_id, mid in zip(asked, mids, strict=True):
        answered = [packet.kind == packets.PUBLISH and request_id.encode() in packet.payload for packet in came]
        acknowledged = [packet.kind == packets.PUBACK and packet.mid == mid for packet in came]
        assert acknowledged.index(True) < answered.index(True)


def test_a_decision_goes_out_at_qos_1_and_never_retained(gateway: Gateway, connection: Connection) -> None:
    scan(connection, 30, mid=1)
    assert connection.next_about_chips().kind == packets.PUBACK
    assert connection.next_about_chips().first == packets.PUBLISH | 0x02


def test_a_request_at_qos_0_is_answered_and_has_nothing_to_acknowledge(
    gateway: Gateway, connection: Connection
) -> None:
    request_id = new_id()
    payload = msgspec.json.encode(a_request(county.welder(31), request_id))
    connection.publish(f"{ROOT}/{county.machine(31)}/request", payload, 0, qos=0)
    answer = connection.next_about_chips()
    assert answer.kind == packets.PUBLISH
    assert request_id.encode() in answer.payload
    assert connection.is_silent(LONGER_THAN_A_COMMIT_S)


def test_what_was_not_acknowledged_on_a_lost_connection_is_not_acknowledged_on_the_next(
    gateway: Gateway, broker: FakeBroker, connection: Connection
) -> None:
    """Packet ids start anew: the old receipt would acknowledge somebody else's message. It comes again instead."""
    with gateway.locked_database():
        request_id = scan(connection, 32, mid=5)
        assert connection.is_silent(0.3)
        connection.socket.close()
        again = broker.client()
    with again:
        eventually(lambda: gateway.decisions(request_id), what="committed")
        answer = again.next_about_chips()
        assert answer.kind == packets.PUBLISH, "no acknowledgement for a packet id of the earlier connection"
        assert request_id.encode() in answer.payload
        payload = msgspec.json.encode(a_request(county.welder(32), request_id))
        again.publish(f"{ROOT}/{county.machine(32)}/request", payload, 1, dup=True)
        acknowledgement, repeated = again.next_about_chips(), again.next_about_chips()
        assert (acknowledgement.kind, acknowledgement.mid) == (packets.PUBACK, 1)
        assert repeated.payload == answer.payload
        assert len(gateway.decisions(request_id)) == 1
