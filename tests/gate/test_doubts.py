"""Events that speak of what another gateway of the same database knows: looked up before they are handled."""

from typing import Any

import msgspec
import pytest

from gateway.core.model import PhoneAsk
from gateway.gate.doubts import doubtful
from gateway.gate.phone import by_phone
from gateway.store.journal import AboutMachines
from gateway.wire import topics
from gateway.wire.inbound import Inbound
from tests.gate.gates import NOW, Gate, alerts, commands, event_of, make_gate

ELSEWHERE = "session-of-another-gateway"


@pytest.fixture
def gate() -> Gate:
    gate = make_gate()
    gate.event("clock_reset", seq=7)
    return gate


def event(kind: str = "clock_reset", seq: int = 8, session_id: str | None = None, **how: Any) -> Inbound:
    fields = {"event_id": f"event-{kind}-{seq}", "seq": seq, "kind": kind, "session_id": session_id}
    return Inbound(
        topics.to_gateway("HJ-0001", "event"), msgspec.json.encode(fields), how.get("retained", False), 0, (1, 1)
    )


def machines(gate: Gate, *batch: Inbound) -> list[str]:
    return list(doubtful(gate.state, batch).values())


# --- what is in doubt -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unlocked", "locked", "boot", "tamper", "grant_rejected", "offline_unlock"])
def test_an_event_of_a_session_that_memory_does_not_hold_is_looked_up(gate: Gate, kind: str) -> None:
    assert machines(gate, event(kind, session_id=ELSEWHERE)) == ["HJ-0001"]
    gate.running()
    assert machines(gate, event(kind, 9, session_id=ELSEWHERE)) == ["HJ-0001"]


def test_an_event_of_the_session_here_is_not(gate: Gate) -> None:
    session = gate.running()
    assert machines(gate, event("locked", 9, session.session_id)) == []


def test_nor_one_of_a_session_that_ended_lately(gate: Gate) -> None:
    first = gate.running().session_id
    gate.running()
    assert machines(gate, event("locked", 10, first)) == []


def test_a_tampering_is_always_looked_up(gate: Gate) -> None:
    """Whose session it is must be right: one that memory has locked at once already would hide the present one."""
    session = gate.running()
    assert machines(gate, event("tamper", 9, session.session_id)) == ["HJ-0001"]


def test_what_concerns_the_whole_lock_is_where_nobody_is_known_to_work_there(gate: Gate) -> None:
    assert machines(gate, event("boot")) == ["HJ-0001"]
    gate.running()
    assert machines(gate, event("boot", 9)) == []


def test_another_clock_always_is(gate: Gate) -> None:
    """What is written of the chip then must not be older than what another gateway has heard of it."""
    gate.running()
    assert machines(gate, event("clock_reset", 9)) == ["HJ-0001"]


def test_whatever_is_asked_by_phone_is_with_what_its_request_may_have_been_answered(gate: Gate) -> None:
    ask = PhoneAsk("HJ-0002", "P000123", "by-phone-1", "account-1")
    key = ("HJ-0002", "decision", "by-phone-1")
    assert doubtful(gate.state, [by_phone(ask, 0)]) == {key: "HJ-0002"}


@pytest.mark.parametrize("kind", ["arc_without_lease", "relay_stuck", "grant_rejected"])
def test_what_concerns_no_session_is_not(gate: Gate, kind: str) -> None:
    assert machines(gate, event(kind)) == []


@pytest.mark.parametrize("seq", [1, 7, 9])
def test_a_number_that_does_not_follow_the_last_one_is(gate: Gate, seq: int) -> None:
    """Another gateway may have had those between, or know what was missing."""
    assert machines(gate, event("relay_stuck", seq)) == ["HJ-0001"]


def test_numbers_of_one_batch_follow_each_other(gate: Gate) -> None:
    assert machines(gate, *[event("relay_stuck", seq) for seq in (8, 9, 10)]) == []


def test_the_first_event_of_a_chip_is_looked_up() -> None:
    assert machines(make_gate(), event("relay_stuck", 1)) == ["HJ-0001"]


def test_what_is_no_event_is_not(gate: Gate) -> None:
    topic = topics.to_gateway("HJ-0001", "event")
    assert machines(gate, event("locked", session_id=ELSEWHERE, retained=True)) == []
    assert machines(gate, Inbound(topic, b"no event", False, 0, (1, 1))) == []
    assert machines(gate, Inbound("somewhere/else/event", b"{}", False, 0, (1, 1))) == []
    assert machines(gate, Inbound(topics.to_gateway("HJ-0001", "usage"), b"{}", False, 0, (1, 1))) == []


# --- what comes of it -------------------------------------------------------------------------------------------


def elsewhere() -> tuple[Gate, tuple[Any, ...]]:
    """Another gateway, and the row of the session that it opened."""
    other = make_gate()
    other.running()
    other.sessions.take_changes()
    return other, other.session().row()


def found(gate: Gate, *sessions: tuple[Any, ...], **numbers: Any) -> None:
    gate.state.refresh(["HJ-0001"], AboutMachines(list(sessions), numbers.get("seqs", {}), numbers.get("gaps", []), []))


def test_a_tampered_lock_is_locked_whichever_gateway_opened_the_session(gate: Gate) -> None:
    _, row = elsewhere()
    found(gate, row)
    entry = gate.event("tamper", seq=9)
    assert alerts([entry]) == [("tamper", "HJ-0001", None)]
    assert [(command.sid, command.when) for command in commands(gate.work_off())] == [(row[0], "now")]


def test_locked_ends_the_session_whichever_gateway_opened_it(gate: Gate) -> None:
    _, row = elsewhere()
    found(gate, row)
    assert event_of(gate.event("locked", row[0], seq=9)).ends == row[0]


def test_a_session_that_was_found_is_looked_at_as_any(gate: Gate) -> None:
    _, row = elsewhere()
    found(gate, row)
    assert [session.session_id for session in gate.state.agenda.take_reviews(9)] == [row[0]]


def test_a_session_that_another_gateway_ended_or_took_the_place_of_is_forgotten(gate: Gate) -> None:
    gate.running()
    gate.sessions.take_changes()
    _, row = elsewhere()
    found(gate, row)
    assert gate.session().session_id == row[0]
    found(gate)
    assert gate.sessions.at_machine("HJ-0001") is None
    assert gate.sessions.take_changes() == ([], [])


def test_what_was_learned_of_a_session_stays_where_another_gateway_changed_it(gate: Gate) -> None:
    session = gate.running()
    gate.usage(current_a=100)
    gate.sessions.take_changes()
    rev_at = session.row().index(session.rev, len(session.row()) - 1)
    found(gate, (*session.row()[:rev_at], session.rev + 1))
    assert gate.session() is not session
    assert gate.session().state == "welding"
    found(gate, gate.session().row())
    assert gate.session().live is session.live


def test_a_gap_that_another_gateway_recorded_is_no_new_one(gate: Gate) -> None:
    found(gate, seqs={"HJ-0001": 20}, gaps=[("HJ-0001", 12, 14)])
    assert [event_of(gate.event("relay_stuck", seq=seq)).lost for seq in (21, 13)] == [None, None]


def test_times_of_what_was_found_go_with_a_clock_that_was_set_since_they_were_written(gate: Gate) -> None:
    _, row = elsewhere()
    gate.state.keep_time(0)
    gate.state.stored_skew = gate.state.skew
    gate.clock.pass_s(3_600)
    gate.state.keep_time(0)
    found(gate, row)
    assert gate.session().open_until == row[7] + 3_600_000
    assert gate.clock.now == NOW + 3_600_000
