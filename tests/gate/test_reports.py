"""What chips report of themselves: events, usage and presence, and what that means for their sessions."""

import json
from typing import Any

import pytest

from gateway.gate.sessions import Session
from tests.gate.gates import MACHINES, NOW, Gate, decision_of, facts_of

# --- events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason", "ended"),
    [
        ("locked", "idle", "idle"),
        ("locked", "operator", "operator"),
        ("locked", "bored", "locked"),
        ("locked", None, "locked"),
        ("boot", None, "power"),
    ],
)
def test_locked_and_boot_end_the_session_for_a_reason(gate: Gate, kind: str, reason: str | None, ended: str) -> None:
    session_id = gate.opened().session_id
    gate.event("unlocked", session_id)
    session = gate.sessions.at_machine("HJ-0001")
    assert session is not None
    assert session.state == "unlocked"
    entry = gate.event(kind, session_id, reason=reason)
    assert (session.state, session.end_reason) == ("ended", ended)
    assert entry.draft is not None
    assert json.loads(entry.draft.body)["ends"] == session_id
    assert len(gate.sessions) == 0


@pytest.mark.parametrize(("after_s", "ended"), [(None, False), (-1, False), (60, False), (60.001, True), (600, True)])
def test_a_boot_that_names_no_session_ends_the_one_here_if_it_surely_came_after_its_grant(
    gate: Gate, after_s: float | None, ended: bool
) -> None:
    """Chips' clocks may be a minute off, and messages come late."""
    session = gate.opened()
    gate.clock.pass_s(900)
    gate.event("boot", None, at=None if after_s is None else NOW + round(after_s * 1000))
    assert (session.end_reason == "power") == ended


@pytest.mark.parametrize(("ahead_s", "ended"), [(60, True), (60.001, False), (86_400, False)])
def test_a_boot_that_names_no_session_and_is_dated_in_the_future_proves_nothing(
    gate: Gate, ahead_s: float, ended: bool
) -> None:
    session = gate.running()
    gate.clock.pass_s(120)
    gate.event("boot", None, at=gate.clock.now + round(ahead_s * 1000))
    assert (session.end_reason == "power") == ended


@pytest.mark.parametrize("kind", ["unlocked", "locked"])
@pytest.mark.parametrize("which", ["another session", "no session", "a session at another machine"])
def test_news_of_another_session_changes_nothing_here(gate: Gate, kind: str, which: str) -> None:
    gate.opened()
    elsewhere = gate.opened("P000456", "HJ-0002").session_id
    named = {"another session": "session-of-before", "no session": None, "a session at another machine": elsewhere}[
        which
    ]
    entry = gate.event(kind, named)
    assert entry.draft is not None
    assert json.loads(entry.draft.body)["ends"] is None
    assert [gate.sessions.at_machine(one).state for one in MACHINES[:2]] == ["granted", "granted"]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["tamper", "arc_without_lease", "relay_stuck", "clock_reset"])
def test_other_events_are_recorded_and_change_no_session(gate: Gate, kind: str) -> None:
    session_id = gate.opened().session_id
    assert gate.event(kind, session_id).draft is not None
    assert len(gate.sessions) == 1


@pytest.mark.parametrize(
    ("reason", "after_s", "ended"),
    [
        ("other_challenge", 1, True),
        ("late", 1, False),
        ("bad_signature", 1, False),
        (None, 35, False),
        ("late", 36, True),
        (None, 36, True),
    ],
)
def test_a_grant_that_the_chip_rejects_ends_its_session_once_it_cannot_be_taken_any_more(
    gate: Gate, reason: str | None, after_s: int, ended: bool
) -> None:
    session = gate.opened()
    gate.clock.pass_s(after_s)
    gate.event("grant_rejected", session.session_id, reason=reason)
    assert (session.end_reason == "grant_rejected") == ended


def test_a_second_copy_of_a_grant_in_use_that_the_chip_rejects_ends_nothing(gate: Gate) -> None:
    session = gate.running()
    gate.event("grant_rejected", session.session_id, reason="other_challenge")
    assert session.state == "unlocked"


def test_a_grant_that_was_refused_for_a_moment_and_then_taken_runs_as_any(gate: Gate) -> None:
    session = gate.opened()
    gate.event("grant_rejected", session.session_id, reason="late")
    gate.event("unlocked", session.session_id)
    assert session.state == "unlocked"


def test_a_boot_that_ended_another_session_ends_none_of_ours(gate: Gate) -> None:
    gate.opened()
    gate.clock.pass_s(600)
    gate.event("boot", "session-of-before")
    assert len(gate.sessions) == 1


def test_a_session_whose_time_is_over_is_in_nobody_s_way_even_before_it_is_ended(gate: Gate) -> None:
    session = gate.opened()
    gate.clock.now = session.open_until
    assert decision_of(gate.request("P000456")).reasons == ("machine_in_session",)
    gate.clock.now += 1
    assert decision_of(gate.request("P000456")).outcome == "allow"
    assert (session.state, session.end_reason) == ("ended", "unused")
    assert len(gate.sessions) == 1


def test_an_event_is_recorded_as_the_chip_sent_it_and_once(gate: Gate) -> None:
    payload = '{"event_id":"event-0001", "seq":1, "kind":"tamper", "detail":{"注":"开盖"}, "more":1.50}'.encode()
    entry = gate.send("event", payload)
    assert entry.draft is not None
    assert json.loads(entry.draft.body) == {"ends": None, "payload": payload.decode()}
    assert gate.send("event", payload).draft is None


# --- a grant that was never taken ---------------------------------------------------------------------------------


def unused(gate: Gate, **different: Any) -> Session:
    """A session whose request the chip has given up, and shows it."""
    session = gate.opened()
    gate.clock.pass_s(31)
    gate.status(**{"challenge": "fresh-1", "relay": "open", "session_id": None, "at": gate.clock.now} | different)
    return session


def test_a_chip_that_gave_its_request_up_and_shows_it_frees_the_welder_at_once(gate: Gate) -> None:
    session = gate.opened()
    gate.clock.pass_s(31)
    entry = gate.status(challenge="fresh-1", relay="open")
    assert session.end_reason == "unused"
    assert entry.draft is not None
    assert (entry.draft.kind, entry.draft.message_id) == ("session_end", session.session_id)
    assert entry.chip is not None
    assert decision_of(gate.request("P000123", "HJ-0002")).outcome == "allow"


@pytest.mark.parametrize(
    "different",
    [
        {"relay": "closed"},
        {"relay": None},
        {"online": False, "challenge": None},
        {"challenge": None},
        {"at": None},
        {"at": NOW + 29_000},
        {"at": NOW - 1},
        {"at": NOW + 31_000 + 60_001},
    ],
    ids=["closed", "unknown", "last will", "no news", "no clock", "too soon", "of before", "in the future"],
)
def test_what_may_have_been_shown_before_the_grant_was_taken_frees_nobody(
    gate: Gate, different: dict[str, Any]
) -> None:
    assert unused(gate, **different).state == "granted"


def test_a_challenge_that_was_seen_before_frees_nobody(gate: Gate) -> None:
    gate.status(challenge="fresh-1")
    assert unused(gate).state == "granted"


def test_of_a_request_without_a_time_nobody_knows_whether_it_was_given_up(gate: Gate) -> None:
    session = gate.opened(at=None)
    gate.clock.pass_s(31)
    gate.status(challenge="fresh-1", relay="open")
    assert session.state == "granted"


def test_a_session_that_runs_goes_on_whatever_status_shows(gate: Gate) -> None:
    session = gate.running()
    gate.clock.pass_s(31)
    gate.status(challenge="fresh-1", relay="open")
    assert session.state == "unlocked"


# --- usage and status -------------------------------------------------------------------------------------------


def test_usage_and_status_are_kept_and_end_no_session(gate: Gate) -> None:
    gate.opened()
    gate.sessions.take_changes()
    usage = gate.usage(relay="open", final=True)
    status = gate.status(online=False)
    assert usage.usage is not None
    assert status.chip is not None
    assert (usage.draft, status.draft) == (None, None)
    assert gate.sessions.take_changes() == ([], [])


@pytest.mark.parametrize(("current_a", "state"), [(142.0, "welding"), (0, "idle"), (None, "idle")])
def test_usage_tells_that_an_unlocking_was_lost_and_whether_it_welds(
    gate: Gate, current_a: float | None, state: str
) -> None:
    session = gate.opened()
    gate.clock.pass_s(10)
    gate.usage(current_a=current_a)
    assert (session.state, session.unlocked_at) == (state, NOW + 10_000)


def test_an_arc_since_the_last_report_counts_as_welding(gate: Gate) -> None:
    session = gate.running()
    states = []
    for arc_s in (5, 5, 9, 9):
        gate.usage(arc_s=arc_s)
        states.append(session.state)
    assert states == ["idle", "idle", "welding", "idle"]


def test_a_last_will_forgets_nothing_that_the_chip_said_before(gate: Gate) -> None:
    gate.send("status", b'{"online":true,"chip":"CHIP-0001"}')
    gate.send("status", b'{"online":false}')
    assert facts_of(gate.request()).chip_reported == "CHIP-0001"


def test_another_chip_at_the_machine_is_noticed_at_the_next_request(gate: Gate) -> None:
    gate.send("status", b'{"online":true,"chip":"CHIP-9999"}')
    assert decision_of(gate.request()).reasons == ("chip_mismatch",)
