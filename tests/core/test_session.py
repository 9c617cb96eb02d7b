"""The life of a session as its table tells it, and the words for its end."""

from typing import get_args

import pytest

from gateway.core.lease import CLOCK_ERROR_S
from gateway.core.model import Event, EventKind
from gateway.core.session import (
    CHIP_GIVES_UP_S,
    END_REASONS,
    TABLE,
    DrainReason,
    EndReason,
    State,
    Step,
    end_reason,
    starts_within_s,
    step_of,
    time_up_reason,
)
from tests.core.matrix import asked

STATES: tuple[State, ...] = get_args(State)
STEPS: tuple[Step, ...] = get_args(Step)
OPEN = STATES[:-1]
RUNNING: tuple[State, ...] = ("unlocked", "welding", "idle")


def event(kind: EventKind, reason: str | None = None) -> Event:
    return Event("event-0001", 1, kind, reason=reason)


def after(state: State, step: Step) -> State:
    """Where a step leads; one without a line changes nothing."""
    return TABLE.get((state, step), (state, ""))[0]


def reached(start: State) -> set[State]:
    """Every state that some steps lead to."""
    found, new = {start}, {start}
    while new:
        new = {after(state, step) for state in new for step in STEPS} - found
        found |= new
    return found


# --- the table --------------------------------------------------------------------------------------------------


def test_every_line_leads_from_a_state_by_a_step_to_a_state_and_says_why() -> None:
    for (state, step), (then, why) in TABLE.items():
        assert (state in STATES, step in STEPS, then in STATES) == (True, True, True)
        assert len(why) > 8


def test_every_step_has_a_line() -> None:
    assert {step for _, step in TABLE} == set(STEPS)


def test_every_state_is_reached_from_a_grant() -> None:
    assert reached("granted") == set(STATES)


@pytest.mark.parametrize("state", OPEN)
def test_every_open_state_can_end_also_without_a_word_from_the_chip(state: State) -> None:
    assert after(state, "time_up") == "ended"
    assert after(state, "boot") == "ended"
    assert after(state, "locked") == "ended"
    assert after(state, "replaced") == "ended"


@pytest.mark.parametrize("step", STEPS)
def test_nothing_leads_out_of_ended(step: Step) -> None:
    assert ("ended", step) not in TABLE


@pytest.mark.parametrize("step", STEPS)
def test_a_session_that_drains_goes_on_draining_or_ends(step: Step) -> None:
    """Work that goes on, or an `unlocked` that comes late, does not take back a lock."""
    assert after("draining", step) in ("draining", "ended")


@pytest.mark.parametrize("state", OPEN)
def test_every_open_state_can_be_told_to_drain(state: State) -> None:
    assert after(state, "drain") == "draining"


@pytest.mark.parametrize("state", RUNNING)
def test_usage_tells_welding_from_idling(state: State) -> None:
    assert (after(state, "arc"), after(state, "rest")) == ("welding", "idle")


def test_usage_with_a_closed_relay_shows_that_the_grant_was_taken() -> None:
    assert (after("granted", "unlocked"), after("granted", "arc"), after("granted", "rest")) == (
        "unlocked",
        "welding",
        "idle",
    )


@pytest.mark.parametrize("state", RUNNING)
def test_reporting_the_unlocking_twice_changes_nothing(state: State) -> None:
    assert after(state, "unlocked") == state


def test_a_grant_that_the_chip_rejects_ends_it_and_a_second_copy_of_one_in_use_does_not() -> None:
    assert after("granted", "grant_rejected") == "ended"
    assert [after(state, "grant_rejected") for state in RUNNING] == list(RUNNING)


@pytest.mark.parametrize("state", sorted(set(OPEN) - {"draining"}))
def test_only_a_session_that_drains_ends_by_the_chip_s_not_knowing_it(state: State) -> None:
    assert after(state, "not_running") == state
    assert after("draining", "not_running") == "ended"


# --- what a chip's event means ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", sorted(set(get_args(EventKind)) - {"grant_rejected"}))
def test_three_kinds_of_event_say_something_about_any_session_and_the_others_nothing(
    state: State, kind: EventKind
) -> None:
    assert step_of(event(kind), state, 0) == (kind if kind in ("unlocked", "locked", "boot") else None)


NOT_DRAINING = sorted(set(STATES) - {"draining"})
"""Of these the table says which end by a refused grant."""


@pytest.mark.parametrize("state", NOT_DRAINING)
@pytest.mark.parametrize(
    ("reason", "granted_s_ago", "step"),
    [
        ("other_challenge", 0, "grant_rejected"),  # it has moved on, and takes it never more
        ("late", 0, None),  # its clock may be put right
        ("bad_signature", 0, None),  # a spoilt copy
        (None, 35.0, None),
        ("late", 35.1, "grant_rejected"),  # it must have given its request up
    ],
)
def test_a_refused_grant_is_one_once_it_cannot_be_taken_any_more(
    state: State, reason: str | None, granted_s_ago: float, step: Step | None
) -> None:
    assert step_of(event("grant_rejected", reason), state, granted_s_ago) == step


@pytest.mark.parametrize(
    ("reason", "granted_s_ago", "step"),
    [
        ("other_session", 35.1, "not_running"),
        ("other_session", 35.0, None),  # the grant may still come after its lock
        ("replayed", 35.1, None),
        ("late", 35.1, None),
        (None, 35.1, None),
    ],
)
def test_a_chip_that_refuses_a_lock_because_it_runs_another_session_does_not_run_this_one(
    reason: str | None, granted_s_ago: float, step: Step | None
) -> None:
    assert step_of(event("grant_rejected", reason), "draining", granted_s_ago) == step


# --- why it ended -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", END_REASONS)
def test_the_chip_s_word_is_believed_if_it_is_one_of_ours(word: EndReason) -> None:
    assert end_reason("locked", word, None) == word
    assert end_reason("locked", word, "revoked") == word


@pytest.mark.parametrize("word", [None, "", "bored", "x" * 256])
def test_else_it_ended_for_what_it_was_locked_for(word: str | None) -> None:
    assert end_reason("locked", word, "remote") == "remote"
    assert end_reason("locked", word, None) == "locked"


def test_power_and_a_refused_grant_are_reasons_of_their_own() -> None:
    assert end_reason("boot", "idle", "revoked") == "power"
    assert end_reason("grant_rejected", "idle", None) == "grant_rejected"
    assert end_reason("not_running", "other_session", "revoked") == "revoked"


@pytest.mark.parametrize("draining", get_args(DrainReason))
def test_a_lock_without_an_answer_ended_it_for_the_lock_s_reason(draining: DrainReason) -> None:
    assert draining in END_REASONS
    assert time_up_reason("draining", 10_000, 900, draining) == draining


@pytest.mark.parametrize("state", RUNNING)
def test_without_a_lock_its_time_is_up_unused_silent_or_not_renewed(state: State) -> None:
    assert time_up_reason("granted", 10_000, 900, None) == "unused"
    assert time_up_reason(state, 900.1, 900, None) == "offline_too_long"
    assert time_up_reason(state, 900.0, 900, None) == "lease_over"


def test_every_reason_is_explained_in_words() -> None:
    assert set(END_REASONS) == set(get_args(EndReason))
    assert all(len(text) > 8 for text in END_REASONS.values())


def test_a_chip_without_a_clock_takes_a_grant_until_it_gives_up_its_request() -> None:
    assert CHIP_GIVES_UP_S == 30
    assert starts_within_s(5, asked(at=1_000_000)) == 5
    assert starts_within_s(5, asked(at=None)) == 30


def test_a_chip_that_asked_for_nothing_takes_a_grant_until_its_clock_refuses_it_and_that_may_be_slow() -> None:
    assert starts_within_s(5, asked(method="phone", at=None)) == 5 + CLOCK_ERROR_S
