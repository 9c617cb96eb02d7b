"""Topics: the gateway listens to its own protocol's and to nothing that only looks like them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import topics
from gateway.wire.topics import CHIP_TOPICS, ChipTopic, chip_topic

machine_ids = st.from_regex(r"[A-Z0-9][A-Z0-9-]{2,31}", fullmatch=True)


@given(machine_ids, st.sampled_from(CHIP_TOPICS))
def test_a_chip_s_topic_is_read_as_it_is_made(machine_id: str, kind: ChipTopic) -> None:
    assert chip_topic(topics.to_gateway(machine_id, kind)) == (machine_id, kind)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "weldgate/v1",
        "weldgate/v1/HJ-0001",
        "weldgate/v1/HJ-0001/",
        "weldgate/v1/HJ-0001/request/",
        "weldgate/v1/HJ-0001/request/x",
        "/weldgate/v1/HJ-0001/request",
        "weldgate/v1//request",
        "weldgate/v2/HJ-0001/request",
        "weldgate/v1x/HJ-0001/request",
        "weldgate/v10/HJ-0001/request",
        "xweldgate/v1/HJ-0001/request",
        "Weldgate/v1/HJ-0001/request",
        "weldgate/v1/HJ-0001/Request",
        "weldgate/v1/HJ-0001/requests",
        "weldgate/v1/HJ-0001/decision",
        "weldgate/v1/HJ-0001/command",
        "weldgate/v1/hj-0001/request",
        "weldgate/v1/HJ/request",
        "weldgate/v1/-HJ1/request",
        "weldgate/v1/HJ_0001/request",
        "weldgate/v1/HJ 0001/request",
        "weldgate/v1/HJ-0001\n/request",
        "weldgate/v1/HJ-0001\x00/request",
        "weldgate/v1/ＨＪ-0001/request",
        "weldgate/v1/+/request",
        "weldgate/v1/#",
        "weldgate/v1/HJ-0001/request\n",
        "weldgate/v1/" + "A" * 33 + "/request",
        "weldgate/v1/feed/330521/decision",
        "weldgate/v1/gateway/county/status",
        "$SYS/broker/clients/connected",
    ],
)
def test_any_other_topic_is_none_of_a_chip_s(topic: str) -> None:
    assert chip_topic(topic) is None


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["weldgate", "v1", "HJ-0001", "request", "+", "#", ""])).map("/".join)
)
def test_no_topic_raises(topic: str) -> None:
    found = chip_topic(topic)
    assert found is None or topics.to_gateway(*found) == topic


def test_the_gateway_subscribes_to_what_chips_publish_and_to_nothing_that_it_publishes_itself() -> None:
    assert topics.CHIP_FILTERS == (
        "weldgate/v1/+/request",
        "weldgate/v1/+/usage",
        "weldgate/v1/+/event",
        "weldgate/v1/+/status",
    )


def test_every_topic_of_the_gateway_is_the_protocol_s() -> None:
    assert topics.decision("HJ-0001") == "weldgate/v1/HJ-0001/decision"
    assert topics.command("HJ-0001") == "weldgate/v1/HJ-0001/command"
    assert topics.feed("330521", "decision") == "weldgate/v1/feed/330521/decision"
    assert topics.feed("330521", "usage") == "weldgate/v1/feed/330521/usage"
    assert topics.feed(None, "alert") == "weldgate/v1/feed/000000/alert"
    assert topics.gateway_status("county") == "weldgate/v1/gateway/county/status"


@given(machine_ids, st.from_regex(r"[0-9]{6}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True))
def test_what_the_gateway_publishes_is_never_read_as_a_chip_s(machine_id: str, division: str, instance: str) -> None:
    published = [topics.decision(machine_id), topics.command(machine_id), topics.gateway_status(instance)]
    published += [topics.feed(division, "decision"), topics.feed(division, "usage"), topics.feed(division, "alert")]
    assert [chip_topic(topic) for topic in published] == [None] * len(published)
