"""Junk is counted, recorded without its content and acknowledged; the gateway goes on answering."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.clock import now_ms
from tests.service import county
from tests.service.conftest import StartGateway
from tests.support import packets
from tests.support.brokers import Mosquitto
from tests.support.chips import ROOT, Chips, a_request, new_id
from tests.support.fake_broker import Connection, FakeBroker, Packet
from tests.support.gateway import Gateway

MARK = b"MARK-OF-THE-CONTENT"
"""Stands in every junk message and must stand nowhere in the database."""
FUZZED = 400
SEED = 20_261_121


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


def still_answers(connection: Connection, number: int = 1) -> Packet:
    """A sound request is acknowledged and allowed; the decision."""
    request_id = new_id()
    payload = msgspec.json.encode(a_request(county.welder(number), request_id))
    connection.publish(f"{ROOT}/{county.machine(number)}/request", payload, 60_000)
    assert connection.next_about_chips().mid == 60_000
    answer = connection.next_about_chips()
    content = msgspec.json.decode(answer.payload)
    assert (content["request_id"], content["outcome"]) == (request_id, "allow")
    return answer


def of(kind: str, /, **fields: Any) -> bytes:
    """A sound message of a kind, but for ``fields``."""
    sound: dict[str, dict[str, Any]] = {
        "request": {key: value for key, value in a_request("P0001", "").items() if key != "request_id"},
        "event": {"event_id": new_id("evt"), "seq": 1, "kind": "boot"},
        "usage": {
            "session_id": new_id("ses"),
            "seq": 1,
            "at": now_ms(),
            "relay": "closed",
            "enabled_s": 1,
            "arc_s": 1,
            "idle_s": 0,
            "arcs": 1,
            "energy_wh": 1.0,
        },
        "status": {"online": True},
    }
    return msgspec.json.encode(sound[kind] | fields | {"firmware" if kind == "status" else "x": MARK.decode()})


JUNK = {
    "nothing": ("request", b""),
    "no JSON": ("request", b"hello " + MARK),
    "no UTF-8": ("request", b"\xff\xfe\x00" + MARK),
    "an array": ("request", b'["' + MARK + b'"]'),
    "a number": ("request", b"1"),
    "null": ("request", b"null"),
    "cut off": ("request", of("request", request_id="abcdefgh")[:-5]),
    "two objects": ("request", of("request", request_id="abcdefgh") * 2),
    "deep": ("request", b'{"x":' + b"[" * 2000),
    "an id too short": ("request", of("request", request_id="short")),
    "an id too long": ("request", of("request", request_id="x" * 65)),
    "an id with a line end": ("request", of("request", request_id="abcdefgh\n")),
    "an id that is a number": ("request", of("request", request_id=12345678)),
    "too large": ("request", of("request", request_id="abcdefgh", credential="x" * 4096)),
    "far too large": ("request", of("request", request_id="abcdefgh", credential="x" * 100_000)),
    "an event of an unknown kind": ("event", of("event", kind="party" + MARK.decode())),
    "an event with an odd seq": ("event", of("event", seq=-1)),
    "an event with half a number": ("event", of("event", seq=1.5)),
    "an event with a huge seq": ("event", of("event", seq=2**63)),
    "an event that is not UTF-8 where nobody looks": (
        "event",
        b'{"event_id":"abcdefgh","seq":1,"kind":"boot","x":"\xff\xfe' + MARK + b'"}',
    ),
    "an event without id": ("event", of("event", event_id=None)),
    "an event with a number for a reason": ("event", of("event", reason=5)),
    "usage below zero": ("usage", of("usage", arc_s=-1)),
    "usage beyond counting": ("usage", of("usage", energy_wh=1e300)),
    "usage with NaN": ("usage", of("usage").replace(b"1.0", b"NaN")),
    "usage of no session": ("usage", of("usage", session_id="")),
    "usage with an odd relay": ("usage", of("usage", relay=MARK.decode())),
    "a status that says nothing": ("status", b'{"firmware":"' + MARK + b'"}'),
    "a status with a word": ("status", of("status", online="yes")),
    "a status with a long chip": ("status", of("status", chip="x" * 65)),
    "a status cleared": ("status", b""),
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_counted_recorded_and_acknowledged(gateway: Gateway, connection: Connection, name: str) -> None:
    kind, payload = JUNK[name]
    counter = f'weldgate_rejected_total{{kind="{kind}"}}'
    before = gateway.metric(counter)
    connection.publish(f"{ROOT}/{county.machine(2)}/{kind}", payload, 7)
    acknowledged = connection.next_about_chips()
    assert (acknowledged.kind, acknowledged.mid) == (packets.PUBACK, 7)
    gateway.settle()
    assert gateway.metric(counter) == before + 1
    (record,) = gateway.rows("SELECT * FROM ledger ORDER BY seq DESC LIMIT 1")
    assert (record["kind"], record["machine_id"], record["outcome"]) == ("rejected", county.machine(2), None)
    body = msgspec.json.decode(record["record"])["body"]
    assert (body["kind"], body["size"]) == (kind, len(payload))
    assert MARK not in record["record"]
    still_answers(connection)


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        (b'{"request_id":"%b"}', "credential"),
        (b'{"request_id":"%b","credential":5,"challenge":"c","method":"scan"}', "credential"),
        (b'{"request_id":"%b","credential":"P0001","challenge":"","method":"scan"}', "challenge"),
        (b'{"request_id":"%b","credential":"P0001","challenge":"c","method":"MARK-OF-THE-CONTENT"}', "method"),
        (b'{"request_id":"%b","credential":"P0001","challenge":"c","method":"scan","at":"noon"}', "at"),
        (b'{"request_id":"%b","credential":"P0001","challenge":"c","method":"scan","x":"\xff"}', "payload"),
    ],
)
def test_a_malformed_request_whose_id_can_be_read_is_refused_as_such(
    gateway: Gateway, connection: Connection, payload: bytes, wrong: str
) -> None:
    request_id = new_id()
    connection.publish(f"{ROOT}/{county.machine(3)}/request", payload % request_id.encode(), 8)
    assert connection.next_about_chips().mid == 8
    answer = msgspec.json.decode(connection.next_about_chips().payload)
    assert (answer["request_id"], answer["outcome"], answer["grant"]) == (request_id, "deny", None)
    codes = [reason["code"] for reason in answer["reasons"]]
    assert "request_malformed" in codes
    (record,) = gateway.decisions(request_id)
    assert wrong in msgspec.json.decode(record["record"])["body"]["asked"]["malformed"]
    assert MARK not in record["record"]


@pytest.mark.parametrize(
    "topic",
    [
        f"{ROOT}/hj-0001/request",
        f"{ROOT}/HJ 0001/request",
        f"{ROOT}/HJ/request",
        f"{ROOT}/{'X' * 33}/request",
        f"{ROOT}/焊机一号/request",
        f"{ROOT}//request",
        f"{ROOT}/HJ-0001\n/request",
        f"{ROOT}/HJ-0001/decision",
        f"{ROOT}/HJ-0001/request/more",
        "weldgate/v2/HJ-0001/request",
        "elsewhere",
        "",
    ],
)
def test_a_topic_that_is_none_of_the_protocols_is_dropped(gateway: Gateway, connection: Connection, topic: str) -> None:
    before = gateway.metric('weldgate_rejected_total{kind="unknown"}')
    connection.publish(topic, of("request", request_id=new_id()), 9)
    assert connection.next_about_chips().mid == 9
    gateway.settle()
    assert gateway.metric('weldgate_rejected_total{kind="unknown"}') == before + 1
    still_answers(connection)


def test_a_topic_that_is_not_utf_8_is_dropped(gateway: Gateway, connection: Connection) -> None:
    topic = b"weldgate/v1/\xff\xfe/request"
    connection.publish(topic, of("request", request_id=new_id()), 10)
    assert connection.next_about_chips().mid == 10
    still_answers(connection)


@pytest.mark.parametrize("kind", ["request", "event", "usage"])
def test_a_retained_message_is_a_replay(gateway: Gateway, connection: Connection, kind: str) -> None:
    message_id = new_id()
    before = gateway.metric(f'weldgate_rejected_total{{kind="{kind}"}}')
    connection.publish(f"{ROOT}/{county.machine(4)}/{kind}", of(kind, request_id=message_id), 11, retain=True)
    assert connection.next_about_chips().mid == 11
    still_answers(connection)
    assert gateway.decisions(message_id) == []
    assert gateway.metric(f'weldgate_rejected_total{{kind="{kind}"}}') == before + 1


def test_a_retained_status_is_as_good_as_any(gateway: Gateway, connection: Connection) -> None:
    connection.publish(f"{ROOT}/{county.machine(5)}/status", of("status", chip="WG-5"), 12, retain=True)
    assert connection.next_about_chips().mid == 12
    (row,) = gateway.rows("SELECT chip, online FROM chips WHERE machine_id = ?", county.machine(5))
    assert (row["chip"], row["online"]) == ("WG-5", 1)


def test_a_message_marked_as_a_duplicate_is_the_first_if_the_first_was_lost(
    gateway: Gateway, connection: Connection
) -> None:
    request_id = new_id()
    payload = msgspec.json.encode(a_request(county.welder(6), request_id))
    topic = f"{ROOT}/{county.machine(6)}/request"
    connection.publish(topic, payload, 13, dup=True)
    first = connection.next_about_chips(), connection.next_about_chips()
    connection.publish(topic, payload, 13, dup=True)
    again = connection.next_about_chips(), connection.next_about_chips()
    assert first[0].mid == again[0].mid == 13
    assert first[1].payload == again[1].payload
    assert len(gateway.decisions(request_id)) == 1


def fuzz() -> Iterator[tuple[str, bytes]]:
    """Sound messages with bytes changed, cut, doubled and put in; the same ones at each run."""
    chance = random.Random(SEED)
    for _ in range(FUZZED):
        kind = chance.choice(("request", "event", "usage", "status"))
        content = bytearray(of(kind, **({"request_id": new_id()} if kind == "request" else {})))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(content) + 1)
            how = chance.randrange(4)
            if how == 0:
                content[at:at] = chance.randbytes(chance.randint(1, 8))
            elif how == 1:
                del content[at : at + chance.randint(1, 20)]
            elif how == 2:
                content[at:at] = content[at : at + 20]
            else:
                content[at : at + 1] = chance.choice((b'"', b"{", b"}", b"[", b",", b"-", b"1e9", b"\\u0000", b"\xc3"))
        yield kind, bytes(content)


def test_fuzzed_messages_are_all_acknowledged_in_order(gateway: Gateway, connection: Connection) -> None:
    sent = list(fuzz())
    for mid, (kind, payload) in enumerate(sent, 1):
        connection.publish(f"{ROOT}/{county.machine(7)}/{kind}", payload, mid)
    acknowledged: list[int] = []
    while len(acknowledged) < len(sent):
        packet = connection.next_about_chips()
        if packet.kind == packets.PUBACK:
            acknowledged.append(packet.mid)
        else:
            assert msgspec.json.decode(packet.payload)["request_id"]
    assert acknowledged == list(range(1, len(sent) + 1))


def test_after_all_that_it_answers_and_its_ledger_is_intact(gateway: Gateway, connection: Connection) -> None:
    """Runs last: what came before has left its records."""
    while not connection.is_silent(0.3):
        pass
    still_answers(connection, 8)
    assert gateway.alive
    assert "Traceback" not in gateway.log
    assert gateway.metric("weldgate_observer_failures") == 0
    gateway.intact()


def test_a_request_retained_at_the_broker_is_dropped_at_every_start(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    with Chips(mosquitto.port) as chips:
        before = new_id()
        topic = f"{ROOT}/{county.machine(1)}/request"
        chips.publish(topic, msgspec.json.encode(a_request(county.welder(1), before)), retain=True)
        gateway = start_gateway(mosquitto.url).until_ready()
        during = new_id()
        chips.publish(topic, msgspec.json.encode(a_request(county.welder(1), during)), retain=True)
        assert chips.answer(county.machine(1), during).content["outcome"] == "allow", "a broker tells it as new"
        assert gateway.decisions(before) == []
        gateway.kill()
        gateway.start().until_ready()
        assert chips.ask(county.machine(2), county.welder(2)).outcome == "allow"
        assert len(chips.answers(county.machine(1), during)) == 1, "as retained it is a replay: no answer"
        assert gateway.metric('weldgate_rejected_total{kind="request"}') == 1
