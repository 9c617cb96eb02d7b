"""Payloads: what is sound comes back as it went, and junk is refused without a trace of what it held."""

import json
import math
from typing import Any, get_args

import msgspec
import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from gateway.core.model import Event, Request, Status, Usage
from gateway.wire.codec import MAX_PAYLOAD_BYTES, MalformedMessage, decode, encode, request_id_of
from gateway.wire.messages import FeedUsage
from gateway.wire.topics import CHIP_TOPICS, ChipTopic
from tests.wire.messages import AT, FROM_CHIPS, WITHOUT_FRACTIONS, ids
from tests.wire.test_golden import golden

kinds = st.sampled_from(CHIP_TOPICS)
SOUND: dict[ChipTopic, bytes] = {kind: golden(kind) for kind in CHIP_TOPICS}
ID_NUMBER = "990000199001010017"


# --- sound ------------------------------------------------------------------------------------------------------


@given(st.data(), kinds)
def test_every_message_of_a_chip_comes_back_as_it_went(data: st.DataObject, kind: ChipTopic) -> None:
    message = data.draw(FROM_CHIPS[kind])
    payload = encode(message)
    if len(payload) <= MAX_PAYLOAD_BYTES:
        assert decode(kind, payload) == message


@given(
    st.data(),
    kinds,
    st.dictionaries(st.text(max_size=8).map(lambda name: f"x-{name}"), st.text(max_size=20), max_size=3),
)
def test_fields_that_nobody_knows_are_passed_over(data: st.DataObject, kind: ChipTopic, more: dict[str, str]) -> None:
    message = data.draw(FROM_CHIPS[kind])
    payload = json.dumps(msgspec.to_builtins(message) | more).encode()
    if len(payload) <= MAX_PAYLOAD_BYTES:
        assert decode(kind, payload) == message


def test_white_space_and_the_order_of_fields_mean_nothing() -> None:
    request = b'\n{ "method" : "scan",\t"at":null, "challenge":"c", "credential":"P1", "request_id":"abcdefgh"}\r\n'
    assert decode("request", request) == Request("abcdefgh", "P1", "c", "scan", None)


def test_a_last_will_needs_nothing_but_online() -> None:
    assert decode("status", b'{"online": false}') == Status(online=False)


def test_of_a_field_that_comes_twice_the_last_one_counts() -> None:
    twice = b'{"online": true, "online": false}'
    assert decode("status", twice) == Status(online=False)


@pytest.mark.parametrize("size", [1, 2, 4095, 4096])
def test_a_payload_of_exactly_4_kib_is_read(size: int) -> None:
    payload = b'{"online": true}'.ljust(size)[: max(size, 16)]
    assert decode("status", payload) == Status(online=True)


# --- junk -------------------------------------------------------------------------------------------------------


def refused(kind: ChipTopic, payload: bytes) -> str:
    with pytest.raises(MalformedMessage) as error:
        decode(kind, payload)
    assert str(error.value)
    return str(error.value)


@given(kinds, st.binary(max_size=5000))
@example("event", b"[" * 4096)
@example("event", b'{"detail":' * 400)
@example("request", b'{"x":' * 800)
def test_no_bytes_do_anything_but_parse_or_be_refused(kind: ChipTopic, payload: bytes) -> None:
    try:
        message = decode(kind, payload)
    except MalformedMessage:
        pass
    else:
        assert isinstance(message, Request | Usage | Event | Status)
    request_id_of(payload)


@settings(max_examples=300)
@given(st.data(), kinds)
def test_a_message_with_some_bytes_changed_parses_or_is_refused(data: st.DataObject, kind: ChipTopic) -> None:
    payload = bytearray(SOUND[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(payload) - 1))
        how = data.draw(st.sampled_from(["change", "insert", "remove", "cut"]))
        if how == "change":
            payload[place] = data.draw(st.integers(0, 255))
        elif how == "insert":
            payload[place:place] = data.draw(st.binary(max_size=5))
        elif how == "remove":
            del payload[place]
        else:
            del payload[place:]
        payload = payload or bytearray(b" ")
    try:
        message = decode(kind, bytes(payload))
    except MalformedMessage:
        return
    assert bytes(payload).decode()
    assert decode(kind, encode(message)) == message


NO_OBJECT = [
    b"",
    b" ",
    b"null",
    b"true",
    b"1",
    b'"text"',
    b"[]",
    b"{",
    b"{}x",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
]


@pytest.mark.parametrize("payload", NO_OBJECT)
@pytest.mark.parametrize("kind", CHIP_TOPICS)
def test_what_is_no_json_object_is_refused(kind: ChipTopic, payload: bytes) -> None:
    refused(kind, payload)


@pytest.mark.parametrize("depth", [500, 2000, 4000])
@pytest.mark.parametrize("where", ["known", "unknown"])
def test_however_deep_it_nests_nothing_overflows(depth: int, where: str) -> None:
    name = "detail" if where == "known" else "somewhere"
    opening = b'{"event_id":"abcdefgh","seq":1,"kind":"boot","%b":' % name.encode()
    refused("event", opening + b"[" * depth)
    refused("event", opening + b'{"a":' * (depth // 5))


@pytest.mark.parametrize("kind", CHIP_TOPICS)
def test_one_byte_more_than_4_kib_is_refused_unread(kind: ChipTopic) -> None:
    assert "4097 bytes" in refused(kind, SOUND[kind].ljust(4097))


def _with(kind: ChipTopic, /, **fields: Any) -> bytes:
    return json.dumps(json.loads(SOUND[kind]) | fields, ensure_ascii=False).encode()


WRONG: list[tuple[ChipTopic, str, Any]] = [
    ("request", "request_id", "short"),
    ("request", "request_id", "a" * 65),
    ("request", "request_id", "abcdefgh\n"),
    ("request", "request_id", "abcd efgh"),
    ("request", "request_id", "ａｂｃｄｅｆｇｈ"),
    ("request", "request_id", 12345678),
    ("request", "request_id", None),
    ("request", "credential", None),
    ("request", "credential", 7),
    ("request", "challenge", ""),
    ("request", "challenge", "c" * 129),
    ("request", "method", "face"),
    ("request", "method", "SCAN"),
    ("request", "method", None),
    ("request", "at", -1),
    ("request", "at", 2**53),
    ("request", "at", 1.5),
    ("request", "at", True),
    ("request", "at", "2026-06-15"),
    ("request", "at", 10**400),
    ("usage", "session_id", ""),
    ("usage", "seq", -1),
    ("usage", "seq", 2**53),
    ("usage", "relay", "half"),
    ("usage", "enabled_s", -1),
    ("usage", "arc_s", 0.5),
    ("usage", "energy_wh", -0.001),
    ("usage", "energy_wh", 1e10),
    ("usage", "energy_wh", math.nan),
    ("usage", "energy_wh", math.inf),
    ("usage", "current_a", -1),
    ("usage", "voltage_v", 1e7),
    ("usage", "final", "yes"),
    ("event", "event_id", "!" * 8),
    ("event", "seq", 2**53),
    ("event", "kind", "exploded"),
    ("event", "session_id", "s"),
    ("event", "reason", "r" * 257),
    ("event", "detail", []),
    ("event", "detail", None),
    ("status", "online", 1),
    ("status", "online", "true"),
    ("status", "challenge", "c" * 129),
    ("status", "chip", "c" * 65),
    ("status", "firmware", "f" * 65),
    ("status", "relay", "ajar"),
    ("status", "session_id", "s" * 65),
]


@pytest.mark.parametrize(("kind", "field", "value"), WRONG, ids=[f"{k}.{f}={str(v)[:12]!r}" for k, f, v in WRONG])
def test_a_wrong_field_is_refused_and_named(kind: ChipTopic, field: str, value: Any) -> None:
    problem = refused(kind, _with(kind, **{field: value}))
    assert field in problem or "payload" in problem


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *(("request", name) for name in ("request_id", "credential", "challenge", "method")),
        *(
            ("usage", name)
            for name in ("session_id", "seq", "at", "relay", "enabled_s", "arc_s", "idle_s", "arcs", "energy_wh")
        ),
        *(("event", name) for name in ("event_id", "seq", "kind")),
        ("status", "online"),
    ],
)
def test_a_missing_field_is_refused_and_named(kind: ChipTopic, field: str) -> None:
    fields = json.loads(SOUND[kind])
    del fields[field]
    assert field in refused(kind, json.dumps(fields).encode())


@pytest.mark.parametrize("kind", CHIP_TOPICS)
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"])
@pytest.mark.parametrize("place", [b'{"x":"%b",', b'{"%b":1,'])
def test_bytes_that_are_no_utf_8_are_refused_even_where_nobody_looks(kind: ChipTopic, bad: bytes, place: bytes) -> None:
    refused(kind, place % bad + SOUND[kind][1:])


@pytest.mark.parametrize("escape", [rb"\ud800", rb"\udc00", rb"\udfff\ud800", rb"\u12", rb"\x41"])
def test_lone_surrogates_and_broken_escapes_are_refused(escape: bytes) -> None:
    refused("request", b'{"request_id":"abcdefgh","credential":"%b","challenge":"c","method":"scan"}' % escape)
    refused("event", b'{"event_id":"abcdefgh","seq":1,"kind":"boot","detail":{"%b":1}}' % escape)


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"1.", b".5", b"0x10", b"+1", b"1e"]
)
def test_numbers_that_json_has_not_are_refused(number: bytes) -> None:
    refused("event", b'{"event_id":"abcdefgh","seq":1,"kind":"boot","detail":{"a":%b}}' % number)


def problem_of(kind: ChipTopic, payload: bytes) -> str:
    """What is wrong with it, nothing if it is sound."""
    try:
        decode(kind, payload)
    except MalformedMessage as error:
        return f"{error} {error!r}"
    return ""


@pytest.mark.parametrize("kind", CHIP_TOPICS)
@pytest.mark.parametrize(
    "value", [ID_NUMBER, f"' - at `$.x` {ID_NUMBER}", f"{ID_NUMBER}' - at `$.method`", f"a\n{ID_NUMBER}"]
)
def test_a_problem_never_quotes_what_was_sent(kind: ChipTopic, value: str) -> None:
    for field in (*json.loads(SOUND[kind]), "unknown"):
        for wrong in (value, [value], {value: value}, int(ID_NUMBER), -int(ID_NUMBER)):
            assert ID_NUMBER not in problem_of(kind, _with(kind, **{field: wrong}))


# --- what can be read of a malformed request --------------------------------------------------------------------


@given(ids, st.text(max_size=40))
def test_the_id_of_a_request_is_read_whatever_else_is_wrong(request_id: str, junk: str) -> None:
    payload = json.dumps({"request_id": request_id, "credential": 7, "junk": junk}).encode()
    assert request_id_of(payload) == request_id


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'{"request_id":"short"}',
        b'{"request_id":7}',
        b'{"request_id":"abcdefgh"',
        b"[" * 4096,
        b"{" + b" " * 4096,
    ],
)
def test_without_a_sound_id_there_is_none(payload: bytes) -> None:
    assert request_id_of(payload) is None


def test_of_a_payload_that_is_too_large_not_even_the_id_is_read() -> None:
    assert request_id_of(b'{"request_id":"abcdefgh"}'.ljust(4097)) is None


# --- canonical --------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(WITHOUT_FRACTIONS)
def test_what_is_encoded_is_rfc_8785_to_the_last_byte(message: Struct) -> None:
    """Compared with an independent implementation; object keys of ``detail`` beyond the basic plane aside."""
    plain = msgspec.to_builtins(message)
    if isinstance(message, Event) and any(ord(c) > 0xD7FF for c in json.dumps(plain, ensure_ascii=False)):
        return
    assert encode(message) == rfc8785.dumps(plain)


@given(st.floats(0, 1e9, allow_nan=False))
def test_fractions_on_the_feed_come_back_exactly(energy_wh: float) -> None:
    usage = FeedUsage(1, 1, AT, "330521", 1, energy_wh, False, 0, "HJ-0001", "session-1")
    assert json.loads(encode(usage))["energy_wh"] == energy_wh
    assert list(json.loads(encode(usage))) == sorted(FeedUsage.__struct_fields__)


def test_the_decoders_know_every_kind_that_chips_publish() -> None:
    assert set(get_args(ChipTopic)) == set(SOUND) == set(FROM_CHIPS)
