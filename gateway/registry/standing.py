"""How people and firms stand on a day, by the registries in memory or by the database."""

from datetime import date

from sqlalchemy import Connection

from gateway.core.colour import FirmStanding, Person, Standing, firm_standing, person_standing
from gateway.core.model import Operator
from gateway.core.policy import Rulebook
from gateway.core.rules import employed_on
from gateway.registry.snapshot import Snapshot
from gateway.store import overview


def person_in(snapshot: Snapshot, operator_id: str) -> Person:
    """What the registries say of a person; nothing of one whom none of them names."""
    return Person(
        snapshot.operators.get(operator_id),
        snapshot.certificates.get(operator_id, ()),
        snapshot.employments.get(operator_id, ()),
    )


def staff_on(snapshot: Snapshot, uscc: str, today: date) -> list[str]:
    """Operator ids of the people whom the firm employs on the day."""
    return [
        operator_id
        for operator_id in snapshot.employees_of(uscc)
        if any(employed_on(work, today) for work in snapshot.employments_at(operator_id, uscc))
    ]


def firm_in(snapshot: Snapshot, uscc: str, rulebook: Rulebook, today: date) -> tuple[FirmStanding, dict[str, Standing]]:
    """How a firm and each of its present people stand."""
    people = {
        operator_id: person_standing(person_in(snapshot, operator_id), rulebook, today)
        for operator_id in staff_on(snapshot, uscc, today)
    }
    return firm_standing(snapshot.enterprises.get(uscc), people, rulebook), people


def person_on_record(connection: Connection, operator_id: str) -> Person:
    """What the database holds of a person: for one or a few, without reading all."""
    known = overview.operator(connection, operator_id)
    return Person(
        Operator(known.operator_id, known.born_on, known.status) if known else None,
        tuple(overview.certificates(connection, operator_id)),
        tuple(work for work, _ in overview.employments(connection, operator_id)),
    )
