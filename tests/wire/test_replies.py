"""Where answers go, and what they carry back."""

import pytest

from gateway.wire import topics
from gateway.wire.inbound import Inbound, Outbound
from gateway.wire.replies import LONGEST_CORRELATION_BYTES, LONGEST_TOPIC, reply_to

OWN = "weldgate/v1/HJ-0001/"


def reply(response_topic: str | None = None, correlation: bytes | None = None) -> Outbound:
    inbound = Inbound(f"{OWN}request", b"{}", False, 0, (1, 1), response_topic, correlation)
    return reply_to(inbound, "HJ-0001", b"answer", 30)


def test_without_a_wish_it_is_the_decision_topic() -> None:
    assert reply() == Outbound(f"{OWN}decision", b"answer", expires_s=30)


@pytest.mark.parametrize("name", ["reply", "reply/7", "reply/答复", "decision", "reply/" + "r" * (250 - len(OWN))])
def test_a_topic_of_its_own_is_honoured(name: str) -> None:
    assert reply(OWN + name).topic == OWN + name


@pytest.mark.parametrize(
    "topic",
    [
        pytest.param("", id="empty"),
        pytest.param("weldgate/v1/HJ-0002/reply", id="of another machine"),
        pytest.param("weldgate/v1/HJ-00010/reply", id="of a machine whose id begins alike"),
        pytest.param("weldgate/v1/feed/330521/decision", id="the feed"),
        pytest.param("weldgate/v1/gateway/one/status", id="a gateway's"),
        pytest.param("elsewhere", id="outside"),
        pytest.param("weldgate/v1/HJ-0001", id="nothing below its own"),
        pytest.param(OWN, id="an empty name"),
        pytest.param(f"{OWN}reply//7", id="an empty level"),
        pytest.param(f"{OWN}reply/", id="an empty last level"),
        pytest.param(f"{OWN}+", id="one wildcard"),
        pytest.param(f"{OWN}reply/#", id="the other wildcard"),
        pytest.param(f"{OWN}reply\0", id="with a zero"),
        pytest.param(f"{OWN}reply\n", id="with a line's end"),
        pytest.param(OWN + "r" * (LONGEST_TOPIC + 1 - len(OWN)), id="too long"),
        *[pytest.param(OWN + kind, id=f"where chips publish: {kind}") for kind in topics.CHIP_TOPICS],
        pytest.param(f"{OWN}request/more", id="below where chips publish"),
        pytest.param(f"{OWN}command", id="where commands are expected"),
        pytest.param(f"{OWN}decision/mine", id="below its decisions"),
        pytest.param(f"{OWN}mine", id="of which no broker's access list knows"),
    ],
)
def test_any_other_topic_is_passed_over(topic: str) -> None:
    assert reply(topic).topic == f"{OWN}decision"


@pytest.mark.parametrize("correlation", [b"", b"\0\xff", b"x" * LONGEST_CORRELATION_BYTES])
def test_correlation_data_come_back_unchanged(correlation: bytes) -> None:
    assert reply(correlation=correlation).correlation == correlation
    assert reply(f"{OWN}reply", correlation).correlation == correlation


def test_correlation_data_that_are_too_long_are_left_out_and_the_answer_goes_all_the_same() -> None:
    answer = reply(f"{OWN}reply", b"x" * (LONGEST_CORRELATION_BYTES + 1))
    assert answer == Outbound(f"{OWN}reply", b"answer", expires_s=30)
