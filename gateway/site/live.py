"""What goes on record, told to pages that watch: they see what is durable, whichever process wrote it.

One task reads the ledger on while somebody watches; a commit of this gateway wakes it at once, others' are seen within
a second.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Raw, Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.observe.events import Committed, Observed
from gateway.site.parts import Parts
from gateway.store.ledger import read_head
from gateway.store.tables import LedgerRow, metadata

LOOK_EVERY_S = 1.0
"""How often to look for what other processes have written."""
AT_ONCE = 500
KEPT = 200
"""Lines that one watcher may lag behind; then its oldest are dropped: a page shows what is, not all that was."""
_ledger = metadata.tables[LedgerRow.__tablename__]


class Line(Struct, frozen=True):
    """One record as far as watchers need it; ``body`` is its JSON."""

    seq: int
    at: Millis
    kind: str
    machine_id: str | None
    message_id: str | None
    operator_id: str | None
    outcome: str | None
    body: Raw


class _Record(Struct):
    body: Raw


_NAMED = tuple(name for name in Line.__struct_fields__ if name != "body")
_decode = msgspec.json.Decoder(_Record).decode
Wanted = Callable[[Line], bool]


class Watcher(Struct):
    """What a page wants to hear, and the number of the last record that it was asked about."""

    wanted: Wanted
    seq: int


class Follower:
    """``run`` reads on; ``watch`` gives what a page asked for, from now on. As an observer it hears of commits."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watchers: dict[asyncio.Queue[Line], Watcher] = {}
        self._wake = asyncio.Event()

    def __call__(self, event: Observed) -> None:
        if isinstance(event, Committed) and self._watchers:
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Trouble with the database only delays what is told."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_EVERY_S if self._watchers else None)
            self._wake.clear()
            if self._watchers:
                with suppress(sa.exc.DBAPIError):
                    last = min(watcher.seq for watcher in self._watchers.values())
                    self._tell(await self._parts.read(lines_after, last))

    @contextmanager
    def watch(self, wanted: Wanted, seq: int) -> Iterator["asyncio.Queue[Line]"]:
        """Lines after ``seq`` that are wanted: read it before the state that the page shows."""
        queue: asyncio.Queue[Line] = asyncio.Queue(KEPT)
        self._watchers[queue] = Watcher(wanted, seq)
        self._wake.set()
        try:
            yield queue
        finally:
            del self._watchers[queue]

    def _tell(self, lines: list[Line]) -> None:
        for queue, watcher in self._watchers.items():
            for line in lines:
                if line.seq > watcher.seq:
                    watcher.seq = line.seq
                    if watcher.wanted(line):
                        _put(queue, line)
        if len(lines) == AT_ONCE:
            self._wake.set()


def _put(queue: "asyncio.Queue[Line]", line: Line) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(line)


def latest(connection: Connection) -> int:
    """The number of the last record."""
    head = read_head(connection)
    return head.seq if head else 0


def lines_after(connection: Connection, seq: int) -> list[Line]:
    """The next records after ``seq``."""
    columns = [_ledger.c[name] for name in (*_NAMED, "record")]
    query = sa.select(*columns).where(_ledger.c.seq > seq).order_by(_ledger.c.seq).limit(AT_ONCE)
    return [_line(row) for row in connection.execute(query).mappings()]


def _line(row: Mapping[Any, Any]) -> Line:
    return Line(**{name: row[name] for name in _NAMED}, body=_decode(row["record"]).body)
