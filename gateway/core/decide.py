"""The one decision: ``decide(asked, facts, rulebook) -> Decision``. Pure, total, deny by default."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from msgspec import Struct, field

from gateway.core.hours import WEEK
from gateway.core.model import Asked, Certificate, Decision, Facts, Millis
from gateway.core.policy import Effective, Rulebook
from gateway.core.reasons import FIXED_CODES, REASONS
from gateway.core.rules import (
    CERTIFICATE_RULES,
    COUNTY_ZONE,
    RULES,
    Case,
    CertificateRule,
    Rule,
    hours_run,
    last_days,
    local_time,
    permitted_run,
    within_grace,
)
from gateway.core.session import starts_within_s

SHORTEST_LEASE_S = 1
LAST_DAY = date(9000, 1, 1)
"""Files write an open end as a day in the year 9999: later days end nothing, and nothing can be added to them."""
NEVER_CONFIRMED = Rule("registry_stale", lambda _: True)
"""Given only where nothing else refuses: before the first import every machine is unknown anyway."""
_PLACES = [rule.code for group in RULES for rule in group.rules] + [rule.code for rule in CERTIFICATE_RULES]


class Findings(Struct):
    """What the checks found, each in the order of the rule table. ``faults`` names the checks that raised."""

    failed: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    overridden: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        self.failed += other.failed
        self.warned += other.warned
        self.overridden += other.overridden
        self.faults += other.faults


def decide(asked: Asked, facts: Facts, rulebook: Rulebook) -> Decision:
    """Let in or refuse, with every reason at once.

    INVARIANT: an allow needs every enforced check to have run and passed; a check that raises denies with
    ``internal_error``; this function itself never raises.
    """
    return standing(asked, facts, rulebook)[0]


def standing(asked: Asked, facts: Facts, rulebook: Rulebook) -> tuple[Decision, Millis | None]:
    """The decision, and until when an allow keeps its ground, Unix milliseconds; None where no day ends it."""
    try:
        return _decide(asked, facts, rulebook)
    except Exception as error:  # noqa: BLE001  (a fault outside the single checks has to deny as well)
        return Decision("deny", ("internal_error",), faults=(f"decide: {type(error).__name__}",)), None


def _decide(asked: Asked, facts: Facts, rulebook: Rulebook) -> tuple[Decision, Millis | None]:
    machine = facts.machine
    holds = rulebook.holds(machine.division, machine.uscc) if machine else rulebook.holds(None, None)
    local = local_time(facts.now)
    case = Case(asked, facts, rulebook.policy, holds.modes, local, local.date(), _overridable(facts))

    found = Findings()
    for group in RULES:
        if group.needs(case):
            _run(found, holds, group.rules, case)
    certificate, about_it = _closest_certificate(case, holds)
    found.add(about_it)
    if facts.registry_age_s is None and not found.failed and NEVER_CONFIRMED.code not in found.warned:
        # INVARIANT: registries that nobody has ever confirmed are no ground for an allow.
        _run(found, holds, (NEVER_CONFIRMED,), case)
    if holds.observe and not found.faults:
        _only_observe(found)

    start_by_s, lease_s, ends = 0, 0, None
    if not found.failed and not found.faults:
        ends, bound = _ground_ends(case, holds, certificate, found)
        start_by_s, lease_s = _bounded_lease(case, ends)
        if lease_s < SHORTEST_LEASE_S:
            found.failed.append(bound)
    return _conclude(found, start_by_s, lease_s, certificate), _millis(ends)


def _overridable(facts: Facts) -> frozenset[str]:
    """Codes that do not refuse this person at this machine now, by an override in force.

    INVARIANT: only codes whose table entry names the level of those who approved it, and every other check goes on.
    """
    override = facts.override
    if override is None or not override.since <= facts.now < override.until:
        return frozenset()
    levels = {"supervisor", override.level}
    return frozenset(code for code in override.codes if REASONS[code].override in levels)


def _run(found: Findings, holds: Effective, rules: Iterable[Rule | CertificateRule], case: Case, *about: Any) -> None:
    """Run checks and file what they find; ``off`` does not run."""
    modes = holds.modes
    for rule in rules:
        mode = modes[rule.code]
        if mode == "off":
            continue
        try:
            if rule.failed(case, *about):
                overridden = found.overridden if rule.code in case.overridable else found.failed
                (found.warned if mode == "warn" else overridden).append(rule.code)
        except Exception as error:  # noqa: BLE001  (INVARIANT: a rule that fails to run denies)
            found.faults.append(f"{rule.code}: {type(error).__name__}")


def _closest_certificate(case: Case, holds: Effective) -> tuple[Certificate | None, Findings]:
    """The certificate that comes closest to an allow, with what is wrong with it.

    One that allows before any other, by itself before one that an override lets pass; then one for the right item, then
    the fewest refusals, then the fewest warnings, then the one that is valid longest.
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
    return not against, not found.overridden, right_item, -against, -len(found.warned), last_day


def _carries_until(case: Case, holds: Effective, certificate: Certificate) -> date:
    """The last day on which a certificate that allows now goes on allowing, grace left aside."""
    days = (day for code, day in last_days(certificate, case.today) if holds.modes[code] == "enforce")
    return min(days, default=certificate.valid_until)


def _check_certificate(case: Case, holds: Effective, certificate: Certificate) -> Findings:
    found = Findings()
    _run(found, holds, CERTIFICATE_RULES, case, certificate)
    for code, last_day in last_days(certificate, case.today):
        if code in found.failed and within_grace(last_day, holds.grace[code], case.today):
            found.failed.remove(code)
            found.warned.append(code)
    return found


def _last_days(case: Case, certificate: Certificate | None) -> list[tuple[str, date]]:
    """The last days of everything that an allow rests on."""
    days = last_days(certificate, case.today) if certificate is not None else []
    until = [work.until for work in case.facts.employments if work.since is None or work.since <= case.today]
    if until and None not in until:
        days.append(("employment_ended", max(day for day in until if day is not None)))
    return days


def _only_observe(found: Findings) -> None:
    """Observe mode: would-be refusals become warnings; the fixed reasons go on refusing."""
    found.warned += [code for code in found.failed if code not in FIXED_CODES]
    found.failed[:] = [code for code in found.failed if code in FIXED_CODES]


def _ground_ends(
    case: Case, holds: Effective, certificate: Certificate | None, found: Findings
) -> tuple[datetime | None, str]:
    """When the allow loses its ground, and the code that would refuse then.

    What the policy lets pass anyway (``off``, ``warn``, observe mode) sets no bound.
    """
    if holds.observe:
        return None, ""
    bounds = list(_bounds(case, holds, certificate))
    override = case.facts.override
    if override is not None and case.overridable:
        until = local_time(override.until)
        bounds = [(max(until, when) if code in case.overridable else when, code) for when, code in bounds]
        bounds += [(until, code) for code in found.overridden]
    return min(bounds, default=(None, ""))


def _bounded_lease(case: Case, ends: datetime | None) -> tuple[int, int]:
    """Start-by and lease in seconds.

    INVARIANT: start-by plus lease ends no later than anything that the allow rests on.
    """
    lease = case.policy.lease
    if ends is None:
        return lease.start_by_s, lease.lease_s
    left_s = int((ends - case.local).total_seconds())
    if case.asked.credential_kind == "session":
        return 0, min(lease.lease_s, left_s)
    start_by_s = min(lease.start_by_s, left_s // 2)
    return start_by_s, min(lease.lease_s, left_s - starts_within_s(start_by_s, case.asked))


def _bounds(case: Case, holds: Effective, certificate: Certificate | None) -> Iterator[tuple[datetime, str]]:
    """When the allow loses its ground, with the code that would then refuse."""
    for code, last_day in _last_days(case, certificate):
        if holds.modes[code] == "enforce" and last_day <= LAST_DAY:
            last_day_with_grace = last_day + timedelta(days=holds.grace.get(code, 0))
            yield datetime.combine(last_day_with_grace + timedelta(days=1), time(), COUNTY_ZONE), code
    if holds.modes["permit_expired"] == "enforce" and (permit := permitted_run(case)):
        yield local_time(permit[1]), "permit_expired"
    if holds.modes["outside_permitted_hours"] == "enforce":
        hours = hours_run(case)
        if hours is not None and hours[1] - case.local < WEEK:
            yield hours[1], "outside_permitted_hours"


def _millis(when: datetime | None) -> Millis | None:
    return None if when is None else round(when.timestamp() * 1000)


def _conclude(found: Findings, start_by_s: int, lease_s: int, certificate: Certificate | None) -> Decision:
    reasons = tuple(found.failed)
    if found.faults and "internal_error" not in reasons:
        reasons += ("internal_error",)
    warnings, faults = tuple(sorted(found.warned, key=_PLACES.index)), tuple(found.faults)
    ref, overridden = certificate.ref if certificate else None, tuple(found.overridden)
    if reasons:
        return Decision("deny", reasons, warnings, faults, certificate=ref, overridden=overridden)
    return Decision("allow", (), warnings, faults, start_by_s, lease_s, ref, overridden)
