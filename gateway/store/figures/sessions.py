"""Sessions: those that are open, and what a machine, a person or a firm did."""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.core.session import State
from gateway.store.figures.reading import WHOLE, Page, Part, before, every, inside, narrowing, page
from gateway.store.figures.tables import SESSIONS, table
from gateway.store.reach import within
from gateway.store.tables import EnterpriseRow, MachineRow, OperatorRow, SessionRow, UsageRow

_sessions, _usage, _machines = table(SessionRow), table(UsageRow), table(MachineRow)
_people, _firms = table(OperatorRow), table(EnterpriseRow)


class SessionEntry(Struct, frozen=True):
    """A session as a list shows it, with its usage as far as it is counted. ``operator_id`` is "" where nobody knows
    who it was; ``unlocked_at`` is None where it never began. Without ``end_reason`` it is open, or purged where
    ``open_until`` is None too."""

    session_id: str
    machine_id: str
    operator_id: str
    division: str
    uscc: str
    granted_at: Millis
    unlocked_at: Millis | None
    enabled_s: int
    arc_s: int
    idle_s: int
    arcs: int
    energy_mwh: int
    ended_at: Millis | None
    end_reason: str | None
    open_until: Millis | None
    operator: str | None
    firm: str | None


def sessions(
    connection: Connection,
    reach: Reach,
    *,
    machine_id: str | None = None,
    operator_id: str | None = None,
    uscc: str | None = None,
    limit: int = 50,
    after: tuple[Any, ...] | None = None,
) -> Page[SessionEntry]:
    """The latest granted first, of whichever is given; one must be, or the reach be of one firm or person."""
    column, value = _found_by(machine_id, operator_id or reach.operator_id, uscc or reach.uscc)
    order = (SESSIONS.c.granted_at, SESSIONS.c.session_id)
    query = sa.select(SESSIONS).where(column == value, narrowing(within(reach, SESSIONS)), before(order, after))
    for name, given in (("operator_id", operator_id), ("uscc", uscc)):
        if given is not None:
            query = query.where(narrowing(SESSIONS.c[name] == given))
    found = _entries(connection, query.order_by(*(one.desc() for one in order)).limit(limit + 1))
    return page(found, limit, lambda entry: (entry.granted_at, entry.session_id))


def _found_by(machine_id: str | None, operator_id: str | None, uscc: str | None) -> tuple[sa.Column[str], str]:
    """The index that leaves the fewest to look through."""
    for name, value in (("machine_id", machine_id), ("operator_id", operator_id), ("uscc", uscc)):
        if value is not None:
            return SESSIONS.c[name], value
    raise ValueError("sessions: name a machine, a person or a firm")


def _entries(connection: Connection, query: sa.Select[Any]) -> list[SessionEntry]:
    found = query.subquery()
    joined = found.outerjoin(_sessions, _sessions.c.session_id == found.c.session_id)
    joined = joined.outerjoin(_people, _people.c.operator_id == found.c.operator_id)
    joined = joined.outerjoin(_firms, _firms.c.uscc == found.c.uscc)
    own = [found.c[name] for name in SessionEntry.__struct_fields__[:12]]
    rest = (_sessions.c.ended_at, _sessions.c.end_reason, _sessions.c.open_until, _people.c.name, _firms.c.name)
    ordered = sa.select(*own, *rest).select_from(joined).order_by(found.c.granted_at.desc(), found.c.session_id.desc())
    return every(SessionEntry, connection, ordered)


# --- open -------------------------------------------------------------------------------------------------------


class OpenEntry(Struct, frozen=True):
    """A session that is open now, at a machine as it is registered today, with its latest usage: None before the first
    report."""

    session_id: str
    machine_id: str
    operator_id: str | None
    division: str
    uscc: str
    granted_at: Millis
    unlocked_at: Millis | None
    lease_until: Millis
    drained_at: Millis | None
    offline: bool
    reported_at: Millis | None
    arc_s: int | None
    current_a: float | None
    location: str | None
    operator: str | None
    firm: str | None

    @property
    def state(self) -> State:
        """As ``gateway.store.overview.SessionFacts`` has it."""
        if self.drained_at is not None:
            return "draining"
        if self.unlocked_at is None:
            return "granted"
        if self.current_a is None:
            return "unlocked"
        return "welding" if self.current_a > 0 else "idle"


def open_sessions(connection: Connection, reach: Reach, part: Part = WHOLE, limit: int = 200) -> list[OpenEntry]:
    """The latest granted first: of machines within the reach, or of one person."""
    own = ("session_id", "machine_id", "operator_id")
    more = ("granted_at", "unlocked_at", "lease_until", "drained_at", "offline")
    columns = [*(_sessions.c[name] for name in own), _machines.c.division, _machines.c.uscc]
    columns += [*(_sessions.c[name] for name in more), _usage.c.received_at, _usage.c.arc_s, _usage.c.current_a]
    query = sa.select(*columns, _machines.c.location, _people.c.name, _firms.c.name).select_from(_running())
    query = query.where(_sessions.c.ended_at.is_(None), _running_within(reach, part))
    order = (_sessions.c.granted_at.desc(), _sessions.c.session_id)
    return every(OpenEntry, connection, query.order_by(*order).limit(limit))


def count_open(connection: Connection, reach: Reach, part: Part = WHOLE) -> int:
    joined = _sessions.join(_machines, _machines.c.machine_id == _sessions.c.machine_id)
    query = sa.select(sa.func.count()).select_from(joined)
    query = query.where(_sessions.c.ended_at.is_(None), _running_within(reach, part))
    return connection.execute(query).scalar_one()


def _running() -> sa.FromClause:
    latest = (_usage.c.session_id == _sessions.c.session_id) & (_usage.c.machine_id == _sessions.c.machine_id)
    joined = _sessions.join(_machines, _machines.c.machine_id == _sessions.c.machine_id).outerjoin(_usage, latest)
    joined = joined.outerjoin(_people, _people.c.operator_id == _sessions.c.operator_id)
    return joined.outerjoin(_firms, _firms.c.uscc == _machines.c.uscc)


def _running_within(reach: Reach, part: Part) -> sa.ColumnElement[bool]:
    """An open session goes by its machine as it is registered today, which is joined."""
    if reach.operator_id is not None:
        return within(reach, _sessions)
    return inside(reach, part, _machines)
