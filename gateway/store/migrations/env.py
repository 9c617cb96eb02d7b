"""Alembic's environment: migrates over the connection that the caller put into the configuration."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlmodel.sql.sqltypes import AutoString

from gateway.store import account_tables, counted_tables
from gateway.store.tables import metadata

TABLES = (account_tables, counted_tables)
"""Their tables are in the metadata once they are imported."""


def _render(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """SQLModel's string type as what it is."""
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String(length={item.length})"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=_render,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
