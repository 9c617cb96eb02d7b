"""Machines as pages show them: their state, lists with filters, one by itself, how many are in which state."""

from datetime import date
from typing import Any, Literal, get_args

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import Days, up_to
from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.store import overview
from gateway.store.figures.counts import RATED_DAYS, UsageOfDay, usage_by_day
from gateway.store.figures.decisions import DecisionEntry, Wanted, decisions
from gateway.store.figures.reading import WHOLE, Page, Part, behind, every, inside, page
from gateway.store.figures.sessions import SessionEntry, sessions
from gateway.store.figures.tables import PAIRS, table
from gateway.store.overview import ChipFacts, MachineFacts
from gateway.store.reach import Condition, within
from gateway.store.tables import ChipRow, ControlRow, EnterpriseRow, MachineRow, SessionRow, UsageRow

_machines, _chips, _sessions, _usage = (table(row) for row in (MachineRow, ChipRow, SessionRow, UsageRow))
_controls, _firms = table(ControlRow), table(EnterpriseRow)

MachineState = Literal["out_of_service", "welding", "unlocked", "never_used", "silent", "online"]
"""The first that fits: registered as suspended or decommissioned, or held by an order; in a session with current; in a
session that has been unlocked; never unlocked by anybody; its chip offline or never heard of; its chip online."""
MACHINE_STATES: tuple[MachineState, ...] = get_args(MachineState)
SHOWN = 20
"""Sessions and decisions of a profile."""


class MachineRowFacts(Struct, frozen=True):
    """A machine of a list. ``heard_at``: when its chip last told of itself; ``used_at``: when it was last unlocked;
    ``fitted``: a chip is registered or has reported."""

    machine_id: str
    uscc: str
    division: str
    location: str | None
    process: str
    status: str
    fitted: bool
    state: MachineState
    heard_at: Millis | None
    used_at: Millis | None
    firm: str | None


class MachineStates(Struct, frozen=True):
    """How many machines are in which state; together all that are registered."""

    out_of_service: int = 0
    welding: int = 0
    unlocked: int = 0
    never_used: int = 0
    silent: int = 0
    online: int = 0

    @property
    def machines(self) -> int:
        return sum(getattr(self, state) for state in MACHINE_STATES)


class Fitted(Struct, frozen=True):
    """Of ``machines`` that are not decommissioned, how many have a chip registered or reporting, and how many have ever
    reported."""

    machines: int
    chips: int
    reporting: int

    @property
    def rate(self) -> float | None:
        return self.chips / self.machines if self.machines else None


class MachineProfile(Struct, frozen=True):
    """Everything about one machine; ``state`` as in the lists."""

    facts: MachineFacts
    state: MachineState
    used_at: Millis | None
    chip: ChipFacts | None
    sessions: list[SessionEntry]
    decisions: list[DecisionEntry]
    usage: list[UsageOfDay]


# --- state ------------------------------------------------------------------------------------------------------

_open = _sessions.alias("open_session")
_used = sa.select(sa.func.max(PAIRS.c.last_at)).where(PAIRS.c.machine_id == _machines.c.machine_id).scalar_subquery()
_held = (
    sa.select(_controls.c.act)
    .where(_controls.c.machine_id == _machines.c.machine_id)
    .where(_controls.c.act.in_(("lock", "out_of_service", "release")))
    .order_by(_controls.c.version.desc(), _controls.c.at.desc())
    .limit(1)
    .scalar_subquery()
)
_FITTED = _machines.c.chip.is_not(None) | _chips.c.machine_id.is_not(None)
_STATE: sa.ColumnElement[str] = sa.case(
    ((_machines.c.status != "active") | (sa.func.coalesce(_held, "release") != "release"), "out_of_service"),
    (_open.c.unlocked_at.is_not(None) & (_usage.c.current_a > 0), "welding"),
    (_open.c.unlocked_at.is_not(None), "unlocked"),
    (_used.is_(None), "never_used"),
    (sa.func.coalesce(_chips.c.online, sa.false()) == sa.false(), "silent"),
    else_="online",
)


def _joined() -> sa.FromClause:
    running = (_open.c.machine_id == _machines.c.machine_id) & _open.c.ended_at.is_(None)
    latest = (_usage.c.session_id == _open.c.session_id) & (_usage.c.machine_id == _open.c.machine_id)
    joined = _machines.outerjoin(_chips, _chips.c.machine_id == _machines.c.machine_id)
    return joined.outerjoin(_open, running).outerjoin(_usage, latest)


def machine_states(connection: Connection, reach: Reach, part: Part = WHOLE) -> MachineStates:
    """How many machines are in which state."""
    state = _STATE.label("state")
    query = sa.select(state, sa.func.count()).select_from(_joined()).where(inside(reach, part, _machines))
    return MachineStates(**{row[0]: row[1] for row in connection.execute(query.group_by(state))})


def fitted(connection: Connection, reach: Reach, part: Part = WHOLE) -> Fitted:
    """How far machines are fitted with chips."""
    joined = _machines.outerjoin(_chips, _chips.c.machine_id == _machines.c.machine_id)
    chips = sa.func.count(sa.case((_FITTED, 1)))
    query = sa.select(sa.func.count(), chips, sa.func.count(_chips.c.machine_id)).select_from(joined)
    query = query.where(_machines.c.status != "decommissioned", inside(reach, part, _machines))
    return every(Fitted, connection, query)[0]


# --- lists ------------------------------------------------------------------------------------------------------


class MachinesWanted(Struct, frozen=True):
    """Which machines: those that fit whatever is given. ``silent_since``: in service, but its chip has not been online
    since then; ``unused_since``: last unlocked before then, or never."""

    part: Part = WHOLE
    state: MachineState | None = None
    silent_since: Millis | None = None
    unused_since: Millis | None = None


ANY = MachinesWanted()


def machines(
    connection: Connection,
    reach: Reach,
    wanted: MachinesWanted = ANY,
    limit: int = 50,
    after: tuple[Any, ...] | None = None,
) -> Page[MachineRowFacts]:
    """By number."""
    key = (_machines.c.machine_id,)
    query = _listed().where(inside(reach, wanted.part, _machines), *_that_fit(wanted), behind(key, after))
    found = every(MachineRowFacts, connection, query.order_by(*key).limit(limit + 1))
    return page(found, limit, lambda row: (row.machine_id,))


def never_used(
    connection: Connection, reach: Reach, part: Part = WHOLE, limit: int = 50, after: tuple[Any, ...] | None = None
) -> Page[MachineRowFacts]:
    """Machines in service that nobody has ever unlocked."""
    return machines(connection, reach, MachinesWanted(part, state="never_used"), limit, after)


def silent(
    connection: Connection,
    reach: Reach,
    since: Millis,
    part: Part = WHOLE,
    limit: int = 50,
    after: tuple[Any, ...] | None = None,
) -> Page[MachineRowFacts]:
    """Machines in service whose chip has not been online since then, or never was."""
    return machines(connection, reach, MachinesWanted(part, silent_since=since), limit, after)


def _listed() -> sa.Select[Any]:
    own = [_machines.c[name] for name in ("machine_id", "uscc", "division", "location", "process", "status")]
    told = (_FITTED, _STATE, _chips.c.received_at, _used, _firms.c.name)
    joined = _joined().outerjoin(_firms, _firms.c.uscc == _machines.c.uscc)
    return sa.select(*own, *told).select_from(joined)


def _that_fit(wanted: MachinesWanted) -> list[Condition]:
    conditions: list[Condition] = []
    if wanted.state is not None:
        conditions.append(_STATE.in_((wanted.state,)))
    if wanted.silent_since is not None:
        away = _chips.c.machine_id.is_(None) | (
            (_chips.c.online == sa.false()) & (_chips.c.received_at < wanted.silent_since)
        )
        conditions += [away, _STATE != "out_of_service"]
    if wanted.unused_since is not None:
        conditions.append(sa.func.coalesce(_used, 0) < wanted.unused_since)
    return conditions


# --- one --------------------------------------------------------------------------------------------------------


def machine(
    connection: Connection, reach: Reach, machine_id: str, today: date, days: int = RATED_DAYS
) -> MachineProfile | None:
    """None where it is not registered, or out of reach. What it did for another firm before is that firm's."""
    one = _listed().where(_machines.c.machine_id == machine_id, within(reach, _machines))
    row = next(iter(every(MachineRowFacts, connection, one)), None)
    facts = overview.machine(connection, machine_id) if row else None
    if row is None or facts is None:
        return None
    span: Days = up_to(today, days)
    return MachineProfile(
        facts,
        row.state,
        row.used_at,
        overview.chip(connection, machine_id),
        sessions(connection, reach, machine_id=machine_id, limit=SHOWN).rows,
        decisions(connection, reach, Wanted(machine_id=machine_id), SHOWN).rows,
        usage_by_day(connection, reach, span, machine_id=machine_id),
    )
