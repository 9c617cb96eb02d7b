"""Locks that are pressed until the chip reports, and every way in which a session ends."""

from typing import Any, get_args

import pytest
from msgspec import UNSET

from gateway.core.policy import Hours, Lease, Policy
from gateway.core.session import END_REASONS, EndReason
from gateway.gate.leases import (
    CLOCKED_AT_ONCE,
    LOCKED_AT_ONCE,
    OVERDUE_MS,
    RESEND_MS,
    RESEND_UNHEARD_MS,
    on_time,
)
from gateway.gate.sessions import Session
from gateway.observe.events import Locking, SessionEnded
from gateway.wire.tokens import Command
from tests.core.matrix import machine, operator
from tests.gate.gates import NOW, Gate, alerts, commands, decision_of, event_of, lock_of, make_gate


def locked(gate: Gate) -> Command:
    """The lock of a session that somebody locked from afar."""
    gate.control("lock")
    [command] = commands(gate.work_off())
    return command


# --- pressed until it is answered -------------------------------------------------------------------------------


def test_a_lock_is_sent_again_with_the_same_id_and_number_until_the_chip_has_locked(gate: Gate) -> None:
    session = gate.running()
    first = locked(gate)
    entries = gate.ticks(20)
    assert [(command.jti, command.n, command.cmd) for command in commands(entries)] == [(first.jti, 1, "lock")] * 4
    assert [entry.draft for entry in entries] == [None] * 4  # it is on record once
    again = Locking(session.session_id, "HJ-0001", "330521", "remote", again=True)
    assert [entry.observed for entry in entries] == [(again,)] * 4
    gate.event("locked", session.session_id, reason="remote")
    assert gate.ticks(60) == []


def test_a_lock_is_not_sent_again_sooner(gate: Gate) -> None:
    gate.running()
    locked(gate)
    gate.clock.now += RESEND_MS - 1
    assert gate.tick() == []
    gate.clock.now += 1
    assert len(commands(gate.tick())) == 1


def test_a_lock_is_never_too_late_for_a_chip_with_a_clock(gate: Gate) -> None:
    session = gate.running()
    first = locked(gate)
    assert first.exp * 1000 >= session.open_until
    sent = [first, *commands(gate.ticks(1200, every_s=5))]
    for command in sent:
        assert command.exp > command.iat
    assert session.end_reason == "remote"


@pytest.mark.parametrize("ahead_s", [3_600, 86_400, 366 * 86_400])
@pytest.mark.parametrize("why", ["blocked", "tamper", "stray"])
def test_however_far_ahead_a_chip_s_clock_is_no_lock_is_late(gate: Gate, why: str, ahead_s: int) -> None:
    session = gate.running()
    gate.event("clock_reset", session.session_id, at=gate.clock.now + ahead_s * 1000)
    if why == "blocked":
        gate.change(operator(status="blocked"))
    elif why == "tamper":
        gate.event("tamper", session.session_id)
    sent = commands(gate.work_off()) if why != "stray" else commands([gate.usage("session-stray") for _ in range(2)])
    assert [command.cmd for command in sent] == ["lock"]
    assert gate.clock.now + ahead_s * 1000 < sent[0].exp * 1000
    assert sent[0].exp < 2**31


def test_to_a_chip_that_is_offline_it_is_sent_once_a_minute_and_at_once_when_it_is_back(gate: Gate) -> None:
    gate.running()
    gate.status(online=False)
    first = locked(gate)
    assert commands(gate.ticks(RESEND_UNHEARD_MS // 1000 - 1)) == []
    assert [command.jti for command in commands(gate.ticks(1))] == [first.jti]
    gate.clock.pass_s(10)
    gate.status(online=True)
    assert [command.jti for command in commands(gate.tick())] == [first.jti]


def test_usage_that_goes_on_takes_back_no_lock(gate: Gate) -> None:
    session = gate.running()
    locked(gate)
    for _ in range(10):
        gate.clock.pass_s(1)
        gate.usage(current_a=100)
    assert (session.state, session.n) == ("draining", 1)


def test_after_a_restart_the_lock_is_pressed_on(gate: Gate) -> None:
    gate.running()
    first = locked(gate)
    row = gate.session().row()
    restarted = make_gate()
    restarted.clock.pass_s(3)
    restarted.read_back(row, whole=True)
    again = commands(restarted.tick())
    assert [(command.jti, command.n, command.reason) for command in again] == [(first.jti, 1, "remote")]


def test_a_lock_that_stays_without_effect_is_told_once(gate: Gate) -> None:
    session = gate.running()
    locked(gate)
    gate.clock.now += 120_000 + OVERDUE_MS
    assert alerts(gate.tick()) == []
    gate.clock.now += 1
    assert alerts(gate.tick()) == [("lock_overdue", "HJ-0001", session.session_id)]
    assert alerts(gate.ticks(300)) == []


def test_once_that_was_told_it_is_pressed_once_a_minute(gate: Gate) -> None:
    gate.running()
    locked(gate)
    gate.ticks(120 + OVERDUE_MS // 1000 + 1)
    assert len(commands(gate.ticks(180))) == 3


# --- many at once -----------------------------------------------------------------------------------------------


def all_idle() -> tuple[Gate, list[Session]]:
    """More running sessions than are locked in one batch, all to be locked for idling."""
    numbers = range(CLOCKED_AT_ONCE + 10)
    machines = tuple(machine(machine_id=f"HJ-{number:04}") for number in numbers)
    gate = make_gate(machines=machines, welders=tuple(f"P{number:06}" for number in numbers))
    sessions = [gate.running(f"P{number:06}", f"HJ-{number:04}") for number in numbers]
    for session in sessions:
        gate.state.agenda.lock(session, "idle")
    return gate, sessions


def test_of_many_locks_no_more_go_out_in_one_batch_than_fit_and_the_tampered_first() -> None:
    gate, sessions = all_idle()
    gate.event("tamper", None, sessions[-1].machine_id)
    first = commands(gate.work_off())
    assert len(first) == LOCKED_AT_ONCE
    assert (first[0].sid, first[0].when) == (sessions[-1].session_id, "now")
    rest: list[Command] = []
    while len(gate.state.agenda):
        rest += commands(gate.work_off())
    assert {command.sid for command in (*first, *rest)} == {session.session_id for session in sessions}


def test_what_the_clock_leads_to_comes_a_slice_at_a_time() -> None:
    gate, sessions = all_idle()
    gate.clock.now = max(session.open_until for session in sessions) + 1
    gate.state.agenda.hold_against_clock(gate.sessions)
    ended = on_time(gate.state, gate.clock.now)
    assert len(ended) == min(CLOCKED_AT_ONCE, len(sessions))
    while len(gate.sessions):
        assert on_time(gate.state, gate.clock.now)


# --- why --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["unlocked", "draining"])
def test_a_tampered_lock_is_locked_at_once_also_while_it_drains(gate: Gate, first: str) -> None:
    session = gate.running()
    before = locked(gate) if first == "draining" else None
    entry = gate.event("tamper", session.session_id)
    assert alerts([entry]) == [("tamper", "HJ-0001", session.session_id)]
    [lock] = gate.work_off()
    assert lock.command is not None
    assert (lock.command.when, lock.command.deadline_s) == ("now", UNSET)
    assert lock.command.n == (2 if before else 1)
    assert lock.command.jti != (before.jti if before else "")
    assert lock_of(lock).reason == "tamper"
    assert session.drain_reason == ("remote" if before else "tamper")
    assert [(again.jti, again.when) for again in commands(gate.ticks(5))] == [(lock.command.jti, "now")]
    gate.event("tamper", session.session_id)
    assert gate.work_off() == []


def test_a_tampered_lock_is_locked_at_once_also_where_it_would_have_been_for_something_else(gate: Gate) -> None:
    """Both in one batch: the harder lock is the one that is sent."""
    session = gate.running()
    gate.state.agenda.lock(session, "idle")
    gate.event("tamper", session.session_id)
    assert commands(gate.work_off())[-1].when == "now"


def test_a_tampered_lock_without_a_session_is_told_and_nothing_else(gate: Gate) -> None:
    entry = gate.event("tamper")
    assert alerts([entry]) == [("tamper", "HJ-0001", None)]
    assert gate.work_off() == []


@pytest.mark.parametrize("at", [None, NOW - 3_600_000, NOW])
def test_a_tampering_whenever_it_was_locks_whoever_works_there_now(gate: Gate, at: int | None) -> None:
    gate.running()
    gate.event("tamper", at=at)
    assert [command.when for command in commands(gate.work_off())] == ["now"]


def test_who_does_not_weld_for_as_long_as_the_policy_says_is_locked(gate: Gate) -> None:
    session = gate.running()
    for second in range(0, 901, 10):
        assert gate.work_off() == []
        gate.usage(idle_s=second)
        gate.clock.pass_s(10)
    [lock] = gate.work_off()
    assert lock.command is not None
    assert (lock.command.reason, lock.command.when) == ("idle", "between_arcs")
    assert (lock_of(lock).reason, lock_of(lock).review, session.state) == ("idle", None, "draining")


def test_an_arc_begins_the_idle_time_anew() -> None:
    gate = make_gate(Policy(lease=Lease(idle_lock_s=60)))
    gate.running()
    for current_a in (0, 100, 0, 0):
        gate.usage(current_a=current_a)
        gate.clock.pass_s(50)
    assert gate.work_off() == []
    gate.usage(current_a=0)
    assert [command.reason for command in commands(gate.work_off())] == ["idle"]


# --- every end --------------------------------------------------------------------------------------------------


def ends(gate: Gate, session: Session, reason: EndReason) -> None:
    """Bring about an end for a reason."""
    match reason:
        case "unused":
            gate.clock.now = session.open_until + 1
            gate.tick()
        case "grant_rejected":
            gate.event("grant_rejected", session.session_id, reason="other_challenge")
        case "power":
            gate.event("boot", session.session_id)
        case "replaced":
            gate.request()
        case "offline_too_long":
            gate.event("unlocked", session.session_id)
            gate.clock.now = session.open_until + 1
            gate.tick()
        case "lease_over":
            gate.event("unlocked", session.session_id)
            gate.state.latest = NOW + 10**7  # trouble of the gateway's own: no renewals
            while gate.clock.now <= session.open_until:
                gate.clock.pass_s(10)
                gate.usage(session.session_id, current_a=100)
            gate.tick()
        case "locked":
            gate.event("locked", session.session_id)
        case "operator" | "no_session":
            gate.event("locked", session.session_id, reason=reason)
        case "revoked" | "remote" | "out_of_service" | "tamper" | "idle":
            drained(gate, session, reason)
            gate.event("locked", session.session_id)


def drained(gate: Gate, session: Session, reason: EndReason) -> None:
    gate.event("unlocked", session.session_id)
    match reason:
        case "revoked":
            gate.adopt(Policy(rules={"outside_permitted_hours": "enforce"}, hours=Hours("12:00", "13:00")))
        case "remote":
            gate.control("lock")
        case "out_of_service":
            gate.control("out_of_service")
        case "tamper":
            gate.event("tamper", session.session_id)
        case _:
            for _ in range(2):
                gate.usage()
                gate.clock.pass_s(900)
            gate.usage()
    gate.work_off()
    assert session.state == "draining"


@pytest.mark.parametrize("reason", get_args(EndReason))
def test_every_reason_for_an_end_comes_about(gate: Gate, reason: EndReason) -> None:
    session = gate.opened()
    ends(gate, session, reason)
    assert (session.state, session.end_reason) == ("ended", reason)
    assert reason in END_REASONS


@pytest.mark.parametrize("reason", ["revoked", "remote", "out_of_service", "tamper", "idle"])
def test_a_lock_that_is_never_answered_ends_for_its_reason_once_the_relay_is_open_in_any_case(
    gate: Gate, reason: EndReason
) -> None:
    session = gate.opened()
    drained(gate, session, reason)
    gate.clock.now = session.open_until
    gate.tick()
    assert session.state == "draining"
    gate.clock.now += 1
    [entry] = gate.tick()
    assert session.end_reason == reason
    assert entry.draft is not None
    assert (entry.draft.kind, entry.draft.message_id) == ("session_end", session.session_id)


def test_an_end_without_word_from_the_chip_is_on_record_with_its_reason(gate: Gate) -> None:
    session = gate.opened()
    gate.clock.now = session.open_until + 1
    [entry] = gate.tick()
    assert entry.draft is not None
    assert (entry.draft.kind, entry.draft.machine_id, entry.draft.operator_id) == ("session_end", "HJ-0001", "P000123")
    assert entry.draft.body == b'{"reason":"unused","session_id":"%b"}' % session.session_id.encode()
    assert entry.observed == (SessionEnded(session.session_id, "HJ-0001", "330521", "unused"),)
    assert len(gate.sessions) == 0
    assert gate.ticks(60) == []


@pytest.mark.parametrize(("replaced_after_s", "reason"), [(10, "replaced"), (5000, "unused")])
def test_what_is_told_of_a_session_that_makes_way_is_why_it_ended(
    gate: Gate, replaced_after_s: int, reason: str
) -> None:
    session = gate.opened()
    gate.clock.pass_s(replaced_after_s)
    entry = gate.request()
    assert decision_of(entry).outcome == "allow"
    told = [event.reason for event in entry.observed if isinstance(event, SessionEnded)]
    assert told == [session.end_reason] == [reason]


def test_a_grant_that_the_chip_refused_and_never_took_ends_once_it_cannot_any_more(gate: Gate) -> None:
    session = gate.opened()
    gate.event("grant_rejected", session.session_id, reason="late")
    assert gate.ticks(35) == []
    [entry] = gate.ticks(1)
    assert entry.draft is not None
    assert (entry.draft.kind, session.end_reason) == ("session_end", "grant_rejected")


# --- what the chip says of a lock -------------------------------------------------------------------------------


def rejected(gate: Gate, session: Session, **different: Any) -> str | None:
    return event_of(gate.event("grant_rejected", session.session_id, **different)).ends


def test_a_chip_that_refuses_a_lock_for_it_runs_another_session_ends_it_once_no_grant_can_come(gate: Gate) -> None:
    session = gate.opened()
    locked(gate)
    gate.clock.pass_s(35)
    assert rejected(gate, session, reason="other_session") is None
    gate.clock.pass_s(1)
    assert rejected(gate, session, reason="other_session") == session.session_id
    assert session.end_reason == "remote"


@pytest.mark.parametrize("reason", ["replayed", "late", "bad_signature", None])
def test_a_chip_that_refuses_a_lock_for_another_reason_goes_on_being_pressed(gate: Gate, reason: str | None) -> None:
    session = gate.running()
    locked(gate)
    gate.clock.pass_s(120)
    assert rejected(gate, session, reason=reason) is None
    assert len(commands(gate.tick())) == 1


# --- a machine that is left by an override -----------------------------------------------------------------------


def test_who_leaves_a_running_machine_by_an_override_has_it_locked(gate: Gate) -> None:
    session = gate.running("P000123", "HJ-0002")
    about = {"machine_id": "HJ-0001", "operator_id": "P000123", "override_id": "override-1"}
    gate.control(
        "override_approved", level="supervisor", codes=("operator_in_session",), until=NOW + 3_600_000, **about
    )
    entry = gate.request("P000123", "HJ-0001")
    assert decision_of(entry).overridden == ("operator_in_session",)
    assert session.end_reason == "replaced"
    assert entry.command is not None
    assert (entry.command.aud, entry.command.sid, entry.command.cmd) == ("HJ-0002", session.session_id, "lock")
    assert entry.command.n > session.n
