"""What became of each rule, told beside a decision."""

from hypothesis import given

from gateway.core.decide import decide
from gateway.core.model import Asked, Facts
from gateway.core.policy import Policy, Rulebook
from gateway.core.rules import CERTIFICATE_RULES, RULES
from gateway.core.trace import Result, trace
from tests.core.matrix import asked, facts
from tests.core.worlds import policies, requests, worlds

EVERY = [rule.code for group in RULES for rule in group.rules] + [rule.code for rule in CERTIFICATE_RULES]


@given(requests, worlds(), policies)
def test_invariant_what_is_told_is_what_the_decision_says_all_of_it(
    request: Asked, world: Facts, policy: Policy
) -> None:
    rulebook = Rulebook(policy)
    decision = decide(request, world, rulebook)
    steps = trace(request, world, decision, rulebook)
    told: dict[Result, set[str]] = {}
    for step in steps:
        told.setdefault(step.result, set()).add(step.code)
    assert told.get("refused", set()) == set(decision.reasons)
    assert told.get("warned", set()) == set(decision.warnings)
    assert told.get("overridden", set()) == set(decision.overridden)
    assert [step.code for step in steps][: len(EVERY)] == EVERY
    assert len({step.code for step in steps}) == len(steps)


def test_a_rule_is_off_by_the_policy_and_left_out_without_its_facts() -> None:
    rulebook = Rulebook(Policy(rules={"operator_age": "off"}))
    nobody = facts(operator_id=None, operator=None, certificates=(), employments=())
    steps = {s.code: s.result for s in trace(asked(), nobody, decide(asked(), nobody, rulebook), rulebook)}
    assert steps["credential_unknown"] == "refused"
    assert steps["operator_age"] == "off"
    assert steps["operator_blocked"] == steps["certificate_expired"] == "left_out"
    assert steps["machine_unknown"] == "passed"
