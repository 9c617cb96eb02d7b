"""Changes of the registries: begun, written in as many transactions as they need, made to hold at once by a version.

A change's rows carry its number. Until it is published nobody sees them (``gateway.store.history`` gives what was there
before in their place), so that a long import never holds the write lock for long and never shows half of itself. One
that was broken off is undone by whoever writes next.
"""

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.errors import WeldGateError
from gateway.store.ledger import Draft, append_to
from gateway.store.tables import RegistryChange, RegistryState, metadata
from gateway.store.vault import Vault, VaultError, fingerprint
from gateway.wire.codec import encode

ABANDONED_MS = 60_000
"""A change whose writer has written nothing for so long was broken off: each of its transactions takes milliseconds."""
LONGEST_NOTE = 1024

CHANGES = metadata.tables[RegistryChange.__tablename__]
STATE = metadata.tables[RegistryState.__tablename__]


class UnderWay(WeldGateError):
    """Somebody else is bringing in a long change."""


class Origin(Struct, frozen=True):
    """Who says so: a source's short name, a note for people (file names), and as of when (Unix milliseconds).

    What the same source has said since then is newer, and is not written over.
    """

    source: str
    note: str
    as_of: Millis


class State(Struct, frozen=True):
    """What holds: ``version`` is 0 before the first import. ``writing``: a change that is being written."""

    version: int
    confirmed_at: Millis
    vault: str
    writing: int | None
    writing_at: Millis | None


class Tally(Struct):
    """Rows that one change wrote."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    @property
    def touched(self) -> int:
        return self.added + self.changed + self.removed


class RegistryBody(Struct, frozen=True):
    """The ledger's record of a version that begins to hold."""

    version: int
    source: str
    note: str
    added: int
    changed: int
    removed: int
    events: tuple[str, ...] = ()
    by: str | None = None
    reason: str | None = None


class Said(Struct, frozen=True):
    """What a version's record tells besides: the events that were pushed, or who ordered it and why."""

    events: tuple[str, ...] = ()
    by: str | None = None
    reason: str | None = None


NOTHING = Said()


def read_state(connection: Connection, *, lock: bool = False) -> State | None:
    """None in a database that nothing was ever brought into. ``lock`` keeps others out until the transaction ends."""
    query = sa.select(*(STATE.c[name] for name in State.__struct_fields__)).where(STATE.c.id == 1)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else State(*row)


def current_version(connection: Connection) -> int:
    """The version that holds; 0 before the first import."""
    state = read_state(connection)
    return state.version if state else 0


def open_for_writing(connection: Connection, vault: Vault) -> None:
    """Keep others out until the transaction ends; at the first time of all note whose index keys these are."""
    if read_state(connection, lock=True) is None:
        first = {"id": 1, "version": 0, "confirmed_at": 0, "vault": fingerprint(vault)}
        connection.execute(sa.insert(STATE).values(**first))
    check_vault(connection, vault)


def check_vault(connection: Connection, vault: Vault) -> None:
    """INVARIANT: one number has one index. With another vault a revoked certificate would be a new row beside the
    valid one."""
    state = read_state(connection)
    if state is not None and state.vault != fingerprint(vault):
        raise VaultError(
            "--keys: not the vault that this database was filled with; name the folder whose vault.json it was"
        )


def begin(connection: Connection, origin: Origin, now: Millis) -> int:
    """The number of a new change; nothing of it holds before ``publish``."""
    latest: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(CHANGES.c.change), 0))).scalar_one()
    row = {"change": latest + 1, "began_at": now, "source": origin.source, "note": origin.note[:LONGEST_NOTE]}
    connection.execute(sa.insert(CHANGES).values(**row, added=0, changed=0, removed=0))
    return latest + 1


def hold_pen(connection: Connection, change: int, now: Millis, *, first: bool = False) -> None:
    """Say that ``change`` goes on being written. Raises UnderWay where somebody else writes."""
    state = read_state(connection, lock=True)
    assert state is not None, "check_vault comes first"
    ours = state.writing is None if first else state.writing == change
    if not ours:
        raise UnderWay(_under_way(state) if first else f"change {change}: was given up for broken off; import again")
    connection.execute(sa.update(STATE).values(writing=change, writing_at=now))


def _under_way(state: State) -> str:
    return f"another import is under way (change {state.writing}): wait for its end, then import again"


def abandoned(connection: Connection, now: Millis) -> int | None:
    """The change that was broken off, to be undone first. Raises UnderWay while its writer is at work."""
    state = read_state(connection)
    if state is None or state.writing is None:
        return None
    if now - (state.writing_at or 0) <= ABANDONED_MS:
        raise UnderWay(_under_way(state))
    return state.writing


def lay_down_pen(connection: Connection, change: int) -> None:
    connection.execute(sa.update(STATE).where(STATE.c.writing == change).values(writing=None, writing_at=None))


def publish(connection: Connection, change: int, now: Millis, tally: Tally, said: Said = NOTHING) -> int:
    """Let a change hold from now on, and put it on record; returns its version.

    INVARIANT: no version holds that is not in the ledger.
    """
    version = current_version(connection) + 1
    counts = {"added": tally.added, "changed": tally.changed, "removed": tally.removed}
    connection.execute(sa.update(CHANGES).where(CHANGES.c.change == change).values(version=version, at=now, **counts))
    row = connection.execute(sa.select(CHANGES.c.source, CHANGES.c.note).where(CHANGES.c.change == change)).one()
    body = RegistryBody(version, row.source, row.note, **counts, events=said.events, by=said.by, reason=said.reason)
    append_to(connection, Draft("registry", now, encode(body)))
    connection.execute(sa.update(STATE).values(version=version))
    return version


def is_published(connection: Connection, change: int) -> bool:
    """Whether a change holds, or did."""
    version = connection.execute(sa.select(CHANGES.c.version).where(CHANGES.c.change == change)).scalar()
    return version is not None


def confirm(connection: Connection, now: Millis) -> None:
    """A source has confirmed what we hold, changed or not."""
    connection.execute(sa.update(STATE).values(confirmed_at=now))


def latest_versions(connection: Connection, limit: int) -> list[tuple[int, Millis, str, str, int, int, int]]:
    """(version, at, source, note, added, changed, removed), the latest first."""
    names = ("version", "at", "source", "note", "added", "changed", "removed")
    query = sa.select(*(CHANGES.c[name] for name in names)).where(CHANGES.c.version.is_not(None))
    return [tuple(row) for row in connection.execute(query.order_by(CHANGES.c.version.desc()).limit(limit))]


def version_at(connection: Connection, at: Millis) -> int:
    """The version that held at a time; 0 before the first."""
    found: int | None = connection.execute(sa.select(sa.func.max(CHANGES.c.version)).where(CHANGES.c.at <= at)).scalar()
    return found or 0


def visible(since: int, until: int) -> sa.ColumnElement[bool]:
    """Changes whose versions are later than ``since`` and not later than ``until``."""
    return (CHANGES.c.version > since) & (CHANGES.c.version <= until)


def unpublished(change: int) -> sa.Select[tuple[int]]:
    """Changes besides this one that are being written, or were broken off and are not taken back yet."""
    return numbers(CHANGES.c.version.is_(None) & CHANGES.c.at.is_(None) & (CHANGES.c.change != change))


def give_up(connection: Connection, change: int, now: Millis) -> None:
    """A change that was taken back: nothing is left of it but its number, which is never used again."""
    connection.execute(sa.update(CHANGES).where(CHANGES.c.change == change).values(at=now))
    lay_down_pen(connection, change)


def open_changes(connection: Connection, change: int) -> frozenset[int]:
    """The same, read."""
    return frozenset(row.change for row in connection.execute(unpublished(change)))


def numbers(condition: sa.ColumnElement[bool]) -> sa.Select[tuple[int]]:
    return sa.select(CHANGES.c.change).where(condition)


def not_yet(until: int) -> sa.Select[tuple[int]]:
    """Changes that do not hold at version ``until``: later ones, and those that are not published."""
    return numbers(CHANGES.c.version.is_(None) | (CHANGES.c.version > until))
