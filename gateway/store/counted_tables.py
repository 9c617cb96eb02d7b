"""Tables that are counted for pages.

Made from ledger, sessions and usage by ``gateway.store.figures.folding``, and can be made anew. Days and hours are
those of ``gateway.core.days``. ``division`` and ``uscc`` are the machine's at that time, "" where it was not
registered; an ``operator_id`` of "" is somebody unknown.
"""

from sqlalchemy import BigInteger, Column, Index, text
from sqlmodel import Field, SQLModel

from gateway.store.tables import BY_KEY, SEQUENCE


class FiguresState(SQLModel, table=True):
    """How far the figures go: up to record ``seq``. ``turn`` rises with everything that is written to them.

    INVARIANT: it is read before and changed with what is folded, so each record counts once, whatever number of
    processes fold. Who holds it until ``held_until`` folds alone. Before the days ``ledger_from`` and ``sessions_from``
    something that was counted is purged.
    """

    __tablename__ = "figures_state"
    id: int = Field(default=1, primary_key=True)
    turn: int = Field(sa_column=Column(BigInteger, nullable=False))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    held_by: str | None = Field(default=None, max_length=32)
    held_until: int | None = Field(default=None, sa_column=Column(BigInteger))
    ledger_from: int | None = None
    sessions_from: int | None = None


class UncountedUsage(SQLModel, table=True):
    """Usage that was reported since the session was counted; ``seq`` is that of the latest report."""

    __tablename__ = "uncounted_usage"
    __table_args__ = BY_KEY
    session_id: str = Field(primary_key=True, max_length=64)
    machine_id: str = Field(primary_key=True, max_length=32)
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))


class DecisionRow(SQLModel, table=True):
    """An index of the ledger: each request that was decided, and each unlock without a connection that was decided
    afterwards. ``reasons``, ``warnings`` and ``overridden`` are codes with a space between them; ``request_id`` is the
    record's ``message_id``."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index(None, "at"),
        Index(None, "division", "at"),
        Index(None, "uscc", "at"),
        Index(None, "machine_id", "at"),
        Index(None, "operator_id", "at"),
        Index(
            "ix_decisions_refused",
            "at",
            sqlite_where=text("outcome = 'deny'"),
            postgresql_where=text("outcome = 'deny'"),
        ),
        Index(
            "ix_decisions_offline",
            "at",
            sqlite_where=text("kind = 'offline'"),
            postgresql_where=text("kind = 'offline'"),
        ),
    )
    seq: int = Field(sa_column=Column(SEQUENCE, primary_key=True, autoincrement=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: str = Field(max_length=8)
    division: str = Field(max_length=12)
    uscc: str = Field(max_length=18)
    machine_id: str = Field(max_length=32)
    operator_id: str | None = Field(default=None, max_length=256)
    outcome: str = Field(max_length=8)
    method: str | None = Field(default=None, max_length=8)
    request_id: str | None = Field(default=None, max_length=64)
    session_id: str | None = Field(default=None, max_length=64)
    reasons: str = Field(max_length=2048)
    warnings: str = Field(max_length=2048)
    overridden: str = Field(max_length=2048)


class DecisionReason(SQLModel, table=True):
    """Each reason of each refusal, in the order in which they are looked for."""

    __tablename__ = "decision_reasons"
    __table_args__ = BY_KEY
    code: str = Field(primary_key=True, max_length=64)
    at: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    division: str = Field(max_length=12)
    uscc: str = Field(max_length=18)


class DecisionHour(SQLModel, table=True):
    """How many decisions (``code`` is ""), and how many of them named a code: of a refusal its reasons, of an allow its
    warnings."""

    __tablename__ = "decision_hours"
    __table_args__ = (Index(None, "uscc", "hour"), BY_KEY)
    hour: int = Field(primary_key=True)
    division: str = Field(primary_key=True, max_length=12)
    uscc: str = Field(primary_key=True, max_length=18)
    outcome: str = Field(primary_key=True, max_length=8)
    code: str = Field(primary_key=True, max_length=64)
    decisions: int = Field(sa_column=Column(BigInteger, nullable=False))


class DecisionDay(SQLModel, table=True):
    """The same by day."""

    __tablename__ = "decision_days"
    __table_args__ = (Index(None, "uscc", "day"), BY_KEY)
    day: int = Field(primary_key=True)
    division: str = Field(primary_key=True, max_length=12)
    uscc: str = Field(primary_key=True, max_length=18)
    outcome: str = Field(primary_key=True, max_length=8)
    code: str = Field(primary_key=True, max_length=64)
    decisions: int = Field(sa_column=Column(BigInteger, nullable=False))


class SessionIndexRow(SQLModel, table=True):
    """A session as it is counted: whose, where, and its usage up to report ``usage_seq`` (-1: none yet)."""

    __tablename__ = "session_index"
    __table_args__ = (
        Index(None, "machine_id", "granted_at"),
        Index(None, "operator_id", "granted_at"),
        Index(None, "uscc", "granted_at"),
        BY_KEY,
    )
    session_id: str = Field(primary_key=True, max_length=64)
    machine_id: str = Field(max_length=32)
    operator_id: str = Field(max_length=256)
    division: str = Field(max_length=12)
    uscc: str = Field(max_length=18)
    granted_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    unlocked_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    usage_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    enabled_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arc_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    idle_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arcs: int = Field(sa_column=Column(BigInteger, nullable=False))
    energy_mwh: int = Field(sa_column=Column(BigInteger, nullable=False))


class UsageDay(SQLModel, table=True):
    """Sessions of a person at a machine that began on a day and were unlocked, and all their usage, whenever it was
    reported. ``energy_mwh`` in milliwatt-hours: whole numbers add up to the same in any order."""

    __tablename__ = "usage_days"
    __table_args__ = (
        Index(None, "machine_id", "day"),
        Index(None, "operator_id", "day"),
        Index(None, "uscc", "day"),
        BY_KEY,
    )
    day: int = Field(primary_key=True)
    machine_id: str = Field(primary_key=True, max_length=32)
    operator_id: str = Field(primary_key=True, max_length=256)
    division: str = Field(primary_key=True, max_length=12)
    uscc: str = Field(primary_key=True, max_length=18)
    sessions: int = Field(sa_column=Column(BigInteger, nullable=False))
    enabled_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arc_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    idle_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arcs: int = Field(sa_column=Column(BigInteger, nullable=False))
    energy_mwh: int = Field(sa_column=Column(BigInteger, nullable=False))


class FirmDay(SQLModel, table=True):
    """The same of all people at all machines of a firm; names nobody, and is never purged."""

    __tablename__ = "firm_days"
    __table_args__ = (Index(None, "uscc", "day"), BY_KEY)
    day: int = Field(primary_key=True)
    division: str = Field(primary_key=True, max_length=12)
    uscc: str = Field(primary_key=True, max_length=18)
    sessions: int = Field(sa_column=Column(BigInteger, nullable=False))
    enabled_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arc_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    idle_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    arcs: int = Field(sa_column=Column(BigInteger, nullable=False))
    energy_mwh: int = Field(sa_column=Column(BigInteger, nullable=False))


class PairRow(SQLModel, table=True):
    """A person who has unlocked a machine: in how many sessions, and when the first and the last of them was."""

    __tablename__ = "pairs"
    __table_args__ = (Index(None, "operator_id"), BY_KEY)
    machine_id: str = Field(primary_key=True, max_length=32)
    operator_id: str = Field(primary_key=True, max_length=256)
    sessions: int = Field(sa_column=Column(BigInteger, nullable=False))
    first_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    last_at: int = Field(sa_column=Column(BigInteger, nullable=False))
