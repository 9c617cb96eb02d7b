"""Logs: one JSON object a line, and never a personal number, wherever it was put."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.observe import events, logs

ID_NUMBERS = ["990000199001010017", "99000020080615001X", "99000018990101001x"]
PHONES = ["13900000000", "19999999999", "8613900000000", "+8613900000000"]
NUMBERS = ID_NUMBERS + PHONES


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    written = io.StringIO()
    logs.configure("debug", written)
    yield written
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_event_level_and_time(stream: io.StringIO) -> None:
    structlog.get_logger().warning("trouble", where="broker", problem="away\nfor a while")
    [line] = lines(stream)
    assert (line["event"], line["level"], line["where"], line["problem"]) == (
        "trouble",
        "warning",
        "broker",
        "away\nfor a while",
    )
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("number", NUMBERS)
def test_invariant_no_line_carries_a_personal_number_wherever_it_was_put(stream: io.StringIO, number: str) -> None:
    log = structlog.get_logger()
    log.info(f"event {number}", problem=f"no {number} here", nested={"a": [number, (number,)], number: 1})
    log.info("many", faults=(f"rule: {number}",), all_of={number}, error=ValueError(number), **{f"x{number}": "y"})
    try:
        int(f"it said {number}")
    except ValueError:
        log.exception("failed")
    assert len(lines(stream)) == 3
    assert number.lstrip("+") not in stream.getvalue()
    assert logs.STRUCK_OUT in stream.getvalue()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(NUMBERS),
    st.text(max_size=10).filter(lambda text: not text[-1:].isdigit() and not text[-1:].isnumeric()),
    st.text(max_size=10).filter(lambda text: not text[:1].isdigit() and not text[:1].isnumeric()),
)
def test_invariant_a_number_is_struck_out_whatever_stands_around_it(number: str, before: str, after: str) -> None:
    assert number.lstrip("+") not in logs.strike_out(f"{before}{number}{after}")


@pytest.mark.parametrize(
    "text", ["HJ-0001", "91330521MA00000017", "1781488800000", "ref-990000", "0f2a9c4e7b1d4a60", "12900000000"]
)
def test_what_is_no_personal_number_stays(text: str) -> None:
    assert logs.strike_out(text) == text


def test_numbers_flags_and_nothing_stay_what_they_are(stream: io.StringIO) -> None:
    structlog.get_logger().info("kept", version=7, seconds=0.25, ok=True, none=None, texts=["a", 1])
    [line] = lines(stream)
    assert {name: line[name] for name in ("version", "seconds", "ok", "none", "texts")} == {
        "version": 7,
        "seconds": 0.25,
        "ok": True,
        "none": None,
        "texts": ["a", 1],
    }


# --- what is worth a line ---------------------------------------------------------------------------------------

LINES: list[tuple[events.Observed, dict[str, Any] | None]] = [
    (
        events.Locking("session-1", "HJ-0001", "330521", "revoked", again=False),
        {"event": "session.locking", "level": "info", "machine_id": "HJ-0001", "reason": "revoked"},
    ),
    (events.Locking("session-1", "HJ-0001", "330521", "revoked", again=True), None),
    (
        events.StrayRelay("HJ-0001", "session-1"),
        {"event": "relay.stray", "level": "warning", "machine_id": "HJ-0001", "session_id": "session-1"},
    ),
    (
        events.EvidenceLost("HJ-0001", 3),
        {"event": "evidence.lost", "level": "warning", "machine_id": "HJ-0001", "events": 3},
    ),
    (events.EvidenceLost("HJ-0001", None), {"event": "evidence.lost", "level": "warning", "events": None}),
    (
        events.PolicyAdopted("two", "0" * 64),
        {"event": "policy.adopted", "level": "info", "version": "two", "hash": "0" * 64},
    ),
    (events.Trouble("policy", "line 2"), {"event": "trouble", "level": "warning", "where": "policy"}),
    (events.Recovered("policy", "0" * 64), {"event": "recovered", "level": "info", "where": "policy"}),
    (
        events.Reported("HJ-0001", "tamper"),
        {"event": "chip.alarm", "level": "warning", "machine_id": "HJ-0001", "kind": "tamper"},
    ),
    (events.Reported("HJ-0001", "unlocked"), None),
    (events.Renewed("session-1", "HJ-0001", 900), None),
    (events.SessionEnded("session-1", "HJ-0001", "330521", "idle"), None),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=[repr(event) for event, _ in LINES])
def test_what_an_operator_of_the_gateway_has_to_know_is_a_line_and_nothing_else(
    stream: io.StringIO, event: events.Observed, line: dict[str, Any] | None
) -> None:
    logs.Log()(event)
    written = lines(stream)
    if line is None:
        assert written == []
    else:
        [found] = written
        assert {name: found[name] for name in line} == line


def test_what_the_web_server_cannot_read_is_logged_without_what_was_sent(stream: io.StringIO) -> None:
    number = ID_NUMBERS[0]
    error = ValueError(f"Invalid header value {number}, of which {number[2:]}")
    logging.getLogger("aiohttp.server").error("Error handling request from %s", number, exc_info=error)
    [line] = lines(stream)
    assert (line["event"], line["error"]) == ("http.error", "ValueError")
    assert number[2:] not in stream.getvalue()
