"""figures: an index of decisions and sessions, counts by hour and day

Revision ID: 0005
Revises: 0004
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = (
    "pairs",
    "firm_days",
    "usage_days",
    "session_index",
    "decision_days",
    "decision_hours",
    "decision_reasons",
    "decisions",
    "uncounted_usage",
    "figures_state",
)


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _usage() -> list[sa.Column[Any]]:
    return [_whole(name) for name in ("enabled_s", "arc_s", "idle_s", "arcs", "energy_mwh")]


def _by_key(table: str, key: tuple[str, ...], *columns: sa.Column[Any]) -> None:
    constraint = sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}"))
    op.create_table(table, *columns, constraint, sqlite_with_rowid=False)


def _indexes(table: str, *columns: tuple[str, ...]) -> None:
    for names in columns:
        op.create_index(op.f(f"ix_{table}_{'_'.join(names)}"), table, list(names))


def upgrade() -> None:
    op.create_table(
        "figures_state",
        sa.Column("id", sa.Integer(), nullable=False),
        _whole("turn"),
        _whole("seq"),
        _text("held_by", 32, nullable=True),
        _whole("held_until", nullable=True),
        sa.Column("ledger_from", sa.Integer(), nullable=True),
        sa.Column("sessions_from", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_figures_state")),
    )
    _by_key(
        "uncounted_usage",
        ("session_id", "machine_id"),
        *(_text("session_id", 64), _text("machine_id", 32), _whole("seq")),
    )
    _decisions()
    for table, unit in (("decision_hours", "hour"), ("decision_days", "day")):
        key = (unit, "division", "uscc", "outcome", "code")
        named = (_text("division", 12), _text("uscc", 18), _text("outcome", 8), _text("code", 64))
        _by_key(table, key, sa.Column(unit, sa.Integer(), nullable=False), *named, _whole("decisions"))
        _indexes(table, ("uscc", unit))
    _sessions()


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        _whole("at"),
        *(_text("kind", 8), _text("division", 12), _text("uscc", 18), _text("machine_id", 32)),
        *(_text("operator_id", 256, nullable=True), _text("outcome", 8), _text("method", 8, nullable=True)),
        *(_text("request_id", 64, nullable=True), _text("session_id", 64, nullable=True)),
        *(_text("reasons", 2048), _text("warnings", 2048), _text("overridden", 2048)),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_decisions")),
    )
    _indexes("decisions", ("at",), ("division", "at"), ("uscc", "at"), ("machine_id", "at"), ("operator_id", "at"))
    for name, where in (("refused", "outcome = 'deny'"), ("offline", "kind = 'offline'")):
        some = sa.text(where)
        op.create_index(f"ix_decisions_{name}", "decisions", ["at"], sqlite_where=some, postgresql_where=some)
    _by_key(
        "decision_reasons",
        ("code", "at", "seq"),
        *(_text("code", 64), _whole("at"), _whole("seq"), _text("division", 12), _text("uscc", 18)),
    )


def _sessions() -> None:
    _by_key(
        "session_index",
        ("session_id",),
        *(_text("session_id", 64), _text("machine_id", 32), _text("operator_id", 256)),
        *(_text("division", 12), _text("uscc", 18)),
        *(_whole("granted_at"), _whole("unlocked_at", nullable=True), _whole("usage_seq"), *_usage()),
    )
    _indexes("session_index", ("machine_id", "granted_at"), ("operator_id", "granted_at"), ("uscc", "granted_at"))
    people = (_text("machine_id", 32), _text("operator_id", 256))
    where = (_text("division", 12), _text("uscc", 18))
    day = sa.Column("day", sa.Integer(), nullable=False)
    key = ("day", "machine_id", "operator_id", "division", "uscc")
    _by_key("usage_days", key, day, *people, *where, _whole("sessions"), *_usage())
    _indexes("usage_days", ("machine_id", "day"), ("operator_id", "day"), ("uscc", "day"))
    where = (_text("division", 12), _text("uscc", 18))
    _by_key(
        "firm_days",
        ("day", "division", "uscc"),
        sa.Column("day", sa.Integer(), nullable=False),
        *where,
        _whole("sessions"),
        *_usage(),
    )
    _indexes("firm_days", ("uscc", "day"))
    people = (_text("machine_id", 32), _text("operator_id", 256))
    times = (_whole("first_at"), _whole("last_at"))
    _by_key("pairs", ("machine_id", "operator_id"), *people, _whole("sessions"), *times)
    _indexes("pairs", ("operator_id",))


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
