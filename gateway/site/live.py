"""What goes on record, told to pages that watch: they see what is durable, whichever process wrote it.

One task reads the ledger on while somebody watches; a commit of this gateway wakes it at once, others' are seen within
a second.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from aiohttp import web
from msgspec import Struct

from gateway.observe.events import Committed, Observed
from gateway.site.parts import Parts
from gateway.store.following import AT_ONCE, Line, lines_after

LOOK_EVERY_S = 1.0
"""How often to look for what other processes have written."""
KEPT = 200
"""Lines that one watcher may lag behind; then its oldest are dropped: a page shows what is, not all that was."""


Wanted = Callable[[Line], bool]


class Watcher(Struct):
    """What a page wants to hear, and the number of the last record that it was asked about. ``machine_id`` where it
    wants to hear of one machine alone."""

    wanted: Wanted
    seq: int
    machine_id: str | None


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
                    self._tell(await self._parts.read(lines_after, last), last)

    @contextmanager
    def watch(self, wanted: Wanted, seq: int, machine_id: str | None = None) -> Iterator["asyncio.Queue[Line]"]:
        """Lines after ``seq`` that are wanted: read it before the state that the page shows. Who wants one machine's
        names it: a morning's welders then cost nothing for the records of all others."""
        queue: asyncio.Queue[Line] = asyncio.Queue(KEPT)
        self._watchers[queue] = Watcher(wanted, seq, machine_id)
        self._wake.set()
        try:
            yield queue
        finally:
            del self._watchers[queue]

    def _tell(self, lines: list[Line], after: int) -> None:
        """What was read after a record. Who began to watch meanwhile, and from before it, is told next time."""
        of_machine: defaultdict[str | None, list[Line]] = defaultdict(list)
        for line in lines:
            of_machine[line.machine_id].append(line)
        for queue, watcher in self._watchers.items():
            if watcher.seq < after:
                continue
            for line in lines if watcher.machine_id is None else of_machine.get(watcher.machine_id, ()):
                if line.seq > watcher.seq and watcher.wanted(line):
                    _put(queue, line)
            watcher.seq = max(watcher.seq, lines[-1].seq if lines else 0)
        if len(lines) == AT_ONCE:
            self._wake.set()


FOLLOWER: web.AppKey[Follower] = web.AppKey("follower", Follower)


def _put(queue: "asyncio.Queue[Line]", line: Line) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(line)
