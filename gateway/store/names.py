"""Names of people and firms by their numbers: for lists that know the numbers already."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.core.reach import Reach
from gateway.store.reach import within
from gateway.store.tables import EnterpriseRow, OperatorRow, metadata

_people, _firms = metadata.tables[OperatorRow.__tablename__], metadata.tables[EnterpriseRow.__tablename__]
AT_ONCE = 500
"""Numbers of one statement."""


def person_names(connection: Connection, operator_ids: Iterable[str]) -> Mapping[str, str | None]:
    """Those who are registered."""
    return _names(connection, _people.c.operator_id, _people.c.name, operator_ids)


def firm_names(connection: Connection, codes: Iterable[str]) -> Mapping[str, str | None]:
    """Those that are registered."""
    return _names(connection, _firms.c.uscc, _firms.c.name, codes)


def _names(
    connection: Connection, key: sa.Column[str], name: sa.Column[str], wanted: Iterable[str]
) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    keys = sorted(set(wanted))
    for start in range(0, len(keys), AT_ONCE):
        query = sa.select(key, name).where(key.in_(keys[start : start + AT_ONCE]))
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found


def firms_called(connection: Connection, reach: Reach, text: str, limit: int) -> Sequence[tuple[str, str, str]]:
    """Firms within reach whose name holds the text: (credit code, name, division)."""
    called = _firms.c.name.contains(text, autoescape=True)
    query = sa.select(_firms.c.uscc, _firms.c.name, _firms.c.division).where(called, within(reach, _firms))
    return [tuple(row) for row in connection.execute(query.order_by(_firms.c.name).limit(limit))]
