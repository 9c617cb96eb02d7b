"""Relays that are closed without a session that the gateway knows: locked by the second report, and told."""

from typing import Any

import pytest

from gateway.gate.entry import Entry
from gateway.observe.events import StrayRelay
from tests.gate.gates import NOW, Gate, alerts, commands, lock_of

STRAY = "session-of-before"


def test_a_closed_relay_without_a_session_is_locked_recorded_and_told_at_its_second_report(gate: Gate) -> None:
    """At the first the database is asked: another gateway may have opened it."""
    gate.state.in_doubt = False
    first = gate.usage(STRAY)
    assert (first.command, first.draft, first.feed) == (None, None, None)
    assert gate.state.in_doubt
    gate.clock.pass_s(10)
    entry = gate.usage(STRAY)
    command = entry.command
    assert command is not None
    assert (command.cmd, command.aud, command.sid, command.reason) == ("lock", "HJ-0001", STRAY, "no_session")
    assert (command.when, command.deadline_s) == ("between_arcs", 120)
    assert command.exp > gate.clock.now // 1000
    assert (lock_of(entry).reason, lock_of(entry).review) == ("no_session", None)
    assert alerts([entry]) == [("relay_closed_without_session", "HJ-0001", STRAY)]
    assert entry.usage is not None
    assert StrayRelay("HJ-0001", STRAY) in entry.observed
    assert len(gate.sessions) == 0


def test_its_number_is_higher_than_any_of_a_session(gate: Gate) -> None:
    gate.usage(STRAY)
    [command] = commands([gate.usage(STRAY)])
    assert command.n == NOW // 1000


def test_it_is_locked_again_every_minute_as_long_as_it_goes_on(gate: Gate) -> None:
    entries = []
    for _ in range(16):
        entries.append(gate.usage(STRAY))
        gate.clock.pass_s(10)
    assert [entry.command is not None for entry in entries] == [False, True, *[*[False] * 5, True] * 2, False, False]
    assert len({command.jti for command in commands(entries)}) == 3


def test_a_session_that_reading_back_brings_to_light_is_no_stray(gate: Gate) -> None:
    row = gate.running().row()
    gate.read_back()
    session_id = row[0]
    assert gate.usage(session_id).command is None
    gate.read_back(row)
    gate.clock.pass_s(10)
    assert gate.usage(session_id).command is None


def test_of_two_sessions_that_another_gateway_opened_one_after_the_other_neither_is_locked(gate: Gate) -> None:
    """The database is asked for each before anything is locked."""
    gate.state.in_doubt = False
    first = gate.usage(STRAY)
    asked_for_first, gate.state.in_doubt = gate.state.in_doubt, False
    gate.clock.pass_s(30)
    second = gate.usage("session-after-it")
    assert commands([first, second]) == []
    assert (asked_for_first, gate.state.in_doubt) == (True, True)


def test_a_chip_that_invents_sessions_does_not_keep_the_gateway_reading_back(gate: Gate) -> None:
    asked = 0
    for number in range(200):
        gate.state.in_doubt = False
        gate.usage(f"invented-{number:05}")
        asked += gate.state.in_doubt
        gate.clock.now += 10
    assert asked <= 4


@pytest.mark.parametrize(
    "different",
    [{"relay": "open"}, {"final": True}, {"at": NOW - 60_001}],
    ids=["relay open", "final", "kept while offline"],
)
def test_what_shows_no_closed_relay_now_locks_nothing(gate: Gate, different: dict[str, Any]) -> None:
    assert commands([gate.usage(STRAY, **different) for _ in range(4)]) == []


def test_a_chip_without_a_clock_may_speak_of_now(gate: Gate) -> None:
    assert len(commands([gate.usage(STRAY, at=None) for _ in range(2)])) == 1


@pytest.mark.parametrize("how", ["locked", "boot"])
@pytest.mark.parametrize("clock", [True, False])
def test_usage_of_before_its_chip_told_the_end_locks_nothing(gate: Gate, how: str, clock: bool) -> None:
    """It was sent before the end and came after it, or came twice."""
    session = gate.running(at=gate.clock.now if clock else None)
    ended_at = gate.clock.now if clock else None
    gate.event(how, session.session_id, at=ended_at)
    reports = []
    for _ in range(6):
        gate.clock.pass_s(10)
        reports.append(gate.usage(session.session_id, at=ended_at))
    assert commands(reports) == []


def goes_on(gate: Gate, session_id: str, minutes: int, **different: Any) -> list[Entry]:
    """A relay that stays closed, with welding current, reported every ten seconds."""
    reports = []
    for _ in range(6 * minutes):
        gate.clock.pass_s(10)
        dated = {"at": gate.clock.now} | different
        reports.append(gate.usage(session_id, current_a=180.0, **dated))
    return reports


@pytest.mark.parametrize("how", ["locked", "boot"])
def test_a_relay_that_stays_closed_after_its_chip_told_the_end_is_locked_and_told(gate: Gate, how: str) -> None:
    session_id = gate.running().session_id
    gate.event(how, session_id)
    reports = goes_on(gate, session_id, 10)
    assert [entry.command is not None for entry in reports[:3]] == [False, True, False]
    assert {command.sid for command in commands(reports)} == {session_id}
    assert alerts(reports[:2]) == [("relay_closed_without_session", "HJ-0001", session_id)]


@pytest.mark.parametrize("wrong", [{"at": None}, {"at": NOW}], ids=["no clock", "its clock stands still"])
def test_so_it_is_a_minute_later_where_its_dates_tell_nothing(gate: Gate, wrong: dict[str, Any]) -> None:
    session_id = gate.running().session_id
    gate.event("locked", session_id, at=NOW)
    assert commands(goes_on(gate, session_id, 1, **wrong)) == []
    later = goes_on(gate, session_id, 3, at=None)
    assert {command.sid for command in commands(later)} == {session_id}


def test_a_boot_that_names_no_session_excuses_no_report(gate: Gate) -> None:
    """The chip did not say that this session is over: we concluded it."""
    session_id = gate.running().session_id
    gate.clock.pass_s(120)
    gate.event("boot", None)
    assert len(commands([gate.usage(session_id) for _ in range(2)])) == 1


def test_usage_of_a_session_that_ended_without_its_chip_s_word_locks_it(gate: Gate) -> None:
    session = gate.running()
    gate.running()
    assert session.end_reason == "replaced"
    assert [command.sid for command in commands([gate.usage(session.session_id) for _ in range(2)])] == [
        session.session_id
    ]


def test_beside_a_running_session_of_the_machine_another_one_is_a_stray(gate: Gate) -> None:
    running = gate.running()
    assert [command.sid for command in commands([gate.usage(STRAY) for _ in range(2)])] == [STRAY]
    assert running.state == "unlocked"


def test_a_machine_that_nobody_registered_is_locked_all_the_same(gate: Gate) -> None:
    [*_, entry] = [gate.usage(STRAY, "HJ-9999") for _ in range(2)]
    assert entry.command is not None
    assert alerts([entry]) == [("relay_closed_without_session", "HJ-9999", STRAY)]
    assert entry.feed is not None
    assert entry.feed.topic == "weldgate/v1/feed/000000/alert"


def test_a_chip_with_a_wrong_clock_is_locked_too(gate: Gate) -> None:
    """Its clock goes on as ours does, an hour late: the reports are of now."""
    reports = []
    for number in range(2):
        reports.append(gate.usage(STRAY, at=NOW - 3_600_000 + 10_000 * number))
        gate.clock.pass_s(10)
    assert len(commands(reports)) == 1


def test_reports_that_were_kept_come_all_at_once_and_lock_nobody(gate: Gate) -> None:
    reports = []
    for number in range(30):
        reports.append(gate.usage(STRAY, at=NOW - 3_600_000 + 10_000 * number))
        gate.clock.pass_s(0.01)
    assert commands(reports) == []
