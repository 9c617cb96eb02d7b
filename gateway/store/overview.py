"""What people look at: machines, sessions and operators as they stand, and what is on record about them. Only reads."""

from datetime import date
from typing import Any, Literal, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Certificate, Employment, EnterpriseStatus, Millis, OperatorStatus
from gateway.core.session import State
from gateway.store.entries import UNKNOWN_DAY
from gateway.store.ledger import Stored
from gateway.store.readers import reference
from gateway.store.tables import (
    CertificateRow,
    ChipRow,
    EmploymentRow,
    EnterpriseRow,
    LedgerRow,
    LostEvidenceRow,
    MachineRow,
    OfflineListRow,
    OperatorRow,
    RecordKind,
    SessionRow,
    UsageRow,
    metadata,
)


def _table(row: Any) -> sa.Table:
    return metadata.tables[row.__tablename__]


_machines, _firms, _chips = _table(MachineRow), _table(EnterpriseRow), _table(ChipRow)
_operators, _certificates, _employments = _table(OperatorRow), _table(CertificateRow), _table(EmploymentRow)
_sessions, _usage, _ledger = _table(SessionRow), _table(UsageRow), _table(LedgerRow)
_lost, _lists = _table(LostEvidenceRow), _table(OfflineListRow)
_welders = msgspec.json.Decoder(list[tuple[str, int]]).decode
Kind = TypeVar("Kind")


def _all(kind: type[Kind], connection: Connection, query: sa.Select[Any]) -> list[Kind]:
    """A struct for each row, whose columns are the struct's fields."""
    return [kind(*row) for row in connection.execute(query)]


def _first(kind: type[Kind], connection: Connection, query: sa.Select[Any]) -> Kind | None:
    row = connection.execute(query.limit(1)).first()
    return kind(*row) if row else None


# --- machines ---------------------------------------------------------------------------------------------------


class MachineFacts(Struct, frozen=True):
    """A registered machine and its firm, which may not be registered."""

    machine_id: str
    chip: str | None
    process: str
    status: str
    division: str
    location: str | None
    uscc: str
    firm: str | None
    firm_status: str | None


def machine(connection: Connection, machine_id: str) -> MachineFacts | None:
    names = ("machine_id", "chip", "process", "status", "division", "location", "uscc")
    columns = (*(_machines.c[name] for name in names), _firms.c.name, _firms.c.status)
    joined = _machines.outerjoin(_firms, _firms.c.uscc == _machines.c.uscc)
    query = sa.select(*columns).select_from(joined).where(_machines.c.machine_id == machine_id)
    return _first(MachineFacts, connection, query)


def firms_of(connection: Connection, machine_ids: set[str]) -> dict[str, str]:
    """The credit code of each machine's firm."""
    query = sa.select(_machines.c.machine_id, _machines.c.uscc).where(_machines.c.machine_id.in_(machine_ids))
    return {row.machine_id: row.uscc for row in connection.execute(query)}


class ChipFacts(Struct, frozen=True):
    """What a chip last reported of itself."""

    received_at: Millis
    online: bool
    chip: str | None
    firmware: str | None
    relay: str | None


def chip(connection: Connection, machine_id: str) -> ChipFacts | None:
    query = sa.select(*(_chips.c[name] for name in ChipFacts.__struct_fields__))
    return _first(ChipFacts, connection, query.where(_chips.c.machine_id == machine_id))


class Lost(Struct, frozen=True):
    """Events ``first`` to ``last`` of a chip were never received; ``last`` is None where the numbers began anew."""

    noticed_at: Millis
    first: int
    last: int | None


def lost_evidence(connection: Connection, machine_id: str, limit: int) -> list[Lost]:
    """The latest noticed first."""
    query = sa.select(*(_lost.c[name] for name in Lost.__struct_fields__)).where(_lost.c.machine_id == machine_id)
    return _all(Lost, connection, query.order_by(_lost.c.noticed_at.desc(), _lost.c.first.desc()).limit(limit))


class ListFacts(Struct, frozen=True):
    """The offline list that a machine was sent last. ``until``: when the last one on it may unlock no more, seconds
    since 1970; None for an empty list."""

    version: int
    at: Millis
    offline_for_s: int
    people: int
    until: int | None


def offline_list(connection: Connection, machine_id: str) -> ListFacts | None:
    columns = (_lists.c[name] for name in ("list_version", "at", "offline_for_s", "entries"))
    query = sa.select(*columns).where(_lists.c.machine_id == machine_id).order_by(_lists.c.list_version.desc())
    row = connection.execute(query.limit(1)).first()
    if row is None:
        return None
    welders = _welders(row.entries)
    return ListFacts(
        row.list_version, row.at, row.offline_for_s, len(welders), max((at for _, at in welders), default=None)
    )


# --- sessions ---------------------------------------------------------------------------------------------------


class SessionFacts(Struct, frozen=True):
    """A session with its latest usage, whose fields are None before the first report."""

    session_id: str
    machine_id: str
    operator_id: str | None
    division: str | None
    granted_at: Millis
    unlocked_at: Millis | None
    lease_until: Millis
    ended_at: Millis | None
    end_reason: str | None
    drained_at: Millis | None
    drain_reason: str | None
    offline: bool
    reported_at: Millis | None
    current_a: float | None
    arc_s: int | None
    arcs: int | None
    energy_wh: float | None

    @property
    def state(self) -> State:
        """As the session's table says; whether it welds by the current in its latest usage."""
        if self.ended_at is not None:
            return "ended"
        if self.drained_at is not None:
            return "draining"
        if self.unlocked_at is None:
            return "granted"
        if self.current_a is None:
            return "unlocked"
        return "welding" if self.current_a > 0 else "idle"


class Wanted(Struct, frozen=True):
    """Which sessions: those that fit whatever is given; ``uscc``: at machines that are this firm's today."""

    which: Literal["open", "ended", "all"] = "open"
    machine_id: str | None = None
    operator_id: str | None = None
    division: str | None = None
    uscc: str | None = None


def sessions(connection: Connection, wanted: Wanted, limit: int) -> list[SessionFacts]:
    """The latest granted first."""
    query = _with_usage().order_by(_sessions.c.granted_at.desc(), _sessions.c.session_id).limit(limit)
    if wanted.which != "all":
        is_open = _sessions.c.ended_at.is_(None)
        query = query.where(is_open if wanted.which == "open" else ~is_open)
    for name in ("machine_id", "operator_id", "division"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(_sessions.c[name] == value)
    if wanted.uscc is not None:
        own = sa.select(_machines.c.machine_id).where(_machines.c.uscc == wanted.uscc)
        query = query.where(_sessions.c.machine_id.in_(own))
    return _all(SessionFacts, connection, query)


def session(connection: Connection, session_id: str) -> SessionFacts | None:
    return _first(SessionFacts, connection, _with_usage().where(_sessions.c.session_id == session_id))


def _with_usage() -> sa.Select[Any]:
    names = SessionFacts.__struct_fields__
    own = [_sessions.c[name] for name in names[: names.index("reported_at")]]
    usage = [_usage.c.received_at, *(_usage.c[name] for name in names[names.index("current_a") :])]
    same = (_usage.c.session_id == _sessions.c.session_id) & (_usage.c.machine_id == _sessions.c.machine_id)
    return sa.select(*own, *usage).select_from(_sessions.outerjoin(_usage, same))


# --- firms ------------------------------------------------------------------------------------------------------


class FirmFacts(Struct, frozen=True):
    """A registered firm."""

    uscc: str
    division: str
    status: EnterpriseStatus
    name: str | None


def firm(connection: Connection, uscc: str) -> FirmFacts | None:
    query = sa.select(*(_firms.c[name] for name in FirmFacts.__struct_fields__))
    return _first(FirmFacts, connection, query.where(_firms.c.uscc == uscc))


def staff(connection: Connection, uscc: str) -> list[str]:
    """Operator ids of everybody who is, was or will be employed by the firm, each once."""
    query = sa.select(_employments.c.operator_id).where(_employments.c.uscc == uscc).distinct()
    return list(connection.execute(query.order_by(_employments.c.operator_id)).scalars())


# --- operators --------------------------------------------------------------------------------------------------


class OperatorFacts(Struct, frozen=True):
    """A registered person, without the sealed numbers."""

    operator_id: str
    name: str | None
    born_on: date | None
    status: OperatorStatus
    has_id_number: bool
    has_phone: bool


def operator(connection: Connection, operator_id: str) -> OperatorFacts | None:
    columns = (_operators.c[name] for name in ("operator_id", "name", "born_on", "status"))
    sealed = (_operators.c.id_number_sealed.is_not(None), _operators.c.phone_sealed.is_not(None))
    query = sa.select(*columns, *sealed).where(_operators.c.operator_id == operator_id)
    return _first(OperatorFacts, connection, query)


def certificates(connection: Connection, operator_id: str) -> list[Certificate]:
    """Numbers masked, the one that is valid longest first."""
    names = ("valid_from", "valid_until", "review_due", "reviewed_on", "status", "verification")
    columns = (_certificates.c[name] for name in ("number_index", "number_masked", "item", *names))
    query = sa.select(*columns).where(_certificates.c.operator_id == operator_id)
    rows = connection.execute(query.order_by(_certificates.c.valid_until.desc(), _certificates.c.item))
    return [Certificate(reference(index, item), number, item, *rest) for index, number, item, *rest in rows]


def employments(connection: Connection, operator_id: str) -> list[tuple[Employment, str | None]]:
    """Each with the firm's name."""
    columns = (_employments.c.uscc, _employments.c.since, _employments.c.until, _firms.c.name)
    joined = _employments.outerjoin(_firms, _firms.c.uscc == _employments.c.uscc)
    query = sa.select(*columns).select_from(joined).where(_employments.c.operator_id == operator_id)
    return [
        (Employment(uscc, None if since == UNKNOWN_DAY else since, until), name)
        for uscc, since, until, name in connection.execute(query.order_by(_employments.c.since.desc()))
    ]


# --- records ----------------------------------------------------------------------------------------------------


def latest_records(connection: Connection, machine_id: str, kind: RecordKind, limit: int) -> list[Stored]:
    """The latest records of one kind about a machine, the latest first."""
    query = _records().where(_ledger.c.machine_id == machine_id, _ledger.c.kind == kind)
    return _all(Stored, connection, query.order_by(_ledger.c.seq.desc()).limit(limit))


def decision_on(connection: Connection, machine_id: str, request_id: str) -> Stored | None:
    """What was decided on one request."""
    asked = (_ledger.c.machine_id == machine_id, _ledger.c.kind == "decision", _ledger.c.message_id == request_id)
    return _first(Stored, connection, _records().where(*asked))


def decisions_between(
    connection: Connection, machine_id: str, operator_id: str, since: Millis, until: Millis
) -> list[Stored]:
    """What was decided on this person at this machine."""
    query = _records().where(
        _ledger.c.machine_id == machine_id,
        _ledger.c.kind == "decision",
        _ledger.c.operator_id == operator_id,
        _ledger.c.at.between(since, until),
    )
    return _all(Stored, connection, query.order_by(_ledger.c.seq))


def _records() -> sa.Select[Any]:
    return sa.select(*(_ledger.c[name] for name in Stored.__struct_fields__))
