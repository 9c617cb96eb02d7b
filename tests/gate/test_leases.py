"""Renewals: on live usage, a third of the lease through, never beyond what the session rests on."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import UNSET

from gateway.core.lease import over_at
from gateway.core.policy import Hours, Lease, Policy
from gateway.gate.entry import Entry
from gateway.gate.sessions import Session
from gateway.observe.events import Renewed
from gateway.wire.tokens import Command
from tests.core.matrix import certificate, employment
from tests.gate.gates import DAY_S, NOW, TODAY, Gate, commands, make_gate

MIDNIGHT = NOW + 14 * 3_600_000
"""The end of the day in the county."""


def renewal_of(entry: Entry) -> Command | None:
    assert entry.command is None or entry.command.cmd == "renew"
    return entry.command


# --- when -------------------------------------------------------------------------------------------------------


def test_usage_after_a_third_of_the_lease_renews_it(gate: Gate) -> None:
    session = gate.running()
    gate.clock.pass_s(299)
    assert renewal_of(gate.usage()) is None
    gate.clock.pass_s(1)
    entry = gate.usage()
    command = renewal_of(entry)
    assert command is not None
    now_s = gate.clock.now // 1000
    assert (command.aud, command.sid, command.n, command.lease_s) == ("HJ-0001", session.session_id, 1, 900)
    assert (command.iat, command.exp, command.cha) == (now_s, now_s + 30, UNSET)
    assert (session.lease_s, session.leased_at, session.n) == (900, gate.clock.now, 1)
    assert session.lease_until == gate.clock.now + 90_000 + 918_000
    assert session.open_until == over_at(session.lease_until, 120)
    assert Renewed(session.session_id, "HJ-0001", 900) in entry.observed
    assert entry.draft is None  # a renewal says nothing that the session's row does not


def test_a_session_that_is_used_goes_on_for_hours_and_its_numbers_rise(gate: Gate) -> None:
    session = gate.running()
    numbers = []
    for _ in range(6 * 60 * 8):
        gate.clock.pass_s(10)
        command = renewal_of(gate.usage(current_a=100))
        numbers += [command.n] if command else []
        assert gate.tick() == []
    assert numbers == list(range(1, 97))
    assert session.state == "welding"


def test_a_renewal_that_got_lost_is_sent_again_a_third_later(gate: Gate) -> None:
    gate.running()
    sent = []
    for _ in range(93):
        gate.clock.pass_s(10)
        sent += commands([gate.usage()])
    assert [(command.iat - NOW // 1000, command.n) for command in sent] == [(300, 1), (600, 2), (900, 3)]


@pytest.mark.parametrize(
    "different",
    [{"relay": "open"}, {"final": True}, {"at": NOW + 300_000 - 60_001}],
    ids=["relay open", "final", "kept while offline"],
)
def test_usage_that_shows_no_closed_relay_now_renews_nothing(gate: Gate, different: dict[str, Any]) -> None:
    gate.running()
    gate.clock.pass_s(300)
    assert renewal_of(gate.usage(**different)) is None
    assert renewal_of(gate.usage()) is not None


def test_usage_that_comes_again_or_late_renews_nothing(gate: Gate) -> None:
    gate.running()
    gate.clock.pass_s(250)
    gate.usage(seq=10)
    gate.clock.pass_s(100)
    for seq in (10, 9, 0):
        assert renewal_of(gate.usage(seq=seq)) is None
    assert renewal_of(gate.usage(seq=11)) is not None


def test_usage_of_another_session_or_machine_renews_nothing(gate: Gate) -> None:
    session = gate.running()
    gate.running("P000456", "HJ-0002")
    gate.clock.pass_s(300)
    entries = [gate.usage("session-of-before"), gate.usage(session.session_id, "HJ-0002")]
    assert commands(entries) == []
    assert session.n == 0


def test_a_session_that_drains_is_not_renewed(gate: Gate) -> None:
    session = gate.running()
    gate.control("end_session", session_id=session.session_id)
    gate.work_off()
    gate.clock.pass_s(300)
    assert renewal_of(gate.usage()) is None


def test_a_shorter_lease_of_the_policy_holds_from_the_next_renewal_on(gate: Gate) -> None:
    session = gate.running()
    gate.adopt(Policy(lease=Lease(lease_s=60)))
    gate.clock.pass_s(300)
    assert renewal_of(gate.usage()) is None  # it would end sooner than the lease so far
    gate.clock.pass_s(570)
    command = renewal_of(gate.usage())
    assert command is not None
    assert (command.lease_s, session.lease_until) == (60, NOW + 948_000 + 61_200)


# --- never beyond what it rests on --------------------------------------------------------------------------------

DRIFT_MS = 18_000
"""What a slow clock makes of a lease; what a lease rests on is counted by the chip's own."""
ENDING: dict[str, dict[str, Any]] = {
    "certificate": {"certificates": (certificate(valid_until=TODAY),)},
    "review": {"certificates": (certificate(review_due=TODAY),)},
    "employment": {"employments": (employment(until=TODAY),)},
    "hours": {"policy": Policy(rules={"outside_permitted_hours": "enforce"}, hours=Hours("08:00", "24:00"))},
}


@pytest.mark.parametrize("what", ENDING)
@pytest.mark.parametrize("clock", [True, False], ids=["with a clock", "without"])
def test_no_lease_outlives_its_ground(what: str, clock: bool) -> None:
    gate = make_gate(welders=("P000123",), **ENDING[what])
    gate.state.snapshot.confirmed_at = gate.clock.now = MIDNIGHT - 3_000_000
    session = gate.running(at=gate.clock.now if clock else None)
    sent = []
    while gate.clock.now < MIDNIGHT:
        assert session.lease_until - DRIFT_MS <= MIDNIGHT
        gate.clock.pass_s(10)
        sent += commands([gate.usage(at=gate.clock.now if clock else None, current_a=100)])
    assert {command.cmd for command in sent} == {"renew"}
    leases = [command.lease_s for command in sent if command.lease_s is not UNSET]
    assert leases[-1] < 900
    assert min(leases) > 0
    locked = commands(gate.tick())
    assert [(command.cmd, command.reason) for command in locked] == [("lock", "revoked")]


def test_an_override_bounds_the_lease_of_what_it_let_pass() -> None:
    gate = make_gate(employments=())
    until = NOW + 1_500_000
    override = {"operator_id": "P000123", "override_id": "o-1", "codes": ("operator_not_employed",), "until": until}
    gate.control("override_approved", level="supervisor", **override)
    session = gate.running()
    while gate.clock.now < until:
        assert session.lease_until - DRIFT_MS <= until
        gate.clock.pass_s(10)
        gate.usage(current_a=100)
    assert session.n > 0
    assert [(command.cmd, command.reason) for command in commands(gate.tick())] == [("lock", "revoked")]


# --- trouble of the gateway's own ---------------------------------------------------------------------------------


def test_while_the_registries_are_stale_or_the_clock_is_behind_nothing_is_renewed_and_nobody_locked(
    gate: Gate,
) -> None:
    session = gate.running()
    confirmed_at = gate.state.snapshot.confirmed_at
    for trouble in ("registry", "clock"):
        gate.clock.pass_s(300)
        gate.state.snapshot.confirmed_at = confirmed_at - (8 * DAY_S * 1000 if trouble == "registry" else 0)
        gate.state.latest = gate.clock.now + (61_000 if trouble == "clock" else 0)
        gate.state.agenda.review(gate.sessions)
        assert commands([gate.usage(current_a=100), *gate.tick()]) == []
    assert session.state == "welding"
    gate.state.snapshot.confirmed_at, gate.state.latest = confirmed_at, 0
    assert renewal_of(gate.usage(current_a=100)) is not None


def test_trouble_beside_a_reason_of_the_welder_s_own_locks(gate: Gate) -> None:
    gate.running()
    gate.state.latest = gate.clock.now + 61_000
    gate.control("lock")
    assert [command.cmd for command in commands(gate.work_off())] == ["lock"]


# --- chips without a clock ------------------------------------------------------------------------------------------


def without_clock(gate: Gate, challenge: str | None = "c-1", **different: Any) -> Session:
    gate.status(at=None, challenge=challenge)
    return gate.running(at=None, **different)


def test_a_chip_without_a_clock_is_addressed_by_its_present_challenge(gate: Gate) -> None:
    session = without_clock(gate)
    gate.status(at=None, challenge="c-2", session_id=session.session_id)
    gate.clock.pass_s(300)
    command = renewal_of(gate.usage(at=None))
    assert command is not None
    assert (command.cha, command.sid) == ("c-2", session.session_id)
    assert session.lease_until == NOW + 948_000 + 918_000  # it may take it at the last moment


def test_a_fresh_challenge_shows_that_the_renewal_was_taken_by_now(gate: Gate) -> None:
    session = without_clock(gate)
    gate.clock.pass_s(300)
    gate.usage(at=None)
    gate.clock.pass_s(2)
    gate.status(at=None, challenge="c-2", session_id=session.session_id)
    assert session.lease_until == gate.clock.now + 918_000
    assert session.open_until == over_at(session.lease_until, 120)
    gate.clock.pass_s(600)
    gate.status(at=None, challenge="c-3", session_id=session.session_id)  # for some other reason
    assert session.lease_until == NOW + 302_000 + 918_000


@pytest.mark.parametrize("challenge", ["c-1", "c-0", None], ids=["the same", "one of before", "none"])
def test_an_old_challenge_that_comes_again_confirms_nothing(gate: Gate, challenge: str | None) -> None:
    gate.status(at=None, challenge="c-0")
    session = without_clock(gate)
    gate.clock.pass_s(300)
    gate.usage(at=None)
    before = session.lease_until
    gate.status(at=None, challenge=challenge, session_id=session.session_id)
    assert session.lease_until == before


@pytest.mark.parametrize("named", [None, "session-of-before"])
def test_a_fresh_challenge_of_a_chip_that_shows_another_session_confirms_nothing(gate: Gate, named: str | None) -> None:
    session = without_clock(gate)
    gate.clock.pass_s(300)
    gate.usage(at=None)
    before = session.lease_until
    gate.status(at=None, challenge="c-2", session_id=named)
    assert session.lease_until == before


def test_a_clock_that_is_lost_on_the_way_is_not_counted_on_any_more(gate: Gate) -> None:
    session = gate.running()
    gate.event("clock_reset", session.session_id)
    assert not session.has_clock
    gate.clock.pass_s(300)
    gate.usage(at=None)
    assert session.lease_until == NOW + 948_000 + 918_000


class RenewedWithoutClock(RuleBasedStateMachine):
    """A chip without a clock and the gateway: renewals get lost, come late, again and out of order; so do statuses."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = make_gate(welders=("P000123",))
        self.challenges = 1
        self.sent: list[Command] = []
        self.said: list[tuple[str, str | None]] = []
        self.last_n = 0

    @property
    def challenge(self) -> str:
        return f"c-{self.challenges}"

    @initialize(within_s=st.integers(0, 30))
    def grant(self, within_s: int) -> None:
        self.gate.status(at=None, challenge="c-1")
        self.session = self.gate.opened(at=None, challenge="c-1")
        self.ends = self.gate.clock.now + (within_s + 900) * 1000
        self.fresh_challenge()

    def fresh_challenge(self) -> None:
        self.challenges += 1
        self.said.append((self.challenge, self.session.session_id))

    @property
    def runs(self) -> bool:
        return self.gate.clock.now <= self.ends

    @rule(seconds=st.integers(0, 400))
    def time_passes(self, seconds: int) -> None:
        self.gate.clock.pass_s(seconds)

    @rule(left_s=st.integers(0, 2000))
    def the_ground_will_end(self, left_s: int) -> None:
        """Permitted hours, to the minute."""
        at = (10 * 60 + (self.gate.clock.now - NOW) // 60_000 + left_s // 60 + 1) % 1440
        hours = Hours("00:00", f"{at // 60:02}:{at % 60:02}")
        self.gate.adopt(Policy(rules={"outside_permitted_hours": "enforce"}, hours=hours))

    @precondition(lambda self: self.runs and self.session.state != "ended")
    @rule()
    def usage(self) -> None:
        found = commands([self.gate.usage(self.session.session_id, at=None, current_a=100)])
        self.sent += [command for command in found if command.cmd == "renew"]

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_renewal_arrives(self, data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(self.sent))
        fits = command.cha is UNSET or command.cha == self.challenge
        if self.runs and fits and command.n > self.last_n:
            assert command.lease_s is not UNSET
            self.last_n = command.n
            self.ends = self.gate.clock.now + command.lease_s * 1000
            if command.cha is not UNSET:
                self.fresh_challenge()

    @rule()
    def the_chip_gives_up_a_request(self) -> None:
        self.fresh_challenge()

    @rule(data=st.data())
    def a_status_arrives(self, data: st.DataObject) -> None:
        """The latest, or one that was held up."""
        challenge, session_id = data.draw(st.sampled_from(self.said[-3:]))
        self.gate.status(at=None, challenge=challenge, session_id=session_id)

    @invariant()
    def the_lease_ends_no_later_than_the_books_say(self) -> None:
        if hasattr(self, "ends"):
            assert self.ends <= self.session.lease_until


TestRenewedWithoutClock = RenewedWithoutClock.TestCase
TestRenewedWithoutClock.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def test_a_certificate_that_is_shortened_to_today_bounds_the_next_lease(gate: Gate) -> None:
    session = gate.running()
    gate.change(("P000123", certificate(ref="ref-P000123", valid_until=TODAY)))
    assert gate.work_off() == []
    assert session.live.stands_until == MIDNIGHT
