"""Whatever changes, the sessions that it concerns are looked at again: who would be refused now is locked, once."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from gateway.core.policy import Hours, Policy, Rulebook
from gateway.gate.explain import decide_again
from gateway.gate.leases import REVIEWED_AT_ONCE
from gateway.observe.events import Locking
from tests.core.matrix import certificate, employment, enterprise, machine, operator
from tests.gate.gates import (
    DAY_S,
    NOW,
    TODAY,
    WELDERS,
    YESTERDAY,
    Gate,
    commands,
    decision_of,
    lock_of,
    make_gate,
)

CLOSED_NOW = Policy(rules={"outside_permitted_hours": "enforce"}, hours=Hours("12:00", "18:00"))


def theirs(**different: object) -> tuple[str, object]:
    return ("P000123", certificate(ref="ref-P000123", **different))


CHANGES: dict[str, tuple[Callable[[Gate], None], str, str]] = {
    # what happens, the reason of the lock, the code that refuses
    "the operator is blocked": (
        lambda gate: gate.change(operator(status="blocked")),
        "revoked",
        "operator_blocked",
    ),
    "the certificate is revoked": (
        lambda gate: gate.change(theirs(status="revoked")),
        "revoked",
        "certificate_revoked",
    ),
    "the certificate is suspended": (
        lambda gate: gate.change(theirs(status="suspended")),
        "revoked",
        "certificate_suspended",
    ),
    "the certificate turns out to be forged": (
        lambda gate: gate.change(theirs(verification="counterfeit")),
        "revoked",
        "certificate_counterfeit",
    ),
    "the certificate is shortened": (
        lambda gate: gate.change(theirs(valid_until=YESTERDAY)),
        "revoked",
        "certificate_expired",
    ),
    "the certificate goes to somebody else": (
        lambda gate: gate.change(("P000456", certificate(ref="ref-P000123"))),
        "revoked",
        "certificate_missing",
    ),
    "the employment ends": (
        lambda gate: gate.change(("P000123", employment(until=YESTERDAY))),
        "revoked",
        "employment_ended",
    ),
    "the firm has to stop": (
        lambda gate: gate.change(enterprise(status="production_suspended")),
        "revoked",
        "enterprise_production_suspended",
    ),
    "the firm's licence is suspended": (
        lambda gate: gate.change(enterprise(status="licence_suspended")),
        "revoked",
        "enterprise_licence_suspended",
    ),
    "the firm is closed": (lambda gate: gate.change(enterprise(status="closed")), "revoked", "enterprise_closed"),
    "the machine is suspended": (
        lambda gate: gate.change(machine(status="suspended")),
        "revoked",
        "machine_suspended",
    ),
    "the machine is for another process": (
        lambda gate: gate.change(machine(process="brazing")),
        "revoked",
        "certificate_wrong_item",
    ),
    "somebody locks the machine from afar": (
        lambda gate: gate.control("lock"),
        "remote",
        "machine_out_of_service",
    ),
    "somebody takes the machine out of service": (
        lambda gate: gate.control("out_of_service"),
        "out_of_service",
        "machine_out_of_service",
    ),
    "another policy forbids it": (lambda gate: gate.adopt(CLOSED_NOW), "revoked", "outside_permitted_hours"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_when_the_ground_goes_the_session_is_locked_once_and_the_record_says_why(gate: Gate, what: str) -> None:
    change, reason, code = CHANGES[what]
    session = gate.running()
    gate.clock.pass_s(60)
    change(gate)
    [entry] = gate.work_off()
    command, body = entry.command, lock_of(entry)
    assert command is not None
    assert (command.cmd, command.aud, command.sid) == ("lock", "HJ-0001", session.session_id)
    assert (command.reason, command.when, command.deadline_s, command.n) == (reason, "between_arcs", 120, 1)
    assert (session.state, session.drained_at, session.drain_reason) == ("draining", gate.clock.now, reason)
    assert entry.draft is not None
    assert (entry.draft.message_id, entry.draft.operator_id) == (command.jti, "P000123")
    assert (body.reason, body.review is not None and body.review.decision.reasons) == (reason, (code,))
    assert entry.observed == (Locking(session.session_id, "HJ-0001", "330521", reason, again=False),)
    assert gate.work_off() == []


@pytest.mark.parametrize("what", CHANGES)
def test_invariant_a_review_is_decided_again_from_its_record_with_the_same_outcome(gate: Gate, what: str) -> None:
    gate.running()
    CHANGES[what][0](gate)
    [entry] = gate.work_off()
    review = lock_of(entry).review
    assert review is not None
    assert review.asked.credential_kind == "session"
    assert review.policy == gate.state.rulebook.hash
    assert decide_again(review, gate.state.rulebook) == review.decision


@pytest.mark.parametrize("what", CHANGES)
def test_a_scan_after_the_change_is_refused_for_the_same_reason(gate: Gate, what: str) -> None:
    change, _, code = CHANGES[what]
    gate.running()
    change(gate)
    gate.work_off()
    assert decision_of(gate.request()).reasons == (code,)


def test_a_session_that_somebody_ordered_to_end_is_locked_without_a_review(gate: Gate) -> None:
    session = gate.running()
    gate.control("end_session", session_id=session.session_id)
    [entry] = gate.work_off()
    assert (lock_of(entry).reason, lock_of(entry).review) == ("remote", None)
    assert decision_of(gate.request()).outcome == "allow"  # that session ended, not the machine


def test_ordering_another_session_to_end_locks_nobody_here(gate: Gate) -> None:
    gate.running()
    gate.control("end_session", session_id="session-of-before")
    assert gate.work_off() == []


@pytest.mark.parametrize("used", [False, True], ids=["granted", "unlocked"])
def test_a_grant_that_the_chip_may_still_take_is_locked_as_well(gate: Gate, used: bool) -> None:
    session = gate.running() if used else gate.opened()
    gate.control("lock")
    assert len(commands(gate.work_off())) == 1
    gate.event("unlocked", session.session_id)
    assert session.state == "draining"


def test_what_changes_for_others_locks_nobody_else(gate: Gate) -> None:
    for welder, machine_id in zip(WELDERS, ("HJ-0001", "HJ-0002", "HJ-0003"), strict=True):
        gate.running(welder, machine_id)
    gate.change(operator(operator_id="P000456", status="blocked"))
    gate.control("lock", machine_id="HJ-0003")
    assert sorted(command.aud for command in commands(gate.work_off())) == ["HJ-0002", "HJ-0003"]
    assert gate.session("HJ-0001").state == "unlocked"


def test_a_firm_that_is_closed_loses_all_its_sessions(gate: Gate) -> None:
    for welder, machine_id in zip(WELDERS, ("HJ-0001", "HJ-0002", "HJ-0003"), strict=True):
        gate.running(welder, machine_id)
    gate.change(enterprise(status="closed"))
    assert [command.aud for command in commands(gate.work_off())] == ["HJ-0001", "HJ-0002", "HJ-0003"]


def test_changes_that_leave_the_ground_alone_lock_nobody(gate: Gate) -> None:
    gate.running()
    gate.change(operator(), machine(division="330522"), enterprise(), theirs(valid_until=TODAY + timedelta(days=1)))
    gate.adopt(Policy(version="another"))
    gate.control("lock")
    gate.control("release")
    assert gate.work_off() == []


def test_an_override_that_is_taken_back_takes_its_session_along() -> None:
    gate = make_gate(employments=())
    about = {"operator_id": "P000123", "override_id": "override-1"}
    codes = ("operator_not_employed",)
    gate.control("override_approved", level="supervisor", codes=codes, until=NOW + 3_600_000, **about)
    gate.running()
    assert gate.work_off() == []
    gate.control("override_ended", **about)
    [entry] = gate.work_off()
    review = lock_of(entry).review
    assert review is not None
    assert review.decision.reasons == codes


# --- time -------------------------------------------------------------------------------------------------------


def until(gate: Gate, moment: int) -> list[str]:
    """The codes by which sessions are locked up to a moment, with usage all the time."""
    gate.state.snapshot.confirmed_at = moment - DAY_S * 1000
    locked: list[str] = []
    while gate.clock.now < moment:
        gate.clock.pass_s(10)
        gate.usage(current_a=100)
        for entry in gate.tick():
            review = lock_of(entry).review
            assert review is not None
            locked += review.decision.reasons
    return locked


def test_at_midnight_a_certificate_ends_without_anybody_scanning(gate: Gate) -> None:
    gate.change(theirs(valid_until=TODAY))
    gate.clock.now = NOW + 13 * 3_600_000
    gate.running()
    midnight = NOW + 14 * 3_600_000
    assert until(gate, midnight - 10_000) == []
    assert until(gate, midnight) == ["certificate_expired"]


def test_the_permitted_hours_end_without_anybody_scanning() -> None:
    gate = make_gate(Policy(rules={"outside_permitted_hours": "enforce"}, hours=Hours("08:00", "10:30")))
    gate.running()
    assert until(gate, NOW + 1_790_000) == []
    assert until(gate, NOW + 1_800_000) == ["outside_permitted_hours"]


def test_within_the_days_of_grace_midnight_locks_nobody() -> None:
    gate = make_gate(Policy(grace={"certificate_expired": 1}))
    gate.change(theirs(valid_until=TODAY))
    gate.clock.now = NOW + 13 * 3_600_000
    gate.running()
    assert until(gate, NOW + 14 * 3_600_000 + 60_000) == []


def test_a_session_of_which_the_gateway_knows_nothing_since_its_start_is_bounded_all_the_same(gate: Gate) -> None:
    """As after a restart: what it rests on is looked up anew."""
    gate.change(theirs(valid_until=TODAY))
    gate.clock.now = NOW + 14 * 3_600_000 - 60_000
    row = gate.running().row()
    restarted = make_gate()
    restarted.clock.now = gate.clock.now
    restarted.change(theirs(valid_until=TODAY))
    restarted.read_back(row, whole=True)
    assert restarted.tick() == []
    restarted.clock.pass_s(60)
    assert [command.cmd for command in commands(restarted.tick())] == ["lock"]


# --- many -------------------------------------------------------------------------------------------------------


def test_of_many_sessions_a_slice_is_looked_at_in_each_batch() -> None:
    many = [f"P{number:06}" for number in range(REVIEWED_AT_ONCE + 50)]
    machines = tuple(machine(machine_id=f"HJ-{number:04}") for number in range(len(many)))
    gate = make_gate(welders=many, machines=machines)
    for welder, one in zip(many, machines, strict=True):
        gate.opened(welder, one.machine_id)
    gate.change(enterprise(status="closed"))
    assert [len(gate.work_off()) for _ in range(3)] == [REVIEWED_AT_ONCE, 50, 0]


def test_a_policy_is_adopted_as_a_whole(gate: Gate) -> None:
    gate.running()
    hashes = gate.state.rulebook.hash
    gate.adopt(CLOSED_NOW)
    [entry] = gate.work_off()
    review = lock_of(entry).review
    assert review is not None
    assert review.policy == Rulebook(CLOSED_NOW).hash != hashes


def test_a_chip_that_turns_out_to_be_another_is_locked_at_the_next_look(gate: Gate) -> None:
    gate.running()
    gate.status(chip="CHIP-9999")
    gate.clock.pass_s(300)
    assert commands([gate.usage()]) == []
    [entry] = gate.work_off()
    review = lock_of(entry).review
    assert review is not None
    assert review.decision.reasons == ("chip_mismatch",)
