"""INVARIANT 3 from outside: nobody is let in, and no lease renewed, by registries that are too old, while a rule fails
to run, or by a policy that no longer holds."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

import gateway.core.decide
from gateway.core.policy import Rulebook
from gateway.core.rules import CERTIFICATE_RULES, RULES
from gateway.gate.entry import DecisionBody
from gateway.gate.explain import decide_again
from gateway.wire.answer import Order
from tests.simulation.ground import Ground

ALWAYS_RUN = (
    "operator_blocked",
    "machine_suspended",
    "enterprise_closed",
    "certificate_revoked",
    "operator_in_session",
)
"""Rules that each allow has to have passed."""


class RuleFailedError(Exception):
    """A rule that cannot be carried out."""


class BrittleRules:
    """The real rules; the one of the code ``broken`` raises."""

    def __init__(self) -> None:
        self.broken: str | None = None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Inside it decisions are made by these."""
        module: Any = gateway.core.decide
        groups = tuple(msgspec.structs.replace(group, rules=self._all(group.rules)) for group in RULES)
        before = module.RULES, module.CERTIFICATE_RULES
        module.RULES, module.CERTIFICATE_RULES = groups, self._all(CERTIFICATE_RULES)
        try:
            yield
        finally:
            module.RULES, module.CERTIFICATE_RULES = before

    def _all(self, rules: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._brittle(rule) if rule.code in ALWAYS_RUN else rule for rule in rules)

    def _brittle(self, rule: Any) -> Any:
        def failed(*about: Any) -> bool:
            if self.broken == rule.code:
                raise RuleFailedError(rule.code)
            return bool(rule.failed(*about))

        return msgspec.structs.replace(rule, failed=failed)


class _Renewal(Struct):
    cmd: str
    iat: int
    aud: str


_claims = msgspec.json.Decoder(_Renewal).decode


class Basis:
    """Knows the policies of a run and what is wrong with what decisions rest on."""

    def __init__(
        self, ground: Ground, rules: BrittleRules, rulebooks: Mapping[str, Rulebook], breaks: Callable[[str, str], None]
    ) -> None:
        self._ground = ground
        self._rules = rules
        self._rulebooks = rulebooks
        self._breaks = breaks
        self._replaced_at: dict[str, int] = {}
        self._failing: tuple[int, int] = (0, 0)
        """Since when a rule fails, and until when."""
        self._now = next(iter(rulebooks))

    # --- what is wrong ---

    def adopt(self, rulebook: Rulebook) -> None:
        """From now on another policy holds, once the gateways have seen it."""
        if rulebook.hash != self._now:
            self._replaced_at[self._now] = self._ground.timeline.now
            self._replaced_at.pop(rulebook.hash, None)
            self._now = rulebook.hash

    def rule_fails(self, code: str, until: int) -> None:
        """Until then a rule raises. Whatever it would have noticed is not seen meanwhile."""
        now = self._ground.timeline.now
        self._rules.broken, self._failing = code, (now, until)
        self._ground.blind(until)

    def rule_is_well(self) -> None:
        if self._ground.timeline.now >= self._failing[1]:
            self._rules.broken = None

    # --- what is made durable ---

    def decided(self, body: DecisionBody) -> None:
        """A decision, a review or a judgement is on record."""
        replaced_at, now = self._replaced_at.get(body.policy), self._ground.timeline.now
        if replaced_at is not None and now > self._ground.known.get(replaced_at, replaced_at) + self._slowest_ms():
            self._breaks("I3", f"{body.asked.request_id} was decided by a policy that was replaced at {replaced_at} ms")
        self._same_again(body)

    def _same_again(self, body: DecisionBody) -> None:
        if body.decision.faults:
            return  # no record tells why a rule failed
        before, self._rules.broken = self._rules.broken, None
        again = decide_again(body, self._rulebooks[body.policy])
        self._rules.broken = before
        if again != body.decision:
            self._breaks("I7", f"the decision {body.asked.request_id} comes out otherwise from its record")

    def let_in(self, body: DecisionBody) -> None:
        """An allow is on record."""
        self._rests_well(f"{body.asked.request_id} was let in", body.facts.now)

    def ordered(self, order: Order) -> None:
        """A command is to be signed."""
        claims = _claims(order.claims)
        if claims.cmd == "renew":
            self._rests_well(f"a lease of {claims.aud} was renewed", claims.iat * 1000)

    def _rests_well(self, what: str, wall_ms: int) -> None:
        ground, (since, until) = self._ground, self._failing
        now, error_ms = ground.timeline.now, ground.limits.clock_error_ms
        if since + self._slowest_ms() < now < until:
            self._breaks("I3", f"{what} while a rule failed")
        most_ms = self._rulebooks[self._now].policy.registry.max_age_s * 1000
        age_ms = wall_ms - ground.county.confirmed_at
        if error_ms is not None and age_ms > most_ms + error_ms + 1_000:
            self._breaks("I3", f"{what} by registries that nobody has confirmed for {age_ms // 1000} s")

    def _slowest_ms(self) -> int:
        """So long before it is durable something may have been decided."""
        return 4 * self._ground.limits.slowest_commit_ms + 1_000
