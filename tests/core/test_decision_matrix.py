"""Every case of decision_matrix.toml, decided; and every reason code has a case."""

import pytest

from gateway.core.decide import decide
from gateway.core.reasons import REASONS
from gateway.core.rules import CERTIFICATE_RULES, RULES
from tests.core.matrix import ALL_GOOD, Row, asked_of, facts_of, load, rulebook_of

CASES = load().case

DROPPED_BEFORE_THE_DECISION = {"request_retained"}
"""A retained request is a replay: it is dropped and recorded without being decided or answered."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_the_gate_answers_as_the_matrix_says(case: Row) -> None:
    decision = decide(asked_of(case), facts_of(case), rulebook_of(case))
    assert (decision.outcome, decision.reasons, decision.warnings) == (case.outcome, case.reasons, case.warnings)
    assert decision.overridden == case.overridden
    for name in ("start_by_s", "lease_s"):
        if getattr(case, name) is not None:
            assert getattr(decision, name) == getattr(case, name), name
    if case.certificate is not None:
        assert decision.certificate == (case.certificate or None)


def test_no_case_is_written_twice() -> None:
    assert len({case.what for case in CASES}) == len(CASES)
    said = [(asked_of(case), facts_of(case), case.policy) for case in CASES]
    assert [case.what for case, one in zip(CASES, said, strict=True) if said.count(one) > 1] == []


def test_every_reason_code_refuses_in_a_case_or_is_dropped_before() -> None:
    refusing = {code for case in CASES if case.outcome == "deny" for code in case.reasons}
    assert refusing | DROPPED_BEFORE_THE_DECISION == set(REASONS)
    assert refusing & DROPPED_BEFORE_THE_DECISION == set()


def test_every_code_of_a_decision_has_a_rule() -> None:
    ruled = {rule.code for group in RULES for rule in group.rules} | {rule.code for rule in CERTIFICATE_RULES}
    assert set(REASONS) - ruled == DROPPED_BEFORE_THE_DECISION


def test_no_code_has_two_rules() -> None:
    ruled = [rule.code for group in RULES for rule in group.rules] + [rule.code for rule in CERTIFICATE_RULES]
    assert len(ruled) == len(set(ruled))


def test_reasons_and_warnings_of_the_matrix_stand_in_the_order_of_the_rules() -> None:
    ruled = [rule.code for group in RULES for rule in group.rules] + [rule.code for rule in CERTIFICATE_RULES]
    places = {code: place for place, code in enumerate(ruled)}
    for case in CASES:
        for codes in (case.reasons, case.warnings, case.overridden):
            assert list(codes) == sorted(codes, key=places.__getitem__), case.what


def test_the_all_good_case_is_in_the_county_s_time() -> None:
    offset = ALL_GOOD.now.utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 8 * 3600
