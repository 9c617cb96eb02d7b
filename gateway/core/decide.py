"""The one decision: ``decide(asked, facts, rulebook) -> Decision``. Pure, total, deny by default."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from msgspec import Struct, field

from gateway.core.model import Asked, Certificate, Decision, Facts
from gateway.core.policy import Effective, Rulebook
from gateway.core.reasons import FIXED_CODES
from gateway.core.rules import (
    CERTIFICATE_RULES,
    COUNTY_ZONE,
    RULES,
    Case,
    CertificateRule,
    Rule,
    hours_span,
    local_time,
    review_recorded,
)
from gateway.core.session import starts_within_s

SHORTEST_LEASE_S = 1
NEVER_CONFIRMED = Rule("registry_stale", lambda _: True)
"""Given only where nothing else refuses: before the first import every machine is unknown anyway."""
_PLACES = [rule.code for group in RULES for rule in group.rules] + [rule.code for rule in CERTIFICATE_RULES]


class Findings(Struct):
    """What the checks found, each in the order of the rule table. ``faults`` names the checks that raised."""

    failed: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        self.failed += other.failed
        self.warned += other.warned
        self.faults += other.faults


def decide(asked: Asked, facts: Facts, rulebook: Rulebook) -> Decision:
    """Let in or refuse, with every reason at once.

    INVARIANT: an allow needs every enforced check to have run and passed; a check that raises denies with
    ``internal_error``; this function itself never raises.
    """
    try:
        return _decide(asked, facts, rulebook)
    except Exception as error:  # noqa: BLE001  (a fault outside the single checks has to deny as well)
        return Decision("deny", ("internal_error",), faults=(f"decide: {type(error).__name__}",))


def _decide(asked: Asked, facts: Facts, rulebook: Rulebook) -> Decision:
    machine = facts.machine
    holds = rulebook.holds(machine.division, machine.uscc) if machine else rulebook.holds(None, None)
    local = local_time(facts.now)
    case = Case(asked, facts, rulebook.policy, holds.modes, local, local.date())

    found = Findings()
    for group in RULES:
        if group.needs(case):
            _run(found, holds, group.rules, case)
    certificate, about_it = _closest_certificate(case, holds)
    found.add(about_it)
    if facts.registry_age_s is None and not found.failed:
        # INVARIANT: registries that nobody has ever confirmed are no ground for an allow.
        _run(found, holds, (NEVER_CONFIRMED,), case)
    if holds.observe and not found.faults:
        _only_observe(found)

    start_by_s, lease_s = 0, 0
    if not found.failed and not found.faults:
        start_by_s, lease_s, bound = _bounded_lease(case, holds, certificate)
        if lease_s < SHORTEST_LEASE_S:
            found.failed.append(bound)
    return _conclude(found, start_by_s, lease_s, certificate)


def _run(found: Findings, holds: Effective, rules: Iterable[Rule | CertificateRule], *about: Any) -> None:
    """Run checks and file what they find; ``off`` does not run."""
    modes = holds.modes
    for rule in rules:
        mode = modes[rule.code]
        if mode == "off":
            continue
        try:
            if rule.failed(*about):
                (found.warned if mode == "warn" else found.failed).append(rule.code)
        except Exception as error:  # noqa: BLE001  (INVARIANT: a rule that fails to run denies)
            found.faults.append(f"{rule.code}: {type(error).__name__}")


def _closest_certificate(case: Case, holds: Effective) -> tuple[Certificate | None, Findings]:
    """The certificate that comes closest to an allow, with what is wrong with it.

    One that allows before any other, then one for the right item, then the fewest refusals, then the fewest
    warnings, then the one that is valid longest.
    """
    best: tuple[Certificate | None, Findings] = (None, Findings())
    best_rank: tuple[int | date, ...] | None = None
    if case.facts.machine is None:
        return best
    for certificate in case.facts.certificates:
        found = _check_certificate(case, holds, certificate)
        rank = _rank(case, holds, certificate, found)
        if best_rank is None or rank > best_rank:
            best, best_rank = (certificate, found), rank
    return best


def _rank(case: Case, holds: Effective, certificate: Certificate, found: Findings) -> tuple[int | date, ...]:
    right_item = case.facts.machine is not None and certificate.item == case.facts.machine.process
    against = len(found.failed) + len(found.faults)
    last_day = certificate.valid_until if against else _carries_until(case, holds, certificate)
    return not against, right_item, -against, -len(found.warned), last_day


def _carries_until(case: Case, holds: Effective, certificate: Certificate) -> date:
    """The last day on which a certificate that allows now goes on allowing, grace left aside."""
    days = (day for code, day in _certificate_days(case, certificate) if holds.modes[code] == "enforce")
    return min(days, default=certificate.valid_until)


def _check_certificate(case: Case, holds: Effective, certificate: Certificate) -> Findings:
    found = Findings()
    _run(found, holds, CERTIFICATE_RULES, case, certificate)
    for code, last_day in _certificate_days(case, certificate):
        if code in found.failed and case.today <= last_day + timedelta(days=holds.grace[code]):
            found.failed.remove(code)
            found.warned.append(code)
    return found


def _certificate_days(case: Case, certificate: Certificate) -> list[tuple[str, date]]:
    """The last days on which the certificate carries an allow, by the code that refuses afterwards."""
    days = [("certificate_expired", certificate.valid_until)]
    if certificate.review_due is not None and not review_recorded(certificate, case.today):
        days.append(("certificate_review_overdue", certificate.review_due))
    return days


def _last_days(case: Case, certificate: Certificate | None) -> list[tuple[str, date]]:
    """The last days of everything that an allow rests on."""
    days = _certificate_days(case, certificate) if certificate is not None else []
    until = [work.until for work in case.facts.employments if work.since is None or work.since <= case.today]
    if until and None not in until:
        days.append(("employment_ended", max(day for day in until if day is not None)))
    return days


def _only_observe(found: Findings) -> None:
    """Observe mode: would-be refusals become warnings; the fixed reasons go on refusing."""
    found.warned += [code for code in found.failed if code not in FIXED_CODES]
    found.failed[:] = [code for code in found.failed if code in FIXED_CODES]


def _bounded_lease(case: Case, holds: Effective, certificate: Certificate | None) -> tuple[int, int, str]:
    """Start-by and lease in seconds, and the code of the bound that cut them.

    INVARIANT: start-by plus lease ends no later than anything that the allow rests on. What the policy lets pass
    anyway (``off``, ``warn``, observe mode) sets no bound.
    """
    lease = case.policy.lease
    ends, bound = min(_bounds(case, holds, certificate), default=(None, ""))
    if ends is None or holds.observe:
        return lease.start_by_s, lease.lease_s, bound
    left_s = int((ends - case.local).total_seconds())
    start_by_s = min(lease.start_by_s, left_s // 2)
    lease_s = left_s - starts_within_s(start_by_s, case.asked.at)
    return start_by_s, min(lease.lease_s, lease_s), bound


def _bounds(case: Case, holds: Effective, certificate: Certificate | None) -> Iterator[tuple[datetime, str]]:
    """When the allow loses its ground within the longest lease, with the code that would then refuse."""
    lease = case.policy.lease
    horizon = case.today + timedelta(seconds=lease.lease_s + lease.start_by_s) + timedelta(days=1)
    for code, last_day in _last_days(case, certificate):
        if holds.modes[code] == "enforce" and last_day <= horizon:
            last_day_with_grace = last_day + timedelta(days=holds.grace.get(code, 0))
            yield datetime.combine(last_day_with_grace + timedelta(days=1), time(), COUNTY_ZONE), code
    if holds.modes["outside_permitted_hours"] == "enforce":
        begin, end = hours_span(case)
        if end - begin < timedelta(days=1):
            yield end, "outside_permitted_hours"


def _conclude(found: Findings, start_by_s: int, lease_s: int, certificate: Certificate | None) -> Decision:
    reasons = tuple(found.failed)
    if found.faults and "internal_error" not in reasons:
        reasons += ("internal_error",)
    warnings, faults = tuple(sorted(found.warned, key=_PLACES.index)), tuple(found.faults)
    ref = certificate.ref if certificate else None
    if reasons:
        return Decision("deny", reasons, warnings, faults, certificate=ref)
    return Decision("allow", (), warnings, faults, start_by_s, lease_s, ref)
