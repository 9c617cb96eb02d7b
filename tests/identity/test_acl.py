"""The table of rights by itself, and Mosquitto's access list made from it."""

import pytest

from gateway.mqtt.mosquitto import access_list
from gateway.wire import acl, topics

ROOT = topics.ROOT


@pytest.mark.parametrize(
    ("identity", "role"),
    [
        ("HJ-0001", "machine"),
        ("A" * 32, "machine"),
        ("weldgate-county-1", "gateway"),
        ("weldgate-HJ-0001", "gateway"),
        ("reader-board", "reader"),
        ("", None),
        ("hj-0001", None),
        ("HJ", None),
        ("A" * 33, None),
        ("HJ-0001\n", None),
        ("HJ/+", None),
        ("weldgate-", None),
        ("weldgate-a/b", None),
        ("weldgate-+", None),
        ("weldgate-x\n", None),
        ("WELDGATE-x", None),
        ("reader-", None),
        ("reader-#", None),
        ("chips", None),
    ],
)
def test_a_name_says_whose_it_is(identity: str, role: acl.Role | None) -> None:
    assert acl.role_of(identity) == role


@pytest.mark.parametrize("topic", [f"{ROOT}/chips/request", f"{ROOT}/HJ-0001/request", "x", ""])
def test_a_name_of_nobody_has_no_rights(topic: str) -> None:
    assert not acl.may_publish("chips", topic)
    assert not acl.may_subscribe("chips", topic)


@pytest.mark.parametrize(
    ("topic_filter", "allowed"),
    [
        (f"{ROOT}/+/request", True),
        (f"{ROOT}/HJ-0001/request", True),
        (f"$share/group/{ROOT}/+/request", True),
        (f"{ROOT}/+/decision", False),
        (f"{ROOT}/+/#", False),
        (f"{ROOT}/+", False),
        (f"{ROOT}/+/+", False),
        (f"{ROOT}/#", False),
        ("+/v1/+/request", False),
        (f"{ROOT}/#/request", False),
        (f"{ROOT}/+/request/#", False),
        ("$share/group/#", False),
        ("$share/group", False),
        ("#", False),
        ("", False),
        (topics.BROKER_DROPPED, True),
        (topics.BROKER_FIGURES, False),
    ],
)
def test_a_filter_is_allowed_if_all_that_it_matches_is(topic_filter: str, allowed: bool) -> None:
    assert acl.may_subscribe("weldgate-x", topic_filter) is allowed


@pytest.mark.parametrize(
    ("topic_filter", "allowed"),
    [
        (f"{ROOT}/feed/#", True),
        (f"{ROOT}/feed", True),
        (f"{ROOT}/feed/330521/+", True),
        (f"{ROOT}/feed/+/decision/#", True),
        (topics.BROKER_DROPPED, True),
        ("$SYS/#", False),
        (f"{ROOT}/gateway/+/status", True),
        (f"{ROOT}/gateway/#", False),
    ],
)
def test_a_subtree_may_be_heard_in_part(topic_filter: str, allowed: bool) -> None:
    assert acl.may_subscribe("reader-board", topic_filter) is allowed


@pytest.mark.parametrize("topic", [f"{ROOT}/+/decision", f"{ROOT}/feed/#", f"{ROOT}/feed/+/x", "#"])
def test_nothing_is_published_to_a_wildcard(topic: str) -> None:
    assert not acl.may_publish("weldgate-x", topic)


def test_a_reader_has_no_right_to_publish() -> None:
    assert {right.access for right in acl.RIGHTS["reader"]} == {"subscribe"}


def test_every_topic_of_the_protocol_that_a_chip_uses_is_in_the_table() -> None:
    mine = {(right.access, right.topic) for right in acl.rights_of("HJ-0001")}
    assert mine == {
        *(("publish", topics.to_gateway("HJ-0001", kind)) for kind in topics.CHIP_TOPICS),
        ("subscribe", topics.decision("HJ-0001")),
        ("subscribe", topics.command("HJ-0001")),
        ("subscribe", topics.replies("HJ-0001")),
    }


def test_mosquitto_s_list_holds_every_right_of_the_table_and_no_other() -> None:
    lines = [line for line in access_list(["x"], ["board"]).splitlines() if line and not line.startswith("#")]
    word = {"publish": "write", "subscribe": "read"}
    expected = []
    for name in ("weldgate-x", "reader-board"):
        expected += [f"user {name}", f"topic deny {ROOT}/{name}/#"]
        expected += [f"topic {word[right.access]} {right.topic}" for right in acl.rights_of(name)]
    expected += [
        f"pattern {word[right.access]} {right.topic.replace('{name}', '%u')}" for right in acl.RIGHTS["machine"]
    ]
    assert lines == expected
    assert "pattern write weldgate/v1/%u/request" in lines
    assert "topic write weldgate/v1/gateway/x/status" in lines
