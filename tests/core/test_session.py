"""The life of a session: the table has an answer to everything, and what has ended stays ended."""

from typing import get_args

import pytest

from gateway.core.model import Event, EventKind
from gateway.core.session import CHIP_GIVES_UP_S, TABLE, State, Step, end_reason, open_until, starts_within_s, step_of

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
@pytest.mark.parametrize("step", sorted(set(STEPS) - {"unlocked", "grant_rejected"}))
def test_every_step_but_unlocking_ends(state: State, step: Step) -> None:
    assert TABLE[state, step] == "ended"


def test_a_grant_that_the_chip_rejects_ends_it_and_a_second_copy_of_one_in_use_does_not() -> None:
    assert TABLE["granted", "grant_rejected"] == "ended"
    assert TABLE["unlocked", "grant_rejected"] == "unlocked"


def test_unlocking_takes_a_grant_and_reporting_it_twice_changes_nothing() -> None:
    assert TABLE["granted", "unlocked"] == "unlocked"
    assert TABLE["unlocked", "unlocked"] == "unlocked"


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_four_kinds_of_event_say_something_about_a_session_and_no_other(kind: EventKind) -> None:
    about = ("unlocked", "locked", "grant_rejected", "boot")
    assert step_of(event(kind)) == (kind if kind in about else None)


def test_a_session_ends_for_the_reason_that_the_chip_gives_where_it_locked() -> None:
    assert end_reason("locked", "idle") == "idle"
    assert end_reason("locked", None) == "locked"
    assert end_reason("boot", "idle") == "power"
    assert end_reason("replaced", "idle") == "replaced"
    assert end_reason("lease_over", None) == "lease_over"


def test_a_session_is_over_once_no_chip_can_hold_its_relay_closed_any_more() -> None:
    """The lease starts when the chip takes the grant; one without a clock may do so until it gives up its request."""
    assert CHIP_GIVES_UP_S == 30
    assert open_until(1_000_000, starts_within_s(5, chip_clock=1_000_000), 900) == 1_905_000
    assert open_until(1_000_000, starts_within_s(5, chip_clock=None), 900) == 1_930_000
