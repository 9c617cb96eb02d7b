"""The colour of a person or a firm on a day of the county, with its causes. Pure.

A person stands as the best certificate for each item does. *Barred*: every item is, or the person is; *soon*: something
runs out or has to be seen to; *none*: no certificate on record; else *in order*. The policy gives each its colour. A
firm stands in the same way by its own status and by its people.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Literal

from msgspec import Struct

from gateway.core.model import Certificate, Colour, Employment, Enterprise, Operator, Process
from gateway.core.policy import Age, Effective, Rulebook
from gateway.core.reasons import REASONS, Reason
from gateway.core.rules import (
    CERTIFICATE_CHECKS,
    completed_years,
    employed_on,
    last_days,
    outside_age,
    unemployed_by,
    within_grace,
)

State = Literal["in_order", "soon", "none", "barred"]
SEVERITY: tuple[State, ...] = ("in_order", "soon", "none", "barred")
"""From the best to the worst."""

BARRING = frozenset(
    {
        *("operator_blocked", "operator_age"),
        *("certificate_expired", "certificate_review_overdue", "certificate_suspended", "certificate_revoked"),
        "certificate_counterfeit",
        *("enterprise_unknown", "enterprise_production_suspended", "enterprise_licence_suspended", "enterprise_closed"),
    }
)
"""Codes that bar where the policy enforces them; any other code is something to be seen to, also where it refuses."""

_NOTICES = (
    Reason(
        "certificate_expires_soon",
        "操作证即将到期。",
        "请在到期前到培训机构办理换证。",
        "The certificate is about to expire.",
        "Have it renewed at a training centre before its last day.",
        ("training_centre",),
    ),
    Reason(
        "review_due_soon",
        "操作证即将到复审日期。",
        "请在应复审日期前办理复审。",
        "The certificate's re-review is about to fall due.",
        "Have it reviewed before that day.",
        ("training_centre",),
    ),
    Reason(
        "employment_ends_soon",
        "从业登记即将结束。",
        "继续在岗的，请企业延长从业登记。",
        "The registered employment is about to end.",
        "If the work goes on, the firm has to have the employment extended.",
        ("enterprise",),
    ),
)
NOTICES: dict[str, Reason] = {notice.code: notice for notice in _NOTICES}
"""Codes that are only ever given beside a colour: nothing is refused for them yet."""
_BEFORE = {"certificate_expired": "certificate_expires_soon", "certificate_review_overdue": "review_due_soon"}


def explained(code: str) -> Reason:
    """What a cause's code says, what to do and who can do it."""
    return NOTICES.get(code) or REASONS[code]


class Person(Struct, frozen=True):
    """What the registries say of one person. ``operator`` is None where others than the operators' registry do."""

    operator: Operator | None
    certificates: tuple[Certificate, ...] = ()
    employments: tuple[Employment, ...] = ()


class Cause(Struct, frozen=True, omit_defaults=True):
    """Why somebody is not in order. ``refuses``: machines refuse for it today. ``since`` and ``until``: the first and
    the last day of it by the calendar alone, None where no calendar tells. ``certificate`` is the row's ``ref``."""

    code: str
    refuses: bool = False
    since: date | None = None
    until: date | None = None
    certificate: str | None = None
    item: Process | None = None

    @property
    def bars(self) -> bool:
        return self.refuses and self.code in BARRING


class Standing(Struct, frozen=True):
    """How a person stands on a day; ``causes`` with the worst first, none for who is in order."""

    colour: Colour
    state: State
    causes: tuple[Cause, ...] = ()


class FirmStanding(Struct, frozen=True):
    """How a firm stands: ``causes`` of its own, how many people it has of each colour, and who stands worst with the
    first cause of it; both are None where everybody is in order."""

    colour: Colour
    state: State
    causes: tuple[Cause, ...]
    people: dict[Colour, int]
    worst: str | None = None
    worst_cause: Cause | None = None


# --- a person ---------------------------------------------------------------------------------------------------


class _View(Struct, frozen=True):
    """By what policy and on which day somebody is looked at."""

    holds: Effective
    age: Age
    soon_days: int
    today: date

    def refuses(self, code: str) -> bool:
        return self.holds.modes[code] == "enforce"

    def looks_at(self, code: str) -> bool:
        return self.holds.modes[code] != "off"

    def is_soon(self, last_day: date) -> bool:
        """INVARIANT: counted in whole days, whatever the months."""
        return 0 <= (last_day - self.today).days <= self.soon_days


def person_standing(person: Person, rulebook: Rulebook, today: date) -> Standing:
    """The person's colour on a day of the county, by the policy's base: overrides for firms make no other colour.

    Observe mode changes no colour: it shows how people stand before anything is refused.
    """
    own, items = _looked_at(person, _view(rulebook, today, rulebook.policy.colours.soon_days))
    state = _overall(own, [_state(causes) for causes in items])
    causes = [*own, *(cause for causes in items for cause in causes)]
    causes.sort(key=lambda cause: (not cause.bars, not cause.refuses))
    return Standing(_colour(rulebook, state), state, tuple(causes))


def changes_on(person: Person, rulebook: Rulebook, today: date) -> date | None:
    """The next day on which the person's colour is another by the calendar alone; None where it stays as it is."""
    colour = person_standing(person, rulebook, today).colour
    for day in sorted({day for day in _turning_days(person, rulebook) if day is not None and day > today}):
        if person_standing(person, rulebook, day).colour != colour:
            return day
    return None


def running_out(person: Person, rulebook: Rulebook, today: date, within_days: int) -> list[Cause]:
    """What of the person's runs out within so many days: the best certificate for each item, its re-review, the
    employment. ``until`` is the last day."""
    own, items = _looked_at(person, _view(rulebook, today, within_days))
    return [cause for causes in (own, *items) for cause in causes if cause.code in NOTICES]


def _view(rulebook: Rulebook, today: date, soon_days: int) -> _View:
    return _View(rulebook.holds(None, None), rulebook.policy.age, soon_days, today)


def _colour(rulebook: Rulebook, state: State) -> Colour:
    colour: Colour = getattr(rulebook.policy.colours, state)
    return colour


def _looked_at(person: Person, view: _View) -> tuple[list[Cause], list[tuple[Cause, ...]]]:
    """What is wrong with the person, and with the best certificate for each item."""
    own = [*_about_operator(person.operator, view), *_about_employment(person.employments, view)]
    if not person.certificates:
        own.append(Cause("certificate_missing", view.refuses("certificate_missing")))
    return own, _best_by_item(person.certificates, view)


def _state(causes: Sequence[Cause]) -> State:
    if any(cause.bars for cause in causes):
        return "barred"
    return "soon" if causes else "in_order"


def _overall(own: Sequence[Cause], parts: Sequence[State]) -> State:
    """How the whole stands by its own causes and by its parts: items of a person, people of a firm."""
    known = {part for part in parts if part != "none"}
    if _state(own) == "barred" or known == {"barred"}:
        return "barred"
    if not known:
        return "none"
    return "soon" if own or set(parts) != {"in_order"} else "in_order"


def _about_operator(operator: Operator | None, view: _View) -> Iterator[Cause]:
    if operator is None:
        if view.looks_at("operator_unknown"):
            yield Cause("operator_unknown", view.refuses("operator_unknown"))
        return
    if operator.status == "blocked" and view.looks_at("operator_blocked"):
        yield Cause("operator_blocked", view.refuses("operator_blocked"))
    born = operator.born_on
    if born is not None and view.looks_at("operator_age") and outside_age(born, view.age, view.today):
        young = completed_years(born, view.today) < view.age.min_years
        until = _shifted(_birthday(born, view.age.min_years), -1) if young else None
        since = None if young else _birthday(born, view.age.max_years + 1)
        yield Cause("operator_age", view.refuses("operator_age"), since, until)


def _about_employment(employments: tuple[Employment, ...], view: _View) -> Iterator[Cause]:
    code = unemployed_by(employments, view.today)
    if code is None:
        last_day = _employed_until(employments, view.today)
        if last_day is not None and view.looks_at("employment_ended") and view.is_soon(last_day):
            yield Cause("employment_ends_soon", until=last_day)
    elif view.looks_at(code):
        ended = [work.until for work in employments if work.until is not None and work.until < view.today]
        begins = [work.since for work in employments if work.since is not None and work.since > view.today]
        since = _shifted(max(ended, default=None), 1)
        yield Cause(code, view.refuses(code), since, _shifted(min(begins, default=None), -1))


def _employed_until(employments: Iterable[Employment], today: date) -> date | None:
    """The last day that is employed without a gap from today on; None where no end is known."""
    known, day, last_day = tuple(employments), today, today
    while running := [work.until for work in known if employed_on(work, day)]:
        ends = [until for until in running if until is not None]
        if len(ends) < len(running):
            return None
        last_day = max(ends)
        if (after := _shifted(last_day, 1)) is None:
            return None
        day = after
    return last_day


# --- certificates -----------------------------------------------------------------------------------------------


def _best_by_item(certificates: Iterable[Certificate], view: _View) -> list[tuple[Cause, ...]]:
    """What is wrong with the best certificate for each item.

    One that does not bar before any other, then one that is not refused, then the one with the fewest causes, then the
    one that goes on longest.
    """
    best: dict[Process, tuple[tuple[bool, bool, int, date], tuple[Cause, ...]]] = {}
    for certificate in certificates:
        causes = tuple(_about_certificate(certificate, view))
        bars, refuses = any(cause.bars for cause in causes), any(cause.refuses for cause in causes)
        lasts = min(day for _, day in last_days(certificate, view.today))
        rank = (not bars, not refuses, -len(causes), lasts)
        if certificate.item not in best or rank > best[certificate.item][0]:
            best[certificate.item] = (rank, causes)
    return [causes for _, causes in best.values()]


def _about_certificate(certificate: Certificate, view: _View) -> Iterator[Cause]:
    about, days = (certificate.ref, certificate.item), last_days(certificate, view.today)
    barred = False
    for code, failed in CERTIFICATE_CHECKS.items():
        if view.looks_at(code) and failed(certificate, view.today):
            cause = _failed(code, certificate, dict(days).get(code), view)
            barred = barred or cause.bars
            yield cause
    for code, last_day in days:
        if not barred and view.looks_at(code) and view.is_soon(last_day):
            yield Cause(_BEFORE[code], False, None, last_day, *about)


def _failed(code: str, certificate: Certificate, last_day: date | None, view: _View) -> Cause:
    """``last_day``: the last one on which the check passed, where the check goes by one."""
    about = (certificate.ref, certificate.item)
    if last_day is None:
        until = _shifted(certificate.valid_from, -1) if code == "certificate_not_yet_valid" else None
        return Cause(code, view.refuses(code), None, until, *about)
    grace = view.holds.grace[code]
    spared = within_grace(last_day, grace, view.today) and view.refuses(code)
    until = _shifted(last_day, grace) if spared else None
    return Cause(code, view.refuses(code) and not spared, _shifted(last_day, 1), until, *about)


# --- days -------------------------------------------------------------------------------------------------------


def _turning_days(person: Person, rulebook: Rulebook) -> Iterator[date | None]:
    """Every day on which anything that a colour rests on can turn by the calendar."""
    soon_days, age = rulebook.policy.colours.soon_days, rulebook.policy.age
    grace = rulebook.holds(None, None).grace
    for held in person.certificates:
        yield from (held.valid_from, held.reviewed_on)
        for last_day, code in (
            (held.valid_until, "certificate_expired"),
            (held.review_due, "certificate_review_overdue"),
        ):
            yield from (_shifted(last_day, days) for days in (-soon_days, 1, grace[code] + 1))
    for work in person.employments:
        yield work.since
        yield from (_shifted(work.until, days) for days in (-soon_days, 1))
    if person.operator is not None and (born := person.operator.born_on) is not None:
        yield from (_birthday(born, age.min_years), _birthday(born, age.max_years + 1))


def _shifted(day: date | None, days: int) -> date | None:
    """So many days later; None where no calendar has that day."""
    if day is None or not date.min.toordinal() <= day.toordinal() + days <= date.max.toordinal():
        return None
    return date.fromordinal(day.toordinal() + days)


def _birthday(born: date, years: int) -> date | None:
    """The first day on which so many years are completed; who is born on 29 February completes them on 1 March."""
    year = born.year + years
    if year > date.max.year:
        return None
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


# --- a firm -----------------------------------------------------------------------------------------------------


def firm_standing(enterprise: Enterprise | None, people: Mapping[str, Standing], rulebook: Rulebook) -> FirmStanding:
    """The firm's colour by its status and by its people, given by operator id. ``enterprise`` None: not registered."""
    own = tuple(_about_firm(enterprise, rulebook))
    state = _overall(own, [stands.state for stands in people.values()])
    counts = Counter(stands.colour for stands in people.values())
    worst = max(sorted(people), key=lambda operator_id: SEVERITY.index(people[operator_id].state), default=None)
    firm = FirmStanding(_colour(rulebook, state), state, own, dict(counts))
    if worst is None or not people[worst].causes:
        return firm
    return FirmStanding(firm.colour, state, own, firm.people, worst, people[worst].causes[0])


def _about_firm(enterprise: Enterprise | None, rulebook: Rulebook) -> Iterator[Cause]:
    """By the policy that holds for the firm."""
    code = "enterprise_unknown" if enterprise is None else f"enterprise_{enterprise.status}"
    holds = rulebook.holds(enterprise.division, enterprise.uscc) if enterprise else rulebook.holds(None, None)
    if code != "enterprise_active" and holds.modes[code] != "off":
        yield Cause(code, holds.modes[code] == "enforce")
