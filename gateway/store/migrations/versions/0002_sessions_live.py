"""sessions live: leases, locks, codes, controls, offline lists

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEW = (
    ("has_clock", sa.Boolean(), sa.false()),
    ("offline", sa.Boolean(), sa.false()),
    ("lease_s", sa.Integer(), sa.text("900")),
    ("leased_at", sa.BigInteger(), sa.text("0")),
    ("lease_until", sa.BigInteger(), sa.text("0")),
    ("n", sa.Integer(), sa.text("0")),
    ("rev", sa.Integer(), sa.text("0")),
)
"""Columns of sessions with what they hold for sessions of before: of those nobody knows whether the chip has a clock."""
OLD_KINDS = "('decision', 'event', 'session_end', 'rejected', 'gateway')"


def upgrade() -> None:
    op.create_table(
        "controls",
        sa.Column("control_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("act", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=512), nullable=False),
        sa.Column("machine_id", sa.String(length=32), nullable=True),
        sa.Column("operator_id", sa.String(length=256), nullable=True),
        sa.Column("session_id", sa.String(length=64), nullable=True),
        sa.Column("override_id", sa.String(length=64), nullable=True),
        sa.Column("level", sa.String(length=16), nullable=True),
        sa.Column("codes", sa.String(length=1024), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("minutes", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "act IN ('lock', 'out_of_service', 'release', 'end_session', 'override_asked', 'override_approved', 'override_ended')",
            name=op.f("ck_controls_act"),
        ),
        sa.PrimaryKeyConstraint("control_id", name=op.f("pk_controls")),
    )
    with op.batch_alter_table("controls", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_controls_machine_id"), ["machine_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_controls_override_id"), ["override_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_controls_version"), ["version"], unique=False)

    op.create_table(
        "event_seqs",
        sa.Column("machine_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("machine_id", name=op.f("pk_event_seqs")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lost_evidence",
        sa.Column("machine_id", sa.String(length=32), nullable=False),
        sa.Column("noticed_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("machine_id", "noticed_at", "first", name=op.f("pk_lost_evidence")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "offline_lists",
        sa.Column("machine_id", sa.String(length=32), nullable=False),
        sa.Column("list_version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("offline_for_s", sa.Integer(), nullable=False),
        sa.Column("lease_s", sa.Integer(), nullable=False),
        sa.Column("entries", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("machine_id", "list_version", name=op.f("pk_offline_lists")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "used_codes",
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("operator_id", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("step", "operator_id", name=op.f("pk_used_codes")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("chips", schema=None) as batch_op:
        batch_op.add_column(sa.Column("at", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("sessions") as batch_op:
        for name, kind, value in NEW:
            batch_op.add_column(sa.Column(name, kind, server_default=value, nullable=False))
        batch_op.add_column(sa.Column("drained_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("drain_reason", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("lock_id", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("lock_now", sa.Boolean(), nullable=True))
    with op.batch_alter_table("sessions") as batch_op:
        for name, _, _ in NEW:
            batch_op.alter_column(name, server_default=None)
        batch_op.create_check_constraint("drained", "(drained_at IS NULL) = (drain_reason IS NULL)")
    op.execute("UPDATE sessions SET leased_at = granted_at, lease_until = open_until")
    with op.batch_alter_table("ledger") as batch_op:
        batch_op.drop_constraint("kind", type_="check")


def downgrade() -> None:
    counted = sa.text(f"SELECT count(*) FROM ledger WHERE kind NOT IN {OLD_KINDS}")  # noqa: S608  (a constant)
    newer = op.get_bind().execute(counted).scalar_one()
    if newer:
        raise RuntimeError(f"{newer} ledger records are of kinds that the older version cannot read; restore a backup")
    with op.batch_alter_table("ledger") as batch_op:
        batch_op.create_check_constraint("kind", f"kind IN {OLD_KINDS}")
    with op.batch_alter_table("sessions") as batch_op:
        batch_op.drop_constraint("drained", type_="check")
        for name in ("lock_now", "lock_id", "drain_reason", "drained_at", *(name for name, _, _ in reversed(NEW))):
            batch_op.drop_column(name)
    with op.batch_alter_table("chips", schema=None) as batch_op:
        batch_op.drop_column("at")

    op.drop_table("used_codes")
    op.drop_table("offline_lists")
    op.drop_table("lost_evidence")
    op.drop_table("event_seqs")
    with op.batch_alter_table("controls", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_controls_version"))
        batch_op.drop_index(batch_op.f("ix_controls_override_id"))
        batch_op.drop_index(batch_op.f("ix_controls_machine_id"))

    op.drop_table("controls")
