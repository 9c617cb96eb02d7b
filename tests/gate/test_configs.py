"""Chips are told the policy's idle lock and drain deadline; the books reckon with the longest that any may have."""

import pytest
from msgspec import UNSET

from gateway.core.lease import lasts_until, over_at
from gateway.core.policy import Lease, Policy
from gateway.gate.configs import TOLD_AGAIN_MS, wanted
from gateway.gate.lists import SETTLED_MS
from gateway.wire.tokens import Command
from tests.gate.gates import MACHINES, NOW, Gate, commands, make_gate
from tests.gate.offline_chip import POLICY as WITH_LISTS
from tests.gate.offline_chip import Chip

POLICY = Policy(lease=Lease(idle_lock_s=300, drain_deadline_s=60))


def new_gate(policy: Policy = POLICY) -> Gate:
    """A gate that has heard of no chip yet."""
    gate = make_gate(policy)
    gate.state.settings.held.clear()
    return gate


def told(gate: Gate, seconds: float = SETTLED_MS / 1000) -> list[Command]:
    """The settings that are sent within a while."""
    return [command for command in commands(gate.ticks(round(seconds))) if command.cmd == "config"]


def knows(gate: Gate, machine_id: str = "HJ-0001") -> None:
    """The chip connects and takes what it is told."""
    gate.status(machine_id, challenge="c-1")
    assert told(gate)
    gate.status(machine_id, challenge="c-2")


# --- telling ----------------------------------------------------------------------------------------------------


def test_a_chip_that_connects_is_told_what_the_policy_says_for_its_present_challenge() -> None:
    gate = new_gate()
    gate.status(challenge="c-1")
    assert told(gate, 1) == []  # it may repeat a request first
    [command] = told(gate, 1)
    assert (command.aud, command.cmd, command.cha, command.sid) == ("HJ-0001", "config", "c-1", UNSET)
    assert (command.idle_lock_s, command.drain_deadline_s) == (300, 60)
    assert command.exp == command.iat + 30


def test_a_fresh_challenge_is_taken_as_a_sign_that_it_took_it() -> None:
    gate = new_gate()
    knows(gate)
    gate.status(challenge="c-2", relay="open")
    gate.status(challenge="c-3")
    assert told(gate, 2 * TOLD_AGAIN_MS / 1000) == []


def test_one_that_gives_no_sign_is_told_again_ten_minutes_later() -> None:
    gate = new_gate()
    gate.status(challenge="c-1")
    first, again = told(gate, TOLD_AGAIN_MS / 1000 + 3)
    assert again.iat - first.iat == TOLD_AGAIN_MS // 1000
    assert again.jti != first.jti


def test_when_the_policy_changes_all_are_told() -> None:
    gate = new_gate()
    for machine_id in MACHINES:
        knows(gate, machine_id)
    gate.adopt(Policy(lease=Lease(idle_lock_s=600, drain_deadline_s=60)))
    assert {command.aud: command.idle_lock_s for command in told(gate, 1)} == dict.fromkeys(MACHINES, 600)


def test_when_it_changes_something_else_nobody_is() -> None:
    gate = new_gate()
    knows(gate)
    gate.adopt(Policy(lease=Lease(lease_s=600, idle_lock_s=300, drain_deadline_s=60)))
    assert told(gate, 10) == []


def test_after_a_boot_it_is_told_again() -> None:
    gate = new_gate()
    knows(gate)
    gate.status(challenge="c-3")
    gate.event("boot")
    assert [command.cha for command in told(gate)] == ["c-3"]


@pytest.mark.parametrize("before", ["granted", "renewed", "listed"])
def test_a_challenge_that_something_else_may_use_up_is_left_alone(before: str) -> None:
    gate = new_gate(WITH_LISTS if before == "listed" else POLICY)
    if before == "listed":
        gate.state.settings.held["HJ-0001"] = wanted(gate.state)
        chip = Chip(gate)
        chip.works("P000123")
        assert chip.gets()
        gate.state.settings.held.clear()
        gate.status(challenge=f"c-{chip.challenges}")
    elif before == "renewed":
        session = gate.running(at=None)
        gate.status(challenge="c-1", at=None, session_id=session.session_id)
        gate.clock.pass_s(400)
        gate.state.settings.due["HJ-0001"] = NOW
        assert [command.cmd for command in commands([gate.usage(at=None)])] == ["renew"]
    else:
        gate.opened()
        gate.status(challenge="c-1")
    assert told(gate, 10) == []


def test_a_list_waits_for_the_challenge_after_it() -> None:
    gate = new_gate(WITH_LISTS)
    chip = Chip(gate)
    gate.state.offline.let_in("HJ-0001", "P000123", NOW)
    assert [command.cmd for command in commands(gate.ticks(20))] == ["config"]
    chip.fresh()
    assert [command.cmd for command in commands(gate.ticks(3))] == ["offline_list"]


def test_a_grant_uses_up_the_challenge_and_it_is_told_once_the_session_runs() -> None:
    gate = new_gate()
    gate.status(challenge="c-1")
    assert told(gate)
    session = gate.opened(challenge="c-1")
    gate.status(challenge="c-2", session_id=session.session_id)
    assert told(gate, 10) == []
    gate.event("unlocked", session.session_id)
    assert [command.cha for command in told(gate, 3)] == ["c-2"]


@pytest.mark.parametrize("reason", ["late", "other_challenge"])
@pytest.mark.parametrize("seemed_taken", [False, True])
def test_a_chip_that_refuses_it_is_told_ten_minutes_later(reason: str, seemed_taken: bool) -> None:
    gate = new_gate()
    gate.status(challenge="c-1")
    [command] = told(gate)
    if seemed_taken:
        gate.status(challenge="c-2")
    gate.event("grant_rejected", reason=reason, detail={"command_id": command.jti})
    assert told(gate, TOLD_AGAIN_MS / 1000 - 1) == []
    assert len(told(gate, 2)) == 1


def test_whenever_it_is_back_on_air_it_is_told_again() -> None:
    gate = new_gate()
    knows(gate)
    gate.status(online=False)
    gate.status(challenge="c-2")
    assert [command.cha for command in told(gate)] == ["c-2"]


def test_chips_that_are_away_or_never_spoke_are_told_nothing() -> None:
    gate = new_gate()
    gate.status(challenge="c-1")
    gate.status(online=False)
    gate.adopt(Policy())
    assert told(gate, 10) == []


def test_after_a_failed_batch_it_is_told_again() -> None:
    gate = new_gate()
    gate.status(challenge="c-1")
    assert told(gate)
    gate.read_back()
    assert len(told(gate, 1)) == 1


def test_many_are_told_a_hundred_at_a_tick() -> None:
    gate = new_gate()
    for number in range(250):
        gate.status(f"HJ-{number:04}", challenge="c-1")
    gate.clock.pass_s(3)
    assert [len(commands(gate.tick())) for _ in range(4)] == [100, 100, 50, 0]


# --- reckoning --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy_s", "chips_s", "ever_s", "reckoned_s"),
    [(10, 120, 0, 120), (300, 120, 0, 300), (10, 20, 0, 20), (10, 20, 240, 240)],
)
def test_no_session_is_over_before_the_longest_drain_that_its_chip_may_have(
    policy_s: int, chips_s: int, ever_s: int, reckoned_s: int
) -> None:
    gate = make_gate(Policy(lease=Lease(drain_deadline_s=policy_s, chip_drain_s=chips_s)))
    gate.read_back(longest_drain_s=ever_s)
    session = gate.opened()
    assert session.open_until == lasts_until(session.lease_until, reckoned_s)


def test_what_a_policy_of_before_told_chips_goes_on_counting() -> None:
    gate = make_gate(Policy(lease=Lease(drain_deadline_s=400)))
    gate.adopt(Policy(lease=Lease(drain_deadline_s=10)))
    session = gate.opened()
    assert session.open_until == over_at(session.lease_until, 400)


def test_a_longer_drain_holds_for_sessions_that_run_already_before_any_chip_is_told() -> None:
    gate = make_gate()
    session = gate.running()
    gate.sessions.take_changes()
    gate.adopt(Policy(lease=Lease(drain_deadline_s=500)))
    assert session.open_until == over_at(session.lease_until, 500)
    [row], _ = gate.sessions.take_changes()
    assert row[0] == session.session_id
