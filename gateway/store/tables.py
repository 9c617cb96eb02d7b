"""The tables that decisions rest on and are written to. Those of pages stand in ``counted_tables`` and
``account_tables``.

Times are integer Unix milliseconds, UTC; ``change`` columns of registries hold the change that a row is of, ``source``
who said so. Personal numbers are sealed (AES-GCM) and found by their keyed index; see ``gateway.store.vault``.
"""

from datetime import date
from typing import Literal, get_args

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from gateway.core.model import (
    CertificateStatus,
    ControlAct,
    EnterpriseStatus,
    MachineStatus,
    OperatorStatus,
    Outcome,
    PermitLevel,
    PermitStatus,
    Process,
    Verification,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}
metadata: MetaData = SQLModel.metadata
metadata.naming_convention = NAMING

SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite keeps the table itself in the order of an INTEGER key; of a BIGINT it would keep an index besides."""
BY_KEY = {"sqlite_with_rowid": False}
"""The same for keys of text: rows lie in the order of the key, which saves an index and a page in each commit."""

RecordKind = Literal[
    "decision",
    "event",
    "session_end",
    "command",
    "control",
    "rejected",
    "gateway",
    "registry",
    "check",
    "access",
    "purge",
    "account",
]
"""Not a CHECK of the ledger: on SQLite a new kind would then cost a copy of all of it."""


def one_of(column: str, values: object) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in get_args(values))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


# --- the ledger -------------------------------------------------------------------------------------------------


class LedgerRow(SQLModel, table=True):
    """One record of the hash chain. ``record`` is canonical JSON (RFC 8785) and holds everything, the exact reply
    included; ``hash`` is its SHA-256; the other columns repeat parts of it to be found by."""

    __tablename__ = "ledger"
    __table_args__ = (
        UniqueConstraint("machine_id", "kind", "message_id"),
        one_of("outcome", Outcome),
    )
    seq: int = Field(sa_column=Column(SEQUENCE, primary_key=True, autoincrement=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: str = Field(sa_column=Column(String(16), nullable=False))
    machine_id: str | None = Field(default=None, max_length=32)
    message_id: str | None = Field(default=None, max_length=64)
    operator_id: str | None = Field(default=None, max_length=256)
    outcome: str | None = Field(default=None, max_length=8)
    record: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary(32), nullable=False))


class LedgerHead(SQLModel, table=True):
    """The end of the chain, written with every commit: a cut-off tail shows. ``latest_at`` is the latest time in it,
    which is not the last record's where the clock was set back."""

    __tablename__ = "ledger_head"
    id: int = Field(default=1, primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary(32), nullable=False))
    latest_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class PolicyRow(SQLModel, table=True):
    """Every policy that ever decided, by the hash of its canonical document."""

    __tablename__ = "policies"
    hash: str = Field(primary_key=True, max_length=64)
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    document: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


# --- sessions and what chips report -----------------------------------------------------------------------------


class SessionRow(SQLModel, table=True):
    """One unlocked period. INVARIANT: the two partial unique indexes allow one open session per machine and one
    per operator, whatever number of processes write.

    ``lease_until`` is the latest end of the last lease sent, ``open_until`` when the relay is open whatever the chip
    reports; ``n`` numbers its commands, ``rev`` the row's changes. A session drains from ``drained_at`` on, by the
    command ``lock_id``.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index(
            "uq_sessions_open_machine",
            "machine_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "uq_sessions_open_operator",
            "operator_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended"),
        CheckConstraint("(drained_at IS NULL) = (drain_reason IS NULL)", name="drained"),
        BY_KEY,
    )
    session_id: str = Field(primary_key=True, max_length=64)
    machine_id: str = Field(max_length=32)
    operator_id: str | None = Field(default=None, max_length=256)
    request_id: str = Field(max_length=64)
    division: str | None = Field(default=None, max_length=6)
    granted_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    unlocked_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    open_until: int = Field(sa_column=Column(BigInteger, nullable=False))
    ended_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    end_reason: str | None = Field(default=None, max_length=64)
    has_clock: bool = Field(sa_column=Column(Boolean, nullable=False))
    offline: bool = Field(sa_column=Column(Boolean, nullable=False))
    lease_s: int = Field(sa_column=Column(Integer, nullable=False))
    leased_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    lease_until: int = Field(sa_column=Column(BigInteger, nullable=False))
    n: int = Field(sa_column=Column(Integer, nullable=False))
    drained_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    drain_reason: str | None = Field(default=None, max_length=32)
    lock_id: str | None = Field(default=None, max_length=64)
    lock_now: bool | None = None
    rev: int = Field(sa_column=Column(Integer, nullable=False))


class UsedCodeRow(SQLModel, table=True):
    """Rolling codes that were shown. INVARIANT: the key lets each be used once, whatever number of processes write."""

    __tablename__ = "used_codes"
    __table_args__ = BY_KEY
    step: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    operator_id: str = Field(primary_key=True, max_length=256)


class EventSeqRow(SQLModel, table=True):
    """The event number of each chip from which the next one is counted."""

    __tablename__ = "event_seqs"
    __table_args__ = BY_KEY
    machine_id: str = Field(primary_key=True, max_length=32)
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))


class LostEvidenceRow(SQLModel, table=True):
    """A gap in a chip's event numbers: ``first`` to ``last`` were never received. ``last`` is None where the numbers
    began anew, so that nobody knows how many are lost."""

    __tablename__ = "lost_evidence"
    __table_args__ = BY_KEY
    machine_id: str = Field(primary_key=True, max_length=32)
    noticed_at: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    first: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    last: int | None = Field(default=None, sa_column=Column(BigInteger))


class OfflineListRow(SQLModel, table=True):
    """Who could unlock a machine while it had no connection, by version: ``entries`` is a JSON list of
    ``[operator_id, until in seconds]``."""

    __tablename__ = "offline_lists"
    __table_args__ = BY_KEY
    machine_id: str = Field(primary_key=True, max_length=32)
    list_version: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    offline_for_s: int = Field(sa_column=Column(Integer, nullable=False))
    lease_s: int = Field(sa_column=Column(Integer, nullable=False))
    entries: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class UsageRow(SQLModel, table=True):
    """The latest cumulative usage of each session."""

    __tablename__ = "usage"
    __table_args__ = BY_KEY
    session_id: str = Field(primary_key=True, max_length=64)
    machine_id: str = Field(primary_key=True, max_length=32)
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    received_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: int | None = Field(default=None, sa_column=Column(BigInteger))
    relay: str = Field(max_length=6)
    enabled_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arc_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    idle_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arcs: int = Field(sa_column=Column(BigInteger, nullable=False))
    energy_wh: float
    current_a: float | None = None
    voltage_v: float | None = None
    final: bool


class ChipRow(SQLModel, table=True):
    """What each chip last reported of itself; ``at`` by its own clock."""

    __tablename__ = "chips"
    __table_args__ = BY_KEY
    machine_id: str = Field(primary_key=True, max_length=32)
    received_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    online: bool
    chip: str | None = Field(default=None, max_length=64)
    firmware: str | None = Field(default=None, max_length=64)
    relay: str | None = Field(default=None, max_length=6)
    challenge: str | None = Field(default=None, max_length=128)
    at: int | None = Field(default=None, sa_column=Column(BigInteger))


# --- registries -------------------------------------------------------------------------------------------------


class RegistryChange(SQLModel, table=True):
    """What one import, sync, push, order or rollback changed.

    ``change`` is given when it begins, ``version`` when all of it is written and it begins to hold: until then nobody
    sees it, and one that was broken off is undone.
    """

    __tablename__ = "registry_changes"
    change: int = Field(sa_column=Column(SEQUENCE, primary_key=True, autoincrement=False))
    version: int | None = Field(default=None, sa_column=Column(BigInteger, unique=True))
    began_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: int | None = Field(default=None, sa_column=Column(BigInteger))
    source: str = Field(max_length=64)
    note: str = Field(max_length=1024)
    added: int
    changed: int
    removed: int


class RegistryState(SQLModel, table=True):
    """The version that holds, when a source last confirmed the registries (changed or not), and which vault's index
    keys are those of the rows: with another vault's every number would look new.

    ``writing`` is the change that somebody writes in several transactions, ``writing_at`` when the last of them was.
    """

    __tablename__ = "registry_state"
    id: int = Field(default=1, primary_key=True)
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    confirmed_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    vault: str = Field(max_length=32)
    writing: int | None = Field(default=None, sa_column=Column(BigInteger))
    writing_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class RegistryHistory(SQLModel, table=True):
    """A state of a registry row that no longer holds (SQL:2011: system-versioned): from the change ``from_change`` on,
    until ``to_change``. ``row`` is JSON of all columns, sealed ones in base64; ``gone``: no row took its place.

    ``kind`` names the registry's table; ``operator_id`` and ``uscc`` are whom it concerns.
    """

    __tablename__ = "registry_history"
    id: int | None = Field(default=None, sa_column=Column(SEQUENCE, primary_key=True, autoincrement=True))
    kind: str = Field(max_length=16)
    key: str = Field(max_length=512)
    operator_id: str | None = Field(default=None, max_length=256, index=True)
    uscc: str | None = Field(default=None, max_length=18, index=True)
    row: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    from_change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    to_change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    gone: bool
    __table_args__ = (Index(None, "kind", "key"),)


class RegistryClaim(SQLModel, table=True):
    """What one of several sources says of a row that they all speak of; ``row`` as in the history."""

    __tablename__ = "registry_claims"
    __table_args__ = BY_KEY
    kind: str = Field(primary_key=True, max_length=16)
    key: str = Field(primary_key=True, max_length=512)
    source: str = Field(primary_key=True, max_length=64)
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    row: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class RegistrySource(SQLModel, table=True):
    """How each source stands: when it was last asked and last confirmed what we hold, and from where to go on."""

    __tablename__ = "registry_sources"
    source: str = Field(primary_key=True, max_length=64)
    tried_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    confirmed_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    failing_since: int | None = Field(default=None, sa_column=Column(BigInteger))
    problem: str | None = Field(default=None, max_length=512)
    position: str = Field(default="{}", max_length=4096)


class RegistryEvent(SQLModel, table=True):
    """Every event that was pushed. INVARIANT: the key lets each count once; ``at`` is the source's own time, by which
    an older word about the same ``subject`` changes nothing."""

    __tablename__ = "registry_events"
    __table_args__ = (Index(None, "source", "subject", "at"), BY_KEY)
    source: str = Field(primary_key=True, max_length=64)
    event_id: str = Field(primary_key=True, max_length=64)
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    received_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    subject: str = Field(max_length=512)
    kind: str = Field(max_length=32)
    outcome: str = Field(max_length=16)
    version: int | None = Field(default=None, sa_column=Column(BigInteger))


class RegistryHold(SQLModel, table=True):
    """A change that would take the right to weld from too many: ``operators`` is a JSON list of whom."""

    __tablename__ = "registry_holds"
    hold_id: str = Field(primary_key=True, max_length=64)
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    source: str = Field(max_length=64)
    note: str = Field(max_length=1024)
    people: int
    of_people: int
    operators: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    state: str = Field(max_length=16)
    decided_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    by: str | None = Field(default=None, max_length=128)
    reason: str | None = Field(default=None, max_length=512)


class EnterpriseRow(SQLModel, table=True):
    __tablename__ = "enterprises"
    __table_args__ = (one_of("status", EnterpriseStatus),)
    uscc: str = Field(primary_key=True, max_length=18)
    name: str | None = Field(default=None, max_length=256)
    division: str = Field(max_length=6)
    status: str = Field(max_length=32)
    change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    source: str = Field(max_length=64)


class OperatorRow(SQLModel, table=True):
    """``born_on`` is taken from the ID number, which itself is only kept sealed."""

    __tablename__ = "operators"
    __table_args__ = (one_of("status", OperatorStatus),)
    operator_id: str = Field(primary_key=True, max_length=256)
    name: str | None = Field(default=None, max_length=128)
    born_on: date | None = None
    id_number_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    id_number_index: str | None = Field(default=None, max_length=64, index=True)
    phone_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    phone_index: str | None = Field(default=None, max_length=64, index=True)
    status: str = Field(max_length=16)
    change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    source: str = Field(max_length=64)


class CertificateRow(SQLModel, table=True):
    """Key: (number, item). The number holds an ID number, so its keyed index stands for it."""

    __tablename__ = "certificates"
    __table_args__ = (
        one_of("item", Process),
        one_of("status", CertificateStatus),
        one_of("verification", Verification),
    )
    number_index: str = Field(primary_key=True, max_length=64)
    item: str = Field(primary_key=True, max_length=16)
    number_sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    number_masked: str = Field(max_length=64)
    operator_id: str = Field(max_length=256, index=True)
    category: str | None = Field(default=None, max_length=64)
    issued_on: date | None = None
    valid_from: date | None = None
    valid_until: date
    review_due: date | None = None
    reviewed_on: date | None = None
    authority: str | None = Field(default=None, max_length=128)
    status: str = Field(max_length=16)
    verification: str = Field(max_length=16)
    change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    source: str = Field(max_length=64)


class EmploymentRow(SQLModel, table=True):
    """Key: (operator, firm, first day). ``since`` is the file's ``from``; an unknown first day is 0001-01-01, and a
    row with the known one replaces it."""

    __tablename__ = "employments"
    operator_id: str = Field(primary_key=True, max_length=256)
    uscc: str = Field(primary_key=True, max_length=18)
    since: date = Field(primary_key=True)
    until: date | None = None
    change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    source: str = Field(max_length=64)


class MachineRow(SQLModel, table=True):
    __tablename__ = "machines"
    __table_args__ = (one_of("process", Process), one_of("status", MachineStatus))
    machine_id: str = Field(primary_key=True, max_length=32)
    chip: str | None = Field(default=None, max_length=64)
    uscc: str = Field(max_length=18)
    process: str = Field(max_length=16)
    division: str = Field(max_length=6)
    location: str | None = Field(default=None, max_length=256)
    status: str = Field(max_length=16)
    change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    source: str = Field(max_length=64)


class PermitRow(SQLModel, table=True):
    """A hot-work permit. An empty ``machine_id`` or ``operator_id`` of the key's rest means: any of the firm."""

    __tablename__ = "permits"
    __table_args__ = (one_of("level", PermitLevel), one_of("status", PermitStatus))
    permit_id: str = Field(primary_key=True, max_length=64)
    operator_id: str = Field(primary_key=True, max_length=256)
    machine_id: str = Field(primary_key=True, max_length=32)
    uscc: str = Field(max_length=18, index=True)
    level: str = Field(max_length=16)
    guardian: str | None = Field(default=None, max_length=256)
    starts_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    ends_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    status: str = Field(max_length=16)
    change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    source: str = Field(max_length=64)


class WorkHoursRow(SQLModel, table=True):
    """Hours in which a firm may work, at one machine or (empty ``machine_id``) at all others of it. ``days`` lists
    ISO weekdays, Monday is 1; ``starts`` and ``ends`` are HH:MM in the county's time."""

    __tablename__ = "work_hours"
    uscc: str = Field(primary_key=True, max_length=18)
    machine_id: str = Field(primary_key=True, max_length=32)
    days: str = Field(primary_key=True, max_length=7)
    starts: str = Field(primary_key=True, max_length=5)
    ends: str = Field(max_length=5)
    change: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    source: str = Field(max_length=64)


class ControlRow(SQLModel, table=True):
    """What an authorised person ordered (``gateway.core.model.Control``); ``codes`` is a JSON list."""

    __tablename__ = "controls"
    __table_args__ = (one_of("act", ControlAct),)
    control_id: str = Field(primary_key=True, max_length=64)
    version: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    act: str = Field(max_length=32)
    by: str = Field(max_length=128)
    reason: str = Field(max_length=512)
    machine_id: str | None = Field(default=None, max_length=32, index=True)
    operator_id: str | None = Field(default=None, max_length=256)
    session_id: str | None = Field(default=None, max_length=64)
    override_id: str | None = Field(default=None, max_length=64, index=True)
    level: str | None = Field(default=None, max_length=16)
    codes: str = Field(default="[]", max_length=1024)
    until: int | None = Field(default=None, sa_column=Column(BigInteger))
    minutes: int | None = None


# --- beside the registries --------------------------------------------------------------------------------------


class ApiTokenRow(SQLModel, table=True):
    """A token of the HTTP API: only its SHA-256 is kept. ``scopes`` is a JSON list."""

    __tablename__ = "api_tokens"
    token_id: str = Field(primary_key=True, max_length=16)
    name: str = Field(max_length=128)
    hash: str = Field(max_length=64, unique=True)
    scopes: str = Field(max_length=1024)
    made_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    revoked_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class LedgerAnchor(SQLModel, table=True):
    """Where the chain begins since records past their retention were purged: the last purged record's number and
    hash. A record of the chain names the same."""

    __tablename__ = "ledger_anchor"
    id: int = Field(default=1, primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary(32), nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
