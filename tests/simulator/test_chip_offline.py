"""The reference chip without a connection: who may unlock by the list, for how long, and what voids the right."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential import offline_digest
from gateway.core.model import CHIP_MADE_ID
from gateway.core.model import Event as ChipEvent
from gateway.wire.tokens import Command
from simulator.arms import Lock, Question
from simulator.offline import OfflineRight
from simulator.outbox import EVENTS_KEPT
from simulator.signals import (
    ArcStarted,
    CloseRelay,
    Connected,
    Disconnected,
    Moment,
    OpenRelay,
    OperatorEnds,
    PowerOff,
    PowerOn,
    Publish,
    Scanned,
    Show,
    Tampered,
    Tick,
)
from tests.simulator.bench import MACHINE, OTHER_KEY, START_WALL_MS, Bench


def offline(people: dict[str, int] | None = None, *, after_s: float = 60, **claims: Any) -> Bench:
    """A chip with a list that has had no connection for so long. ``claims`` are those of the list."""
    bench = Bench()
    bench.offer(7, {"P1": 7200} if people is None else people, **claims)
    bench.give(Disconnected())
    bench.wait(after_s)
    return bench


def lets_in(bench: Bench, person: str = "P1") -> bool:
    """Scan; whether the relay closed for it."""
    before = bench.closed
    bench.give(Scanned(person))
    return bench.closed > before


def told(bench: Bench) -> list[ChipEvent]:
    """What the chip told of unlocks, once it was back on the air."""
    bench.give(Connected())
    return [event for event in bench.events if event.kind in ("offline_unlock", "unlocked")]


# --- the unlock -------------------------------------------------------------------------------------------------


def test_a_listed_operator_unlocks_a_chip_without_connection() -> None:
    bench = offline()
    did = bench.give(Scanned("P1", "card"))
    (shown,) = (action for action in did if isinstance(action, Show))
    assert CloseRelay() in did
    assert (shown.outcome, shown.offline) == ("allow", True)
    assert re.match(CHIP_MADE_ID, shown.request_id)
    (event,) = told(bench)
    assert (event.kind, event.reason) == ("offline_unlock", None)
    assert event.detail == {
        "entry": offline_digest(MACHINE, "P1"),
        "list_version": 7,
        "method": "card",
        "lease_s": 900,
    }
    assert re.match(CHIP_MADE_ID, event.session_id or "")
    assert bench.status.session_id == event.session_id


def test_no_request_is_sent_for_it_later() -> None:
    bench = offline()
    assert lets_in(bench)
    bench.give(Connected())
    bench.wait(60)
    assert bench.requests == []


def test_its_session_is_reported_as_any_other_and_in_order() -> None:
    bench = offline()
    assert lets_in(bench)
    bench.wait(12, OperatorEnds())
    did = bench.give(Connected())
    kept = [action.payload for action in did if isinstance(action, Publish) and action.key is not None]
    said = [msgspec.json.decode(payload) for payload in kept]
    assert [message.get("kind", "usage") for message in said] == ["offline_unlock", "usage", "usage", "locked"]
    assert len({message["session_id"] for message in said}) == 1
    assert [usage.final for usage in bench.usage] == [False, True]
    assert bench.events[-1].reason == "operator"


def test_every_offline_session_has_an_id_of_its_own() -> None:
    bench = offline()
    for _ in range(3):
        assert lets_in(bench)
        bench.give(OperatorEnds())
    assert len({event.session_id for event in told(bench)}) == 3


LEASES = (
    # list's lease  entry's  window   passed  lease
    (900, 7200, 3600, 60, 900),
    (900, 300, 3600, 60, 240),
    (900, 7200, 500, 60, 440),
    (900, 7200, 61, 60, 1),
)


@pytest.mark.parametrize(("lease_s", "until_s", "for_s", "passed_s", "expected_s"), LEASES)
def test_its_lease_ends_with_the_list_lease_the_entry_or_the_time_since_the_last_contact(
    lease_s: int, until_s: int, for_s: int, passed_s: int, expected_s: int
) -> None:
    bench = offline({"P1": until_s}, after_s=passed_s, lease_s=lease_s, offline_for_s=for_s)
    assert lets_in(bench)
    bench.give(ArcStarted())
    bench.wait(expected_s - 0.5)
    states = [bench.chip.lock]
    bench.wait(1)
    assert [*states, bench.chip.lock] == [Lock.WELDING, Lock.DRAINING]
    assert told(bench)[0].detail["lease_s"] == expected_s


def _not_listed() -> Bench:
    return offline({"P2": 7200})


def _entry_over() -> Bench:
    return offline({"P1": 60}, after_s=60)


def _less_than_a_second_left() -> Bench:
    return offline({"P1": 60}, after_s=59.5)


def _too_long_offline() -> Bench:
    return offline(offline_for_s=100, after_s=100)


def _no_list() -> Bench:
    bench = Bench()
    bench.give(Disconnected())
    return bench


def _right_taken_away() -> Bench:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    bench.offer(8, {}, offline_for_s=0, lease_s=None)
    assert "grant_rejected" not in bench.kinds
    bench.give(Disconnected())
    return bench


def _no_clock() -> Bench:
    bench = Bench(clock=False)
    bench.offer(7, {"P1": 7200})
    bench.give(Disconnected())
    return bench


def _clock_since_then() -> Bench:
    bench = _no_clock()
    bench.clock = True
    return bench


def _clock_lost() -> Bench:
    bench = offline()
    bench.clock = False
    return bench


def _no_room_for_evidence() -> Bench:
    bench = offline()
    for _ in range(EVENTS_KEPT):
        bench.give(Tampered())
    return bench


@pytest.mark.parametrize(
    "make",
    [
        _not_listed,
        _entry_over,
        _less_than_a_second_left,
        _too_long_offline,
        _no_list,
        _right_taken_away,
        _no_clock,
        _clock_since_then,
        _clock_lost,
        _no_room_for_evidence,
    ],
)
def test_without_the_right_the_question_goes_on_and_is_asked_once_there_is_a_connection(
    make: Callable[[], Bench],
) -> None:
    bench = make()
    assert not lets_in(bench)
    assert bench.chip.question is Question.ASKING
    bench.wait(10, Connected())
    assert [request.credential for request in bench.requests] == ["P1"]
    bench.allow(bench.claims())
    assert bench.is_closed()


def test_a_connected_chip_always_asks() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    assert not lets_in(bench)
    assert len(bench.requests) == 1


@pytest.mark.parametrize("arc", [False, True])
def test_a_running_session_is_never_replaced_by_the_list(arc: bool) -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    session_id = bench.unlock("P9")["sid"]
    bench.give(Disconnected())
    if arc:
        bench.give(ArcStarted())
        bench.give(OperatorEnds())
    assert not lets_in(bench)
    assert bench.chip.session is not None
    assert bench.chip.session.session_id == session_id
    assert bench.chip.question is Question.ASKING


def test_a_question_that_still_waits_is_withdrawn_and_its_late_grant_never_fits() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    bench.give(Scanned("P9"))
    late = bench.allowed(bench.claims())
    bench.give(Disconnected())
    assert lets_in(bench)
    session = bench.chip.session
    bench.give(Connected())
    bench.give(late)
    assert bench.chip.session is session
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", "other_challenge")
    assert len(bench.requests) == 1


# --- back on the air --------------------------------------------------------------------------------------------


def test_the_session_goes_on_when_the_connection_returns_and_obeys_commands() -> None:
    bench = offline(lease_s=300)
    assert lets_in(bench)
    bench.wait(200, Connected())
    bench.command("renew", 1, lease_s=300)
    bench.wait(299)
    assert bench.is_closed()
    bench.command("lock", 2, when="now", reason="revoked")
    assert not bench.is_closed()
    assert bench.events[-1].reason == "revoked"


def test_a_grant_for_another_request_replaces_it() -> None:
    bench = offline()
    assert lets_in(bench)
    bench.give(Connected())
    opened = bench.did.count(OpenRelay())
    bench.allow(bench.claims(jti="by-phone-1", sid="by-phone-session"))
    assert [event.kind for event in bench.events[-2:]] == ["locked", "unlocked"]
    assert bench.did.count(OpenRelay()) == opened


def test_power_up_ends_it_and_names_it() -> None:
    bench = offline()
    assert lets_in(bench)
    session_id = bench.chip.session.session_id if bench.chip.session else ""
    bench.power_cycle()
    assert not bench.is_closed()
    bench.give(Connected())
    assert (bench.events[-1].kind, bench.events[-1].session_id) == ("boot", session_id)


# --- taking a list ----------------------------------------------------------------------------------------------


def test_an_accepted_list_uses_the_challenge_up() -> None:
    bench = Bench()
    challenge = bench.chip.challenge
    bench.offer(1, {"P1": 7200})
    assert bench.status.challenge == bench.chip.challenge != challenge
    assert bench.kinds == ["boot"]


def test_a_whole_list_replaces_the_one_before() -> None:
    bench = Bench()
    bench.offer(1, {"P1": 7200, "P2": 7200})
    bench.offer(4, {"P2": 7200, "P3": 7200})
    bench.give(Disconnected())
    assert not lets_in(bench, "P1")
    assert lets_in(bench, "P2")
    assert told(bench)[0].detail["list_version"] == 4


def test_a_difference_adds_changes_and_removes() -> None:
    bench = Bench()
    bench.offer(1, {"P1": 7200, "P2": 7200, "P3": 7200})
    gone = [offline_digest(MACHINE, "P1"), offline_digest(MACHINE, "P9")]
    bench.offer(2, {"P2": 30, "P4": 7200}, base_version=1, gone=gone, lease_s=100)
    bench.give(Disconnected())
    for person in ("P2", "P3", "P4", "P1"):
        assert lets_in(bench, person) == (person != "P1")
        bench.give(OperatorEnds())
    events = told(bench)
    assert {event.detail["entry"]: event.detail["lease_s"] for event in events} == {
        offline_digest(MACHINE, "P2"): 30,
        offline_digest(MACHINE, "P3"): 100,
        offline_digest(MACHINE, "P4"): 100,
    }
    assert {event.detail["list_version"] for event in events} == {2}


LISTS_REFUSED = (
    # reason       held  what is sent
    ("other_list", None, {"list_version": 2, "base_version": 1}),
    ("other_list", 5, {"list_version": 7, "base_version": 6}),
    ("other_list", 5, {"list_version": 7, "base_version": 4}),
    ("other_list", 5, {"list_version": 5, "base_version": 4}),
    ("replayed", 5, {"list_version": 5, "base_version": 5}),
    ("replayed", 5, {"list_version": 4}),
    ("replayed", 5, {"list_version": 5}),
    ("replayed", 5, {"list_version": 4, "base_version": 5}),
)


@pytest.mark.parametrize(("reason", "held", "sent"), LISTS_REFUSED)
def test_a_list_that_does_not_follow_on_the_one_held_is_refused(
    reason: str, held: int | None, sent: dict[str, int]
) -> None:
    bench = Bench()
    if held is not None:
        bench.offer(held, {"P1": 7200})
    challenge = bench.chip.challenge
    bench.offer(0, {"P2": 7200}, jti="list-refused", **sent)
    event = bench.events[-1]
    assert (event.kind, event.reason) == ("grant_rejected", reason)
    assert event.detail == {"command_id": "list-refused", "list_version": held}
    assert bench.chip.challenge == challenge
    bench.give(Disconnected())
    assert not lets_in(bench, "P2")
    bench.wait(31)
    assert lets_in(bench, "P1") == (held is not None)


def test_the_same_list_sent_again_in_full_counts_as_a_contact_and_changes_nothing_else() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200}, offline_for_s=100)
    bench.wait(80)
    bench.offer(7, {"P1": 7120}, offline_for_s=100)
    assert "grant_rejected" not in bench.kinds
    bench.give(Disconnected())
    bench.wait(90)
    assert lets_in(bench)
    assert told(bench)[0].detail["list_version"] == 7


def test_a_difference_that_changes_nothing_is_no_list_sent_again() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200})
    bench.offer(7, {"P1": 7200}, base_version=7)
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", "replayed")


def test_the_same_list_delivered_twice_is_taken_once() -> None:
    bench = Bench()
    challenge = bench.chip.challenge
    bench.offer(7, {"P1": 7200}, jti="list-twice")
    fresh = bench.chip.challenge
    bench.offer(7, {"P1": 7200}, jti="list-twice", cha=challenge)
    assert bench.chip.challenge == fresh
    assert "grant_rejected" not in bench.kinds


LISTS_NOT_BELIEVED = (
    ("other_challenge", {"cha": "another-challenge"}),
    ("other_machine", {"aud": "HJ-0002"}),
    ("late", {"exp": START_WALL_MS // 1000 - 1}),
    ("bad_signature", {"key": OTHER_KEY}),
    ("retained", {"retained": True}),
    ("other_session", {"sid": "some-session", "n": 1}),
    ("malformed", {"cha": None}),
    ("malformed", {"list_version": None}),
    ("malformed", {"entries": None}),
    ("malformed", {"entries": [["digest", "soon"]]}),
    ("malformed", {"offline_for_s": None}),
    ("malformed", {"offline_for_s": -1}),
    ("malformed", {"lease_s": None}),
    ("malformed", {"lease_s": 0}),
)


@pytest.mark.parametrize(("reason", "wrong"), LISTS_NOT_BELIEVED)
def test_a_list_is_checked_as_any_command(reason: str, wrong: dict[str, Any]) -> None:
    bench = Bench()
    bench.offer(1, {"P1": 7200}, **wrong)
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", reason)
    bench.give(Disconnected())
    assert not lets_in(bench)


def test_a_list_needs_the_chips_challenge_even_in_a_session() -> None:
    bench = Bench()
    sid = bench.unlock()["sid"]
    bench.offer(1, {"P1": 7200}, sid=sid, n=1, cha=None)
    assert bench.events[-1].reason == "malformed"


# --- the last contact -------------------------------------------------------------------------------------------


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
    assert lets_in(bench) is counts


@pytest.mark.parametrize("jump_s", [-3600, 3600, -6, 6])
def test_a_clock_that_jumped_voids_the_list_until_the_next_signed_token(jump_s: int) -> None:
    bench = offline()
    bench.wall_off_ms += jump_s * 1000
    assert not lets_in(bench)
    bench.wall_off_ms -= jump_s * 1000
    bench.wait(31)
    assert not lets_in(bench)
    bench.power_cycle()
    assert not lets_in(bench)
    bench.wait(31, Connected())
    bench.address("config", drain_deadline_s=60)
    bench.give(Disconnected())
    assert lets_in(bench)


def test_a_clock_that_creeps_back_prolongs_nothing() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 500, "P2": 7200}, offline_for_s=1000)
    bench.give(Disconnected())
    for _ in range(200):
        bench.wall_off_ms -= 4_000
        bench.wait(5, Tick())
    assert not lets_in(bench, "P1")
    bench.wait(31)
    assert not lets_in(bench, "P2")
    assert "clock_reset" not in bench.kinds


def test_a_clock_that_creeps_ahead_ends_an_entry_sooner() -> None:
    bench = offline({"P1": 400})
    for _ in range(100):
        bench.wall_off_ms += 4_000
        bench.wait(0.1, Tick())
    assert not lets_in(bench)


def test_after_a_power_cycle_the_wall_clock_alone_counts() -> None:
    bench = offline(offline_for_s=1000, after_s=400)
    bench.power_cycle()
    assert lets_in(bench)
    bench.give(OperatorEnds())
    bench.give(PowerOff())
    bench.wall_off_ms += 601_000
    bench.give(PowerOn())
    assert not lets_in(bench)


@pytest.mark.parametrize(("back_s", "stays"), [(399, True), (401, False)])
def test_after_a_power_cycle_no_time_before_the_last_contact_is_believed(back_s: int, stays: bool) -> None:
    bench = offline(after_s=400)
    bench.give(PowerOff())
    bench.wall_off_ms -= back_s * 1000
    bench.give(PowerOn())
    assert lets_in(bench) is stays


def test_a_clock_without_time_at_power_up_voids_the_list() -> None:
    bench = offline()
    bench.give(PowerOff())
    bench.clock = False
    bench.give(PowerOn())
    bench.clock = True
    assert not lets_in(bench)


def test_a_clock_that_is_behind_the_gateways_does_not_prolong_an_entry() -> None:
    bench = Bench()
    bench.wall_off_ms -= 50_000
    bench.power_cycle()
    bench.give(Connected())
    bench.offer(7, {"P1": 100})
    bench.give(Disconnected())
    bench.wait(90)
    assert lets_in(bench)
    bench.give(OperatorEnds())
    bench.wait(10)
    assert not lets_in(bench)


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
