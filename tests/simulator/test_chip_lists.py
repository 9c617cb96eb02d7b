"""The reference chip and its offline list: which lists it takes, and what they change."""

from typing import Any

import pytest

from gateway.core.credential import offline_digest
from simulator.signals import (
    Disconnected,
    OperatorEnds,
)
from tests.simulator.bench import MACHINE, OTHER_KEY, START_WALL_MS, Bench, told


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
    assert not bench.lets_in("P1")
    assert bench.lets_in("P2")
    assert told(bench)[0].detail["list_version"] == 4


def test_a_difference_adds_changes_and_removes() -> None:
    bench = Bench()
    bench.offer(1, {"P1": 7200, "P2": 7200, "P3": 7200})
    gone = [offline_digest(MACHINE, "P1"), offline_digest(MACHINE, "P9")]
    bench.offer(2, {"P2": 30, "P4": 7200}, base_version=1, gone=gone, lease_s=100)
    bench.give(Disconnected())
    for person in ("P2", "P3", "P4", "P1"):
        assert bench.lets_in(person) == (person != "P1")
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
    assert not bench.lets_in("P2")
    bench.wait(31)
    assert bench.lets_in("P1") == (held is not None)


def test_the_same_list_sent_again_in_full_counts_as_a_contact_and_changes_nothing_else() -> None:
    bench = Bench()
    bench.offer(7, {"P1": 7200}, offline_for_s=100)
    bench.wait(80)
    bench.offer(7, {"P1": 7120}, offline_for_s=100)
    assert "grant_rejected" not in bench.kinds
    bench.give(Disconnected())
    bench.wait(90)
    assert bench.lets_in()
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
    assert not bench.lets_in()


def test_a_list_needs_the_chips_challenge_even_in_a_session() -> None:
    bench = Bench()
    sid = bench.unlock()["sid"]
    bench.offer(1, {"P1": 7200}, sid=sid, n=1, cha=None)
    assert bench.events[-1].reason == "malformed"
