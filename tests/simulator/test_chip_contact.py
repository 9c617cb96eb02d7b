"""The reference chip's last contact with the gateway: what counts as one, and what clocks and mains do to it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential import offline_digest
from gateway.wire.tokens import Command
from simulator.offline import OfflineRight
from simulator.signals import (
    Connected,
    Disconnected,
    Moment,
    OperatorEnds,
    PowerOff,
    PowerOn,
    Scanned,
    Tick,
)
from tests.simulator.bench import MACHINE, OTHER_KEY, START_WALL_MS, Bench, offline


def _a_grant(bench: Bench) -> None:
    bench.unlock("P9")


def _a_renewal(bench: Bench) -> None:
    bench.command("renew", 1, lease_s=60)


def _a_command(bench: Bench) -> None:
    bench.address("config", idle_lock_s=60)


def _a_refused_command(bench: Bench) -> None:
    bench.address("config", idle_lock_s=60, key=OTHER_KEY)


def _a_refused_list(bench: Bench) -> None:
    bench.offer(3, {"P1": 7200})


def _a_deny(bench: Bench) -> None:
    bench.give(Scanned("P9"))
    bench.deny("operator_blocked")


CONTACTS = (
    (_a_grant, True),
    (_a_renewal, True),
    (_a_command, True),
    (_a_refused_command, False),
    (_a_refused_list, False),
    (_a_deny, False),
)


@pytest.mark.parametrize(("what", "counts"), CONTACTS)
def test_only_an_accepted_signed_token_is_a_contact(what: Callable[[Bench], None], counts: bool) -> None:
    bench = Bench()
    bench.unlock("P9")
    bench.offer(7, {"P1": 7200}, offline_for_s=100)
    bench.wait(80)
    what(bench)
    bench.give(OperatorEnds())
    bench.give(Disconnected())
    bench.wait(50)
    assert bench.lets_in() is counts


@pytest.mark.parametrize("jump_s", [-3600, 3600, -6, 6])
def test_a_clock_that_jumped_voids_the_list_until_the_next_signed_token(jump_s: int) -> None:
    bench = offline()
    bench.wall_off_ms += jump_s * 1000
    assert not bench.lets_in()
    bench.wall_off_ms -= jump_s * 1000
    bench.wait(31)
    assert not bench.lets_in()
    bench.power_cycle()
    assert not bench.lets_in()
    bench.wait(31, Connected())
    bench.address("config", drain_deadline_s=60)
    bench.give(Disconnected())
    assert bench.lets_in()


def test_a_clock_that_creeps_back_prolongs_nothing() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 500, "P2": 7200}, offline_for_s=1000)
    bench.give(Disconnected())
    for _ in range(200):
        bench.wall_off_ms -= 4_000
        bench.wait(5, Tick())
    assert not bench.lets_in("P1")
    bench.wait(31)
    assert not bench.lets_in("P2")
    assert "clock_reset" not in bench.kinds


def test_a_clock_that_creeps_ahead_ends_an_entry_sooner() -> None:
    bench = offline({"P1": 400})
    for _ in range(100):
        bench.wall_off_ms += 4_000
        bench.wait(0.1, Tick())
    assert not bench.lets_in()


def test_after_a_power_cycle_the_wall_clock_alone_counts() -> None:
    bench = offline(offline_for_s=1000, after_s=400)
    bench.power_cycle()
    assert bench.lets_in()
    bench.give(OperatorEnds())
    bench.give(PowerOff())
    bench.wall_off_ms += 601_000
    bench.give(PowerOn())
    assert not bench.lets_in()


@pytest.mark.parametrize(("back_s", "stays"), [(399, True), (401, False)])
def test_after_a_power_cycle_no_time_before_the_last_contact_is_believed(back_s: int, stays: bool) -> None:
    bench = offline(after_s=400)
    bench.give(PowerOff())
    bench.wall_off_ms -= back_s * 1000
    bench.give(PowerOn())
    assert bench.lets_in() is stays


def test_a_clock_without_time_at_power_up_voids_the_list() -> None:
    bench = offline()
    bench.give(PowerOff())
    bench.clock = False
    bench.give(PowerOn())
    bench.clock = True
    assert not bench.lets_in()


def test_a_clock_that_is_behind_the_gateways_does_not_prolong_an_entry() -> None:
    bench = Bench()
    bench.wall_off_ms -= 50_000
    bench.power_cycle()
    bench.give(Connected())
    bench.offer(7, {"P1": 100})
    bench.give(Disconnected())
    bench.wait(90)
    assert bench.lets_in()
    bench.give(OperatorEnds())
    bench.wait(10)
    assert not bench.lets_in()


CLOCK = st.tuples(st.integers(0, 400_000), st.integers(-5_000, 5_000))
"""Milliseconds that pass, and by how much the wall clock is set meanwhile."""


def _held(now: Moment, for_s: int, until_s: int, lease_s: int) -> OfflineRight:
    """The right of one list, just taken."""
    right = OfflineRight(MACHINE)
    claims: dict[str, Any] = {"aud": MACHINE, "exp": 0, "iat": (now.wall_ms or 0) // 1000, "jti": "list-0001"}
    entries = ((offline_digest(MACHINE, "P1"), until_s),)
    right.take(
        Command(**claims, cmd="offline_list", list_version=1, entries=entries, offline_for_s=for_s, lease_s=lease_s)
    )
    right.heard(claims["iat"], now)
    return right


@given(st.lists(CLOCK, max_size=20), st.integers(0, 3600), st.integers(0, 3600), st.integers(1, 900))
def test_however_the_clock_is_set_the_right_ends_in_time(
    clock: list[tuple[int, int]], for_s: int, until_s: int, lease_s: int
) -> None:
    """Setting the clock may shorten the right, and never makes it longer; untouched it is exact."""
    began = Moment(5_000, START_WALL_MS)
    right = _held(began, for_s, START_WALL_MS // 1000 + until_s, lease_s)
    passed_ms = ahead_ms = 0
    touched = False
    for wait_ms, set_ms in clock:
        passed_ms, ahead_ms, touched = passed_ms + wait_ms, ahead_ms + set_ms, touched or set_ms != 0
        now = Moment(began.mono_ms + passed_ms, START_WALL_MS + passed_ms + ahead_ms)
        found = right.of("P1", now)
        honest_s = min(lease_s, (min(for_s, until_s) * 1000 - passed_ms) // 1000)
        if found is not None:
            assert 1 <= found.lease_s <= honest_s
        if not touched:
            assert (found is not None) == (honest_s >= 1)
            assert found is None or found.lease_s == honest_s


@given(st.lists(CLOCK, max_size=20), st.integers(0, 3600))
def test_after_power_loss_the_right_ends_by_the_wall_clock_and_from_there_by_both(
    clock: list[tuple[int, int]], dark_s: int
) -> None:
    """The monotonic clock begins at 0; from power-up on it bounds what setting the wall clock can do."""
    right = _held(Moment(5_000, START_WALL_MS), 1800, START_WALL_MS // 1000 + 7200, 60)
    woke_ms = START_WALL_MS + dark_s * 1000
    right.power_came(Moment(0, woke_ms))
    mono_ms, wall_ms = 0, woke_ms
    for wait_ms, set_ms in clock:
        mono_ms, wall_ms = mono_ms + wait_ms, wall_ms + wait_ms + set_ms
        latest_ms = max(wall_ms, woke_ms + mono_ms)
        found = right.of("P1", Moment(mono_ms, wall_ms))
        assert (found is not None) == (latest_ms + 1000 <= START_WALL_MS + 1_800_000)
