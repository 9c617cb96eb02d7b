"""MQTT 5 properties written and read: against paho's own, and against anything at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import properties
from paho.mqtt.packettypes import PacketTypes

from gateway.mqtt.properties import LARGEST_PACKET_BYTES, NONE, asked, publish_properties, span, variable_length

Properties: Any = properties.Properties
"""paho's own; it has no types."""
VariableByteIntegers: Any = properties.VariableByteIntegers
LONGEST_LENGTH = 268_435_455
SEVEN_BITS = 128
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=200)


@st.composite
def paho_properties(draw: st.DrawFn) -> Any:
    """Whatever a PUBLISH may carry."""
    made = Properties(PacketTypes.PUBLISH)
    values = {
        "PayloadFormatIndicator": st.integers(0, 1),
        "MessageExpiryInterval": st.integers(0, 2**32 - 1),
        "ContentType": texts,
        "ResponseTopic": texts,
        "CorrelationData": st.binary(max_size=200),
        "SubscriptionIdentifier": st.lists(st.integers(1, LONGEST_LENGTH), min_size=1, max_size=3),
        "TopicAlias": st.integers(1, 65_535),
        "UserProperty": st.lists(st.tuples(texts, texts), min_size=1, max_size=3),
    }
    for name in draw(st.sets(st.sampled_from(sorted(values)))):
        setattr(made, name, draw(values[name]))
    return made


@given(paho_properties())
def test_what_paho_writes_is_read(theirs: Any) -> None:
    packed = bytes(theirs.pack()) + b"payload"
    found = span(packed, 0)
    assert found is not None
    assert packed[found[1] :] == b"payload"
    expected = getattr(theirs, "ResponseTopic", None), getattr(theirs, "CorrelationData", None)
    assert asked(packed[slice(*found)]) == expected


@given(st.none() | st.integers(0, 2**32 - 1), st.none() | st.binary(max_size=300))
def test_what_is_written_paho_reads(expires_s: int | None, correlation: bytes | None) -> None:
    packed = publish_properties(expires_s, correlation)
    theirs, size = Properties(PacketTypes.PUBLISH).unpack(packed)
    assert size == len(packed)
    assert getattr(theirs, "MessageExpiryInterval", None) == expires_s
    assert getattr(theirs, "CorrelationData", None) == correlation


def test_nothing_to_say_is_one_byte() -> None:
    assert publish_properties(None, None) == NONE


@pytest.mark.parametrize(("expires_s", "correlation"), [(2**32, None), (-1, None), (None, b"x" * 65_536)])
def test_what_the_format_cannot_hold_is_refused(expires_s: int | None, correlation: bytes | None) -> None:
    with pytest.raises(OverflowError):
        publish_properties(expires_s, correlation)


@given(st.integers(0, LONGEST_LENGTH))
def test_lengths_are_those_of_paho(value: int) -> None:
    assert variable_length(value) == VariableByteIntegers.encode(value)
    found = span(variable_length(value), 0)
    assert found is not None
    assert found[1] - found[0] == value


@given(st.binary(max_size=100))
def test_anything_at_all_is_read_without_an_error(data: bytes) -> None:
    span(data, 0)
    topic, correlation = asked(data)
    assert topic is None or topic.encode() in data
    assert correlation is None or correlation in data


@given(paho_properties(), st.data())
def test_properties_cut_short_ask_for_nothing(theirs: Any, data: st.DataObject) -> None:
    packed = bytes(theirs.pack())
    found = span(packed, 0)
    assert found is not None
    whole = packed[found[0] :]
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    topic, correlation = asked(cut)
    assert topic in (None, getattr(theirs, "ResponseTopic", None))
    assert correlation in (None, getattr(theirs, "CorrelationData", None))


def test_the_largest_packet_is_the_largest_length_and_what_stands_before_it() -> None:
    assert LARGEST_PACKET_BYTES == LONGEST_LENGTH + 5
    assert len(variable_length(LONGEST_LENGTH)) == 4
    assert len(variable_length(SEVEN_BITS)) == 2
