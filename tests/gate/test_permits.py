"""Permits and permitted hours at a running gate: what is on record, and how their changes and ends reach sessions."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.credential import offline_digest
from gateway.core.policy import Offline, Policy, Registry, Rulebook
from gateway.gate.explain import decide_again, in_words
from tests.core.matrix import permit, work_hours
from tests.gate.gates import (
    NOW,
    Gate,
    body_of,
    commands,
    decision_of,
    event_of,
    facts_of,
    lock_of,
    make_gate,
)
from tests.gate.offline_chip import chip_with_a_list, listed
from tests.gate.test_explain import record_of
from tests.gate.test_reviews import until

BY_PERMIT = Policy(rules={"permit_missing": "enforce", "permit_expired": "enforce"})
BY_HOURS = Policy(rules={"outside_permitted_hours": "enforce"})
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@pytest.fixture
def by_permit() -> Gate:
    """A gate whose welders need permits; P000123 has one at HJ-0001 until 14:00."""
    gate = make_gate(BY_PERMIT)
    gate.change(permit())
    return gate


def reasons(gate: Gate, welder: str = "P000123", machine_id: str = "HJ-0001") -> tuple[str, ...]:
    return decision_of(gate.request(welder, machine_id)).reasons


def locked_for(gate: Gate) -> list[str]:
    """The codes for which sessions are locked now."""
    reviews = [lock_of(entry).review for entry in gate.work_off()]
    return [code for review in reviews if review for code in review.decision.reasons]


# --- what is on record --------------------------------------------------------------------------------------------


def test_permits_and_hours_are_on_record_though_no_rule_asks_for_them_so_that_a_policy_can_be_tried() -> None:
    gate = make_gate()
    gate.change(permit(ends_at=NOW), work_hours())
    body = body_of(gate.request())
    assert body.decision.outcome == "allow"
    assert (body.facts.permits, body.facts.hours) == ((permit(ends_at=NOW),), (work_hours(),))
    tried = decide_again(body, Rulebook(BY_PERMIT))
    assert tried.reasons == ("permit_expired",)


def test_only_what_concerns_the_welder_and_the_machine_is_on_record() -> None:
    gate = make_gate()
    others = [permit(permit_id="DH-2", operator_id="P000456"), permit(permit_id="DH-3", machine_id="HJ-0002")]
    gate.change(permit(), *others, work_hours(machine_id="HJ-0002"))
    facts = facts_of(gate.request())
    assert (facts.permits, facts.hours) == ((permit(),), ())


def test_where_nobody_knows_of_permits_a_record_says_nothing_of_them() -> None:
    entry = make_gate().request()
    assert entry.draft is not None
    for name in (b"permits", b"hours", b"source_ages"):
        assert name not in entry.draft.body


def test_a_record_with_permits_and_hours_is_told_in_words() -> None:
    gate = make_gate()
    gate.state.snapshot.source_confirmed["permits"] = NOW - 5000
    gate.change(permit(), permit(permit_id="DH-2", operator_id="", machine_id="", guardian=""), work_hours())
    words = "\n".join(in_words(record_of(body_of(gate.request()))))
    assert (
        "DH-1  grade_1  approved  2026-06-15 08:00 … 2026-06-15 14:00  P000123  HJ-0001  监护 guardian P000456" in words
    )
    assert "DH-2" in words
    assert "任何人 anybody  任何焊机 any machine  监护 guardian ?" in words
    assert "12345  08:00-18:00" in words
    assert "permits  confirmed 5 s ago" in words


# --- permits and sessions -----------------------------------------------------------------------------------------


def test_a_permit_that_was_just_issued_opens_the_machine(by_permit: Gate) -> None:
    assert reasons(by_permit, "P000456", "HJ-0002") == ("permit_missing",)
    by_permit.change(permit(permit_id="DH-2", operator_id="P000456", machine_id="HJ-0002", guardian="P000123"))
    assert reasons(by_permit, "P000456", "HJ-0002") == ()


@pytest.mark.parametrize(
    "different",
    [{"operator_id": ""}, {"machine_id": ""}, {"operator_id": "", "machine_id": ""}],
    ids=["of anybody", "for any machine", "of anybody at any machine"],
)
def test_a_permit_that_is_withdrawn_locks_whoever_welds_by_it(different: dict[str, Any]) -> None:
    gate = make_gate(BY_PERMIT)
    gate.change(permit(**different))
    gate.running()
    gate.change(permit(**different, status="withdrawn"))
    assert locked_for(gate) == ["permit_missing"]


def test_a_permit_ends_without_anybody_scanning(by_permit: Gate) -> None:
    by_permit.clock.now = NOW + 3 * HOUR_MS + 1_800_000
    by_permit.running()
    assert until(by_permit, NOW + 4 * HOUR_MS - 10_000) == []
    assert until(by_permit, NOW + 4 * HOUR_MS) == ["permit_expired"]


def test_a_permit_of_a_level_that_may_not_last_so_long_ends_with_its_level() -> None:
    gate = make_gate(Policy(rules=BY_PERMIT.rules, permits=replace(BY_PERMIT.permits, grade_1_hours=3)))
    gate.change(permit())
    gate.clock.now = NOW + 1_800_000
    gate.running()
    assert until(gate, NOW + HOUR_MS - 10_000) == []
    assert until(gate, NOW + HOUR_MS) == ["permit_expired"]


def test_the_next_permit_lets_the_work_go_on(by_permit: Gate) -> None:
    by_permit.clock.now = NOW + 3 * HOUR_MS + 1_800_000
    by_permit.running()
    by_permit.change(permit(permit_id="DH-2", starts_at=NOW + 4 * HOUR_MS, ends_at=NOW + 6 * HOUR_MS))
    assert until(by_permit, NOW + 5 * HOUR_MS) == []


def test_what_the_gate_decided_by_a_permit_is_decided_again(by_permit: Gate) -> None:
    by_permit.running()
    by_permit.change(permit(status="withdrawn"))
    [entry] = by_permit.work_off()
    review = lock_of(entry).review
    assert review is not None
    assert decide_again(review, by_permit.state.rulebook) == review.decision


# --- offline ------------------------------------------------------------------------------------------------------


def test_a_list_lets_nobody_in_after_the_permit() -> None:
    gate = make_gate(replace(BY_PERMIT, offline=Offline(for_s=7200)))
    gate.change(permit())
    chip = chip_with_a_list(gate, "P000123")
    gate.change(permit(ends_at=NOW + HOUR_MS))
    [entry] = chip.gets()
    assert entry.command is not None
    assert listed(entry.command) == {"P000123": (NOW + HOUR_MS) // 1000}


def test_an_unlock_by_a_list_is_judged_by_the_permit_of_that_day() -> None:
    gate = make_gate(replace(BY_PERMIT, offline=Offline(for_s=7200)))
    daily = [
        permit(permit_id=f"DH-{n}", starts_at=NOW + n * DAY_MS, ends_at=NOW + n * DAY_MS + HOUR_MS) for n in range(4)
    ]
    gate.change(*daily)
    gate.clock.now = NOW + 3 * DAY_MS + 2 * HOUR_MS
    gate.state.snapshot.confirmed_at = gate.clock.now
    for at, outcome in ((NOW + DAY_MS + 1000, "allow"), (NOW + DAY_MS + 2 * HOUR_MS, "deny")):
        detail = {"entry": offline_digest("HJ-0001", "P000123"), "list_version": 1, "lease_s": 600, "method": "scan"}
        judged = event_of(gate.event("offline_unlock", f"session-{at}", at=at, detail=detail)).judged
        assert judged is not None
        assert judged.decision.outcome == outcome


# --- hours --------------------------------------------------------------------------------------------------------


def test_the_registered_hours_end_without_anybody_scanning() -> None:
    gate = make_gate(BY_HOURS)
    gate.change(work_hours(ends="10:30"))
    gate.running()
    assert until(gate, NOW + 1_790_000) == []
    assert until(gate, NOW + 1_800_000) == ["outside_permitted_hours"]


@pytest.mark.parametrize("machine_id", ["", "HJ-0001"])
def test_hours_that_are_new_lock_whoever_works_outside_them(machine_id: str) -> None:
    gate = make_gate(BY_HOURS)
    gate.running()
    gate.change(work_hours(machine_id=machine_id, starts="12:00"))
    assert locked_for(gate) == ["outside_permitted_hours"]


def test_hours_of_one_machine_lock_nobody_at_another() -> None:
    gate = make_gate(BY_HOURS)
    gate.running()
    gate.change(work_hours(machine_id="HJ-0002", starts="12:00"))
    assert commands(gate.work_off()) == []


# --- sources ------------------------------------------------------------------------------------------------------


def test_a_source_that_is_too_old_refuses_and_renews_nothing_but_locks_nobody() -> None:
    gate = make_gate(Policy(registry=Registry(sources={"permits": 600})))
    confirmed = gate.state.snapshot.source_confirmed
    assert reasons(gate) == ("registry_stale",)
    confirmed["permits"] = NOW
    gate.running()
    gate.clock.pass_s(601)
    assert commands([gate.usage()]) == []
    assert commands(gate.tick()) == []
    assert reasons(gate, "P000456", "HJ-0002") == ("registry_stale",)
    confirmed["permits"] = gate.clock.now
    assert [command.cmd for command in commands([gate.usage()])] == ["renew"]
