"""What one message leads to: a request, allowed or refused or again, and everything that is no message."""

import hashlib
import json
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from gateway.core.model import Facts
from gateway.core.policy import Lease, Policy, Requests
from gateway.gate.entry import Entry
from gateway.gate.reports import set_aside
from gateway.wire import topics
from gateway.wire.answer import finish
from gateway.wire.messages import DecisionMessage, FeedDecision
from gateway.wire.tokens import Grant, Signer, Verifier
from gateway.wire.topics import CHIP_TOPICS, ChipTopic
from tests.core.matrix import certificate, machine, operator
from tests.gate.gates import MACHINES, NOW, WELDERS, Gate, asked_of, body_of, decision_of, facts_of, make_gate
from tests.wire.test_codec import SOUND

ID_NUMBER = "990000199001010017"
PHONE = "13900000000"


def answer(entry: Entry, signer: Signer) -> DecisionMessage:
    """What the chip gets."""
    assert entry.draft is not None
    assert entry.draft.answer is not None
    return msgspec.json.decode(finish(entry.draft.answer, signer), type=DecisionMessage)


# --- a request that is allowed ----------------------------------------------------------------------------------


def test_an_allow_opens_one_session_for_the_longest_time_that_its_grant_holds(gate: Gate) -> None:
    gate.request()
    session = gate.session()
    assert session is gate.sessions.of_operator("P000123")
    assert (session.state, session.granted_at) == ("granted", NOW)
    assert (session.lease_s, session.leased_at, session.lease_until) == (900, NOW, NOW + 948_000)
    assert session.open_until == NOW + 948_000 + 122_400
    assert (session.n, session.has_clock, session.offline, session.drained_at) == (0, True, False, None)
    assert len(gate.sessions) == 1


@pytest.mark.parametrize(
    ("at", "clock"),
    [(NOW, True), (NOW - 60_000, True), (NOW - 60_001, False), (NOW + 60_001, False), (None, False)],
)
def test_in_the_books_any_chip_begins_until_it_gives_up_and_only_a_good_clock_is_one(
    at: int | None, clock: bool
) -> None:
    session = make_gate(Policy(lease=Lease(start_by_s=5), requests=Requests(max_age_s=600))).opened(at=at)
    assert (session.has_clock, session.lease_until) == (clock, NOW + 30_000 + 918_000)


def test_invariant_an_allow_carries_a_grant_for_this_machine_request_and_challenge(
    gate: Gate, signer: Signer, key: ECKey
) -> None:
    message = answer(gate.request(challenge="the chip's own"), signer)
    session = gate.sessions.at_machine("HJ-0001")
    assert session is not None
    claims = Verifier({"keys": [key.as_dict(private=False)]}).claims(message.grant or "")
    assert claims == {
        "iss": "weldgate",
        "aud": "HJ-0001",
        "jti": message.request_id,
        "sid": session.session_id,
        "cha": "the chip's own",
        "iat": NOW // 1000,
        "exp": NOW // 1000 + 30,
        "lease_s": 900,
        "n": 0,
    }
    assert (message.outcome, message.reasons, message.session_id) == ("allow", (), session.session_id)


@settings(max_examples=50)
@given(st.integers(1, 30), st.integers(1, 86_400), st.integers(0, 999), st.text(min_size=1, max_size=128))
def test_invariant_nothing_starts_later_than_30_s_after_the_decision_whatever_the_policy(
    start_by_s: int, lease_s: int, ms: int, challenge: str
) -> None:
    gate = make_gate(Policy(lease=Lease(lease_s=lease_s, start_by_s=start_by_s)))
    gate.clock.now += ms
    entry = gate.request(challenge=challenge)
    assert entry.draft is not None
    assert entry.draft.answer is not None
    grant = entry.draft.answer.grant
    assert isinstance(grant, Grant)
    assert grant.exp - grant.iat == start_by_s <= 30
    assert grant.exp * 1000 <= gate.clock.now + 30_000
    assert (grant.cha, grant.lease_s) == (challenge, lease_s)


def test_the_same_welder_at_the_same_machine_replaces_the_session_and_the_record_says_so(gate: Gate) -> None:
    gate.request()
    first = gate.sessions.at_machine("HJ-0001")
    assert first is not None
    entry = gate.request()
    second = gate.sessions.at_machine("HJ-0001")
    assert second is not None
    assert second.session_id != first.session_id
    assert (first.state, first.end_reason) == ("ended", "replaced")
    assert body_of(entry).replaces == (first.session_id,)
    assert len(gate.sessions) == 1


def test_no_two_sessions_share_an_id_even_in_the_same_millisecond(gate: Gate) -> None:
    ids = set()
    for _ in range(200):
        gate.request()
        session = gate.sessions.at_machine("HJ-0001")
        assert session is not None
        ids.add(session.session_id)
    assert len(ids) == 200


# --- a request that is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("welder", "machine_id", "reason"),
    [
        ("P000123", "HJ-9999", "machine_unknown"),
        ("nobody", "HJ-0001", "credential_unknown"),
        ("", "HJ-0001", "credential_malformed"),
    ],
)
def test_a_refusal_opens_no_session_and_holds_no_grant(
    gate: Gate, signer: Signer, welder: str, machine_id: str, reason: str
) -> None:
    entry = gate.request(welder, machine_id)
    assert len(gate.sessions) == 0
    assert gate.sessions.take_changes() == ([], [])
    message = answer(entry, signer)
    assert (message.outcome, message.grant, message.session_id) == ("deny", None, None)
    assert [one.code for one in message.reasons] == [reason]
    assert entry.draft is not None
    assert entry.draft.outcome == "deny"


@pytest.mark.parametrize("second", [("P000456", "HJ-0001"), ("P000123", "HJ-0002")])
def test_a_refusal_leaves_the_running_session_alone(gate: Gate, second: tuple[str, str]) -> None:
    gate.request()
    session = gate.sessions.at_machine("HJ-0001")
    gate.sessions.take_changes()
    assert decision_of(gate.request(*second)).outcome == "deny"
    assert gate.sessions.at_machine("HJ-0001") is session
    assert gate.sessions.of_operator("P000123") is session
    assert len(gate.sessions) == 1
    assert gate.sessions.take_changes() == ([], [])


def test_a_request_of_which_only_the_id_can_be_read_is_refused_as_malformed(gate: Gate, signer: Signer) -> None:
    entry = gate.send("request", json.dumps({"request_id": "request-00000001", "credential": 7}).encode())
    message = answer(entry, signer)
    assert (message.request_id, [one.code for one in message.reasons]) == ("request-00000001", ["request_malformed"])
    assert asked_of(entry).malformed == "Expected `str`, got `int` - at `$.credential`"
    assert len(gate.sessions) == 0


def test_a_request_that_waited_too_long_inside_the_gateway_is_refused(gate: Gate) -> None:
    payload = json.dumps(
        {"request_id": "request-1", "credential": "P000123", "challenge": "c", "method": "scan"}
    ).encode()
    entry = gate.send("request", payload, waited_ms=10_001)
    assert decision_of(entry).reasons == ("overloaded",)
    assert facts_of(entry).waited_ms == 10_001


# --- a request that comes again ---------------------------------------------------------------------------------


def test_a_repeat_is_neither_decided_nor_recorded_again(gate: Gate) -> None:
    first = gate.request(request_id="request-again")
    again = gate.request(request_id="request-again")
    assert again.key == first.key == ("HJ-0001", "decision", "request-again")
    assert (again.draft, again.feed) == (None, None)
    assert len(gate.sessions) == 1


def test_a_repeat_with_other_content_even_unreadable_is_a_repeat(gate: Gate) -> None:
    gate.request(request_id="request-again")
    for payload in (
        b'{"request_id":"request-again"}',
        b'{"request_id":"request-again","credential":"P000456","challenge":"x","method":"scan"}',
    ):
        assert gate.send("request", payload).draft is None
    assert len(gate.sessions) == 1


def test_the_same_id_from_another_machine_is_another_request(gate: Gate) -> None:
    gate.request("P000123", "HJ-0001", request_id="request-again")
    assert decision_of(gate.request("P000456", "HJ-0002", request_id="request-again")).outcome == "allow"


# --- retained ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["request", "usage", "event"])
def test_a_retained_message_is_a_replay_dropped_and_recorded(gate: Gate, kind: ChipTopic) -> None:
    entry = gate.send(kind, SOUND[kind], retained=True)
    assert entry.draft is not None
    assert entry.draft.kind == "rejected"
    assert b"retained" in entry.draft.body
    assert (entry.draft.answer, entry.key, entry.usage, len(gate.sessions)) == (None, None, None, 0)


def test_a_retained_status_is_as_good_as_any(gate: Gate) -> None:
    assert gate.send("status", SOUND["status"], retained=True).chip is not None


# --- what cannot be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CHIP_TOPICS)
@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"\xff", b"[" * 4096, b" " * 5000, f'{{"request_id":"{ID_NUMBER}"'.encode()]
)
def test_a_message_that_cannot_be_used_is_recorded_by_its_hash_alone(
    gate: Gate, kind: ChipTopic, payload: bytes
) -> None:
    entry = gate.send(kind, payload)
    assert entry.draft is not None
    body = json.loads(entry.draft.body)
    assert body == {
        "kind": kind,
        "problem": body["problem"],
        "sha256": hashlib.sha256(payload).hexdigest(),
        "size": len(payload),
    }
    assert (entry.draft.answer, entry.feed, entry.key) == (None, None, None)
    assert ID_NUMBER.encode() not in entry.draft.body


@pytest.mark.parametrize("topic", ["weldgate/v1/hj/request", "weldgate/v1x/HJ-0001/request", "a", ""])
def test_a_topic_that_is_none_of_the_protocol_s_is_recorded_as_unknown(gate: Gate, topic: str) -> None:
    entry = gate.deliver(topic, SOUND["request"])
    assert entry.draft is not None
    assert json.loads(entry.draft.body)["kind"] == "unknown"
    assert len(gate.sessions) == 0


def test_an_event_with_bytes_that_are_no_text_in_an_unknown_field_stops_nothing(gate: Gate) -> None:
    """It is recorded as sent, so it has to be text; the decoder alone would let it pass."""
    entry = gate.send("event", b'{"event_id":"event-0001","seq":1,"kind":"boot","more":"\xff"}')
    assert entry.draft is not None
    assert entry.draft.kind == "rejected"


def test_a_message_that_the_database_would_not_take_is_set_aside(gate: Gate) -> None:
    entry = gate.request()
    assert entry.inbound is not None
    aside = set_aside(gate.state, entry.inbound)
    assert aside.draft is not None
    assert (aside.draft.kind, aside.draft.answer, aside.inbound) == ("rejected", None, entry.inbound)


topic_texts = st.one_of(
    st.builds(
        lambda m, k: f"weldgate/v1/{m}/{k}", st.sampled_from([*MACHINES, "HJ-9999"]), st.sampled_from(CHIP_TOPICS)
    ),
    st.text(max_size=40),
)
payloads = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(sorted(SOUND.values())),
    st.builds(
        lambda fields: json.dumps(fields).encode(),
        st.dictionaries(
            st.sampled_from(
                ["request_id", "credential", "challenge", "method", "at", "event_id", "seq", "kind", "online"]
            ),
            st.one_of(
                st.text(max_size=12), st.integers(), st.none(), st.sampled_from(["request-0001", "scan", "boot"])
            ),
        ),
    ),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(topic_texts, payloads, st.booleans()), max_size=5))
def test_no_message_stops_the_gate_and_none_goes_without_a_trace(messages: list[tuple[str, bytes, bool]]) -> None:
    gate = make_gate()
    for topic, payload, retained in messages:
        entry = gate.deliver(topic, payload, retained=retained)
        assert entry.inbound is not None
        assert entry.draft or entry.usage or entry.chip or (entry.key in gate.recorded)
        if entry.draft is not None:
            assert entry.draft.body == rfc8785.dumps(json.loads(entry.draft.body))
            assert (entry.draft.answer is not None) == (entry.draft.kind == "decision")


# --- what is told, and what is not ------------------------------------------------------------------------------


def test_others_hear_of_a_decision_without_credential_and_with_the_operator_masked(gate: Gate) -> None:
    entry = gate.request()
    assert entry.feed is not None
    assert entry.feed.topic == "weldgate/v1/feed/330521/decision"
    assert not entry.feed.retained
    told = msgspec.json.decode(entry.feed.payload, type=FeedDecision)
    assert (told.operator, told.machine_id, told.outcome) == ("P0***23", "HJ-0001", "allow")
    assert b"P000123" not in entry.feed.payload
    assert b"grant" not in entry.feed.payload


def test_a_decision_about_an_unknown_machine_goes_to_the_division_that_is_none(gate: Gate) -> None:
    entry = gate.request(machine_id="HJ-9999")
    assert entry.feed is not None
    assert entry.feed.topic == topics.feed(None, "decision")


@pytest.mark.parametrize("scanned", [ID_NUMBER, PHONE, f"张三 {ID_NUMBER}", f"{ID_NUMBER}\n"])
def test_an_identity_card_scanned_by_mistake_is_written_nowhere(gate: Gate, scanned: str) -> None:
    entry = gate.request(scanned)
    written = msgspec.json.encode([entry.draft, entry.feed]).decode() + repr(entry.observed)
    assert decision_of(entry).outcome == "deny"
    for number in (ID_NUMBER, PHONE):
        assert number not in written


@pytest.mark.parametrize("field", ["method", "at", "challenge"])
def test_an_identity_card_in_a_wrong_field_is_written_nowhere(gate: Gate, field: str) -> None:
    for wrong in (ID_NUMBER, [ID_NUMBER], {ID_NUMBER: 1}):
        entry = gate.request(**dict[str, Any]({field: wrong}))
        if field != "challenge" or not isinstance(wrong, str):
            assert ID_NUMBER not in msgspec.json.encode([entry.draft, entry.feed]).decode() + repr(entry.observed)


def test_the_record_holds_the_facts_policy_and_registry_that_it_rests_on(gate: Gate) -> None:
    body = body_of(gate.request())
    assert body.policy == gate.state.rulebook.hash
    assert body.registry == gate.state.snapshot.version == 7
    facts = body.facts
    assert isinstance(facts, Facts)
    assert facts.machine == machine()
    assert facts.operator == operator()
    assert facts.certificates == (certificate(ref="ref-P000123"),)
    assert (facts.now, facts.registry_age_s) == (NOW, 60)


def test_every_record_s_body_is_rfc_8785_with_its_reply_behind_it(gate: Gate, signer: Signer) -> None:
    """The reply is put in as the last member: no key may come behind it in the order of keys."""
    for entry in (
        *(gate.request(), gate.request("nobody"), gate.event("tamper"), *gate.work_off()),
        *(gate.event("offline_unlock", "session-offline"), *gate.work_off(), gate.event("boot", seq=99)),
    ):
        assert entry.draft is not None
        assert entry.draft.body == rfc8785.dumps(json.loads(entry.draft.body))
        if entry.draft.answer is not None:
            assert max(json.loads(entry.draft.body)) < "reply"


def test_with_the_clock_behind_the_record_nobody_passes(gate: Gate) -> None:
    gate.state.latest = NOW + 61_000
    assert decision_of(gate.request()).reasons == ("internal_error",)
    gate.clock.now += 1000
    assert decision_of(gate.request()).outcome == "allow"


def test_everybody_is_in_order_in_this_county(gate: Gate) -> None:
    outcomes: list[Any] = [
        decision_of(gate.request(welder, machine_id)).outcome
        for welder, machine_id in zip(WELDERS, MACHINES, strict=True)
    ]
    assert outcomes == ["allow"] * 3
