"""What each identity may say and hear: the same on Mosquitto by certificate, by password, and on the embedded broker.

Nobody waits to see that nothing comes: a message that is allowed is sent behind the one that is not, on the same
connection, and only the first may be missing when the second has arrived.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

import pytest

from gateway.wire import acl, topics
from tests.identity.conftest import BOARD, GATEWAY, INSTANCE, A, B, Stand
from tests.identity.peers import Peer

_numbers = count(1)


def fresh(what: str) -> bytes:
    """A payload that no other test has sent."""
    return f'{{"{what}":{next(_numbers)}}}'.encode()


@dataclass
class Hall:
    """Everybody on one broker, each subscribed to all that it may hear."""

    stand: Stand
    a: Peer
    b: Peer
    gateway: Peer
    board: Peer

    @property
    def everybody(self) -> tuple[Peer, ...]:
        return self.a, self.b, self.gateway, self.board

    def nobody_heard(self, payload: bytes) -> bool:
        return not any(payload == heard for peer in self.everybody for _, heard in peer.heard)

    def fence(self, sender: Peer, name: str) -> None:
        """All that ``sender`` sent before has been dealt with, and all that it led to has been heard."""
        last = fresh("fence")
        topic = topics.to_gateway(name, "event") if name in (A, B) else topics.gateway_status(INSTANCE)
        sender.publish(topic, last)
        (self.gateway if name in (A, B) else self.board).hears(topic, last)
        self.settle()

    def settle(self) -> None:
        """Whatever was on its way to anybody has arrived."""
        last = fresh("settled")
        for name, peer in ((A, self.a), (B, self.b)):
            self.gateway.publish(topics.decision(name), last)
            peer.hears(topics.decision(name), last)
        self.gateway.publish(topics.feed(None, "decision"), last)
        self.board.hears(topics.feed(None, "decision"), last)


@pytest.fixture
def hall(stand: Stand) -> Iterator[Hall]:
    with ExitStack() as stack:
        peers = [stack.enter_context(stand.peer(name)) for name in (A, B, GATEWAY, BOARD)]
        hall = Hall(stand, *peers)
        for name, peer in zip((A, B, GATEWAY, BOARD), peers, strict=True):
            for right in acl.rights_of(name):
                if right.access == "subscribe" and not (stand.name == "embedded" and right.topic.startswith("$")):
                    assert peer.subscribe(right.topic)
        yield hall


# --- what a machine may do --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", topics.CHIP_TOPICS)
def test_the_gateway_hears_what_a_machine_says(hall: Hall, kind: topics.ChipTopic) -> None:
    payload = fresh(kind)
    hall.a.publish(topics.to_gateway(A, kind), payload)
    hall.gateway.hears(topics.to_gateway(A, kind), payload)


REPLY = topics.replies(A).replace("#", "7")
OWN = {topics.decision(A), topics.command(A), REPLY}
"""All that a machine hears in these tests."""


@pytest.mark.parametrize("topic", sorted(OWN))
def test_a_machine_hears_its_own_decisions_commands_and_replies(hall: Hall, topic: str) -> None:
    payload = fresh("grant")
    hall.gateway.publish(topic, payload)
    hall.a.hears(topic, payload)


def test_a_machine_s_own_status_is_retained_and_its_will_replaces_it(hall: Hall) -> None:
    status, up, down = topics.to_gateway(B, "status"), fresh("up"), fresh("down")
    with hall.stand.peer(B, will=(status, down)) as other:
        other.publish(status, up, retain=True)
        hall.gateway.hears(status, up)
        other.vanish()
    hall.gateway.hears(status, down)
    with hall.stand.peer(GATEWAY) as late:
        late.subscribe(topics.to_gateway("+", "status"))
        assert late.hears(status, down).retained


# --- what a machine may not do ----------------------------------------------------------------------------------

FOREIGN_TOPICS = [
    *(topics.to_gateway(B, kind) for kind in topics.CHIP_TOPICS),
    topics.decision(A),
    topics.command(A),
    topics.decision(B),
    topics.command(B),
    REPLY,
    topics.replies(B).replace("#", "7"),
    topics.feed("330521", "decision"),
    topics.feed("330521", "alert"),
    topics.gateway_status(INSTANCE),
    f"{topics.ROOT}/{A}/other",
    f"{topics.ROOT}/{A}/request/more",
    f"{topics.ROOT}/{A.lower()}/request",
    f"{topics.ROOT}//request",
    f"/{topics.to_gateway(A, 'request')}",
]


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("topic", FOREIGN_TOPICS)
def test_what_a_machine_says_elsewhere_reaches_nobody(hall: Hall, topic: str, retain: bool) -> None:
    payload = fresh("foreign")
    hall.a.publish(topic, payload, retain=retain)
    hall.fence(hall.a, A)
    assert hall.nobody_heard(payload)


@pytest.mark.parametrize("qos", [0, 2])
def test_no_other_qos_gets_further(hall: Hall, qos: int) -> None:
    payload = fresh("foreign")
    hall.a.publish(topics.to_gateway(B, "request"), payload, qos=qos)
    hall.fence(hall.a, A)
    assert hall.nobody_heard(payload)


def test_a_machine_cannot_take_back_what_another_one_has_retained(hall: Hall) -> None:
    status, up = topics.to_gateway(B, "status"), fresh("up")
    hall.b.publish(status, up, retain=True)
    hall.gateway.hears(status, up)
    hall.a.publish(status, b"", retain=True)
    hall.fence(hall.a, A)
    with hall.stand.peer(GATEWAY) as late:
        late.subscribe(status)
        assert late.hears(status, up).retained


LISTENING = [
    topics.decision(B),
    topics.command(B),
    topics.replies(B),
    topics.replies("+"),
    topics.decision("+"),
    topics.to_gateway(B, "request"),
    topics.to_gateway(A, "request"),
    topics.to_gateway("+", "status"),
    f"{topics.ROOT}/#",
    f"{topics.ROOT}/{B}/#",
    f"{topics.ROOT}/feed/#",
    topics.gateway_status("+"),
    "#",
    "+/+/+/decision",
    "$SYS/#",
    topics.BROKER_DROPPED,
    f"$share/group/{topics.decision(B)}",
    "$share/group/#",
]


@pytest.mark.parametrize("topic_filter", LISTENING)
def test_a_machine_hears_nothing_that_is_not_its_own(hall: Hall, topic_filter: str) -> None:
    granted = hall.a.subscribe(topic_filter)
    assert not (granted and hall.stand.refuses_subscriptions)
    for topic in (topics.decision(B), topics.command(B), topics.replies(B)[:-1] + "7", topics.feed(None, "decision")):
        hall.gateway.publish(topic, fresh("foreign"))
    hall.b.publish(topics.to_gateway(B, "request"), fresh("foreign"))
    hall.fence(hall.b, B)
    hall.fence(hall.gateway, GATEWAY)
    assert {topic for topic, _ in hall.a.heard} <= OWN


def test_a_machine_does_not_hear_what_others_have_retained(hall: Hall) -> None:
    hall.b.publish(topics.to_gateway(B, "status"), fresh("up"), retain=True)
    hall.gateway.publish(topics.gateway_status(INSTANCE), fresh("up"), retain=True)
    hall.fence(hall.b, B)
    for topic_filter in (topics.to_gateway(B, "status"), "#", topics.gateway_status("+")):
        hall.a.subscribe(topic_filter)
    hall.settle()
    assert {topic for topic, _ in hall.a.heard} <= OWN


@pytest.mark.parametrize("topic", [topics.to_gateway(B, "status"), topics.decision(B), topics.gateway_status(INSTANCE)])
def test_a_last_will_elsewhere_reaches_nobody(hall: Hall, topic: str) -> None:
    foreign, own = fresh("foreign will"), fresh("own will")
    for will in ((topic, foreign), (topics.to_gateway(A, "status"), own)):
        with hall.stand.peer(A, will=will) as short:
            short.vanish()
    hall.gateway.hears(topics.to_gateway(A, "status"), own)
    with hall.stand.peer(A) as again:
        again.subscribe(topics.decision(A))
        hall.a = again
        hall.settle()
    assert hall.nobody_heard(foreign)


def test_another_machine_s_client_id_makes_nobody_that_machine(hall: Hall) -> None:
    drops, payload = hall.b.drops, fresh("pretended")
    with hall.stand.peer(A, client_id=B) as pretender:
        assert pretender.subscribe(topics.decision(A))
        pretender.subscribe(topics.decision(B))
        pretender.publish(topics.to_gateway(B, "request"), payload)
        hall.a = pretender
        hall.fence(pretender, A)
        assert topics.decision(B) not in {topic for topic, _ in pretender.heard}
    assert hall.b.drops == drops == 0, "the real machine keeps its connection"
    assert hall.nobody_heard(payload)


@pytest.mark.parametrize("client_id", ["+", "#", "HJ-0001/#", "%u", "weldgate-county", BOARD])
def test_no_client_id_widens_the_rights(hall: Hall, client_id: str) -> None:
    payload = fresh("widened")
    with hall.stand.peer(A, client_id=client_id) as wide:
        assert wide.subscribe(topics.decision(A))
        wide.subscribe("#")
        for topic in (topics.to_gateway(B, "request"), topics.decision(B), topics.feed(None, "decision")):
            wide.publish(topic, payload)
        hall.a = wide
        hall.fence(wide, A)
        assert {topic for topic, _ in wide.heard} <= OWN
    assert hall.gateway.drops == hall.board.drops == 0
    assert hall.nobody_heard(payload)


# --- gateway and reader -----------------------------------------------------------------------------------------


def test_the_gateway_reaches_everybody(hall: Hall) -> None:
    for name, peer in ((A, hall.a), (B, hall.b)):
        for topic in (topics.decision(name), topics.command(name)):
            payload = fresh("grant")
            hall.gateway.publish(topic, payload)
            peer.hears(topic, payload)
    for topic in (topics.feed("330521", "usage"), topics.gateway_status(INSTANCE)):
        payload = fresh("feed")
        hall.gateway.publish(topic, payload)
        hall.board.hears(topic, payload)


@pytest.mark.parametrize(
    "topic", [topics.to_gateway(A, "request"), topics.gateway_status("other"), f"{topics.ROOT}/{GATEWAY}/request"]
)
def test_the_gateway_speaks_neither_for_machines_nor_for_other_gateways(hall: Hall, topic: str) -> None:
    payload = fresh("foreign")
    hall.gateway.publish(topic, payload)
    hall.fence(hall.gateway, GATEWAY)
    assert hall.nobody_heard(payload)


@pytest.mark.parametrize(
    "topic",
    [
        topics.feed("330521", "decision"),
        topics.to_gateway(A, "request"),
        topics.decision(A),
        topics.gateway_status(INSTANCE),
        f"{topics.ROOT}/{BOARD}/request",
        f"{topics.ROOT}/{BOARD}/status",
    ],
)
def test_a_reader_says_nothing(hall: Hall, topic: str) -> None:
    payload = fresh("foreign")
    hall.board.publish(topic, payload, retain=True)
    hall.board.subscribe(f"{topics.ROOT}/feed/#")  # answered after what was published before
    hall.settle()
    assert hall.nobody_heard(payload)


@pytest.mark.parametrize("topic_filter", ["#", topics.decision("+"), topics.to_gateway("+", "request")])
def test_a_reader_hears_feeds_and_nothing_of_single_machines(hall: Hall, topic_filter: str) -> None:
    granted = hall.board.subscribe(topic_filter)
    assert not (granted and hall.stand.refuses_subscriptions)
    hall.a.publish(topics.to_gateway(A, "request"), fresh("foreign"))
    hall.fence(hall.a, A)
    assert not [topic for topic, _ in hall.board.heard if A in topic or B in topic]
