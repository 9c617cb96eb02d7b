"""The life of a session: the table has an answer to everything, and what has ended stays ended."""

from typing import get_args

import pytest

from gateway.core.model import Event, EventKind
from gateway.core.session import TABLE, State, Step, end_reason, open_until, step_of

STATES: tuple[State, ...] = get_args(State)
STEPS: tuple[Step, ...] = get_args(Step)


def event(kind: EventKind) -> Event:
    return Event("event-0001", 1, kind)


def test_the_table_has_an_arm_for_every_step_in_every_state() -> None:
    assert set(TABLE) == {(state, step) for state in STATES for step in STEPS}
    assert set(TABLE.values()) <= set(STATES)


@pytest.mark.parametrize("step", STEPS)
def test_what_has_ended_stays_ended(step: Step) -> None:
    assert TABLE["ended", step] == "ended"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("step", sorted(set(STEPS) - {"unlocked"}))
def test_every_step_but_unlocking_ends(state: State, step: Step) -> None:
    assert TABLE[state, step] == "ended"


def test_unlocking_takes_a_grant_and_reporting_it_twice_changes_nothing() -> None:
    assert TABLE["granted", "unlocked"] == "unlocked"
    assert TABLE["unlocked", "unlocked"] == "unlocked"


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_only_unlocked_locked_and_boot_say_something_about_a_session(kind: EventKind) -> None:
    assert step_of(event(kind)) == (kind if kind in ("unlocked", "locked", "boot") else None)


def test_a_session_ends_for_the_reason_that_the_chip_gives_where_it_locked() -> None:
    assert end_reason("locked", "idle") == "idle"
    assert end_reason("locked", None) == "locked"
    assert end_reason("boot", "idle") == "power"
    assert end_reason("replaced", "idle") == "replaced"
    assert end_reason("lease_over", None) == "lease_over"


def test_a_session_is_over_once_start_by_and_lease_have_passed() -> None:
    assert open_until(1_000_000, 30, 900) == 1_930_000
