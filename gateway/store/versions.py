"""Versions of the registries and how their sources stand. Only reads."""

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Engine

from gateway.core.model import Millis
from gateway.store.changes import latest_versions
from gateway.store.engine import reading
from gateway.store.tables import RegistrySource, metadata

_sources = metadata.tables[RegistrySource.__tablename__]


class Version(Struct, frozen=True):
    """One version and how many rows its change concerned; ``at`` is when it began to hold, Unix milliseconds."""

    version: int
    at: Millis
    source: str
    note: str
    added: int
    changed: int
    removed: int


class SourceState(Struct, frozen=True):
    """A source, by times in Unix milliseconds."""

    source: str
    tried_at: Millis | None
    confirmed_at: Millis | None
    failing_since: Millis | None
    problem: str | None


def latest(engine: Engine, limit: int) -> list[Version]:
    """The latest versions first."""
    with reading(engine).connect() as connection:
        return [Version(*row) for row in latest_versions(connection, limit)]


def sources(engine: Engine) -> list[SourceState]:
    """Every source by its name."""
    query = sa.select(*(_sources.c[name] for name in SourceState.__struct_fields__)).order_by(_sources.c.source)
    with reading(engine).connect() as connection:
        return [SourceState(*row) for row in connection.execute(query)]
