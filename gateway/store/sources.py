"""How each source of the registries stands: when it was asked, when it last confirmed what we hold, what is wrong."""

from collections.abc import Mapping

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.store.tables import RegistrySource

LONGEST_PROBLEM = 512
_sources: sa.Table = RegistrySource.__table__  # type: ignore[attr-defined]


class SourceState(Struct, frozen=True):
    """One source. None: never, or nothing wrong. ``position`` is JSON: from where its next pass goes on."""

    source: str
    tried_at: Millis | None = None
    confirmed_at: Millis | None = None
    failing_since: Millis | None = None
    problem: str | None = None
    position: str = "{}"

    def age_s(self, now: Millis) -> float | None:
        """Seconds since the source confirmed what we hold."""
        return None if self.confirmed_at is None else max(0, now - self.confirmed_at) / 1000


def source_states(connection: Connection) -> dict[str, SourceState]:
    """All sources that were ever asked, by name."""
    columns = (_sources.c[name] for name in SourceState.__struct_fields__)
    rows = connection.execute(sa.select(*columns).order_by(_sources.c.source))
    return {row.source: SourceState(*row) for row in rows}


def source_ages(connection: Connection) -> Mapping[str, Millis | None]:
    """When each source that was ever asked last confirmed what we hold; None: never."""
    return {name: state.confirmed_at for name, state in source_states(connection).items()}


def source_state(connection: Connection, source: str) -> SourceState:
    """One source; one that was never asked has nothing but its name."""
    return source_states(connection).get(source, SourceState(source))


def confirmed(state: SourceState, at: Millis, position: str) -> SourceState:
    """After a pass, begun at ``at``, that read everything."""
    return SourceState(state.source, at, at, None, None, position)


def failed(state: SourceState, at: Millis, problem: str, position: str) -> SourceState:
    """After a pass, begun at ``at``, that did not: what was confirmed before stays so old."""
    since = state.failing_since or at
    return SourceState(state.source, at, state.confirmed_at, since, problem[:LONGEST_PROBLEM], position)


def keep_source(connection: Connection, state: SourceState) -> None:
    """Write how a source stands."""
    values = {name: getattr(state, name) for name in SourceState.__struct_fields__}
    known = _sources.c.source == state.source
    if not connection.execute(sa.update(_sources).where(known).values(**values)).rowcount:
        connection.execute(sa.insert(_sources).values(**values))
