"""Unlocks without a connection: decided after the fact, opened as sessions, locked where they would be refused."""

from typing import Any

import pytest

from gateway.core.credential import offline_digest
from gateway.core.lease import CLOCK_ERROR_S, lasts_until
from gateway.core.policy import Credentials, Offline, Policy
from gateway.gate.entry import DecisionBody, Entry
from gateway.gate.explain import decide_again
from gateway.observe.events import JudgedAfterwards, SessionEnded
from tests.core.matrix import certificate, operator
from tests.gate.gates import NOW, TODAY, WELDERS, YESTERDAY, Gate, alerts, commands, event_of, lock_of, make_gate

POLICY = Policy(offline=Offline(for_s=7200, lease_s=600))


@pytest.fixture
def gate() -> Gate:
    return make_gate(POLICY)


def unlocked(gate: Gate, welder: str = "P000123", session_id: str = "session-offline", **different: Any) -> Entry:
    """A chip tells that it unlocked by its list."""
    detail = {"entry": offline_digest("HJ-0001", welder), "list_version": 1, "lease_s": 600, "method": "scan"}
    detail |= different.pop("detail", {})
    return gate.event("offline_unlock", session_id, detail=detail, **different)


def judged(entry: Entry) -> DecisionBody:
    body = event_of(entry).judged
    assert body is not None
    return body


def test_an_unlock_that_would_have_been_allowed_opens_its_session_as_the_chip_runs_it(gate: Gate) -> None:
    gate.clock.pass_s(120)
    entry = unlocked(gate, at=NOW)
    session = gate.session()
    assert (session.session_id, session.operator_id, session.offline) == ("session-offline", "P000123", True)
    assert (session.state, session.granted_at, session.unlocked_at, session.lease_s) == ("unlocked", NOW, NOW, 600)
    assert session.lease_until == lasts_until(gate.clock.now + CLOCK_ERROR_S * 1000, 600)
    assert (session.request_id, session.has_clock, session.division) == ("event-00000001", True, "330521")
    assert judged(entry).decision.outcome == "allow"
    assert alerts([entry]) == []
    assert gate.work_off() == []


def test_it_is_on_record_with_what_was_decided_and_that_can_be_decided_again(gate: Gate) -> None:
    body = judged(unlocked(gate))
    assert (body.asked.request_id, body.asked.method, body.asked.credential_kind) == (
        "event-00000001",
        "scan",
        "badge",
    )
    assert body.asked.credential == ""
    assert (body.policy, body.registry) == (gate.state.rulebook.hash, 7)
    assert decide_again(body, gate.state.rulebook) == body.decision


def test_it_is_judged_by_the_time_at_which_it_happened(gate: Gate) -> None:
    gate.change(("P000123", certificate(ref="ref-P000123", valid_until=TODAY)))
    gate.clock.now = NOW + 15 * 3_600_000
    gate.state.snapshot.confirmed_at = gate.clock.now
    assert judged(unlocked(gate, at=NOW + 13 * 3_600_000)).decision.outcome == "allow"
    assert judged(unlocked(gate, at=gate.clock.now)).decision.reasons == ("certificate_expired",)


@pytest.mark.parametrize("at", [None, NOW + 1])
def test_a_chip_without_a_clock_or_ahead_of_ours_unlocked_now_at_the_latest(gate: Gate, at: int | None) -> None:
    unlocked(gate, at=at)
    assert (gate.session().granted_at, gate.session().has_clock) == (NOW, at is not None)


# --- who would have been refused ----------------------------------------------------------------------------------


def test_who_would_have_been_refused_is_told_and_locked(gate: Gate) -> None:
    gate.change(operator(status="blocked"))
    gate.work_off()
    entry = unlocked(gate)
    assert judged(entry).decision.reasons == ("operator_blocked",)
    assert alerts([entry]) == [("offline_refused", "HJ-0001", "session-offline")]
    [lock] = gate.work_off()
    assert lock.command is not None
    assert (lock.command.sid, lock.command.reason, lock.command.n) == ("session-offline", "revoked", 1)
    assert lock_of(lock).review is not None


def test_whoever_it_was_that_the_list_named_is_found_while_employed_by_the_machine_s_firm(gate: Gate) -> None:
    for welder in WELDERS:
        assert judged(unlocked(gate, welder, f"session-{welder}")).facts.operator_id == welder


def test_an_entry_that_is_nobody_s_is_flagged_and_locked(gate: Gate) -> None:
    entry = unlocked(gate, detail={"entry": "AAAAAAAAAAAAAAAA"})
    assert judged(entry).decision.reasons == ("credential_unknown",)
    assert gate.session().operator_id is None
    assert [command.sid for command in commands(gate.work_off())] == ["session-offline"]


def test_a_machine_that_somebody_locked_before_the_chip_heard_of_it_is_locked(gate: Gate) -> None:
    gate.control("lock")
    entry = unlocked(gate)
    assert judged(entry).decision.reasons == ("machine_out_of_service",)
    assert [command.reason for command in commands(gate.work_off())] == ["remote"]


# --- what stands in its way ---------------------------------------------------------------------------------------


def test_a_session_whose_end_was_lost_makes_way(gate: Gate) -> None:
    before = gate.running("P000456")
    gate.clock.pass_s(600)
    entry = unlocked(gate)
    assert (before.state, before.end_reason) == ("ended", "replaced")
    assert SessionEnded(before.session_id, "HJ-0001", "330521", "replaced") in entry.observed
    assert judged(entry).decision.outcome == "allow"
    assert gate.session().operator_id == "P000123"


def test_of_somebody_in_session_elsewhere_it_names_nobody_and_the_record_tells_who_it_was(gate: Gate) -> None:
    elsewhere = gate.running("P000123", "HJ-0002")
    entry = unlocked(gate)
    assert judged(entry).facts.operator_id == "P000123"
    assert judged(entry).decision.reasons == ("operator_in_session",)
    assert gate.session().operator_id is None
    assert elsewhere.state == "unlocked"
    assert [command.sid for command in commands(gate.work_off())] == ["session-offline"]


def test_it_comes_again_and_changes_nothing(gate: Gate) -> None:
    first = unlocked(gate, event_id="event-again", seq=1)
    session = gate.session()
    again = unlocked(gate, event_id="event-again", seq=1)
    assert (again.key, again.draft) == (first.key, None)
    assert gate.session() is session


# --- how it goes on -----------------------------------------------------------------------------------------------


def test_it_goes_on_as_any_session_once_the_chip_is_back(gate: Gate) -> None:
    unlocked(gate)
    gate.clock.pass_s(200)
    renewed = gate.usage("session-offline")
    assert renewed.command is not None
    assert (renewed.command.cmd, renewed.command.n, renewed.command.lease_s) == ("renew", 1, 900)
    gate.event("locked", "session-offline", reason="operator")
    assert len(gate.sessions) == 0


def test_told_together_with_its_end_it_is_begun_and_ended(gate: Gate) -> None:
    gate.clock.pass_s(7200)
    unlocked(gate, at=NOW)
    session = gate.session()
    gate.event("locked", "session-offline", reason="lease_over", at=NOW + 600_000)
    assert (session.state, session.end_reason) == ("ended", "lease_over")
    assert gate.work_off() == []


def test_without_word_of_its_end_it_is_over_when_its_lease_must_be(gate: Gate) -> None:
    unlocked(gate)
    session = gate.session()
    gate.clock.now = session.open_until
    assert gate.tick() == []
    gate.clock.now += 1
    gate.tick()
    assert session.end_reason == "offline_too_long"


# --- what a chip may say in it ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "detail",
    [{}, {"entry": 7}, {"lease_s": "long"}, {"method": "guess"}, {"list_version": None}],
    ids=["nothing", "entry", "lease", "method", "version"],
)
def test_a_detail_that_cannot_be_read_tells_nothing_and_stops_nothing(gate: Gate, detail: dict[str, Any]) -> None:
    entry = gate.event("offline_unlock", "session-offline", detail=detail)
    assert judged(entry).decision.reasons == ("credential_unknown",)
    assert gate.session().lease_s == 600


@pytest.mark.parametrize("lease_s", [2**53, 2**63, 10**30, -1, -(2**62)])
def test_a_lease_that_no_policy_has_ever_given_is_not_believed(gate: Gate, lease_s: int) -> None:
    """The row must fit the database, and the session must end."""
    unlocked(gate, detail={"lease_s": lease_s})
    session = gate.session()
    assert 1 <= session.lease_s <= 30 * 86_400
    assert NOW < session.open_until < NOW + 60 * 86_400_000


def test_without_a_session_id_it_is_judged_and_no_session_is_opened(gate: Gate) -> None:
    entry = unlocked(gate, session_id=None)  # type: ignore[arg-type]
    assert judged(entry).decision.outcome == "allow"
    assert len(gate.sessions) == 0


def test_others_hear_of_it(gate: Gate) -> None:
    entry = unlocked(gate)
    [told] = [event for event in entry.observed if isinstance(event, JudgedAfterwards)]
    assert (told.machine_id, told.decision.outcome) == ("HJ-0001", "allow")


def test_a_certificate_that_ended_yesterday_bounds_nothing_afterwards(gate: Gate) -> None:
    gate.change(("P000123", certificate(ref="ref-P000123", valid_until=YESTERDAY)))
    assert judged(unlocked(gate)).decision.reasons == ("certificate_expired",)
    assert len(commands(gate.work_off())) == 1


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(offline=Offline(for_s=7200), credentials=Credentials(kinds=("code",)))],
    ids=["offline is off", "badges do not count"],
)
def test_where_no_list_was_ever_sent_it_is_locked_and_never_renewed(policy: Policy) -> None:
    gate = make_gate(policy)
    unlocked(gate)
    gate.clock.pass_s(400)
    assert gate.usage().command is None
    assert [command.reason for command in commands(gate.work_off())] == ["revoked"]
