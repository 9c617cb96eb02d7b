"""registries alive: changes, history, sources, permits, tokens

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REGISTRIES = ("enterprises", "operators", "certificates", "employments", "machines")
NEW_KINDS = "('registry', 'check', 'access', 'purge')"


def upgrade() -> None:
    _make_tables()
    op.execute(
        "INSERT INTO registry_changes (change, version, began_at, at, source, note, added, changed, removed) "
        "SELECT version, version, at, at, 'files', source, added, changed, 0 FROM registry_versions"
    )
    op.drop_table("registry_versions")
    with op.batch_alter_table("registry_state") as batch_op:
        batch_op.add_column(sa.Column("writing", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("writing_at", sa.BigInteger(), nullable=True))
    for name in REGISTRIES:
        with op.batch_alter_table(name) as batch_op:
            batch_op.drop_index(batch_op.f(f"ix_{name}_version"))
            batch_op.alter_column("version", new_column_name="change")
            batch_op.add_column(sa.Column("source", sa.String(length=64), server_default="files", nullable=False))
        with op.batch_alter_table(name) as batch_op:
            batch_op.alter_column("source", server_default=None)
            batch_op.create_index(batch_op.f(f"ix_{name}_change"), ["change"], unique=False)


def _make_tables() -> None:
    op.create_table(
        "registry_changes",
        sa.Column("change", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("note", sa.String(length=1024), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("change", name=op.f("pk_registry_changes")),
        sa.UniqueConstraint("version", name=op.f("uq_registry_changes_version")),
    )
    op.create_table(
        "registry_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("operator_id", sa.String(length=256), nullable=True),
        sa.Column("uscc", sa.String(length=18), nullable=True),
        sa.Column("row", sa.LargeBinary(), nullable=False),
        sa.Column("from_change", sa.BigInteger(), nullable=False),
        sa.Column("to_change", sa.BigInteger(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_history")),
    )
    for columns in (["operator_id"], ["uscc"], ["from_change"], ["to_change"], ["kind", "key"]):
        op.create_index(op.f(f"ix_registry_history_{'_'.join(columns)}"), "registry_history", columns, unique=False)
    op.create_table(
        "registry_claims",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("row", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", "source", name=op.f("pk_registry_claims")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "registry_sources",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.String(length=512), nullable=True),
        sa.Column("position", sa.String(length=4096), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_registry_sources")),
    )
    op.create_table(
        "registry_events",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "event_id", name=op.f("pk_registry_events")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_registry_events_source_subject_at"), "registry_events", ["source", "subject", "at"], unique=False
    )
    op.create_table(
        "registry_holds",
        sa.Column("hold_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("note", sa.String(length=1024), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("of_people", sa.Integer(), nullable=False),
        sa.Column("operators", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("by", sa.String(length=128), nullable=True),
        sa.Column("reason", sa.String(length=512), nullable=True),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_registry_holds")),
    )
    op.create_table(
        "permits",
        sa.Column("permit_id", sa.String(length=64), nullable=False),
        sa.Column("operator_id", sa.String(length=256), nullable=False),
        sa.Column("machine_id", sa.String(length=32), nullable=False),
        sa.Column("uscc", sa.String(length=18), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("guardian", sa.String(length=256), nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.CheckConstraint("level IN ('special', 'grade_1', 'grade_2')", name=op.f("ck_permits_level")),
        sa.CheckConstraint("status IN ('approved', 'withdrawn')", name=op.f("ck_permits_status")),
        sa.PrimaryKeyConstraint("permit_id", "operator_id", "machine_id", name=op.f("pk_permits")),
    )
    op.create_index(op.f("ix_permits_uscc"), "permits", ["uscc"], unique=False)
    op.create_index(op.f("ix_permits_change"), "permits", ["change"], unique=False)
    op.create_table(
        "work_hours",
        sa.Column("uscc", sa.String(length=18), nullable=False),
        sa.Column("machine_id", sa.String(length=32), nullable=False),
        sa.Column("days", sa.String(length=7), nullable=False),
        sa.Column("starts", sa.String(length=5), nullable=False),
        sa.Column("ends", sa.String(length=5), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("uscc", "machine_id", "days", "starts", name=op.f("pk_work_hours")),
    )
    op.create_index(op.f("ix_work_hours_change"), "work_hours", ["change"], unique=False)
    op.create_table(
        "api_tokens",
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=1024), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_tokens_hash")),
    )
    op.create_table(
        "ledger_anchor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_anchor")),
    )


def downgrade() -> None:
    counted = sa.text(f"SELECT count(*) FROM ledger WHERE kind IN {NEW_KINDS}")  # noqa: S608  (a constant)
    newer = op.get_bind().execute(counted).scalar_one()
    if newer:
        raise RuntimeError(f"{newer} ledger records are of kinds that the older version cannot read; restore a backup")
    for name in REGISTRIES:
        with op.batch_alter_table(name) as batch_op:
            batch_op.drop_index(batch_op.f(f"ix_{name}_change"))
            batch_op.alter_column("change", new_column_name="version")
            batch_op.drop_column("source")
        with op.batch_alter_table(name) as batch_op:
            batch_op.create_index(batch_op.f(f"ix_{name}_version"), ["version"], unique=False)
    with op.batch_alter_table("registry_state") as batch_op:
        batch_op.drop_column("writing_at")
        batch_op.drop_column("writing")
    op.create_table(
        "registry_versions",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=1024), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_registry_versions")),
    )
    op.execute(
        "INSERT INTO registry_versions (version, at, source, added, changed) "
        "SELECT version, at, note, added, changed FROM registry_changes WHERE version IS NOT NULL"
    )
    for name in (
        "ledger_anchor",
        "api_tokens",
        "work_hours",
        "permits",
        "registry_holds",
        "registry_events",
        "registry_sources",
        "registry_claims",
        "registry_history",
        "registry_changes",
    ):
        op.drop_table(name)
