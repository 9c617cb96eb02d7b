"""Migrated databases at the cost of a file copy, and what tests put into them."""

import asyncio
import shutil
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from gateway.core.model import Decision, Outcome
from gateway.gate.entry import DecisionBody
from gateway.store.engine import open_engine
from gateway.store.journal import CHANGED_COLUMNS, SESSION_COLUMNS, Batch, Book, Journal, read_book
from gateway.store.ledger import Draft, Head, Stored, read_head, rows_in_order
from gateway.store.prepared import Row
from gateway.store.scribe import Scribe
from gateway.store.tables import RecordKind
from gateway.store.writer import Writer
from gateway.wire.answer import Answer
from gateway.wire.codec import encode
from gateway.wire.tokens import Grant, Signer
from tests.core.matrix import asked, facts

AT = 1781488800000
IMPATIENT = "busy_timeout=20"
"""Milliseconds to wait for another writer: tests do not."""
_numbers = count(1)


def make_template(path: Path) -> Path:
    """A database of the newest revision, with nothing in it."""
    open_engine(f"sqlite:///{path}").dispose()  # the last connection to close takes the log into the file
    return path


class Databases:
    """Hands out copies of the template."""

    def __init__(self, template: Path, folder: Path) -> None:
        self._template = template
        self._folder = folder
        self._engines: list[Engine] = []

    def file(self) -> Path:
        path = self._folder / f"gate-{next(_numbers)}.db"
        shutil.copyfile(self._template, path)
        return path

    def engine(self, path: Path | None = None, *pragmas: str) -> Engine:
        """An engine on ``path``, else on a new database; ``pragmas`` are set on each new connection."""
        engine = open_engine(f"sqlite:///{path or self.file()}", migrate=False)
        self._engines.append(engine)
        if pragmas:
            event.listen(engine, "connect", lambda connection, _: _set(connection, pragmas))
        return engine

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()


def _set(connection: Any, pragmas: Iterable[str]) -> None:
    with closing(connection.cursor()) as cursor:
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")


# --- what stands in them ----------------------------------------------------------------------------------------


def decision(request_id: str, machine_id: str = "HJ-0001", outcome: Outcome = "deny", at: int = AT) -> Draft:
    """A decision with its answer."""
    session_id = f"session-{request_id}"
    grant = Grant(machine_id, "c-1", at // 1000 + 30, at // 1000, request_id, 900, session_id)
    if outcome == "allow":
        answer = Answer(at, request_id, (), grant)
        decided = Decision("allow", (), (), (), 30, 900, "main")
    else:
        answer = Answer(at, request_id, ("operator_blocked",))
        decided = Decision("deny", ("operator_blocked",))
    body = encode(DecisionBody(asked(request_id=request_id), decided, facts(now=at), "0" * 64, 1, ()))
    return Draft("decision", at, body, machine_id, request_id, "P000123", outcome, answer)


def other(kind: RecordKind, message_id: str | None, machine_id: str | None = "HJ-0001") -> Draft:
    return Draft(kind, AT, encode(facts()), machine_id, message_id)


SESSION: dict[str, Any] = {
    "division": "330521",
    "granted_at": AT,
    "unlocked_at": None,
    "open_until": AT + 1_070_400,
    "ended_at": None,
    "end_reason": None,
    "has_clock": True,
    "offline": False,
    "lease_s": 900,
    "leased_at": AT,
    "lease_until": AT + 930_000,
    "n": 0,
    "drained_at": None,
    "drain_reason": None,
    "lock_id": None,
    "lock_now": None,
    "rev": 0,
}


def session(session_id: str, machine_id: str = "HJ-0001", operator_id: str | None = "P000123", **different: Any) -> Row:
    """A row of the sessions table: granted and not heard of since."""
    named = {"session_id": session_id, "machine_id": machine_id, "operator_id": operator_id}
    values = SESSION | named | {"request_id": f"request-{session_id}"} | different
    return tuple(values[name] for name in SESSION_COLUMNS)


def changed(session_id: str, **different: Any) -> Row:
    """The first change of a session, to what is ``different`` from its beginning."""
    values = SESSION | {"session": session_id, "seen": 0, "rev": 1} | different
    return tuple(values[name] for name in CHANGED_COLUMNS)


def ended(session_id: str, reason: str = "locked") -> Row:
    return changed(session_id, unlocked_at=AT, ended_at=AT + 1000, end_reason=reason)


def book(connection: Connection, *, whole: bool = True, recent_since: int | None = None) -> Book:
    return read_book(connection, whole=whole, recent_since=recent_since)


def open_ids(connection: Connection) -> list[str]:
    """The sessions that have not ended."""
    return sorted(row[0] for row in book(connection, whole=False).sessions)


def chain(engine: Engine, signer: Signer, length: int) -> None:
    """A ledger of ``length`` records of every kind, some to a commit."""
    drafts = [
        decision(f"request-{number:04}", f"HJ-{number:04}", "allow" if number % 2 else "deny")
        if number % 4 < 2
        else other(("event", "rejected")[number % 2], f"message-{number:04}" if number % 2 == 0 else None)
        for number in range(length)
    ]
    journal = Journal(engine.dialect, signer)
    with engine.connect() as connection:
        for start in range(0, length, 3):
            journal.commit(connection, Batch(drafts[start : start + 3]))


def whole_chain(engine: Engine) -> tuple[list[Stored], Head | None]:
    with engine.connect() as connection, connection.begin():
        return list(rows_in_order(connection)), read_head(connection)


def everything(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables that the gate writes."""
    tables = (
        *("ledger", "ledger_head", "sessions", "usage", "chips"),
        *("used_codes", "event_seqs", "lost_evidence", "offline_lists"),
    )
    with connection.begin():
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2")]
            for name in tables
        }


# --- who uses them ----------------------------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else holds the write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@asynccontextmanager
async def writer_on(scribe: Scribe) -> AsyncIterator[Writer]:
    """The gate's side of a scribe that serves in a thread."""
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=scribe.serve, args=(theirs,))
    serving.start()
    async with Writer(ours) as writer:
        yield writer
    await asyncio.to_thread(serving.join, 30)
    assert not serving.is_alive()
