"""What the registry files say about a request under the default policy: the reason codes it must be refused with.

Independent of the gateway's rules on purpose; where the two disagree, one of them is wrong.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from simulator.registry import Certificate, Employment, Machine, Operator, Registry

COUNTY = ZoneInfo("Asia/Shanghai")
BADGE_LENGTH = 256
YOUNGEST, OLDEST = 18, 63
REVIEW_EARLY = timedelta(days=548)
"""A re-review counts for a due date from this long before it: half a cycle of three years."""

_FIRM_CODES = {
    "production_suspended": "enterprise_production_suspended",
    "licence_suspended": "enterprise_licence_suspended",
    "closed": "enterprise_closed",
}
_MACHINE_CODES = {"suspended": "machine_suspended", "decommissioned": "machine_decommissioned"}


class Question(Struct, frozen=True):
    """What a gateway is asked: the scanned text at a machine whose chip last reported ``chip``."""

    machine_id: str
    credential: str
    chip: str | None


def county_day(wall_ms: int) -> date:
    """The county's calendar day at a Unix time in milliseconds."""
    return datetime.fromtimestamp(wall_ms / 1000, COUNTY).date()


def is_badge(text: str) -> bool:
    """Whether a scanned text can be a badge at all."""
    return 1 <= len(text) <= BADGE_LENGTH and text.isprintable()


def named_person(registry: Registry, text: str) -> str | None:
    """Whom a scanned text names."""
    return text if is_badge(text) and registry.names(text) else None


def registry_codes(registry: Registry, question: Question, today: date) -> frozenset[str]:
    """Every code that registries alone give; sessions and clocks are not looked at."""
    machine = registry.machines.get(question.machine_id)
    if machine is None:
        return frozenset({"machine_unknown"})
    codes = {*_machine(machine, question.chip), *_firm(registry, machine), *_credential(registry, question.credential)}
    person = named_person(registry, question.credential)
    if person is not None:
        codes |= {*_operator(registry.operators.get(person), today), *_employment(registry, machine, person, today)}
        codes |= _certificates(registry.certificates.get(person, []), machine, today)
    return frozenset(codes)


def _machine(machine: Machine, chip: str | None) -> Iterator[str]:
    if machine.status in _MACHINE_CODES:
        yield _MACHINE_CODES[machine.status]
    if machine.chip and chip and machine.chip != chip:
        yield "chip_mismatch"


def _firm(registry: Registry, machine: Machine) -> Iterator[str]:
    firm = registry.enterprises.get(machine.uscc)
    if firm is None:
        yield "enterprise_unknown"
    elif firm.status in _FIRM_CODES:
        yield _FIRM_CODES[firm.status]


def _credential(registry: Registry, text: str) -> Iterator[str]:
    if not is_badge(text):
        yield "credential_malformed"
    elif not registry.names(text):
        yield "credential_unknown"


def _operator(operator: Operator | None, today: date) -> Iterator[str]:
    if operator is None:
        yield "operator_unknown"
        return
    if operator.status == "blocked":
        yield "operator_blocked"
    if operator.born_on is not None and not YOUNGEST <= _age(operator.born_on, today) <= OLDEST:
        yield "operator_age"


def _age(born_on: date, today: date) -> int:
    had_birthday = (today.month, today.day) >= (born_on.month, born_on.day)
    return today.year - born_on.year - (0 if had_birthday else 1)


def _employment(registry: Registry, machine: Machine, person: str, today: date) -> Iterator[str]:
    if machine.uscc not in registry.enterprises:
        return
    here = [row for row in registry.employments.get(person, []) if row.uscc == machine.uscc]
    if any(_covers(row, today) for row in here):
        return
    over = any(row.until is not None and row.until < today for row in here)
    yield "employment_ended" if over else "operator_not_employed"


def _covers(row: Employment, today: date) -> bool:
    return (row.since or date.min) <= today <= (row.until or date.max)


def _certificates(certificates: list[Certificate], machine: Machine, today: date) -> set[str]:
    """The failed checks of the certificate that comes closest: the right item, the fewest failed, the longest valid."""
    if not certificates:
        return {"certificate_missing"}

    def distance(certificate: Certificate) -> tuple[bool, int, timedelta]:
        failed = set(_certificate(certificate, machine, today))
        return certificate.item != machine.process, len(failed), date.max - certificate.valid_until

    return set(_certificate(min(certificates, key=distance), machine, today))


def _certificate(certificate: Certificate, machine: Machine, today: date) -> Iterator[str]:
    if certificate.item != machine.process:
        yield "certificate_wrong_item"
    if certificate.valid_from is not None and today < certificate.valid_from:
        yield "certificate_not_yet_valid"
    if today > certificate.valid_until:
        yield "certificate_expired"
    if _review_overdue(certificate, today):
        yield "certificate_review_overdue"
    if certificate.status in ("suspended", "revoked"):
        yield f"certificate_{certificate.status}"
    if certificate.verification in ("counterfeit", "unverified"):
        yield f"certificate_{certificate.verification}"


def _review_overdue(certificate: Certificate, today: date) -> bool:
    due, done = certificate.review_due, certificate.reviewed_on
    if due is None or today <= due:
        return False
    return done is None or not due - REVIEW_EARLY <= done <= today
