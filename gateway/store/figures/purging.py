"""What goes from the figures with what is purged: everything that names a person. Counts that name nobody stay."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from gateway.core.days import day_of
from gateway.core.model import Millis
from gateway.store.beside import Pace, batches, briefly
from gateway.store.figures.tables import DECISIONS, PAIRS, REASONS, SESSIONS, STATE, USAGE_DAYS
from gateway.store.prepared import Row


def announce(connection: Connection, *, ledger: Millis | None = None, sessions: Millis | None = None) -> None:
    """Note, before anything goes, that something older than these times will: from the day after on all is there."""
    for name, before in (("ledger_from", ledger), ("sessions_from", sessions)):
        if before is not None:
            since = day_of(before) + 1
            later = sa.case((STATE.c[name] > since, STATE.c[name]), else_=since)
            connection.execute(sa.update(STATE).values({name: later}))


def forget_decisions(connection: Connection, first: int, last: int) -> None:
    """The index of records ``first`` to ``last``."""
    some = DECISIONS.c.seq.between(first, last)
    query = sa.select(DECISIONS.c.reasons, DECISIONS.c.at, DECISIONS.c.seq)
    keys = [(code, at, seq) for reasons, at, seq in connection.execute(query.where(some)) for code in reasons.split()]
    if keys:
        one = sa.delete(REASONS).where(
            *(REASONS.c[name] == sa.bindparam(f"key_{name}") for name in ("code", "at", "seq"))
        )
        connection.execute(one, [{"key_code": code, "key_at": at, "key_seq": seq} for code, at, seq in keys])
    connection.execute(sa.delete(DECISIONS).where(some))


def forget_sessions(connection: Connection, session_ids: Iterable[str]) -> None:
    connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.session_id.in_(list(session_ids))))


def forget_usage_days(engine: Engine, before: Millis, pace: Pace) -> None:
    """Who did what on days before that one."""
    _forget(engine, USAGE_DAYS, USAGE_DAYS.c.day < day_of(before), pace)


def forget_pairs(engine: Engine, before: Millis, pace: Pace) -> None:
    """Who last unlocked a machine before then; that somebody did is still known, as of somebody unknown."""
    old = (PAIRS.c.last_at < before) & (PAIRS.c.operator_id != "")
    columns = (PAIRS.c.sessions, PAIRS.c.first_at, PAIRS.c.last_at)
    for batch in batches(engine, PAIRS, columns, old, pace.rows):
        with briefly(engine, pace) as connection:
            for row in batch:
                machine_id, operator_id, *figures = tuple[Any, ...](row)
                named = (PAIRS.c.machine_id == machine_id) & (PAIRS.c.operator_id == operator_id)
                gone = connection.execute(sa.delete(PAIRS).where(named, PAIRS.c.last_at < before)).rowcount
                if gone:
                    _as_of_nobody(connection, machine_id, figures)


def _as_of_nobody(connection: Connection, machine_id: str, figures: Sequence[int]) -> None:
    sessions, first_at, last_at = figures
    nobody = (PAIRS.c.machine_id == machine_id) & (PAIRS.c.operator_id == "")
    known = connection.execute(sa.select(PAIRS.c.first_at, PAIRS.c.last_at).where(nobody)).first()
    if known is None:
        values = {"machine_id": machine_id, "operator_id": "", "sessions": sessions}
        connection.execute(sa.insert(PAIRS).values(**values, first_at=first_at, last_at=last_at))
        return
    times = {"first_at": min(first_at, known.first_at), "last_at": max(last_at, known.last_at)}
    connection.execute(sa.update(PAIRS).where(nobody).values(sessions=PAIRS.c.sessions + sessions, **times))


def _forget(engine: Engine, table: sa.Table, old: sa.ColumnElement[bool], pace: Pace) -> None:
    names = [column.name for column in table.primary_key.columns]
    one = sa.delete(table).where(*(table.c[name] == sa.bindparam(f"key_{name}") for name in names))
    for batch in batches(engine, table, (), old, pace.rows):
        rows: list[Row] = [tuple(row) for row in batch]
        with briefly(engine, pace) as connection:
            keyed = [{f"key_{name}": part for name, part in zip(names, row, strict=True)} for row in rows]
            connection.execute(one, keyed)
