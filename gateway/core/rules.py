"""The rules: for each reason code, the check that fails with it. Pure functions over one Case.

A check returns True when it failed. Checks that need an unknown fact are left out: each group of rules says what it
needs, and does not run without it. A check may raise: the decision then denies.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from gateway.core.credential import STEPS_OFF
from gateway.core.hours import run_of, that_hold
from gateway.core.lease import CLOCK_ERROR_S
from gateway.core.model import Asked, Certificate, Employment, Facts, Millis
from gateway.core.permits import counts_from_to, covers
from gateway.core.policy import Age, Policy
from gateway.core.spans import first_run

COUNTY_ZONE = ZoneInfo("Asia/Shanghai")
REVIEW_WINDOW = timedelta(days=548)
"""A re-review recorded earlier than this before the due date belongs to the cycle before (cycles last three years)."""


class Case(Struct, frozen=True):
    """One request with its facts, and the county's calendar day and time at ``facts.now``.

    ``overridable`` codes do not refuse, by an override in force.
    """

    asked: Asked
    facts: Facts
    policy: Policy
    modes: dict[str, str]
    local: datetime
    today: date
    overridable: frozenset[str] = frozenset()


class Rule(Struct, frozen=True):
    """``code`` is given when ``failed(case)``."""

    code: str
    failed: Callable[[Case], bool]


class RuleGroup(Struct, frozen=True):
    """Rules that need the same facts: they are left out while ``needs(case)`` says that one is unknown."""

    needs: Callable[[Case], bool]
    rules: tuple[Rule, ...]


class CertificateRule(Struct, frozen=True):
    """A rule on one certificate of the operator."""

    code: str
    failed: Callable[[Case, Certificate], bool]


def local_time(now: int) -> datetime:
    """Unix milliseconds as time in the county's zone."""
    return datetime.fromtimestamp(now / 1000, COUNTY_ZONE)


# --- the request ------------------------------------------------------------------------------------------------


def _request_stale(case: Case) -> bool:
    return case.asked.at is not None and abs(case.facts.now - case.asked.at) > case.policy.requests.max_age_s * 1000


def _overloaded(case: Case) -> bool:
    return case.facts.waited_ms > case.policy.requests.answer_within_s * 1000


def _clock_set_back(case: Case) -> bool:
    """With the clock behind the record, no date can be trusted; a small step back is a correction."""
    return case.facts.clock_behind_s > case.policy.requests.max_age_s


def _registry_stale(case: Case) -> bool:
    """The registries as a whole are too old, or one source is, or it has never confirmed what the policy asks of it."""
    age, policy, ages = case.facts.registry_age_s, case.policy.registry, dict(case.facts.source_ages)
    return (
        (age is not None and age > policy.max_age_s)
        or any(age_s > policy.sources.get(source, policy.max_age_s) for source, age_s in ages.items())
        or not ages.keys() >= policy.sources.keys()
    )


# --- machine and enterprise -------------------------------------------------------------------------------------


def _knows_machine(case: Case) -> bool:
    return case.facts.machine is not None


def _machine_status(status: str) -> Callable[[Case], bool]:
    return lambda case: case.facts.machine is not None and case.facts.machine.status == status


def _chip_mismatch(case: Case) -> bool:
    machine, reported = case.facts.machine, case.facts.chip_reported
    return machine is not None and None not in (machine.chip, reported) and machine.chip != reported


def _enterprise_status(status: str) -> Callable[[Case], bool]:
    return lambda case: case.facts.enterprise is not None and case.facts.enterprise.status == status


# --- by phone ---------------------------------------------------------------------------------------------------


def _by_phone(case: Case) -> bool:
    return _knows_machine(case) and case.asked.method == "phone"


def _online(case: Case) -> bool:
    """Its status says so and told a challenge, without which no grant fits."""
    return case.facts.presence is not None and case.facts.presence.online and bool(case.asked.challenge)


def _reached_by_phone(case: Case) -> bool:
    return _by_phone(case) and _online(case)


def _without_clock(case: Case) -> bool:
    """INVARIANT: nothing unlocks late: a chip that asked for nothing gives nothing up, and keeps its challenge for
    hours; only a clock that is right can tell it that a grant has waited on the way."""
    presence = case.facts.presence
    off_ms = presence.clock_off_ms if presence else None
    return off_ms is None or abs(off_ms) > CLOCK_ERROR_S * 1000


def _who_asks_by_phone(case: Case) -> bool:
    return _by_phone(case) and case.facts.operator_id is not None


def _unlocked_already(case: Case) -> bool:
    """Their own session: a second grant for a challenge fits no more, and would only end the first."""
    session, presence = case.facts.machine_session, case.facts.presence
    own = session is not None and session.operator_id == case.facts.operator_id
    return own and presence is not None and presence.unlocked


# --- credential, operator and employment ------------------------------------------------------------------------


def _unreadable(case: Case) -> bool:
    """What was scanned is known, and no credential. Of a malformed request it is not known."""
    return case.asked.credential_kind == "malformed" and case.asked.malformed is None


def _readable(case: Case) -> bool:
    return _knows_machine(case) and case.asked.credential_kind != "malformed"


def _names_nobody(case: Case) -> bool:
    """Nobody on record, or a kind of credential that the policy does not accept."""
    return case.facts.operator_id is None or not _accepted(case)


def _accepted(case: Case) -> bool:
    return case.asked.credential_kind in ("session", *case.policy.credentials.kinds)


def _code_expired(case: Case) -> bool:
    return case.facts.code is not None and _accepted(case) and abs(case.facts.code.steps_off) > STEPS_OFF


def _code_replayed(case: Case) -> bool:
    return case.facts.code is not None and _accepted(case) and case.facts.code.used


def _knows_who(case: Case) -> bool:
    """Somebody is named; with the machine unknown nothing else is looked at."""
    return _knows_machine(case) and case.facts.operator_id is not None


def _knows_operator(case: Case) -> bool:
    return _knows_machine(case) and case.facts.operator is not None


def _blocked(case: Case) -> bool:
    return case.facts.operator is not None and case.facts.operator.status == "blocked"


def _operator_age(case: Case) -> bool:
    born = case.facts.operator.born_on if case.facts.operator else None
    return born is not None and outside_age(born, case.policy.age, case.today)


def outside_age(born: date, age: Age, today: date) -> bool:
    return not age.min_years <= completed_years(born, today) <= age.max_years


def completed_years(born: date, today: date) -> int:
    """Age in completed years.

    >>> completed_years(date(2000, 2, 29), date(2018, 2, 28))
    17
    """
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _knows_employer(case: Case) -> bool:
    """An unknown firm's people are not looked at; but where that refuses nobody, employment still has to."""
    refused = case.facts.enterprise is None and case.modes["enterprise_unknown"] == "enforce"
    return _knows_who(case) and not refused


def employed_on(employment: Employment, day: date) -> bool:
    """First and last day count; an unknown day is open."""
    return (employment.since is None or employment.since <= day) and (
        employment.until is None or day <= employment.until
    )


def unemployed_by(employments: Iterable[Employment], today: date) -> str | None:
    """The code that refuses who is not employed today: employed once and not now, or never; None for the employed."""
    known = tuple(employments)
    if any(employed_on(employment, today) for employment in known):
        return None
    over = any(employment.until is not None and employment.until < today for employment in known)
    return "employment_ended" if over else "operator_not_employed"


def _unemployed(code: str) -> Callable[[Case], bool]:
    return lambda case: unemployed_by(case.facts.employments, case.today) == code


# --- certificates -----------------------------------------------------------------------------------------------


def _wrong_item(case: Case, certificate: Certificate) -> bool:
    return case.facts.machine is not None and certificate.item != case.facts.machine.process


def _not_yet_valid(certificate: Certificate, today: date) -> bool:
    return certificate.valid_from is not None and today < certificate.valid_from


def _expired(certificate: Certificate, today: date) -> bool:
    """The last day of a validity counts as valid."""
    return today > certificate.valid_until


def review_recorded(certificate: Certificate, today: date) -> bool:
    """Whether the re-review that was due is on record (an entry from the cycle before does not count)."""
    done, due = certificate.reviewed_on, certificate.review_due
    return done is not None and due is not None and due - done <= REVIEW_WINDOW and done <= today


def _review_overdue(certificate: Certificate, today: date) -> bool:
    due = certificate.review_due
    return due is not None and today > due and not review_recorded(certificate, today)


def last_days(certificate: Certificate, today: date) -> list[tuple[str, date]]:
    """The last days on which the certificate carries an allow, by the code that refuses afterwards."""
    days = [("certificate_expired", certificate.valid_until)]
    if certificate.review_due is not None and not review_recorded(certificate, today):
        days.append(("certificate_review_overdue", certificate.review_due))
    return days


def within_grace(last_day: date, grace_days: int, today: date) -> bool:
    """Whether today is no later than so many days after the last day."""
    return (today - last_day).days <= grace_days


CertificateCheck = Callable[[Certificate, date], bool]
CERTIFICATE_CHECKS: dict[str, CertificateCheck] = {
    "certificate_not_yet_valid": _not_yet_valid,
    "certificate_expired": _expired,
    "certificate_review_overdue": _review_overdue,
    "certificate_suspended": lambda certificate, _: certificate.status == "suspended",
    "certificate_revoked": lambda certificate, _: certificate.status == "revoked",
    "certificate_counterfeit": lambda certificate, _: certificate.verification == "counterfeit",
    "certificate_unverified": lambda certificate, _: certificate.verification == "unverified",
}
"""What can be wrong with a certificate by itself, on a day of the county."""


def _on_the_day(check: CertificateCheck) -> Callable[[Case, Certificate], bool]:
    return lambda case, certificate: check(certificate, case.today)


CERTIFICATE_RULES = (
    CertificateRule("certificate_wrong_item", _wrong_item),
    *(CertificateRule(code, _on_the_day(check)) for code, check in CERTIFICATE_CHECKS.items()),
)


# --- sessions ---------------------------------------------------------------------------------------------------


def _elsewhere(case: Case) -> bool:
    """The operator's running session is at another machine; at this one it is replaced."""
    session = case.facts.operator_session
    machine = case.facts.machine
    return session is not None and machine is not None and session.machine_id != machine.machine_id


def _taken(case: Case) -> bool:
    """The machine's running session is somebody else's."""
    session = case.facts.machine_session
    return session is not None and session.operator_id != case.facts.operator_id


# --- permits and hours ------------------------------------------------------------------------------------------


def _permit_spans(case: Case) -> list[tuple[Millis, Millis]]:
    """When each permit counts that covers this person at this machine."""
    machine, rules = case.facts.machine, case.policy.permits
    if machine is None:
        return []
    covering = (permit for permit in case.facts.permits if covers(permit, machine, case.facts.operator_id, rules))
    return [counts_from_to(permit, rules) for permit in covering]


def _permit_missing(case: Case) -> bool:
    """None that covers them has begun."""
    return all(case.facts.now < begin for begin, _ in _permit_spans(case))


def _permit_expired(case: Case) -> bool:
    """All that have begun are over."""
    begun = [end for begin, end in _permit_spans(case) if begin <= case.facts.now]
    return bool(begun) and max(begun) <= case.facts.now


def permitted_run(case: Case) -> tuple[Millis, Millis] | None:
    """From when to when permits cover this person at this machine without a gap, now or next."""
    return first_run(_permit_spans(case), case.facts.now)


def hours_run(case: Case) -> tuple[datetime, datetime] | None:
    """From when to when work is permitted at this machine without a break, now or next."""
    machine = case.facts.machine
    if machine is None:
        return None
    return run_of(that_hold(case.facts.hours, machine.uscc, machine.machine_id, case.policy.hours), case.local)


def _outside_hours(case: Case) -> bool:
    run = hours_run(case)
    return run is None or case.local < run[0]


RULES = (
    RuleGroup(
        lambda _: True,
        (
            Rule("request_malformed", lambda case: case.asked.malformed is not None),
            Rule("request_stale", _request_stale),
            Rule("overloaded", _overloaded),
            Rule("internal_error", _clock_set_back),
            Rule("registry_stale", _registry_stale),
            Rule("machine_unknown", lambda case: case.facts.machine is None),
        ),
    ),
    RuleGroup(
        _knows_machine,
        (
            Rule("machine_suspended", _machine_status("suspended")),
            Rule("machine_decommissioned", _machine_status("decommissioned")),
            Rule("machine_out_of_service", lambda case: case.facts.hold is not None),
            Rule("chip_mismatch", _chip_mismatch),
        ),
    ),
    RuleGroup(_by_phone, (Rule("machine_offline", lambda case: not _online(case)),)),
    RuleGroup(_reached_by_phone, (Rule("machine_without_clock", _without_clock),)),
    RuleGroup(
        _knows_machine,
        (
            Rule("enterprise_unknown", lambda case: case.facts.enterprise is None),
            Rule("enterprise_production_suspended", _enterprise_status("production_suspended")),
            Rule("enterprise_licence_suspended", _enterprise_status("licence_suspended")),
            Rule("enterprise_closed", _enterprise_status("closed")),
            Rule("credential_malformed", _unreadable),
        ),
    ),
    RuleGroup(
        _readable,
        (
            Rule("credential_unknown", _names_nobody),
            Rule("credential_expired", _code_expired),
            Rule("credential_replayed", _code_replayed),
        ),
    ),
    RuleGroup(_knows_who, (Rule("operator_unknown", lambda case: case.facts.operator is None),)),
    RuleGroup(_knows_operator, (Rule("operator_blocked", _blocked), Rule("operator_age", _operator_age))),
    RuleGroup(
        _knows_employer,
        tuple(Rule(code, _unemployed(code)) for code in ("operator_not_employed", "employment_ended")),
    ),
    RuleGroup(
        _knows_who,
        (
            Rule("certificate_missing", lambda case: not case.facts.certificates),
            Rule("operator_in_session", _elsewhere),
        ),
    ),
    RuleGroup(_knows_machine, (Rule("machine_in_session", _taken),)),
    RuleGroup(_who_asks_by_phone, (Rule("machine_unlocked", _unlocked_already),)),
    RuleGroup(_knows_who, (Rule("permit_missing", _permit_missing), Rule("permit_expired", _permit_expired))),
    RuleGroup(_knows_machine, (Rule("outside_permitted_hours", _outside_hours),)),
)
