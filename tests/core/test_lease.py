"""Leases against chips that take them whenever they may: the gateway always knows the latest end of each."""

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct

from gateway.core.lease import (
    CLOCK_ERROR_S,
    COMMAND_TTL_S,
    DRIFT,
    MIN_LEASE_S,
    Renewal,
    lasts_until,
    over_at,
    renewal,
    renewal_due,
)

NOW = 1_781_488_800_000
DRAIN_S = 120


class Sent(Struct):
    """A renewal on its way; ``exp`` in whole seconds."""

    n: int
    lease_s: int
    exp: int


class LeasesAgainstAChip(RuleBasedStateMachine):
    """A chip that takes what it gets, late, out of order or never, and the books of the gateway.

    ``lags_ms``: how far the chip's wall clock is behind; ``slow``: how much slower its monotonic clock runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.sent: list[Sent] = []
        self.n = self.last_n = 0

    @initialize(
        clock=st.booleans(),
        lags_ms=st.integers(-CLOCK_ERROR_S * 1000, CLOCK_ERROR_S * 1000),
        slow=st.just(0.0) | st.floats(0, DRIFT),
        lease_s=st.integers(1, 1200),
        within_s=st.integers(0, 30),
        data=st.data(),
    )
    def grant(self, **drawn: Any) -> None:
        """The chip takes its grant some time within the start-by."""
        self.clock, self.lags_ms = drawn["clock"], drawn["lags_ms"]
        self.slow: float = drawn["slow"]
        within_ms = drawn["within_s"] * 1000
        self.lease_s = drawn["lease_s"]
        self.lease_until = lasts_until(self.now + within_ms, self.lease_s)
        self.stands_until: int | None = None
        self.takes(self.lease_s, at=self.now + drawn["data"].draw(st.integers(0, within_ms)))

    def takes(self, lease_s: int, at: int) -> None:
        self.taken_at: int = at
        self.taken_s: int = lease_s

    def ends(self, seconds: float) -> float:
        """So long after the last acceptance by the chip's own clock, in real time."""
        return self.taken_at + seconds * 1000 * (1 + self.slow)

    @property
    def runs(self) -> bool:
        return self.now <= self.ends(self.taken_s)

    @rule(ms=st.integers(0, 400_000))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(before_ms=st.sampled_from([0, 1, 5_000, 100_000]))
    def it_gets_late(self, before_ms: int) -> None:
        """Up to the last moment of the lease."""
        self.now = max(self.now, int(self.ends(self.taken_s)) - before_ms)

    @rule(left_ms=st.none() | st.integers(0, 3_000_000))
    def what_it_rests_on_changes(self, left_ms: int | None) -> None:
        self.stands_until = None if left_ms is None else self.now + left_ms

    @precondition(lambda self: self.runs)
    @rule(longest_s=st.integers(1, 1200))
    def the_gateway_renews(self, longest_s: int) -> None:
        """On a report of the chip, which runs."""
        due = renewal(self.now, self.lease_until, self.stands_until, longest_s, clock=self.clock)
        if due is None:
            return
        assert 1 <= due.lease_s <= longest_s
        assert due.lease_until > self.lease_until
        if self.stands_until is not None:  # by the chip's own clock
            assert due.lease_until <= lasts_until(self.stands_until - due.lease_s * 1000, due.lease_s)
        self.lease_s, self.lease_until = due.lease_s, due.lease_until
        self.n += 1
        self.sent.append(Sent(self.n, due.lease_s, self.now // 1000 + COMMAND_TTL_S))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_renewal_arrives(self, data: st.DataObject) -> None:
        """Any of those sent, also a second time: QoS 1, and a broker that keeps messages."""
        command = data.draw(st.sampled_from(self.sent))
        late = self.clock and self.now - self.lags_ms > command.exp * 1000
        if self.runs and command.n > self.last_n and not late:
            self.last_n = command.n
            self.takes(command.lease_s, self.now)

    @invariant()
    def no_lease_ends_later_than_the_books_say(self) -> None:
        if hasattr(self, "taken_s"):
            assert self.ends(self.taken_s) <= self.lease_until

    @invariant()
    def no_relay_is_closed_when_the_books_say_that_the_session_is_over(self) -> None:
        if hasattr(self, "taken_s"):
            assert self.ends(self.taken_s + DRAIN_S) <= over_at(self.lease_until, DRAIN_S)


TestLeasesAgainstAChip = LeasesAgainstAChip.TestCase
TestLeasesAgainstAChip.settings = settings(max_examples=300, stateful_step_count=20, deadline=None)


# --- one renewal ------------------------------------------------------------------------------------------------


def test_a_renewal_is_due_once_a_third_of_the_lease_is_gone() -> None:
    assert not renewal_due(NOW, 900, NOW + 299_999)
    assert renewal_due(NOW, 900, NOW + 300_000)


@given(lease_s=st.integers(MIN_LEASE_S, 4_000), late_ms=st.lists(st.integers(0, 1_000), min_size=500, max_size=500))
def test_a_renewal_on_usage_is_due_before_half_of_any_lease_is_gone(lease_s: int, late_ms: list[int]) -> None:
    """Reports come every 10 s, each up to a second late; MIN_LEASE_S is the shortest lease that a policy may have."""
    arrive = (NOW + 10_000 * number + late for number, late in enumerate(late_ms, 1))
    due = next(at for at in arrive if renewal_due(NOW, lease_s, at))
    assert due - NOW < lease_s * 500


def test_a_chip_with_a_clock_takes_it_at_once_or_not_at_all() -> None:
    held = NOW + 600_000
    assert renewal(NOW, held, None, 900, clock=True) == Renewal(900, NOW + 90_000 + 918_000)
    assert renewal(NOW, NOW + 20_000, None, 900, clock=True) == Renewal(900, NOW + 20_000 + 918_000)


def test_a_chip_without_a_clock_may_take_it_until_its_lease_is_over() -> None:
    assert renewal(NOW, NOW + 600_000, None, 900, clock=False) == Renewal(900, NOW + 600_000 + 918_000)


def test_it_shrinks_to_end_with_what_the_session_rests_on() -> None:
    stands_until = NOW + 700_500
    assert renewal(NOW, NOW + 600_000, stands_until, 900, clock=True) == Renewal(610, NOW + 90_000 + 622_200)
    assert renewal(NOW, NOW + 600_000, stands_until, 900, clock=False) == Renewal(100, NOW + 600_000 + 102_000)


def test_one_that_gains_nothing_is_none() -> None:
    assert renewal(NOW, NOW + 1_008_000, None, 900, clock=True) is None
    assert renewal(NOW, NOW + 600_000, NOW + 590_999, 900, clock=True) is None
    assert renewal(NOW, NOW + 600_000, NOW - 1, 900, clock=False) is None


@given(
    st.integers(0, 3_000_000),
    st.none() | st.integers(-1000, 3_000_000),
    st.integers(1, 2_592_000),
    st.booleans(),
)
def test_a_chip_with_a_clock_never_gets_less_than_one_without(
    held_ms: int, left_ms: int | None, longest_s: int, clock: bool
) -> None:
    stands_until = None if left_ms is None else NOW + left_ms
    found = renewal(NOW, NOW + held_ms, stands_until, longest_s, clock=clock)
    assume(found is not None)
    without = renewal(NOW, NOW + held_ms, stands_until, longest_s, clock=False)
    assert found is not None
    assert found.lease_s >= (without.lease_s if without else 0)


def test_a_lease_lasts_by_a_clock_that_runs_two_hundredths_slow() -> None:
    assert lasts_until(NOW, 900) == NOW + 918_000


def test_over_means_the_drain_deadline_later_by_such_a_clock() -> None:
    assert over_at(NOW, 120) == NOW + 122_400
