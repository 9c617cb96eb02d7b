"""What the registries held about a person or a firm, and when."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateway.core.model import Millis
from gateway.registry import lives
from gateway.store import changes, history
from gateway.store.engine import reading
from gateway.store.history import Past, PurgedError
from gateway.web.call import Call, Services
from gateway.web.problems import ApiError


class StateView(Struct, frozen=True):
    """One state of a row of the registry ``kind``: from a version, which began to hold at ``from_at`` (Unix
    milliseconds), to the version that ended it, null where it holds today. ``source`` is whose word it is; ``gone``:
    nothing took its place. ``row`` has its columns without personal numbers; what is not known is left out."""

    kind: str
    from_version: int
    from_at: Millis
    to_version: int | None
    gone: bool
    source: str
    row: dict[str, Any]


class HistoryView(Struct, frozen=True):
    """States up to a version, the earliest first. What ended before the version ``kept_since`` may have been purged."""

    version: int
    kept_since: int
    states: tuple[StateView, ...]


class Moment(Struct, frozen=True, forbid_unknown_fields=True):
    """As of when, Unix milliseconds; without it, every state."""

    at: Millis | None = None


async def of_operator(services: Services, call: Call) -> HistoryView:
    return await _history(services, call, "operator_id", lives.of_person)


async def of_enterprise(services: Services, call: Call) -> HistoryView:
    return await _history(services, call, "uscc", lives.of_firm)


Lived = Callable[[Connection, str], list[Past]]


async def _history(services: Services, call: Call, parameter: str, lived: Lived) -> HistoryView:
    try:
        found = await asyncio.to_thread(_read, services.engine, call.named(parameter), call.query.at, lived)
    except PurgedError as error:
        raise ApiError("conflict", f"at: {error}; ask for a later time") from None
    if found is None:
        raise ApiError("not-found", f"{parameter}: the registries never held anything about it; compare it")
    return found


def _read(engine: Engine, who: str, at: Millis | None, lived: Lived) -> HistoryView | None:
    """None where nothing was ever held about it."""
    with reading(engine).connect() as connection, connection.begin():
        states = lived(connection, who)
        if not states:
            return None
        kept_since = history.kept_since(connection)
        if at is None:
            return HistoryView(changes.current_version(connection), kept_since, tuple(map(_view, states)))
        version = changes.version_at(connection, at)
        history.check_kept(connection, version)
        return HistoryView(version, kept_since, tuple(map(_view, lives.held_at(states, version))))


def _view(state: Past) -> StateView:
    span = (state.from_version, state.from_at, state.to_version, state.gone)
    return StateView(state.kind, *span, state.source, lives.known(state))
