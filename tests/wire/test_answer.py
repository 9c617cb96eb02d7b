"""Answers and commands as bytes: a refusal always fits, an allow carries a grant, a command says what it needs."""

import json
from datetime import date
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from msgspec.structs import replace

from gateway.core.decide import decide
from gateway.core.model import CodeUse, Hold
from gateway.core.policy import Credentials, Hours, Policy, Rulebook
from gateway.core.reasons import REASONS
from gateway.core.rules import CERTIFICATE_RULES, RULES
from gateway.wire.answer import Answer, finish, order, sign_order
from gateway.wire.codec import MAX_PAYLOAD_BYTES, wire_reasons
from gateway.wire.tokens import Command, Grant, Signer, Verifier
from tests.core.matrix import asked, certificate, employment, enterprise, facts, machine, operator, session
from tests.wire.messages import AT, counts, ids, texts

# --- size of a refusal ------------------------------------------------------------------------------------------

EITHER_OR = [
    ("machine_suspended", "machine_decommissioned"),
    ("enterprise_unknown", "enterprise_production_suspended", "enterprise_licence_suspended", "enterprise_closed"),
    ("operator_not_employed", "employment_ended"),
    ("certificate_not_yet_valid", "certificate_expired"),
    ("certificate_suspended", "certificate_revoked"),
    ("certificate_counterfeit", "certificate_unverified"),
]
LEAVES_OUT_MOST_OTHERS = {
    "request_malformed",
    "machine_unknown",
    "credential_malformed",
    "credential_unknown",
    "operator_unknown",
    "certificate_missing",
}


def test_the_worst_refusal_that_the_rules_can_give_fits_into_4_kib(signer: Signer) -> None:
    ruled = {rule.code for group in RULES for rule in group.rules} | {rule.code for rule in CERTIFICATE_RULES}
    together = ruled - {code for codes in EITHER_OR for code in codes} - LEAVES_OUT_MOST_OTHERS
    for chosen in product(*EITHER_OR):
        codes = tuple(code for code in REASONS if code in together or code in chosen)
        payload = finish(Answer(2**53 - 1, "r" * 64, codes), signer)
        assert len(payload) <= MAX_PAYLOAD_BYTES, chosen
        assert [reason["code"] for reason in json.loads(payload)["reasons"]] == list(codes)


WORST = facts(
    waited_ms=60_000,
    clock_behind_s=10_000,
    registry_age_s=10**7,
    machine=machine(status="decommissioned"),
    hold=Hold("locked", 0),
    chip_reported="another",
    enterprise=enterprise(status="production_suspended"),
    operator=operator(status="blocked", born_on=date(2015, 1, 1)),
    employments=(employment(until=date(2026, 1, 1)),),
    certificates=(
        certificate(
            item="brazing",
            valid_from=date(2027, 1, 1),
            review_due=date(2026, 1, 1),
            status="revoked",
            verification="counterfeit",
        ),
    ),
    machine_session=session("HJ-0001", "P000999", facts().now),
    operator_session=session("HJ-0002", "P000123", facts().now),
    code=CodeUse(0, -9, True),
)


@pytest.mark.parametrize("kinds", [("badge", "code"), ("badge",), ("code",), ()], ids=" and ".join)
@pytest.mark.parametrize("kind", ["badge", "code"])
def test_the_worst_case_with_any_credential_under_any_policy_fits_into_4_kib(
    signer: Signer, kinds: tuple[Any, ...], kind: Any
) -> None:
    policy = Policy(
        rules={"outside_permitted_hours": "enforce"}, hours=Hours("22:00", "06:00"), credentials=Credentials(kinds)
    )
    world = WORST if kind == "code" else replace(WORST, code=None)
    decision = decide(asked(at=0, credential_kind=kind), world, Rulebook(policy))
    assert len(decision.reasons) >= 18
    assert len(finish(Answer(2**53 - 1, "r" * 64, decision.reasons), signer)) <= MAX_PAYLOAD_BYTES


@given(st.lists(st.sampled_from(sorted(REASONS)), unique=True, max_size=6).map(tuple))
def test_a_refusal_speaks_both_languages_where_there_is_room_and_chinese_always(codes: tuple[str, ...]) -> None:
    texts = wire_reasons(codes)
    for code, reason in zip(codes, texts, strict=True):
        full = REASONS[code]
        assert reason.code == code
        assert reason.resolver == full.resolvers[0]
        assert reason.message.startswith(full.message_zh)
        assert reason.remedy.startswith(full.remedy_zh)
    english = [REASONS[code].message_en in reason.message for code, reason in zip(codes, texts, strict=True)]
    assert all(english) or not any(english)
    assert all(english) or len(codes) > 4


grants = st.builds(Grant, ids, texts, counts, counts, ids, st.integers(1, 2_592_000), ids)


@given(st.none() | grants, st.lists(st.sampled_from(sorted(REASONS)), max_size=3).map(tuple))
def test_invariant_an_allow_carries_a_signed_grant_and_nothing_else_does(
    signer: Signer, grant: Grant | None, codes: tuple[str, ...]
) -> None:
    message = json.loads(finish(Answer(AT, "request-0001", codes, grant), signer))
    assert (message["outcome"] == "allow") == (grant is not None)
    if grant is None:
        assert (message["grant"], message["session_id"]) == (None, None)
        assert [reason["code"] for reason in message["reasons"]] == list(codes)
    else:
        assert message["grant"].count(".") == 2
        assert (message["session_id"], message["reasons"]) == (grant.sid, [])


def test_the_longest_allow_fits_into_4_kib(signer: Signer) -> None:
    grant = Grant("M" * 32, "证" * 128, 10**10, 10**10, "r" * 64, 2_592_000, "s" * 20)
    assert len(finish(Answer(2**53 - 1, "r" * 64, (), grant), signer)) <= MAX_PAYLOAD_BYTES


# --- commands ---------------------------------------------------------------------------------------------------

NOW_S = 1_781_488_800
COMMON: dict[str, Any] = {"aud": "HJ-0001", "exp": NOW_S + 30, "iat": NOW_S, "jti": "command-0001"}
COMMANDS = {
    "renew": Command(cmd="renew", sid="session-1", n=3, lease_s=900, **COMMON),
    "renew without a clock": Command(cmd="renew", sid="session-1", cha="c-1", n=3, lease_s=900, **COMMON),
    "lock": Command(cmd="lock", sid="session-1", n=4, reason="revoked", when="between_arcs", deadline_s=120, **COMMON),
    "lock now": Command(cmd="lock", sid="session-1", n=4, reason="tamper", when="now", **COMMON),
    "offline list": Command(
        cmd="offline_list",
        cha="c-1",
        list_version=2,
        base_version=1,
        entries=(("A" * 16, NOW_S),),
        gone=("B" * 16,),
        offline_for_s=7200,
        lease_s=600,
        **COMMON,
    ),
}
SAID: dict[str, set[str]] = {
    "renew": {"sid", "lease_s"},
    "renew without a clock": {"sid", "cha", "lease_s"},
    "lock": {"sid", "reason", "when", "deadline_s"},
    "lock now": {"sid", "reason", "when"},
    "offline list": {"cha", "list_version", "base_version", "entries", "gone", "offline_for_s", "lease_s"},
}


def claims(command: Command, key: ECKey) -> dict[str, Any]:
    message = json.loads(sign_order(order(command), Signer(key)))
    assert set(message) == {"command", "command_id"}
    assert message["command_id"] == command.jti
    return Verifier({"keys": [key.as_dict(private=False)]}).claims(message["command"])


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_says_what_it_needs_and_nothing_else(what: str, key: ECKey) -> None:
    always = {"aud", "cmd", "exp", "iat", "iss", "jti", "n"}
    found = claims(COMMANDS[what], key)
    assert set(found) == always | SAID[what]
    assert found["iss"] == "weldgate"


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_reads_back_as_it_was_meant(what: str, key: ECKey) -> None:
    assert msgspec.convert(claims(COMMANDS[what], key), Command) == COMMANDS[what]


@pytest.mark.parametrize("what", COMMANDS)
def test_what_is_signed_are_the_bytes_of_the_order(what: str, key: ECKey) -> None:
    made = order(COMMANDS[what])
    assert made.command_id == "command-0001"
    assert msgspec.json.decode(made.claims) == claims(COMMANDS[what], key)
    assert list(msgspec.json.decode(made.claims)) == sorted(msgspec.json.decode(made.claims))


def test_the_longest_lock_fits_into_4_kib(key: ECKey) -> None:
    longest = Command(
        aud="M" * 32,
        cmd="lock",
        exp=10**10,
        iat=10**10,
        jti="j" * 64,
        n=2**53,
        sid="s" * 64,
        cha="证" * 128,
        reason="out_of_service",
        when="between_arcs",
        deadline_s=2_592_000,
    )
    assert len(sign_order(order(longest), Signer(key))) <= MAX_PAYLOAD_BYTES
