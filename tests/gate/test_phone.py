"""An unlock asked for by phone: the same decision, for the challenge of the lock's latest status, and never late."""

import msgspec
import pytest

from gateway.core.lease import CLOCK_ERROR_S, lasts_until, over_at
from gateway.core.model import PhoneAsk, Status
from gateway.core.policy import Credentials, Policy, Rulebook
from gateway.core.session import CHIP_GIVES_UP_S
from gateway.gate.entry import Entry
from gateway.gate.explain import decide_again, in_words
from gateway.gate.phone import by_phone, is_for_the_chip
from gateway.store.ledger import Record
from gateway.wire.answer import finish
from gateway.wire.codec import MalformedMessage, decode, encode
from gateway.wire.tokens import Grant, Signer
from tests.gate.gates import NOW, Gate, asked_of, body_of, commands, decision_of, facts_of, make_gate

MINUTE_S = 60


@pytest.fixture
def gate() -> Gate:
    """Two locks have shown their challenges."""
    gate = make_gate()
    for number in (1, 2):
        gate.status(f"HJ-000{number}", challenge=f"shown-{number}", relay="open", session_id=None)
    return gate


def grant_of(entry: Entry) -> Grant:
    assert entry.draft is not None
    assert entry.draft.answer is not None
    assert entry.draft.answer.grant is not None
    return entry.draft.answer.grant


def reasons(entry: Entry) -> tuple[str, ...]:
    return decision_of(entry).reasons


# --- the same decision ------------------------------------------------------------------------------------------


def test_the_grant_is_for_the_challenge_of_the_latest_status(gate: Gate) -> None:
    gate.status(challenge="shown-later", relay="open", session_id=None)
    entry = gate.phone(request_id="by-phone-0001")
    grant = grant_of(entry)
    assert (grant.aud, grant.cha, grant.jti, grant.exp - grant.iat) == ("HJ-0001", "shown-later", "by-phone-0001", 30)
    assert gate.session().session_id == grant.sid
    assert entry.key == ("HJ-0001", "decision", "by-phone-0001")


def test_the_record_tells_who_had_signed_in_and_what_was_known_of_the_lock(gate: Gate) -> None:
    gate.clock.pass_s(7200)
    entry = gate.phone(account_id="account-9")
    asked, facts = asked_of(entry), facts_of(entry)
    assert (asked.method, asked.credential_kind, asked.credential) == ("phone", "account", "P0***23")
    assert (asked.account_id, asked.challenge, asked.at) == ("account-9", "shown-1", None)
    assert facts.presence is not None
    assert (facts.presence.online, facts.presence.clock_off_ms, facts.presence.unlocked) == (True, 0, False)


def test_nothing_is_said_of_the_lock_where_somebody_scans(gate: Gate) -> None:
    assert facts_of(gate.request()).presence is None
    assert b"presence" not in encode(facts_of(gate.request("P000456", "HJ-0002")))


def test_a_recorded_decision_comes_out_the_same_again(gate: Gate) -> None:
    gate.status("HJ-0002", challenge="shown-2", at=None)
    for entry in (gate.phone(), gate.phone("P000456", "HJ-0002"), gate.phone("nobody", "HJ-0003")):
        body = body_of(entry)
        assert decide_again(body, Rulebook(Policy())) == body.decision


def test_it_is_explained_in_words(gate: Gate) -> None:
    gate.status(challenge="shown-3", at=gate.clock.now - 1500)
    entry = gate.phone()
    assert entry.draft is not None
    record = Record(NOW, msgspec.Raw(entry.draft.body), "decision", "HJ-0001", "x", "P000123", "allow", "", 1)
    lines = "\n".join(in_words(record))
    assert "账号 account account-1" in lines
    assert "在线 online" in lines
    assert "clock off by -1.5 s" in lines


@pytest.mark.parametrize(
    ("welder", "codes"), [("P000123", ()), ("nobody", ("credential_unknown",)), ("P000789", ("operator_blocked",))]
)
def test_the_person_is_judged_as_if_the_badge_were_scanned(gate: Gate, welder: str, codes: tuple[str, ...]) -> None:
    person = gate.state.snapshot.operators["P000789"]
    gate.change(msgspec.structs.replace(person, status="blocked"))
    assert reasons(gate.phone(welder)) == codes
    assert reasons(gate.request(welder, "HJ-0001")) == codes


def test_a_county_may_take_no_accounts() -> None:
    gate = make_gate(Policy(credentials=Credentials(("badge", "code"))))
    gate.status(challenge="shown-1")
    assert reasons(gate.phone()) == ("credential_unknown",)
    assert reasons(gate.request()) == ()


def test_no_chip_can_say_that_it_was_asked_by_phone() -> None:
    fields = {"request_id": "request-0001", "credential": "P000123", "challenge": "c-1"}
    for method in ("phone", "account"):
        with pytest.raises(MalformedMessage, match="method"):
            decode("request", msgspec.json.encode(fields | {"method": method}))
    assert not hasattr(decode("request", msgspec.json.encode(fields | {"method": "scan", "phone": {}})), "phone")


@pytest.mark.parametrize(
    ("machine_id", "request_id"),
    [("HJ-0001/status", "by-phone-0001"), ("+", "by-phone-0001"), ("HJ-0001", "x"), ("HJ-0001", "by phone 0001")],
)
def test_what_cannot_stand_in_a_topic_or_an_answer_is_not_asked(machine_id: str, request_id: str) -> None:
    with pytest.raises(ValueError, match="not one of the protocol's"):
        by_phone(PhoneAsk(machine_id, "P000123", request_id, "account-1"), 0)


def test_whoever_waited_too_long_is_refused(gate: Gate) -> None:
    assert reasons(gate.phone(waited_ms=10_001)) == ("overloaded",)


def test_a_refusal_that_fresher_registries_may_cure_waits_for_a_look_up(gate: Gate) -> None:
    gate.state.lookups.offered = True
    assert gate.phone("P-NEW").awaits == "P-NEW"
    gate.state.lookups.answered("P-NEW", gate.clock.now)
    assert reasons(gate.phone("P-NEW")) == ("credential_unknown",)


def test_the_same_request_is_decided_once(gate: Gate) -> None:
    first = gate.phone(request_id="by-phone-0001")
    again = gate.phone("P000456", request_id="by-phone-0001")
    assert (again.key, again.draft) == (first.key, None)
    assert len(gate.sessions) == 1


# --- INVARIANT: nothing unlocks late ----------------------------------------------------------------------------


def test_invariant_a_lock_that_never_spoke_is_not_unlocked_by_phone() -> None:
    gate = make_gate()
    assert reasons(gate.phone()) == ("machine_offline",)
    assert asked_of(gate.phone()).challenge == ""


def test_invariant_a_lock_that_is_gone_is_not_and_one_that_is_back_is(gate: Gate) -> None:
    gate.send("status", b'{"online": false}')
    assert reasons(gate.phone()) == ("machine_offline",)
    gate.clock.pass_s(600)
    gate.status(challenge="shown-1")
    assert reasons(gate.phone()) == ()


@pytest.mark.parametrize(("off_s", "right"), [(-61, False), (-60, True), (60, True), (61, False)])
def test_invariant_only_a_clock_that_is_right_tells_that_a_grant_is_late(gate: Gate, off_s: int, right: bool) -> None:
    gate.status(challenge="shown-3", at=gate.clock.now + off_s * 1000)
    assert reasons(gate.phone()) == (() if right else ("machine_without_clock",))


def test_invariant_no_clock_at_all_is_none(gate: Gate) -> None:
    gate.status(challenge="shown-3", at=None)
    assert reasons(gate.phone()) == ("machine_without_clock",)
    assert reasons(gate.request()) == ()


def test_invariant_a_status_that_comes_late_proves_no_clock(gate: Gate) -> None:
    """It may come from the broker's store, and its chip may be slow by as much."""
    gate.send("status", encode_status("shown-3", gate.clock.now - 3_600_000), retained=True)
    assert reasons(gate.phone()) == ("machine_without_clock",)


def test_a_status_that_came_before_proves_what_it_proved_then(gate: Gate) -> None:
    then = gate.clock.now
    gate.clock.pass_s(3600)
    gate.send("status", encode_status("shown-1", then), retained=True)
    assert reasons(gate.phone()) == ()


def test_and_so_it_is_on_record_for_the_next_start(gate: Gate) -> None:
    then = gate.clock.now
    gate.clock.pass_s(3600)
    again = gate.send("status", encode_status("shown-1", then), retained=True)
    restarted = make_gate()
    restarted.clock.now = gate.clock.now
    restarted.read_back(whole=True, chips=[again.chip])
    assert reasons(restarted.phone()) == ()


def encode_status(challenge: str, at: int) -> bytes:
    return msgspec.json.encode({"online": True, "challenge": challenge, "chip": "CHIP-0001", "at": at})


@pytest.mark.parametrize("off_s", [None, -600, 600])
def test_invariant_a_clock_that_was_reset_counts_anew(gate: Gate, off_s: int | None) -> None:
    at = None if off_s is None else gate.clock.now + off_s * 1000
    entry = gate.event("clock_reset", at=at)
    assert entry.chip == ("HJ-0001", gate.clock.now, True, "CHIP-0001", None, None, "shown-1", at)
    assert reasons(gate.phone()) == ("machine_without_clock",)
    gate.event("clock_reset", at=gate.clock.now)
    assert reasons(gate.phone()) == ()


def test_invariant_our_own_clock_being_set_makes_theirs_look_wrong(gate: Gate) -> None:
    """The start-by would lie an hour ahead for them."""
    gate.state.keep_time(0)
    gate.clock.pass_s(3600)
    gate.state.keep_time(0)
    assert reasons(gate.phone()) == ("machine_without_clock",)


def test_after_a_restart_what_is_on_record_of_a_chip_counts(gate: Gate) -> None:
    row = gate.status(challenge="shown-9", at=gate.clock.now - 2000).chip
    late = gate.status("HJ-0002", challenge="shown-8", at=gate.clock.now - 61_000).chip
    restarted = make_gate()
    restarted.clock.pass_s(7200)
    restarted.read_back(whole=True, chips=[row, late])
    assert grant_of(restarted.phone()).cha == "shown-9"
    assert reasons(restarted.phone("P000456", "HJ-0002")) == ("machine_without_clock",)


def test_what_another_gateway_has_heard_of_a_chip_since_counts(gate: Gate) -> None:
    row = gate.status(challenge="shown-9").chip
    other = make_gate()
    other.status(challenge="shown-1", session_id="session-0001", relay="closed")
    assert row is not None
    other.state.chips.refresh([row])
    assert grant_of(other.phone()).cha == "shown-9"
    assert other.state.chips["HJ-0001"].session_id is None
    assert not other.state.chips["HJ-0001"].takes(
        msgspec.json.decode(b'{"online":true,"challenge":"shown-1"}', type=Status), 0
    )


def test_the_same_of_a_chip_leaves_it_as_our_own_clock_has_it(gate: Gate) -> None:
    row = gate.status(challenge="shown-9").chip
    assert row is not None
    gate.state.chips.shift(3_600_000)
    gate.state.chips.refresh([row])
    assert gate.state.chips["HJ-0001"].clock_off_ms == -3_600_000


# --- its session ------------------------------------------------------------------------------------------------


def test_the_books_reckon_with_a_clock_that_is_a_minute_slow(gate: Gate) -> None:
    decision, session = decision_of(gate.phone()), gate.session()
    taken_by = gate.clock.now + (decision.start_by_s + CLOCK_ERROR_S) * 1000
    assert session.lease_until == lasts_until(taken_by, decision.lease_s)
    assert session.open_until == over_at(session.lease_until, gate.state.drain_s)
    assert session.has_clock


def test_it_is_renewed_and_locked_like_any_other(gate: Gate) -> None:
    gate.phone()
    session = gate.session()
    gate.event("unlocked", session.session_id)
    gate.clock.pass_s(450)
    renewal = gate.usage(current_a=100.0).command
    assert renewal is not None
    assert (renewal.cmd, renewal.sid) == ("renew", session.session_id)
    gate.control("lock")
    [lock] = commands(gate.work_off())
    assert (lock.cmd, lock.sid) == ("lock", session.session_id)
    gate.event("locked", session.session_id, reason="remote")
    assert session.state == "ended"


def test_whoever_has_it_unlocked_already_is_told_so(gate: Gate) -> None:
    gate.phone()
    session = gate.session()
    gate.event("unlocked", session.session_id)
    gate.status(challenge="shown-3", relay="closed", session_id=session.session_id)
    assert reasons(gate.phone()) == ("machine_unlocked",)
    assert gate.session() is session


def test_a_lock_on_its_way_to_their_own_session_is_no_hindrance(gate: Gate) -> None:
    """It idled, and they are back: they get another one."""
    gate.phone()
    session = gate.session()
    gate.status(challenge="shown-3", relay="closed", session_id=session.session_id)
    gate.state.agenda.lock(session, "idle")
    gate.work_off()
    assert session.state == "draining"
    entry = gate.phone()
    assert reasons(entry) == ()
    assert body_of(entry).replaces == (session.session_id,)


def test_two_taps_at_once_of_one_person_are_one_unlock(gate: Gate) -> None:
    """A second grant for the same challenge would be refused, and the first locked for it."""
    gate.phone()
    session = gate.session()
    assert reasons(gate.phone()) == ("machine_unlocked",)
    assert gate.session() is session


def test_two_taps_that_two_gateways_hear_are_one_unlock(gate: Gate) -> None:
    """The other one's grant is on its way, for a challenge that is not known here."""
    other = make_gate()
    other.status(challenge="shown-1", relay="open", session_id=None)
    assert reasons(other.phone()) == ()
    opened = other.sessions.take_changes()[1]
    gate.read_back(*opened)
    assert reasons(gate.phone()) == ("machine_unlocked",)
    gate.clock.pass_s(CHIP_GIVES_UP_S)
    assert reasons(gate.phone()) == (), "by now it would have been taken"


def test_of_two_people_who_tap_at_once_one_gets_in(gate: Gate) -> None:
    assert reasons(gate.phone("P000123")) == ()
    assert reasons(gate.phone("P000456")) == ("machine_in_session",)


def test_nobody_opens_two_machines_at_once(gate: Gate) -> None:
    assert reasons(gate.phone()) == ()
    assert reasons(gate.phone(machine_id="HJ-0002")) == ("operator_in_session",)


def test_a_grant_that_nobody_took_can_be_asked_for_again_after_its_start_by(gate: Gate) -> None:
    gate.phone()
    gate.clock.pass_s(30)
    entry = gate.phone()
    assert reasons(entry) == ()
    assert body_of(entry).replaces != ()


def test_a_grant_that_the_chip_refused_for_its_clock_can_be_asked_for_again_at_once(gate: Gate) -> None:
    gate.phone()
    gate.event("grant_rejected", gate.session().session_id, reason="late")
    assert reasons(gate.phone()) == ()


def test_a_chip_that_rebooted_refuses_the_grant_and_the_session_ends(gate: Gate) -> None:
    gate.phone()
    session = gate.session()
    gate.event("grant_rejected", session.session_id, reason="other_challenge")
    assert (session.state, session.end_reason) == ("ended", "grant_rejected")
    gate.status(challenge="after-the-boot")
    assert grant_of(gate.phone()).cha == "after-the-boot"


def test_a_chip_that_shows_another_challenge_never_took_the_grant(gate: Gate) -> None:
    gate.phone()
    session = gate.session()
    gate.clock.pass_s(MINUTE_S)
    gate.status(challenge="after-the-boot", relay="open", session_id=None)
    assert (session.state, session.end_reason) == ("ended", "unused")


def test_whoever_scans_while_their_own_grant_by_phone_is_under_way_is_let_in(gate: Gate) -> None:
    """The chip asks, so the phone has not worked; it takes whichever grant comes first, and both are theirs."""
    gate.phone()
    by_badge = gate.request(challenge="shown-1")
    assert reasons(by_badge) == ()
    assert body_of(by_badge).replaces != ()


def test_whoever_asks_by_phone_while_somebody_else_is_being_let_in_by_a_scan_is_refused(gate: Gate) -> None:
    gate.request("P000456", challenge="shown-1")
    assert reasons(gate.phone("P000123")) == ("machine_in_session",)


def test_whoever_asks_by_phone_while_their_own_scan_is_being_answered_is_unlocked_already(gate: Gate) -> None:
    gate.request(challenge="shown-1")
    assert reasons(gate.phone()) == ("machine_unlocked",)


# --- what goes to the chip --------------------------------------------------------------------------------------


def test_a_chip_hears_of_an_allow_while_it_may_take_it_and_of_no_refusal(gate: Gate, signer: Signer) -> None:
    inbound = by_phone(PhoneAsk("HJ-0001", "P000123", "by-phone-0001", "account-1"), 0)
    allowed, refused = (gate.phone(welder).draft for welder in ("P000123", "nobody"))
    assert allowed is not None
    assert refused is not None
    assert allowed.answer is not None
    assert refused.answer is not None
    allow, refusal = finish(allowed.answer, signer), finish(refused.answer, signer)
    assert is_for_the_chip(inbound, allow, gate.clock.now)
    assert not is_for_the_chip(inbound, allow, gate.clock.now + 30_000)
    assert not is_for_the_chip(inbound, refusal, gate.clock.now)
    scanned = gate.request().inbound
    assert scanned is not None
    assert is_for_the_chip(scanned, refusal, gate.clock.now + 30_000)
