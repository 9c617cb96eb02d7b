"""People as pages show them: lists, one by itself, how many of those at work are certified.

A person's colour, and what may be welded with which certificate, is ``gateway.registry.standing``'s to say.
"""

from datetime import date
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import up_to
from gateway.core.model import Certificate, Employment, Millis
from gateway.core.reach import Reach
from gateway.store import overview
from gateway.store.entries import UNKNOWN_DAY
from gateway.store.figures.counts import RATED_DAYS, Tally, UsageOfDay, person_tally, usage_by_day
from gateway.store.figures.decisions import DecisionEntry, Wanted, decisions
from gateway.store.figures.reading import WHOLE, Page, Part, behind, every, page
from gateway.store.figures.sessions import SessionEntry, sessions
from gateway.store.figures.tables import PAIRS, table
from gateway.store.overview import OperatorFacts
from gateway.store.reach import Condition, employed, in_division, within
from gateway.store.tables import CertificateRow, EmploymentRow, EnterpriseRow, OperatorRow

_people, _certificates = table(OperatorRow), table(CertificateRow)
_employments, _firms = table(EmploymentRow), table(EnterpriseRow)
SHOWN = 20
"""Sessions and decisions of a profile."""


class PersonEntry(Struct, frozen=True):
    """A person of a list. ``certified``: some certificate is in force today; ``valid_until`` is the latest last day of
    any; ``used_at`` is when the person last unlocked a machine, anywhere."""

    operator_id: str
    name: str | None
    status: str
    certified: bool
    valid_until: date | None
    used_at: Millis | None


class Certified(Struct, frozen=True):
    """Of ``people`` whom firms employ today, how many have a certificate in force today, for whatever process."""

    people: int
    certified: int

    @property
    def rate(self) -> float | None:
        return self.certified / self.people if self.people else None


class PersonProfile(Struct, frozen=True):
    """Everything about one person as far as it lies within the reach: a firm sees its own employment of a person, what
    was decided at its machines, and what was welded with them. ``tally`` and ``usage`` of the last days."""

    facts: OperatorFacts
    certified: bool
    used_at: Millis | None
    certificates: list[Certificate]
    employments: list[tuple[Employment, str | None]]
    sessions: list[SessionEntry]
    decisions: list[DecisionEntry]
    tally: Tally
    usage: list[UsageOfDay]


def in_force(today: date) -> Condition:
    """Whether a certificate's own dates and states let it count on a day; re-review, grace and what the policy makes of
    an unverified one are left to the decision."""
    held = _certificates.c
    begun = held.valid_from.is_(None) | (held.valid_from <= today)
    return (held.status == "valid") & (held.verification != "counterfeit") & begun & (held.valid_until >= today)


def _certified(today: date) -> Condition:
    return sa.exists().where(_certificates.c.operator_id == _people.c.operator_id, in_force(today))


# --- lists ------------------------------------------------------------------------------------------------------


def people(
    connection: Connection,
    reach: Reach,
    today: date,
    part: Part = WHOLE,
    *,
    certified: bool | None = None,
    limit: int = 50,
    after: tuple[Any, ...] | None = None,
) -> Page[PersonEntry]:
    """Whom firms of the part employ today, by number; of the whole everywhere also whom nobody employs. ``certified``:
    only those who are, or are not."""
    key = (_people.c.operator_id,)
    query = _listed(today).where(within(reach, _people, today), _employed_in(part, today), behind(key, after))
    if certified is not None:
        query = query.where(_certified(today) if certified else ~_certified(today))
    found = every(PersonEntry, connection, query.order_by(*key).limit(limit + 1))
    return page(found, limit, lambda entry: (entry.operator_id,))


def _listed(today: date) -> sa.Select[Any]:
    own = (_people.c.operator_id, _people.c.name, _people.c.status)
    last = sa.select(sa.func.max(_certificates.c.valid_until)).where(
        _certificates.c.operator_id == _people.c.operator_id, _certificates.c.status == "valid"
    )
    used = sa.select(sa.func.max(PAIRS.c.last_at)).where(PAIRS.c.operator_id == _people.c.operator_id)
    return sa.select(*own, _certified(today), last.scalar_subquery(), used.scalar_subquery())


def _employed_in(part: Part, today: date) -> Condition:
    if part == WHOLE:
        return sa.true()
    work = _employments.alias("there")
    conditions = [employed(work, today)]
    if part.uscc is not None:
        conditions.append(work.c.uscc == part.uscc)
    if part.division:
        conditions.append(
            work.c.uscc.in_(sa.select(_firms.c.uscc).where(in_division(_firms.c.division, part.division)))
        )
    return _people.c.operator_id.in_(sa.select(work.c.operator_id).where(*conditions))


def certified(connection: Connection, reach: Reach, today: date, part: Part = WHOLE) -> Certified:
    """How many of those at work are certified."""
    at_work = sa.exists().where(_employments.c.operator_id == _people.c.operator_id, employed(_employments, today))
    count = sa.func.count(sa.case((_certified(today), 1)))
    query = sa.select(sa.func.count(), count).select_from(_people)
    query = query.where(at_work, within(reach, _people, today), _employed_in(part, today))
    return every(Certified, connection, query)[0]


# --- one --------------------------------------------------------------------------------------------------------


def person(
    connection: Connection, reach: Reach, operator_id: str, today: date, days: int = RATED_DAYS
) -> PersonProfile | None:
    """None where nobody of that number is registered, or out of reach."""
    one = _listed(today).where(_people.c.operator_id == operator_id, within(reach, _people, today))
    row = next(iter(every(PersonEntry, connection, one)), None)
    facts = overview.operator(connection, operator_id) if row else None
    if row is None or facts is None:
        return None
    span = up_to(today, days)
    return PersonProfile(
        facts,
        row.certified,
        row.used_at,
        overview.certificates(connection, operator_id),
        employments(connection, reach, operator_id),
        sessions(connection, reach, operator_id=operator_id, limit=SHOWN).rows,
        decisions(connection, reach, Wanted(operator_id=operator_id), SHOWN).rows,
        person_tally(connection, reach, operator_id, span),
        usage_by_day(connection, reach, span, operator_id=operator_id),
    )


def employments(connection: Connection, reach: Reach, operator_id: str) -> list[tuple[Employment, str | None]]:
    """A person's employments at firms within the reach, each with the firm's name, the latest first."""
    columns = (_employments.c.uscc, _employments.c.since, _employments.c.until, _firms.c.name)
    joined = _employments.outerjoin(_firms, _firms.c.uscc == _employments.c.uscc)
    query = sa.select(*columns).select_from(joined).where(_employments.c.operator_id == operator_id)
    query = query.where(within(reach, _employments)).order_by(_employments.c.since.desc(), _employments.c.uscc)
    return [
        (Employment(uscc, None if since == UNKNOWN_DAY else since, until), name)
        for uscc, since, until, name in connection.execute(query)
    ]
