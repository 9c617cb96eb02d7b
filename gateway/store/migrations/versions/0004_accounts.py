"""accounts of people who sign in

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROLES = "('welder', 'firm', 'regulator', 'gateway_operator', 'auditor')"


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("login", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("division", sa.String(length=12), nullable=True),
        sa.Column("uscc", sa.String(length=18), nullable=True),
        sa.Column("operator_id", sa.String(length=256), nullable=True),
        sa.Column("secret", sa.String(length=256), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("code_until", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(f"role IN {ROLES}", name=op.f("ck_accounts_role")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("login", name=op.f("uq_accounts_login")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_accounts_uscc"), "accounts", ["uscc"])
    op.create_index(op.f("ix_accounts_operator_id"), "accounts", ["operator_id"])
    op.create_table(
        "web_sessions",
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("browser", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_web_sessions")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_web_sessions_account_id"), "web_sessions", ["account_id"])


def downgrade() -> None:
    newer = op.get_bind().execute(sa.text("SELECT count(*) FROM ledger WHERE kind = 'account'")).scalar_one()
    if newer:
        raise RuntimeError(f"{newer} ledger records are of kinds that the older version cannot read; restore a backup")
    op.drop_table("web_sessions")
    op.drop_table("accounts")
