"""What holds for every decision, whatever the facts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core import decide as decide_module
from gateway.core.decide import decide
from gateway.core.model import Asked, Certificate, Decision, Facts, Permit, Presence
from gateway.core.policy import OFF_BY_DEFAULT, Observe, Policy, Rulebook, document, from_document
from gateway.core.reasons import FIXED_CODES, REASONS
from gateway.core.rules import CERTIFICATE_RULES, RULES, CertificateRule, Rule, RuleGroup
from tests.core.matrix import asked, facts, operator, session
from tests.core.worlds import policies, requests, whole_minutes, worlds

DEFAULT = Rulebook(Policy())
STRICT = Rulebook(Policy(rules=dict.fromkeys(OFF_BY_DEFAULT, "enforce")))
"""Every rule enforced."""
SHANGHAI_MS = 8 * 3_600_000
DAY_S = 86_400


# --- total ------------------------------------------------------------------------------------------------------


@given(requests, worlds(), policies)
def test_every_request_gets_one_decision_that_is_whole(request: Asked, world: Facts, policy: Policy) -> None:
    decision = decide(request, world, Rulebook(policy))
    assert (decision.outcome == "allow") == (decision.reasons == ())
    assert {*decision.reasons, *decision.warnings} <= set(REASONS)
    assert len(set(decision.reasons)) == len(decision.reasons)
    assert len(set(decision.warnings)) == len(decision.warnings)
    assert not set(decision.reasons) & set(decision.warnings)
    if decision.outcome == "deny":
        assert (decision.start_by_s, decision.lease_s) == (0, 0)
    else:
        assert decision.faults == ()
        assert decision.lease_s >= 1


class Bomb:
    """Nothing that is asked of it goes well."""

    def _explode(self, *_: object) -> NoReturn:
        raise ArithmeticError("bomb")

    __bool__ = __len__ = __iter__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __sub__ = __hash__ = _explode

    def __getattr__(self, name: str) -> NoReturn:
        raise ArithmeticError(name)


junk = st.one_of(
    st.builds(Bomb),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.just(()),
    st.tuples(st.none()),
    st.tuples(st.builds(Bomb)),
)


@given(
    st.dictionaries(st.sampled_from(Facts.__struct_fields__), junk, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(("malformed", "at", "credential_kind", "method", "challenge")), junk, max_size=2),
)
def test_decide_never_raises_whatever_it_is_given(in_facts: dict[str, Any], in_asked: dict[str, Any]) -> None:
    decision = decide(asked(**in_asked), facts(**in_facts), DEFAULT)
    assert isinstance(decision, Decision)
    assert (decision.outcome == "allow") == (decision.reasons == ())


@pytest.mark.parametrize("name", sorted(set(Facts.__struct_fields__) - {"operator_id"}))
def test_a_fact_that_cannot_be_looked_at_denies(name: str) -> None:
    by_phone = asked(method="phone", credential_kind="account") if name == "presence" else asked()
    decision = decide(by_phone, facts(**{name: Bomb()}), STRICT)
    assert decision.outcome == "deny"
    assert "internal_error" in decision.reasons or name == "hold"  # whatever holds a machine holds it


@given(requests, worlds(), policies)
def test_the_same_request_facts_and_policy_give_the_same_decision(request: Asked, world: Facts, policy: Policy) -> None:
    assert decide(request, world, Rulebook(policy)) == decide(request, world, Rulebook(policy))


@given(requests, worlds(), policies)
def test_what_was_written_down_as_json_and_read_again_gives_the_same_decision(
    request: Asked, world: Facts, policy: Policy
) -> None:
    decision = decide(request, world, Rulebook(policy))
    request_read = msgspec.json.decode(msgspec.json.encode(request), type=Asked)
    world_read = msgspec.json.decode(msgspec.json.encode(world), type=Facts)
    policy_read = from_document(document(policy))
    assert decide(request_read, world_read, Rulebook(policy_read)) == decision
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


# --- a worse fact never helps -----------------------------------------------------------------------------------

Situation = tuple[Asked, Facts]


def _about(**different: Any) -> Callable[[Situation], Situation]:
    return lambda situation: (situation[0], replace(situation[1], **different))


def _suspended_machine(situation: Situation) -> Situation:
    request, world = situation
    if world.machine is None or world.machine.status != "active":
        return situation
    return request, replace(world, machine=replace(world.machine, status="suspended"))


def _other_chip(situation: Situation) -> Situation:
    return situation[0], replace(situation[1], chip_reported="another chip altogether")


def _closed_enterprise(situation: Situation) -> Situation:
    request, world = situation
    if world.enterprise is None or world.enterprise.status != "active":
        return situation
    return request, replace(world, enterprise=replace(world.enterprise, status="closed"))


def _blocked_operator(situation: Situation) -> Situation:
    request, world = situation
    return (
        (request, replace(world, operator=replace(world.operator, status="blocked"))) if world.operator else situation
    )


def _child(situation: Situation) -> Situation:
    request, world = situation
    young = date(2020, 1, 1)
    return (request, replace(world, operator=replace(world.operator, born_on=young))) if world.operator else situation


def _ended_employment(situation: Situation) -> Situation:
    request, world = situation
    today = date.fromordinal((world.now + SHANGHAI_MS) // (DAY_S * 1000) + date(1970, 1, 1).toordinal())
    now_over = tuple(
        replace(work, until=today - timedelta(days=1))
        if (work.since or date.min) <= today <= (work.until or date.max)
        else work
        for work in world.employments
    )
    return request, replace(world, employments=now_over)


def _ended_permits(situation: Situation) -> Situation:
    request, world = situation
    over = tuple(replace(one, ends_at=world.now) if _runs(one, world.now) else one for one in world.permits)
    return request, replace(world, permits=over)


def _guarding_himself(situation: Situation) -> Situation:
    request, world = situation
    alone = tuple(replace(one, guardian=world.operator_id) if _runs(one, world.now) else one for one in world.permits)
    return request, replace(world, permits=alone)


def _runs(one: Permit, now: int) -> bool:
    return one.starts_at <= now < one.ends_at


def _every_certificate(change: Callable[[Certificate], Certificate]) -> Callable[[Situation], Situation]:
    return lambda situation: (
        situation[0],
        replace(situation[1], certificates=tuple(change(one) for one in situation[1].certificates)),
    )


def _the_first_certificate(change: Callable[[Certificate], Certificate]) -> Callable[[Situation], Situation]:
    return lambda situation: (
        situation[0],
        replace(
            situation[1], certificates=tuple(map(change, situation[1].certificates[:1])) + situation[1].certificates[1:]
        ),
    )


LONG_AGO = date(2001, 1, 1)


def _expired(one: Certificate) -> Certificate:
    return replace(one, valid_until=LONG_AGO)


def _overdue(one: Certificate) -> Certificate:
    return replace(one, review_due=LONG_AGO, reviewed_on=None)


def _status(status: str) -> Callable[[Certificate], Certificate]:
    return lambda one: replace(one, status=status) if one.status == "valid" else one


def _verification(verification: str) -> Callable[[Certificate], Certificate]:
    return lambda one: replace(one, verification=verification) if one.verification == "verified" else one


def _stale_request(situation: Situation) -> Situation:
    return replace(situation[0], at=situation[1].now - 100 * DAY_S * 1000), situation[1]


def _somebody_else_works_here(situation: Situation) -> Situation:
    request, world = situation
    if world.machine is None or world.machine_session is not None:
        return situation
    return request, replace(world, machine_session=session(world.machine.machine_id, "P000777", world.now))


def _works_elsewhere(situation: Situation) -> Situation:
    request, world = situation
    if world.operator_session is not None:
        return situation
    return request, replace(world, operator_session=session("HJ-7777", world.operator_id, world.now))


CERTIFICATE_WORSENINGS = {
    "expired": _expired,
    "overdue for re-review": _overdue,
    "suspended": _status("suspended"),
    "revoked": _status("revoked"),
    "forged": _verification("counterfeit"),
    "unverified": _verification("unverified"),
}
WORSENINGS: dict[str, Callable[[Situation], Situation]] = {
    "the machine is suspended": _suspended_machine,
    "the chip is another": _other_chip,
    "the firm is closed": _closed_enterprise,
    "the operator is blocked": _blocked_operator,
    "the operator is a child": _child,
    "the employment has ended": _ended_employment,
    "the permits have ended": _ended_permits,
    "the registries are old": _about(registry_age_s=100 * DAY_S),
    "a source is old": _about(source_ages=(("county", 100 * DAY_S), ("files", 100 * DAY_S))),
    "the clock was set back": _about(clock_behind_s=3 * 86_400 * 30),
    "the request waited long": _about(waited_ms=120_000),
    "the request is old": _stale_request,
    "somebody else works here": _somebody_else_works_here,
    "the operator works elsewhere": _works_elsewhere,
    **{f"every certificate is {how}": _every_certificate(change) for how, change in CERTIFICATE_WORSENINGS.items()},
    **{f"one certificate is {how}": _the_first_certificate(change) for how, change in CERTIFICATE_WORSENINGS.items()},
}
LOSSES: dict[str, Callable[[Situation], Situation]] = {
    "the machine is unknown": _about(machine=None, enterprise=None),
    "the firm is unknown": _about(enterprise=None),
    "the operator is unknown": _about(operator=None),
    "nobody is named": _about(operator_id=None, operator=None, employments=(), certificates=()),
    "there is no employment": _about(employments=()),
    "there is no certificate": _about(certificates=()),
    "there is no permit": _about(permits=()),
    "the welder is the guardian": _guarding_himself,
    "nobody has ever confirmed the registries": _about(registry_age_s=None),
}


@pytest.mark.parametrize("worse", WORSENINGS)
@settings(max_examples=25)
@given(request=requests, world=worlds(whole_minutes), policy=policies)
def test_a_worse_fact_never_turns_a_refusal_into_an_allow(
    worse: str, request: Asked, world: Facts, policy: Policy
) -> None:
    rulebook = Rulebook(policy)
    before, after = decide(request, world, rulebook), decide(*WORSENINGS[worse]((request, world)), rulebook)
    assert (before.outcome, after.outcome) != ("deny", "allow")


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=25)
@given(request=requests, world=worlds(whole_minutes, override=st.none()))
def test_a_fact_that_is_lost_never_turns_a_refusal_into_an_allow(loss: str, request: Asked, world: Facts) -> None:
    before, after = decide(request, world, STRICT), decide(*LOSSES[loss]((request, world)), STRICT)
    assert (before.outcome, after.outcome) != ("deny", "allow")


@pytest.mark.parametrize("worse", [*WORSENINGS, *LOSSES])
def test_each_worse_fact_denies_where_all_else_is_good_unless_it_worsens_nothing(worse: str) -> None:
    decision = decide(*(WORSENINGS | LOSSES)[worse]((asked(), facts())), STRICT)
    assert decision.outcome == "deny"


@given(requests, worlds(whole_minutes), policies, st.data())
def test_one_more_certificate_never_turns_an_allow_into_a_refusal(
    request: Asked, world: Facts, policy: Policy, data: st.DataObject
) -> None:
    if not world.certificates:
        return
    fewer = data.draw(st.integers(1, len(world.certificates)))
    before = decide(request, replace(world, certificates=world.certificates[:fewer]), Rulebook(policy))
    after = decide(request, world, Rulebook(policy))
    assert (before.outcome, after.outcome) != ("allow", "deny")


@given(requests, worlds(), policies)
def test_the_order_in_which_certificates_are_on_record_changes_no_outcome(
    request: Asked, world: Facts, policy: Policy
) -> None:
    turned = replace(world, certificates=world.certificates[::-1])
    there, back = decide(request, world, Rulebook(policy)), decide(request, turned, Rulebook(policy))
    assert (there.outcome, there.start_by_s, there.lease_s) == (back.outcome, back.start_by_s, back.lease_s)


@given(requests, worlds(whole_minutes), policies)
def test_observing_refuses_for_fixed_reasons_and_faults_alone_and_tells_everything_else(
    request: Asked, world: Facts, policy: Policy
) -> None:
    enforcing = replace(policy, observe=Observe(False), division={}, enterprise={})
    refused = decide(request, world, Rulebook(enforcing))
    observed = decide(request, world, Rulebook(replace(enforcing, observe=Observe(True))))
    assert set(observed.reasons) <= FIXED_CODES
    assert {*refused.reasons, *refused.warnings} == {*observed.reasons, *observed.warnings}


# --- INVARIANT: an allow needs every enforced check to have run and passed; one that raises denies ---------------

CODES_OF_RULES = [rule.code for group in RULES for rule in group.rules]
CODES_OF_CERTIFICATE_RULES = [rule.code for rule in CERTIFICATE_RULES]


def _broken(*_: object) -> bool:
    raise LookupError("a fact that this rule did not expect")


@contextmanager
def broken_rule(code: str) -> Iterator[None]:
    """The rule of this code raises; this is the one thing in these tests that is not the gate's own."""
    rules = tuple(
        RuleGroup(
            group.needs,
            tuple(Rule(rule.code, _broken) if rule.code == code else rule for rule in group.rules),
        )
        for group in RULES
    )
    for_certificates = tuple(
        CertificateRule(rule.code, _broken) if rule.code == code else rule for rule in CERTIFICATE_RULES
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide_module, "RULES", rules)
        patch.setattr(decide_module, "CERTIFICATE_RULES", for_certificates)
        yield


BY_PHONE, REACHED = asked(method="phone", credential_kind="account", at=None), facts(presence=Presence(True, 0))
"""What every rule looks at."""


@pytest.mark.parametrize("code", [*CODES_OF_RULES, *CODES_OF_CERTIFICATE_RULES])
def test_invariant_a_rule_that_raises_denies_and_is_named(code: str) -> None:
    on = Policy(rules={code: "enforce"})
    assert decide(BY_PHONE, REACHED, Rulebook(on)).outcome == "allow"
    with broken_rule(code):
        decision = decide(BY_PHONE, REACHED, Rulebook(on))
    assert (decision.outcome, decision.reasons) == ("deny", ("internal_error",))
    assert decision.faults == (f"{code}: LookupError",)


@pytest.mark.parametrize("code", [*CODES_OF_RULES, *CODES_OF_CERTIFICATE_RULES])
def test_invariant_a_rule_that_raises_denies_even_where_it_would_only_warn_or_observe(code: str) -> None:
    milder = [Policy(observe=Observe(True), rules={code: "enforce"})]
    if code not in FIXED_CODES:
        milder.append(Policy(rules={code: "warn"}))
    for policy in milder:
        with broken_rule(code):
            decision = decide(BY_PHONE, REACHED, Rulebook(policy))
        assert "internal_error" in decision.reasons


@given(st.sampled_from([*CODES_OF_RULES, *CODES_OF_CERTIFICATE_RULES]), requests, worlds(), policies)
def test_invariant_a_rule_that_raises_never_becomes_an_allow(
    code: str, request: Asked, world: Facts, policy: Policy
) -> None:
    whole = decide(request, world, Rulebook(policy))
    with broken_rule(code):
        broken = decide(request, world, Rulebook(policy))
    assert (whole.outcome, broken.outcome) != ("deny", "allow")
    if broken.faults:
        assert broken.outcome == "deny"
        assert "internal_error" in broken.reasons


def test_invariant_a_veto_beside_a_rule_that_raises_is_told_as_well() -> None:
    with broken_rule("operator_blocked"):
        decision = decide(asked(), facts(operator=operator(status="blocked"), certificates=()), DEFAULT)
    assert decision.reasons == ("certificate_missing", "internal_error")


def test_invariant_observing_lifts_no_veto_beside_a_rule_that_raises() -> None:
    with broken_rule("operator_blocked"):
        decision = decide(asked(), facts(certificates=()), Rulebook(Policy(observe=Observe(True))))
    assert decision.reasons == ("certificate_missing", "internal_error")


def test_invariant_a_fault_with_the_clock_set_back_is_one_reason_not_two() -> None:
    with broken_rule("operator_blocked"):
        assert decide(asked(), facts(clock_behind_s=3600), DEFAULT).reasons == ("internal_error",)


def test_invariant_only_the_mode_off_leaves_a_rule_out() -> None:
    with broken_rule("operator_blocked"):
        decision = decide(asked(), facts(), Rulebook(Policy(rules={"operator_blocked": "off"})))
    assert decision.outcome == "allow"


def test_invariant_a_mode_that_nobody_knows_refuses_as_enforce_does() -> None:
    blocked = facts(operator=operator(status="blocked"))
    assert decide(asked(), blocked, Rulebook(Policy(rules={"operator_blocked": "Warn"}))).outcome == "deny"


# --- INVARIANT: registries that nobody has ever confirmed are no ground for an allow -----------------------------


@given(requests, worlds(), policies)
def test_invariant_before_the_first_import_nobody_passes(request: Asked, world: Facts, policy: Policy) -> None:
    enforced = replace(policy, rules=policy.rules | {"registry_stale": "enforce"}, division={}, enterprise={})
    decision = decide(request, replace(world, registry_age_s=None), Rulebook(replace(enforced, observe=Observe(False))))
    assert decision.outcome == "deny"
