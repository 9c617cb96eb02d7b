"""The reference chip without a connection: who may unlock by the list, for how long, and what becomes of it."""

import re
from collections.abc import Callable

import msgspec
import pytest

from gateway.core.credential import offline_digest
from gateway.core.model import CHIP_MADE_ID
from simulator.arms import Lock, Question
from simulator.outbox import EVENTS_KEPT
from simulator.signals import (
    ArcStarted,
    CloseRelay,
    Connected,
    Disconnected,
    OpenRelay,
    OperatorEnds,
    Publish,
    Scanned,
    Show,
    Tampered,
)
from tests.simulator.bench import MACHINE, Bench, offline, told


def test_a_listed_operator_unlocks_a_chip_without_connection() -> None:
    bench = offline()
    did = bench.give(Scanned("P1", "card"))
    (shown,) = (action for action in did if isinstance(action, Show))
    assert CloseRelay() in did
    assert (shown.outcome, shown.offline) == ("allow", True)
    assert re.match(CHIP_MADE_ID, shown.request_id)
    (event,) = told(bench)
    assert (event.kind, event.reason) == ("offline_unlock", None)
    assert event.detail == {
        "entry": offline_digest(MACHINE, "P1"),
        "list_version": 7,
        "method": "card",
        "lease_s": 900,
    }
    assert re.match(CHIP_MADE_ID, event.session_id or "")
    assert bench.status.session_id == event.session_id


def test_no_request_is_sent_for_it_later() -> None:
    bench = offline()
    assert bench.lets_in()
    bench.give(Connected())
    bench.wait(60)
    assert bench.requests == []


def test_its_session_is_reported_as_any_other_and_in_order() -> None:
    bench = offline()
    assert bench.lets_in()
    bench.wait(12, OperatorEnds())
    did = bench.give(Connected())
    kept = [action.payload for action in did if isinstance(action, Publish) and action.key is not None]
    said = [msgspec.json.decode(payload) for payload in kept]
    assert [message.get("kind", "usage") for message in said] == ["offline_unlock", "usage", "usage", "locked"]
    assert len({message["session_id"] for message in said}) == 1
    assert [usage.final for usage in bench.usage] == [False, True]
    assert bench.events[-1].reason == "operator"


def test_every_offline_session_has_an_id_of_its_own() -> None:
    bench = offline()
    for _ in range(3):
        assert bench.lets_in()
        bench.give(OperatorEnds())
    assert len({event.session_id for event in told(bench)}) == 3


LEASES = (
    # list's lease  entry's  window   passed  lease
    (900, 7200, 3600, 60, 900),
    (900, 300, 3600, 60, 240),
    (900, 7200, 500, 60, 440),
    (900, 7200, 61, 60, 1),
)


@pytest.mark.parametrize(("lease_s", "until_s", "for_s", "passed_s", "expected_s"), LEASES)
def test_its_lease_ends_with_the_list_lease_the_entry_or_the_time_since_the_last_contact(
    lease_s: int, until_s: int, for_s: int, passed_s: int, expected_s: int
) -> None:
    bench = offline({"P1": until_s}, after_s=passed_s, lease_s=lease_s, offline_for_s=for_s)
    assert bench.lets_in()
    bench.give(ArcStarted())
    bench.wait(expected_s - 0.5)
    states = [bench.chip.lock]
    bench.wait(1)
    assert [*states, bench.chip.lock] == [Lock.WELDING, Lock.DRAINING]
    assert told(bench)[0].detail["lease_s"] == expected_s


def _not_listed() -> Bench:
    return offline({"P2": 7200})


def _entry_over() -> Bench:
    return offline({"P1": 60}, after_s=60)


def _less_than_a_second_left() -> Bench:
    return offline({"P1": 60}, after_s=59.5)


def _too_long_offline() -> Bench:
    return offline(offline_for_s=100, after_s=100)


def _no_list() -> Bench:
    bench = Bench()
    bench.give(Disconnected())
    return bench


def _right_taken_away() -> Bench:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    bench.offer(8, {}, offline_for_s=0, lease_s=None)
    assert "grant_rejected" not in bench.kinds
    bench.give(Disconnected())
    return bench


def _no_clock() -> Bench:
    bench = Bench(clock=False)
    bench.offer(7, {"P1": 7200})
    bench.give(Disconnected())
    return bench


def _clock_since_then() -> Bench:
    bench = _no_clock()
    bench.clock = True
    return bench


def _clock_lost() -> Bench:
    bench = offline()
    bench.clock = False
    return bench


def _no_room_for_evidence() -> Bench:
    bench = offline()
    for _ in range(EVENTS_KEPT):
        bench.give(Tampered())
    return bench


@pytest.mark.parametrize(
    "make",
    [
        _not_listed,
        _entry_over,
        _less_than_a_second_left,
        _too_long_offline,
        _no_list,
        _right_taken_away,
        _no_clock,
        _clock_since_then,
        _clock_lost,
        _no_room_for_evidence,
    ],
)
def test_without_the_right_the_question_goes_on_and_is_asked_once_there_is_a_connection(
    make: Callable[[], Bench],
) -> None:
    bench = make()
    assert not bench.lets_in()
    assert bench.chip.question is Question.ASKING
    bench.wait(10, Connected())
    assert [request.credential for request in bench.requests] == ["P1"]
    bench.allow(bench.claims())
    assert bench.is_closed()


def test_a_connected_chip_always_asks() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    assert not bench.lets_in()
    assert len(bench.requests) == 1


@pytest.mark.parametrize("arc", [False, True])
def test_a_running_session_is_never_replaced_by_the_list(arc: bool) -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    session_id = bench.unlock("P9")["sid"]
    bench.give(Disconnected())
    if arc:
        bench.give(ArcStarted())
        bench.give(OperatorEnds())
    assert not bench.lets_in()
    assert bench.chip.session is not None
    assert bench.chip.session.session_id == session_id
    assert bench.chip.question is Question.ASKING


def test_a_question_that_still_waits_is_withdrawn_and_its_late_grant_never_fits() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    bench.give(Scanned("P9"))
    late = bench.allowed(bench.claims())
    bench.give(Disconnected())
    assert bench.lets_in()
    session = bench.chip.session
    bench.give(Connected())
    bench.give(late)
    assert bench.chip.session is session
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", "other_challenge")
    assert len(bench.requests) == 1


# --- back on the air --------------------------------------------------------------------------------------------


def test_the_session_goes_on_when_the_connection_returns_and_obeys_commands() -> None:
    bench = offline(lease_s=300)
    assert bench.lets_in()
    bench.wait(200, Connected())
    bench.command("renew", 1, lease_s=300)
    bench.wait(299)
    assert bench.is_closed()
    bench.command("lock", 2, when="now", reason="revoked")
    assert not bench.is_closed()
    assert bench.events[-1].reason == "revoked"


def test_a_grant_for_another_request_replaces_it() -> None:
    bench = offline()
    assert bench.lets_in()
    bench.give(Connected())
    opened = bench.did.count(OpenRelay())
    bench.allow(bench.claims(jti="by-phone-1", sid="by-phone-session"))
    assert [event.kind for event in bench.events[-2:]] == ["locked", "unlocked"]
    assert bench.did.count(OpenRelay()) == opened


def test_power_up_ends_it_and_names_it() -> None:
    bench = offline()
    assert bench.lets_in()
    session_id = bench.chip.session.session_id if bench.chip.session else ""
    bench.power_cycle()
    assert not bench.is_closed()
    bench.give(Connected())
    assert (bench.events[-1].kind, bench.events[-1].session_id) == ("boot", session_id)
