"""The one decision: ``decide(asked, facts, rulebook) -> Decision``. Pure, total, deny by default."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta

from msgspec import Struct, field

from gateway.core.model import Asked, Certificate, Decision, Facts
from gateway.core.policy import Effective, Rulebook
from gateway.core.reasons import FIXED_CODES
from gateway.core.rules import CERTIFICATE_RULES, COUNTY_ZONE, RULES, Case, hours_span, local_time, review_recorded

SHORTEST_LEASE_S = 1


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
    except Exception as error:  # a fault outside the single checks has to deny as well
        return Decision("deny", ("internal_error",), faults=(f"decide: {type(error).__name__}",))


def _decide(asked: Asked, facts: Facts, rulebook: Rulebook) -> Decision:
    machine = facts.machine
    holds = rulebook.holds(machine.division, machine.uscc) if machine else rulebook.holds(None, None)
    local = local_time(facts.now)
    case = Case(asked, facts, rulebook.policy, holds.grace, local, local.date())

    found = Findings()
    for rule in RULES:
        if rule.needs(case):
            _run(found, rule.code, holds, rule.failed, case)
    certificate, about_it = _closest_certificate(case, holds)
    found.add(about_it)
    if holds.observe and not found.faults:
        _only_observe(found)

    start_by_s, lease_s = 0, 0
    if not found.failed and not found.faults:
        start_by_s, lease_s, bound = _bounded_lease(case, holds, certificate)
        if lease_s < SHORTEST_LEASE_S:
            found.failed.append(bound)
    return _conclude(found, start_by_s, lease_s, certificate)


def _run(found: Findings, code: str, holds: Effective, failed: Callable[..., bool], *about: object) -> None:
    """Run one check and file what it finds; ``off`` does not run."""
    mode = holds.modes[code]
    if mode == "off":
        return
    try:
        if failed(*about):
            (found.failed if mode == "enforce" else found.warned).append(code)
    except Exception as error:  # INVARIANT: a rule that fails to run denies; its veto is never lost
        found.faults.append(f"{code}: {type(error).__name__}")


def _closest_certificate(case: Case, holds: Effective) -> tuple[Certificate | None, Findings]:
    """The certificate that comes closest to an allow, with what is wrong with it.

    One for the right item before any other, then the fewest refusals, then the fewest warnings, then the
    one that is valid longest.
    """
    best: tuple[Certificate | None, Findings] = (None, Findings())
    best_rank: tuple[int | date, ...] | None = None
    if case.facts.machine is None:
        return best
    for certificate in case.facts.certificates:
        found = _check_certificate(case, holds, certificate)
        rank = _rank(case, certificate, found)
        if best_rank is None or rank > best_rank:
            best, best_rank = (certificate, found), rank
    return best


def _rank(case: Case, certificate: Certificate, found: Findings) -> tuple[int | date, ...]:
    right_item = case.facts.machine is not None and certificate.item == case.facts.machine.process
    return right_item, -len(found.failed) - len(found.faults), -len(found.warned), certificate.valid_until


def _check_certificate(case: Case, holds: Effective, certificate: Certificate) -> Findings:
    found = Findings()
    for rule in CERTIFICATE_RULES:
        _run(found, rule.code, holds, rule.failed, case, certificate)
    for code, last_day in _last_days(case, certificate):
        if code in found.failed and case.today <= last_day + timedelta(days=holds.grace[code]):
            found.failed.remove(code)
            found.warned.append(code)
    return found


def _last_days(case: Case, certificate: Certificate) -> Iterator[tuple[str, date]]:
    """The days after which the certificate no longer carries an allow, by the code that then refuses."""
    yield "certificate_expired", certificate.valid_until
    if certificate.review_due is not None and not review_recorded(certificate, case.today):
        yield "certificate_review_overdue", certificate.review_due


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
    ends, bound = min(
        ((ends, code) for ends, code in _bounds(case, holds, certificate) if holds.modes[code] == "enforce"),
        default=(None, ""),
    )
    if ends is None or holds.observe:
        return lease.start_by_s, lease.lease_s, bound
    left_s = int((ends - case.local).total_seconds())
    start_by_s = min(lease.start_by_s, left_s // 2)
    return start_by_s, min(lease.lease_s, left_s - start_by_s), bound


def _bounds(case: Case, holds: Effective, certificate: Certificate | None) -> Iterator[tuple[datetime, str]]:
    """When the allow loses its ground, with the code that would then refuse."""
    if certificate is not None:
        for code, last_day in _last_days(case, certificate):
            yield _end_of(last_day + timedelta(days=holds.grace[code])), code
    last_days = [e.until for e in case.facts.employments if e.since is None or e.since <= case.today]
    if last_days and None not in last_days:
        yield _end_of(max(day for day in last_days if day is not None)), "employment_ended"
    yield hours_span(case)[1], "outside_permitted_hours"


def _end_of(day: date) -> datetime:
    """The first moment after ``day`` in the county's zone."""
    return datetime.combine(day + timedelta(days=1), time(), COUNTY_ZONE)


def _conclude(found: Findings, start_by_s: int, lease_s: int, certificate: Certificate | None) -> Decision:
    reasons = (*found.failed, *(("internal_error",) if found.faults else ()))
    warnings, faults = tuple(found.warned), tuple(found.faults)
    ref = certificate.ref if certificate else None
    if reasons:
        return Decision("deny", reasons, warnings, faults, certificate=ref)
    return Decision("allow", (), warnings, faults, start_by_s, lease_s, ref)
