"""The gateway's wall clock is set while sessions run: what was reckoned by it is reckoned anew."""

import pytest

from gateway.gate.state import CLOCK_STEP_MS
from tests.gate.gates import NOW, Gate, commands

HOUR_MS = 3_600_000


class Clocks:
    """The gate's wall clock and a monotonic one beside it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._monotonic_ms = 5_000_000

    def go_on(self, wall_ms: int, monotonic_ms: int) -> int:
        """Both go on by so much; what was noticed of a difference."""
        self._gate.clock.now += wall_ms
        self._monotonic_ms += monotonic_ms
        return self._gate.state.keep_time(self._monotonic_ms * 1_000_000)


@pytest.fixture
def clocks(gate: Gate) -> Clocks:
    return Clocks(gate)


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS, CLOCK_STEP_MS, -CLOCK_STEP_MS])
def test_invariant_no_session_is_over_before_its_chip_s_lease_can_be_though_the_clock_is_set(
    gate: Gate, clocks: Clocks, by_ms: int
) -> None:
    clocks.go_on(0, 0)
    session = gate.running()
    before = (session.open_until, session.lease_until, session.leased_at)
    assert clocks.go_on(10_000 + by_ms, 10_000) == by_ms
    assert (session.open_until, session.lease_until, session.leased_at) == tuple(one + by_ms for one in before)
    assert session.granted_at == NOW  # what was recorded stays
    assert gate.tick() == []
    assert len(gate.sessions.take_changes()[1]) == 1


def test_slewing_and_the_first_look_are_no_step(gate: Gate, clocks: Clocks) -> None:
    session = gate.running()
    open_until = session.open_until
    assert [clocks.go_on(wall_ms, 10_000) for wall_ms in (HOUR_MS, 10_999, 9_001, 10_000)] == [0, 0, 0, 0]
    assert session.open_until == open_until


def test_a_clock_that_was_set_forward_ends_nobody_and_one_that_was_set_back_keeps_nobody_for_ever(
    gate: Gate, clocks: Clocks
) -> None:
    clocks.go_on(0, 0)
    session = gate.running()
    clocks.go_on(2 * HOUR_MS, 1000)
    assert gate.tick() == []
    clocks.go_on(-2 * HOUR_MS, 1000)
    for _ in range(1071):
        clocks.go_on(1000, 1000)
        gate.tick()
    assert session.end_reason == "offline_too_long"


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS])
def test_a_lock_is_pressed_on_at_its_pace_though_the_clock_is_set(gate: Gate, clocks: Clocks, by_ms: int) -> None:
    clocks.go_on(0, 0)
    gate.running()
    gate.control("lock")
    gate.work_off()
    sent = []
    clocks.go_on(by_ms, 0)
    for _ in range(20):
        clocks.go_on(1000, 1000)
        sent += commands(gate.tick())
    assert [command.cmd for command in sent] == ["lock"] * 4


def test_idle_time_is_not_counted_by_a_clock_that_was_set(gate: Gate, clocks: Clocks) -> None:
    clocks.go_on(0, 0)
    gate.running()
    gate.usage()
    clocks.go_on(HOUR_MS, 0)
    clocks.go_on(10_000, 10_000)
    gate.state.snapshot.confirmed_at = gate.clock.now
    gate.usage()
    assert gate.work_off() == []


def test_a_chip_without_a_clock_is_believed_no_shorter_a_lease_though_the_clock_is_set(
    gate: Gate, clocks: Clocks
) -> None:
    clocks.go_on(0, 0)
    gate.status(at=None, challenge="c-1")
    session = gate.running(at=None)
    clocks.go_on(300_000, 300_000)
    gate.usage(at=None)
    held_for = NOW + 948_000 - gate.clock.now
    clocks.go_on(HOUR_MS, 0)
    session.live.asked_s = 1  # as if the renewal were of a second only
    gate.status(at=None, challenge="c-2", session_id=session.session_id)
    assert session.lease_until == gate.clock.now + held_for


def test_a_renewal_after_the_step_is_due_when_a_third_of_the_lease_is_really_gone(gate: Gate, clocks: Clocks) -> None:
    clocks.go_on(0, 0)
    gate.running()
    clocks.go_on(HOUR_MS + 100_000, 100_000)
    gate.state.snapshot.confirmed_at = gate.clock.now
    assert commands([gate.usage()]) == []
    clocks.go_on(200_000, 200_000)
    assert [command.cmd for command in commands([gate.usage()])] == ["renew"]


def test_a_step_whose_batch_failed_is_not_forgotten(gate: Gate, clocks: Clocks) -> None:
    clocks.go_on(0, 0)
    gate.state.stored_skew = gate.state.skew
    session = gate.running()
    row, open_until = session.row(), session.open_until
    clocks.go_on(2 * HOUR_MS, 0)
    gate.read_back(row)
    assert gate.session().open_until == open_until + 2 * HOUR_MS
    assert gate.tick() == []
