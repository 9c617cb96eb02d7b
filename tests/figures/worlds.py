"""Random registries and ledgers: firms, machines and people that change hands, and what happens at machines."""

from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from msgspec import Struct
from sqlalchemy import Engine

from gateway.core.days import date_of, day_of
from gateway.core.reach import EVERYWHERE, Reach
from gateway.store.figures import tables
from gateway.store.figures.folding import Folder
from gateway.store.tables import (
    CertificateRow,
    ChipRow,
    ControlRow,
    EmploymentRow,
    EnterpriseRow,
    MachineRow,
    OperatorRow,
)
from gateway.wire.tokens import Signer
from tests.figures.ground import DAY_MS, HOUR_MS, Shift, machine
from tests.store.databases import AT

TODAY: date = date_of(day_of(AT))
DIVISIONS = ("330521", "330521101", "330521102", "330522", "330621")
FIRMS = tuple(f"9133052100000000{letter}X" for letter in "ABCD")
PEOPLE = ("P1", "P2", "P3", "P4")
MACHINES = tuple(f"HJ-000{number}" for number in range(1, 6))
CODES = ("certificate_expired", "operator_blocked", "machine_in_session")
REACHES = (
    EVERYWHERE,
    Reach(),
    *(Reach(division=prefix) for prefix in ("3", "3305", "330521", "330521101", "330622", "4")),
    *(Reach(uscc=uscc) for uscc in (*FIRMS, "nobody")),
    *(Reach(operator_id=who) for who in (*PEOPLE, "nobody")),
)


class Employment(Struct, frozen=True):
    operator_id: str
    uscc: str
    since: date
    until: date | None

    @property
    def today(self) -> bool:
        return self.since <= TODAY and (self.until is None or self.until >= TODAY)


class Act(Struct, frozen=True):
    """Something at a machine, which belonged to ``uscc`` in ``division`` then; ``uscc`` None: it was not registered."""

    kind: str
    machine_id: str
    operator_id: str
    uscc: str | None
    division: str
    hours: int
    codes: tuple[str, ...]
    arc_s: int


class World(Struct, frozen=True):
    """``firms`` and ``machines`` as they are registered today; not all are."""

    firms: dict[str, str]
    machines: dict[str, tuple[str, str]]
    employments: tuple[Employment, ...]
    certified: frozenset[str]
    acts: tuple[Act, ...]

    def employers(self, operator_id: str) -> list[tuple[str | None, str]]:
        """As ``Reach.holds_person`` wants them."""
        mine = [work for work in self.employments if work.operator_id == operator_id and work.today]
        return [(self.firms.get(work.uscc), work.uscc) for work in mine]


_days = st.integers(-400, 400).map(lambda days: TODAY + timedelta(days))
_employments = st.builds(
    Employment, st.sampled_from(PEOPLE), st.sampled_from(FIRMS), _days, st.none() | st.just(TODAY) | _days
)
_acts = st.builds(
    Act,
    st.sampled_from(("refuse", "refuse", "allow", "work", "work", "run", "offline")),
    st.sampled_from(MACHINES),
    st.sampled_from(PEOPLE),
    st.none() | st.sampled_from(FIRMS),
    st.sampled_from(DIVISIONS),
    st.integers(0, 24 * 60),
    st.lists(st.sampled_from(CODES), min_size=1, max_size=2, unique=True).map(tuple),
    st.integers(0, 3000),
)
reaches = st.lists(st.sampled_from(REACHES), min_size=3, max_size=3, unique=True)
worlds = st.builds(
    World,
    st.dictionaries(st.sampled_from(FIRMS), st.sampled_from(DIVISIONS)),
    st.dictionaries(st.sampled_from(MACHINES), st.tuples(st.sampled_from(FIRMS), st.sampled_from(DIVISIONS))),
    st.lists(_employments, max_size=6, unique_by=lambda work: (work.operator_id, work.uscc, work.since)).map(tuple),
    st.frozensets(st.sampled_from(PEOPLE)),
    st.lists(_acts, max_size=14).map(tuple),
)


def build(world: World, engine: Engine, signer: Signer) -> None:
    """Fill a database with it, and count."""
    _register(world, engine)
    shift = Shift(engine, signer)
    busy: set[str] = set()
    for act in sorted(world.acts, key=lambda act: act.hours):
        _happen(act, shift, busy)
    folder = Folder(engine)
    while folder.step(5, AT).full:
        pass


def _register(world: World, engine: Engine) -> None:
    held = {"change": 1, "source": "test"}
    rows: list[tuple[Any, list[dict[str, Any]]]] = [
        (
            EnterpriseRow,
            [{"uscc": u, "name": f"Firm {u}", "division": d, "status": "active"} for u, d in world.firms.items()],
        ),
        (OperatorRow, [{"operator_id": who, "name": f"Welder {who}", "status": "active"} for who in PEOPLE]),
        (
            MachineRow,
            [
                {"machine_id": m, "uscc": u, "division": d, "process": "fusion", "status": "active"}
                for m, (u, d) in world.machines.items()
            ],
        ),
        (
            EmploymentRow,
            [
                {"operator_id": w.operator_id, "uscc": w.uscc, "since": w.since, "until": w.until}
                for w in world.employments
            ],
        ),
        (CertificateRow, [certificate(who) for who in world.certified]),
    ]
    with engine.begin() as connection:
        for row, values in rows:
            if values:
                connection.execute(sa.insert(tables.table(row)), [value | held for value in values])


def certificate(operator_id: str, **different: Any) -> dict[str, Any]:
    """One that is in force."""
    values: dict[str, Any] = {
        "number_index": f"index-{operator_id}",
        "item": "fusion",
        "number_sealed": b"",
        "number_masked": "T***",
        "operator_id": operator_id,
        "valid_until": TODAY,
        "status": "valid",
        "verification": "verified",
    }
    return values | different


def chip(machine_id: str, received_at: int, *, online: bool) -> dict[str, Any]:
    return {"machine_id": machine_id, "received_at": received_at, "online": online}


def hold(machine_id: str, act: str, version: int) -> dict[str, Any]:
    control_id = f"control-{version}"
    told = {"by": "Wang An", "reason": "检修", "codes": "[]"}
    return {"control_id": control_id, "version": version, "at": AT, "act": act, "machine_id": machine_id, **told}


CHIPS, CONTROLS = tables.table(ChipRow), tables.table(ControlRow)


def _happen(act: Act, shift: Shift, busy: set[str]) -> None:
    """``busy`` machines and people are in a session that goes on; nobody else is let in there."""
    at = AT - 60 * DAY_MS + act.hours * HOUR_MS
    where = machine(act.machine_id, act.uscc, act.division) if act.uscc is not None else None
    if act.kind == "refuse" or where is None or busy & {act.machine_id, act.operator_id}:
        shift.refuse(at, where, act.operator_id, act.codes, act.machine_id)
    elif act.kind == "offline":
        session_id = shift.offline(at, where, act.operator_id, act.codes)
        shift.lock(session_id, at + HOUR_MS, act.machine_id, unlocked_at=at)
    else:
        session_id = shift.allow(at, where, act.operator_id)
        _go_on(act, shift, session_id, at, busy)


def _go_on(act: Act, shift: Shift, session_id: str, at: int, busy: set[str]) -> None:
    match act.kind:
        case "allow":
            shift.time_up(session_id, at + HOUR_MS, act.machine_id)
        case "work":
            shift.report(session_id, act.arc_s, at + HOUR_MS, act.machine_id)
            shift.lock(session_id, at + HOUR_MS, act.machine_id)
        case _:
            busy |= {act.machine_id, act.operator_id}
            shift.unlock(session_id, at + 1000, act.machine_id)
            shift.report(session_id, act.arc_s, at + HOUR_MS, act.machine_id)
