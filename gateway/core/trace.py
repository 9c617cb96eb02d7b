"""What became of each rule in a decision: which ran, which were off, and which had nothing to look at. Pure.

It explains a decision and makes none: what failed is what the decision says.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from gateway.core.model import Asked, Decision, Facts
from gateway.core.policy import Effective, Rulebook
from gateway.core.rules import CERTIFICATE_RULES, RULES, Case, local_time

Result = Literal["refused", "overridden", "warned", "fault", "passed", "off", "left_out"]
"""``left_out``: there was nothing for the rule to look at. It is for another way of asking, or needs facts that are not
known, which another rule refuses."""


class Step(Struct, frozen=True):
    """One rule and what became of it."""

    code: str
    result: Result


def trace(asked: Asked, facts: Facts, decision: Decision, rulebook: Rulebook) -> tuple[Step, ...]:
    """Every rule in the order of the table, and after them what the decision says besides. The rules on certificates
    are told of the certificate that decided.

    INVARIANT: what is told as refused, warned, overridden or a fault is what the decision says, all of it.
    """
    told = _told(decision)
    steps = [Step(code, told.pop(code, result)) for code, result in _ran(asked, facts, decision, rulebook)]
    return (*steps, *(Step(code, result) for code, result in told.items()))


def _told(decision: Decision) -> dict[str, Result]:
    told: dict[str, Result] = {}
    results: tuple[tuple[Result, tuple[str, ...]], ...] = (
        ("fault", tuple(fault.partition(":")[0] for fault in decision.faults)),
        ("overridden", decision.overridden),
        ("warned", decision.warnings),
        ("refused", decision.reasons),
    )
    for result, codes in results:
        told |= dict.fromkeys(codes, result)
    return told


def _ran(asked: Asked, facts: Facts, decision: Decision, rulebook: Rulebook) -> Iterator[tuple[str, Result]]:
    machine = facts.machine
    holds = rulebook.holds(machine.division, machine.uscc) if machine else rulebook.holds(None, None)
    local = local_time(facts.now)
    case = Case(asked, facts, rulebook.policy, holds.modes, local, local.date())
    for group in RULES:
        known = group.needs(case)
        yield from ((rule.code, _result(holds, rule.code, known=known)) for rule in group.rules)
    known = decision.certificate is not None
    yield from ((rule.code, _result(holds, rule.code, known=known)) for rule in CERTIFICATE_RULES)


def _result(holds: Effective, code: str, *, known: bool) -> Result:
    if holds.modes[code] == "off":
        return "off"
    return "passed" if known else "left_out"
