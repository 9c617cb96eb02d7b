"""The reference chip, duty by duty of the protocol's "What a chip does"."""

from typing import Any

import pytest

from gateway.wire import topics
from gateway.wire.codec import decode
from simulator.arms import LOCK_ARMS, QUESTION_ARMS, Cue, Do, Lock
from simulator.outbox import EVENTS_KEPT, USAGE_KEPT
from simulator.signals import (
    ArcStarted,
    ArcStopped,
    CloseRelay,
    Connected,
    Delivered,
    Disconnected,
    MessageArrived,
    OpenRelay,
    OperatorEnds,
    PowerOff,
    PowerOn,
    Publish,
    RelaySensed,
    Scanned,
    Show,
    Tampered,
    Tick,
)
from simulator.timers import Timers
from tests.simulator.bench import KEY, MACHINE, OTHER_KEY, START_WALL_MS, Bench

REQUEST = topics.to_gateway(MACHINE, "request")


def requests_in(actions: list[Any]) -> list[Publish]:
    return [action for action in actions if isinstance(action, Publish) and action.topic == REQUEST]


# --- duty 1: challenges, requests, grants -----------------------------------------------------------------------


def test_a_fresh_chip_is_locked_and_tells_its_challenge_before_anything_else() -> None:
    bench = Bench()
    first = bench.did[1]
    assert isinstance(bench.did[0], OpenRelay)
    assert isinstance(first, Publish)
    assert (first.topic, first.retain) == (topics.to_gateway(MACHINE, "status"), True)
    assert (bench.status.challenge, bench.status.relay, bench.status.chip) == (bench.chip.challenge, "open", "CHIP-1")
    assert bench.kinds == ["boot"]


def test_a_request_is_repeated_with_the_same_bytes_until_it_is_given_up_after_30_s() -> None:
    bench = Bench()
    first = requests_in(bench.give(Scanned("P1")))
    challenge = bench.chip.challenge
    repeats = requests_in(bench.wait(29.9))
    assert {message.payload for message in repeats} == {first[0].payload}
    assert len(repeats) == 5
    assert bench.chip.challenge == challenge
    given_up = bench.wait(0.2)
    assert Show(bench.requests[0].request_id, None) in given_up
    assert bench.status.challenge == bench.chip.challenge != challenge
    assert not requests_in(bench.wait(60))


def test_a_grant_that_arrives_after_giving_up_never_fits_even_without_a_wall_clock() -> None:
    bench = Bench(clock=False)
    bench.give(Scanned("P1"))
    late = bench.allowed(bench.claims())
    bench.wait(31)
    bench.give(late)
    assert bench.closed == 0
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", "other_challenge")


def test_a_fitting_grant_closes_the_relay_once_and_uses_the_challenge_up() -> None:
    bench = Bench()
    challenge = bench.chip.challenge
    claims = bench.unlock()
    assert bench.closed == 1
    assert bench.status.challenge != challenge
    assert (bench.status.relay, bench.status.session_id) == ("closed", claims["sid"])
    assert bench.kinds[-1] == "unlocked"


REFUSED = (
    # reason            what is wrong with the grant
    ("other_challenge", {"cha": "another-challenge"}),
    ("other_machine", {"aud": "HJ-0002"}),
    ("other_request", {"jti_on_the_message": "other-request-1"}),
    ("late", {"exp": START_WALL_MS // 1000 - 1}),
    ("malformed", {"lease_s": 0}),
    ("malformed", {"lease_s": "long"}),
    ("malformed", {"sid": None}),
)


@pytest.mark.parametrize(("reason", "wrong"), REFUSED)
def test_a_grant_that_does_not_fit_is_refused_and_reported(reason: str, wrong: dict[str, Any]) -> None:
    bench = Bench()
    bench.give(Scanned("P1"))
    claims = bench.claims(**{name: value for name, value in wrong.items() if name in ("cha", "aud", "exp", "lease_s")})
    if "sid" in wrong:
        claims["sid"] = 4711
    arrived = bench.allowed(claims) if "sid" not in wrong else _with_session(bench, claims)
    if "jti_on_the_message" in wrong:
        arrived = _readdressed(arrived, claims["jti"], wrong["jti_on_the_message"])
    bench.give(arrived)
    assert bench.closed == 0
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", reason)


def _readdressed(arrived: MessageArrived, old: str, new: str) -> MessageArrived:
    """The same token in a decision for another request."""
    return MessageArrived(arrived.topic, arrived.payload.replace(f'"{old}"'.encode(), f'"{new}"'.encode()))


def _with_session(bench: Bench, claims: dict[str, Any]) -> MessageArrived:
    """A token whose session is no text, in a decision that is sound."""
    from gateway.wire.codec import encode
    from gateway.wire.messages import DecisionMessage
    from gateway.wire.tokens import Signer

    message = DecisionMessage(START_WALL_MS, Signer(KEY).sign(claims), "allow", (), claims["jti"], "session-1")
    return MessageArrived(topics.decision(MACHINE), encode(message))


def test_a_grant_with_a_bad_signature_or_arriving_retained_is_refused_and_reported() -> None:
    bench = Bench()
    bench.give(Scanned("P1"))
    bench.allow(bench.claims(), key=OTHER_KEY)
    bench.allow(bench.claims(), retained=True)
    assert bench.closed == 0
    refused = [event for event in bench.events if event.kind == "grant_rejected"]
    assert [event.reason for event in refused] == ["bad_signature", "retained"]
    assert [event.detail for event in refused] == [{"request_id": bench.requests[0].request_id}, {}]


def test_start_by_needs_a_wall_clock_and_is_left_out_without_one() -> None:
    bench = Bench(clock=False)
    bench.unlock(exp=1)
    assert bench.closed == 1


def test_the_same_grant_again_is_idle_in_its_session_and_a_replay_after_it() -> None:
    bench = Bench()
    claims = bench.unlock()
    bench.allow(claims)
    assert "grant_rejected" not in bench.kinds
    bench.give(OperatorEnds())
    bench.allow(claims)
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", "other_challenge")
    assert bench.closed == 1


def test_a_deny_is_shown_and_the_challenge_stays() -> None:
    bench = Bench()
    challenge = bench.chip.challenge
    bench.give(Scanned("P1"))
    shown = bench.deny("certificate_expired", "operator_blocked")
    assert shown == [Show(bench.requests[0].request_id, "deny", ("certificate_expired", "operator_blocked"))]
    assert bench.chip.challenge == challenge
    assert not requests_in(bench.wait(60))


def test_an_unlock_by_phone_needs_no_scan_but_the_challenge_of_the_last_status() -> None:
    bench = Bench()
    bench.allow(bench.claims(jti="by-phone-1", cha=bench.status.challenge))
    assert bench.closed == 1


# --- duties 2 and 3: lease and lock -----------------------------------------------------------------------------


def test_the_lease_ends_by_the_chips_own_clock_and_a_renewal_starts_it_anew() -> None:
    bench = Bench(idle_lock_s=10_000)
    bench.unlock(lease_s=60)
    bench.wait(50)
    bench.command("renew", 1, lease_s=60)
    bench.wait(59)
    assert bench.chip.lock is Lock.READY
    assert OpenRelay() in bench.wait(2)
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("locked", "lease_over")


def test_a_broken_connection_changes_nothing_until_the_lease_is_over() -> None:
    bench = Bench(idle_lock_s=10_000)
    bench.unlock(lease_s=60)
    bench.give(Disconnected())
    bench.wait(59)
    assert OpenRelay() not in bench.did[1:]
    assert OpenRelay() in bench.wait(2)


def test_when_the_lease_is_over_an_arc_may_end_but_not_beyond_the_deadline() -> None:
    for arc_s, word in ((30, "arc ends"), (300, "deadline")):
        bench = Bench(drain_s=120)
        bench.unlock(lease_s=60)
        bench.wait(50, ArcStarted())
        bench.wait(min(arc_s, 131), ArcStopped() if word == "arc ends" else Tick())
        assert bench.chip.relay == "open", word
        assert bench.usage[-1].final, word


LOCKS = (
    # when           arc    deadline  relay at once  relay after the deadline
    ("now", False, 0, "open", "open"),
    ("now", True, 0, "open", "open"),
    ("between_arcs", False, 40, "open", "open"),
    ("between_arcs", True, 40, "closed", "open"),
)


@pytest.mark.parametrize(("when", "arc", "deadline_s", "at_once", "after"), LOCKS)
def test_a_lock_command(when: str, arc: bool, deadline_s: int, at_once: str, after: str) -> None:
    bench = Bench()
    bench.unlock()
    if arc:
        bench.give(ArcStarted())
    bench.command("lock", 1, when=when, deadline_s=deadline_s, reason="certificate_revoked")
    relays = [str(bench.chip.relay)]
    bench.wait(deadline_s + 1)
    assert [*relays, bench.chip.relay] == [at_once, after]
    assert next(event.reason for event in bench.events if event.kind == "locked") == "certificate_revoked"


COMMANDS_REFUSED = (
    ("replayed", {"n": 3, "jti": "command-again"}),
    ("other_session", {"sid": "another-session"}),
    ("other_machine", {"aud": "HJ-0002"}),
    ("late", {"exp": START_WALL_MS // 1000 - 1}),
    ("malformed", {"cmd": "self_destruct"}),
)


@pytest.mark.parametrize(("reason", "wrong"), COMMANDS_REFUSED)
def test_a_command_that_does_not_fit_changes_nothing_and_is_reported(reason: str, wrong: dict[str, Any]) -> None:
    bench = Bench()
    bench.unlock()
    bench.command("renew", 3, lease_s=900)
    bench.command("lock", 4, when="now", **wrong)
    assert bench.chip.relay == "closed"
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("grant_rejected", reason)


def test_a_command_delivered_twice_is_carried_out_once_and_a_retained_one_never() -> None:
    bench = Bench()
    bench.unlock()
    bench.command("renew", 1, lease_s=900)
    bench.command("renew", 1, lease_s=900)
    assert "grant_rejected" not in bench.kinds
    bench.command("lock", 2, when="now", retained=True)
    assert bench.chip.relay == "closed"
    assert bench.events[-1].reason == "retained"


def test_a_second_grant_replaces_the_session_without_opening_the_relay() -> None:
    bench = Bench()
    first = bench.unlock("P1")
    opened = bench.did.count(OpenRelay())
    second = bench.unlock("P1")
    ended, began = bench.events[-2:]
    assert (ended.kind, ended.session_id, ended.reason) == ("locked", first["sid"], "replaced")
    assert (began.kind, began.session_id) == ("unlocked", second["sid"])
    assert bench.did.count(OpenRelay()) == opened


# --- duty 4: power and idling -----------------------------------------------------------------------------------


def test_power_up_is_locked_with_a_new_challenge_and_names_the_session_that_was_cut() -> None:
    bench = Bench()
    claims = bench.unlock()
    challenge, seq = bench.chip.challenge, bench.events[-1].seq
    bench.give(PowerOff())
    assert bench.give(Scanned("P1")) == []
    bench.give(PowerOn())
    bench.give(Connected())
    boot = bench.events[-1]
    assert (boot.kind, boot.session_id, boot.seq) == ("boot", claims["sid"], seq + 1)
    assert (bench.chip.relay, bench.chip.session) == ("open", None)
    assert bench.chip.challenge != challenge


def test_idle_for_too_long_is_locked_and_welding_is_not_idling() -> None:
    bench = Bench(idle_lock_s=300)
    bench.unlock(lease_s=10_000)
    bench.wait(200, ArcStarted())
    bench.wait(400, ArcStopped())
    bench.wait(299)
    assert bench.chip.relay == "closed"
    bench.wait(2)
    assert (bench.events[-1].kind, bench.events[-1].reason) == ("locked", "idle")


# --- duty 5: alarms ---------------------------------------------------------------------------------------------


def test_current_without_a_lease_is_reported_at_once_and_again_as_long_as_it_lasts() -> None:
    bench = Bench()
    bench.wait(5, ArcStarted())
    assert bench.kinds[-1] == "arc_without_lease"
    bench.wait(35)
    assert bench.kinds.count("arc_without_lease") == 4
    bench.give(ArcStopped())
    bench.wait(60)
    assert bench.kinds.count("arc_without_lease") == 4


def test_a_relay_that_does_not_follow_is_reported_again_and_again() -> None:
    bench = Bench()
    bench.give(RelaySensed("open"))
    bench.unlock()
    bench.give(RelaySensed("closed"))
    bench.give(OperatorEnds())
    bench.wait(0.4)
    assert "relay_stuck" not in bench.kinds
    bench.wait(25)
    assert bench.kinds.count("relay_stuck") == 3


def test_an_alarm_after_a_power_cycle_does_not_wait_for_the_old_monotonic_clock() -> None:
    bench = Bench()
    bench.unlock(lease_s=100_000)
    bench.wait(500)
    bench.power_cycle()
    bench.give(Connected())
    bench.wait(5, ArcStarted())
    assert bench.kinds[-1] == "arc_without_lease"


def test_tampering_and_a_jumping_clock_are_reported() -> None:
    bench = Bench()
    bench.give(Tampered())
    bench.wall_off_ms += 120_000
    bench.give(Tick())
    assert bench.kinds[-2:] == ["tamper", "clock_reset"]
    assert bench.events[-1].detail == {"by_ms": 120_000}


def test_a_clock_that_jumps_while_it_cannot_be_read_is_reported_once_it_can() -> None:
    bench = Bench()
    bench.clock = False
    bench.give(Tick())
    bench.clock, bench.wall_off_ms = True, bench.wall_off_ms - 120_000
    bench.give(Tick())
    assert (bench.events[-1].kind, bench.events[-1].detail) == ("clock_reset", {"by_ms": -120_000})


# --- duty 6: usage, events, offline -----------------------------------------------------------------------------


def test_usage_every_10_s_while_unlocked_and_once_at_the_end() -> None:
    bench = Bench()
    bench.unlock()
    bench.wait(15, ArcStarted(200.0, 25.0))
    bench.wait(18, ArcStopped())
    bench.wait(2, OperatorEnds())
    assert [(usage.seq, usage.enabled_s, usage.final) for usage in bench.usage] == [
        (1, 10, False),
        (2, 20, False),
        (3, 30, False),
        (4, 35, True),
    ]
    last = bench.usage[-1]
    assert (last.arc_s, last.idle_s, last.arcs, last.energy_wh) == (18, 17, 1, 25.0)
    assert bench.wait(60) == []


def test_what_happened_offline_is_delivered_afterwards_in_order() -> None:
    bench = Bench()
    bench.unlock()
    told = len(bench.events)
    bench.give(Disconnected())
    bench.wait(12, Tampered())
    bench.give(OperatorEnds())
    assert len(bench.events) == told
    bench.give(Connected())
    offline = [decode(kind, action.payload) for kind, action in _reports(bench)]
    assert [type(message).__name__ for message in offline[-4:]] == ["Usage", "Event", "Usage", "Event"]
    numbers = [event.seq for event in bench.events]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))


def _reports(bench: Bench) -> list[tuple[topics.ChipTopic, Publish]]:
    found = []
    for action in bench.did:
        if isinstance(action, Publish) and (named := topics.chip_topic(action.topic)) and action.key is not None:
            found.append((named[1], action))
    return found


def test_what_the_broker_did_not_acknowledge_goes_out_again_and_what_it_did_does_not() -> None:
    bench = Bench(acks=False)
    (_, boot), *_ = _reports(bench)
    bench.give(Tampered())
    bench.give(Delivered(boot.key or 0))
    bench.give(Disconnected())
    bench.give(Connected())
    assert bench.kinds == ["boot", "tamper", "tamper"]


def test_usage_merges_the_oldest_first_and_lost_events_are_told() -> None:
    bench = Bench()
    bench.unlock(lease_s=100_000)
    bench.give(Disconnected())
    bench.wait(10 * (USAGE_KEPT + 20))
    assert len(bench.chip.outbox) == USAGE_KEPT
    for _ in range(EVENTS_KEPT + 2):
        bench.give(Tampered())
    bench.give(Connected())
    assert len(bench.chip.outbox) == 0
    assert [usage.seq for usage in bench.usage] == list(range(21, 21 + USAGE_KEPT))
    bench.give(Tampered())
    assert bench.events[-1].detail == {"lost": 2}
    assert bench.events[-1].seq == bench.events[-2].seq + 3


# --- whatever happens -------------------------------------------------------------------------------------------


def test_nothing_but_a_grant_or_the_offline_list_leads_from_an_open_relay_to_a_closed_one() -> None:
    opened = (Lock.OFF, Lock.LOCKED)
    closing = [(state, cue) for (state, cue), arm in LOCK_ARMS.items() if state in opened and arm.to not in opened]
    assert closing == [(Lock.LOCKED, Cue.GRANT), (Lock.LOCKED, Cue.OFFLINE_GRANT)]


def test_each_arm_says_why_and_leaving_a_closed_relay_closes_the_books() -> None:
    sentences = [arm.why for arm in LOCK_ARMS.values()] + [arm.why for arm in QUESTION_ARMS.values()]
    assert all(sentence.endswith(".") for sentence in sentences)
    leaving = [arm.do for (state, _), arm in LOCK_ARMS.items() if state is not Lock.LOCKED and arm.to is Lock.LOCKED]
    assert set(leaving) == {Do.END, Do.BOOT}


def test_what_was_due_first_happens_first_however_late_the_chip_is_woken() -> None:
    timers = Timers()
    for cue, at_ms in ((Cue.USAGE_DUE, 30), (Cue.LEASE_OVER, 10), (Cue.DEADLINE, 20), (Cue.GIVE_UP, 40)):
        timers.set(cue, at_ms)
    assert timers.next_ms == 10
    assert [timers.take_due(30) for _ in range(4)] == [Cue.LEASE_OVER, Cue.DEADLINE, Cue.USAGE_DUE, None]
    assert timers.next_ms == 40


def test_the_relay_follows_its_actions() -> None:
    bench = Bench()
    bench.unlock()
    bench.give(OperatorEnds())
    switches = [type(action) for action in bench.did if isinstance(action, (CloseRelay, OpenRelay))]
    assert switches == [OpenRelay, CloseRelay, OpenRelay]
