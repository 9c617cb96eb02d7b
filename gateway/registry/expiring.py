"""What runs out soon, per firm: certificates, re-reviews and employments of its people."""

from collections.abc import Iterable, Iterator
from datetime import date

from msgspec import Struct, structs

from gateway.core.colour import running_out
from gateway.core.model import Process
from gateway.core.policy import Rulebook
from gateway.core.rules import employed_on
from gateway.registry.snapshot import Snapshot
from gateway.registry.standing import person_in

NO_FIRM = ""
"""Stands for the firm of people whom none employs."""


class Expiry(Struct, frozen=True):
    """One thing that runs out: ``code`` as in a colour's causes, ``last_day`` and how many days are left until it.

    ``number`` is the certificate's, masked. ``uscc`` is the firm that employs the person today, "" where none does.
    """

    uscc: str
    operator_id: str
    code: str
    last_day: date
    days_left: int
    certificate: str | None = None
    item: Process | None = None
    number: str | None = None


def expiring(snapshot: Snapshot, uscc: str | None, rulebook: Rulebook, today: date, within_days: int) -> list[Expiry]:
    """What runs out within so many days at the firm, or (None) everywhere: firm by firm, the first to run out first.

    A certificate for which the person holds a better one for the same item is left out.
    """
    found: list[Expiry] = []
    for operator_id in _everybody(snapshot) if uscc is None else snapshot.employees_of(uscc):
        for firm in _employers(snapshot, operator_id, today):
            if uscc in (None, firm):
                found += _of(snapshot, firm, operator_id, rulebook, (today, within_days))
    return sorted(found, key=lambda expiry: (expiry.uscc, expiry.last_day, expiry.operator_id, expiry.code))


def _everybody(snapshot: Snapshot) -> Iterable[str]:
    return dict.fromkeys((*snapshot.operators, *snapshot.certificates, *snapshot.employments))


def _employers(snapshot: Snapshot, operator_id: str, today: date) -> Iterable[str]:
    employments = snapshot.employments.get(operator_id, ())
    return dict.fromkeys(work.uscc for work in employments if employed_on(work, today)) or (NO_FIRM,)


def _of(
    snapshot: Snapshot, firm: str, operator_id: str, rulebook: Rulebook, when: tuple[date, int]
) -> Iterator[Expiry]:
    """Employments run out at the firm, whatever the person does elsewhere."""
    today, within_days = when
    person = person_in(snapshot, operator_id)
    person = structs.replace(person, employments=snapshot.employments_at(operator_id, firm))
    numbers = {held.ref: held.number for held in person.certificates}
    for cause in running_out(person, rulebook, today, within_days):
        if cause.until is not None:
            left = (cause.until - today).days
            about = (cause.certificate, cause.item, numbers.get(cause.certificate or ""))
            yield Expiry(firm, operator_id, cause.code, cause.until, left, *about)
