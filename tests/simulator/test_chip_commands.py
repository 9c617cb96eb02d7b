"""The reference chip and signed commands: what addresses them, what they change, which words end a session."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.session import END_REASONS
from gateway.wire import topics
from simulator.arms import Lock
from simulator.signals import ArcStarted, ArcStopped, Connected, Disconnected, MessageArrived, OperatorEnds, Tick
from tests.simulator.bench import MACHINE, Bench


def welding(**config: Any) -> Bench:
    bench = Bench(**config)
    bench.unlock(lease_s=600)
    bench.give(ArcStarted())
    return bench


# --- renewals ---------------------------------------------------------------------------------------------------


def test_a_renewal_for_session_and_challenge_renews_and_uses_the_challenge_up() -> None:
    bench = Bench(clock=False)
    bench.unlock(lease_s=60)
    bench.wait(50)
    challenge = bench.chip.challenge
    bench.command("renew", 1, cha=challenge, lease_s=60)
    assert bench.status.challenge == bench.chip.challenge != challenge
    bench.wait(59)
    assert bench.is_closed()
    assert "grant_rejected" not in bench.kinds


@pytest.mark.parametrize(
    ("reason", "wrong"),
    [("other_challenge", {"cha": "another-challenge"}), ("other_session", {"sid": "another-session"})],
)
def test_a_renewal_for_session_and_challenge_has_to_fit_both(reason: str, wrong: dict[str, Any]) -> None:
    bench = Bench(clock=False)
    bench.unlock(lease_s=60)
    bench.wait(50)
    bench.command("renew", 1, **{"cha": bench.chip.challenge, "lease_s": 60, **wrong})
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", reason)
    bench.wait(11)
    assert not bench.is_closed()


def test_a_lock_wins_over_a_renewal_that_comes_after_it() -> None:
    bench = welding()
    bench.command("lock", 1, when="between_arcs", deadline_s=40, reason="revoked")
    bench.command("renew", 2, lease_s=600)
    assert bench.chip.lock is Lock.DRAINING
    assert "grant_rejected" not in bench.kinds
    bench.wait(39)
    assert bench.is_closed()
    bench.wait(2)
    assert not bench.is_closed()
    assert [event.reason for event in bench.events if event.kind == "locked"] == ["revoked"]


# --- locks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deadline_s", [None, 0])
def test_a_lock_without_a_deadline_has_the_configured_one(deadline_s: int | None) -> None:
    bench = welding(drain_s=50)
    bench.command("lock", 1, when="between_arcs", reason="remote", deadline_s=deadline_s)
    bench.wait(49)
    assert bench.is_closed()
    bench.wait(2)
    assert not bench.is_closed()


@pytest.mark.parametrize(("second_s", "open_after_s"), [(200, 40), (10, 10)])
def test_of_two_locks_the_earlier_deadline_holds(second_s: int, open_after_s: int) -> None:
    bench = welding()
    bench.command("lock", 1, when="between_arcs", deadline_s=40, reason="revoked")
    bench.command("lock", 2, when="between_arcs", deadline_s=second_s, reason="remote")
    bench.wait(open_after_s - 1)
    assert bench.is_closed()
    bench.wait(2)
    assert not bench.is_closed()


def test_a_lock_for_a_chip_that_is_locked_changes_nothing_and_is_remembered() -> None:
    bench = Bench()
    used = bench.chip.challenge
    bench.address("lock", jti="lock-0001", when="now", reason="remote")
    did = len(bench.did)
    bench.address("lock", jti="lock-0001", when="now", reason="remote", cha=used)
    assert len(bench.did) == did
    assert bench.kinds == ["boot"]
    assert bench.status.challenge != used


REFUSED = (
    # what the command lacks or gets wrong
    ("renew", {"lease_s": None}),
    ("renew", {"lease_s": 0}),
    ("renew", {"lease_s": 60, "sid": None, "cha": "present"}),
    ("lock", {"when": "now", "sid": None}),
    ("lock", {"when": "later"}),
    ("lock", {"when": "between_arcs", "deadline_s": -1}),
    ("config", {"idle_lock_s": 0}),
    ("config", {"drain_deadline_s": 0}),
    ("config", {"drain_deadline_s": "long"}),
)


@pytest.mark.parametrize(("cmd", "claims"), REFUSED)
def test_a_command_that_lacks_what_it_needs_is_refused_by_name(cmd: str, claims: dict[str, Any]) -> None:
    bench = Bench()
    bench.unlock()
    before = bench.chip.config
    if claims.get("cha"):
        claims = {**claims, "cha": bench.chip.challenge}
    bench.command(cmd, 1, **claims)
    refused = bench.events[-1]
    assert (refused.kind, refused.reason, refused.detail) == (
        "grant_rejected",
        "malformed",
        {"command_id": "command-0001"},
    )
    assert bench.is_closed()
    assert bench.chip.config == before


# --- configuration ----------------------------------------------------------------------------------------------


def test_a_configuration_counts_from_now_on_and_outlives_a_power_cycle() -> None:
    bench = Bench(idle_lock_s=900, drain_s=120)
    challenge = bench.chip.challenge
    bench.address("config", idle_lock_s=100, drain_deadline_s=30)
    assert bench.status.challenge != challenge
    assert bench.chip.wake_ms is None
    bench.power_cycle()
    bench.give(Connected())
    bench.unlock(lease_s=600)
    bench.wait(99)
    assert bench.is_closed()
    bench.wait(2)
    assert not bench.is_closed()
    bench.unlock(lease_s=60)
    bench.give(ArcStarted())
    bench.wait(89)
    assert bench.is_closed()
    bench.wait(2)
    assert not bench.is_closed()


def test_what_a_configuration_leaves_out_stays() -> None:
    bench = Bench(idle_lock_s=900, drain_s=120)
    bench.address("config", drain_deadline_s=30)
    assert (bench.chip.config.idle_lock_s, bench.chip.config.drain_s) == (900, 30)
    bench.address("config", idle_lock_s=60)
    assert (bench.chip.config.idle_lock_s, bench.chip.config.drain_s) == (60, 30)


@pytest.mark.parametrize(("new_s", "locked_after_s"), [(50, 50), (5000, 200), (250, 200)])
def test_of_what_runs_only_an_idle_clock_is_shortened(new_s: int, locked_after_s: int) -> None:
    bench = Bench(idle_lock_s=300)
    bench.unlock(lease_s=10_000)
    bench.wait(100)
    bench.address("config", idle_lock_s=new_s)
    bench.wait(locked_after_s - 1)
    assert bench.is_closed()
    bench.wait(2)
    assert not bench.is_closed()


def test_a_new_drain_deadline_moves_no_drain_that_runs() -> None:
    bench = welding(drain_s=100)
    bench.give(OperatorEnds())
    bench.address("config", drain_deadline_s=5)
    bench.wait(99)
    assert bench.is_closed()
    bench.wait(2)
    assert not bench.is_closed()


def test_a_shorter_idle_lock_does_not_start_an_idle_clock_under_an_arc() -> None:
    bench = welding()
    bench.address("config", idle_lock_s=5)
    bench.wait(60)
    assert bench.is_closed()


# --- the end of a session ---------------------------------------------------------------------------------------


def _finish(bench: Bench) -> None:
    bench.give(OperatorEnds())


def _finish_welding(bench: Bench) -> None:
    bench.give(ArcStarted())
    bench.give(OperatorEnds())
    bench.give(ArcStopped())


def _idle(bench: Bench) -> None:
    bench.wait(61)


def _lease_over(bench: Bench) -> None:
    bench.wait(50, ArcStarted())
    bench.wait(1, ArcStopped())
    bench.wait(55)


def _lease_over_welding(bench: Bench) -> None:
    bench.wait(50, ArcStarted())
    bench.wait(200, Tick())


def _locked(bench: Bench) -> None:
    bench.command("lock", 1, when="now", reason="remote")


def _locked_between_arcs(bench: Bench) -> None:
    bench.give(ArcStarted())
    bench.command("lock", 1, when="between_arcs", deadline_s=30, reason="revoked")
    bench.wait(5, ArcStopped())


def _locked_harder(bench: Bench) -> None:
    bench.give(ArcStarted())
    bench.command("lock", 1, when="between_arcs", deadline_s=30, reason="revoked")
    bench.command("lock", 2, when="now", reason="tamper")


def _locked_without_a_word(bench: Bench) -> None:
    bench.command("lock", 1, when="now")


def _replaced(bench: Bench) -> None:
    bench.unlock()


ENDS = (
    (_finish, "operator"),
    (_finish_welding, "operator"),
    (_idle, "idle"),
    (_lease_over, "lease_over"),
    (_lease_over_welding, "lease_over"),
    (_locked, "remote"),
    (_locked_between_arcs, "revoked"),
    (_locked_harder, "tamper"),
    (_locked_without_a_word, "remote"),
    (_replaced, "replaced"),
)


@pytest.mark.parametrize(("end", "word"), ENDS)
def test_a_session_ends_with_a_word_that_the_gateway_knows(end: Callable[[Bench], None], word: str) -> None:
    bench = Bench(idle_lock_s=60, drain_s=20)
    claims = bench.unlock(lease_s=100)
    end(bench)
    (locked,) = (event for event in bench.events if event.kind == "locked" and event.session_id == claims["sid"])
    assert locked.reason == word
    assert word in END_REASONS


def test_no_word_of_a_command_is_too_long_for_an_event() -> None:
    bench = Bench()
    bench.unlock()
    bench.command("lock", 1, when="now", reason="x" * 1000)
    assert bench.events[-1].reason == "x" * 64


def test_power_up_says_so() -> None:
    bench = Bench()
    bench.unlock()
    bench.power_cycle()
    bench.give(Connected())
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("boot", "power_up")


def test_commands_reach_a_chip_that_was_offline_meanwhile() -> None:
    bench = Bench()
    bench.unlock()
    bench.give(Disconnected())
    bench.wait(20)
    bench.give(Connected())
    bench.command("lock", 1, when="now", reason="revoked")
    assert not bench.is_closed()


def test_what_cannot_be_read_is_counted_and_changes_nothing() -> None:
    bench = Bench()
    did = len(bench.did)
    for topic in (topics.decision(MACHINE), topics.command(MACHINE), topics.command("HJ-0002")):
        bench.give(MessageArrived(topic, b'{"command": 7}'))
    assert bench.chip.inbox.dropped == 3
    assert len(bench.did) == did
