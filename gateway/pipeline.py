"""From arrival to answer, in batches: handle, commit, acknowledge, publish. The main path of the whole system."""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Protocol

from gateway.clock import monotonic_ns
from gateway.errors import DatabaseUnavailable
from gateway.gate.entry import Entry, reply_on_record
from gateway.gate.handle import handle
from gateway.gate.reports import end_over, set_aside
from gateway.gate.state import GateState
from gateway.observe.events import Answered, Committed, Observer, Recovered, Trouble
from gateway.store.journal import Batch, chip_serials, open_sessions, probe
from gateway.store.ledger import Key, on_record
from gateway.store.writer import Conflict, Writer
from gateway.wire.inbound import Inbound, Outbound

MAX_BATCH = 256
"""Messages in one commit: the gain of sharing a commit levels off here, the wait goes on growing."""
INBOX_LIMIT = 4096
"""Messages taken off the broker and not yet in a batch; above it the link stops reading."""
REMEMBERED = 4096
"""Latest answers kept in memory for repeats; older ones are read from the ledger."""
MOST_CONFLICTS = 4
"""Conflicts in a row after which a batch is taken apart."""
FIRST_RETRY_S, LONGEST_RETRY_S = 0.05, 2.0


class BrokerLink(Protocol):
    """What the pipeline needs of the connection to the broker."""

    def acknowledge(self, receipts: Iterable[tuple[int, int]]) -> None: ...
    def publish(self, messages: Iterable[Outbound]) -> None: ...
    def hold_back(self, held: bool) -> None: ...
    async def room(self) -> None: ...


class Pipeline:
    """One task runs it, and everything that changes sessions goes through it."""

    def __init__(self, state: GateState, writer: Writer, link: BrokerLink, observe: Observer) -> None:
        self._state = state
        self._writer = writer
        self._link = link
        self._observe = observe
        self._inbox: deque[Inbound] = deque()
        self._wake = asyncio.Event()
        self._draining = False
        self._held_back = False
        self._answers: OrderedDict[Key, Outbound | None] = OrderedDict()
        self._in_batch: set[Key] = set()
        self._in_doubt = True
        self.database_ok = False

    async def run(self) -> None:
        """Until drained: take a batch, make it durable, then acknowledge, then answer."""
        while (batch := await self._take()) is not None:
            entries = await self._make_durable(batch)
            # INVARIANT: nothing is acknowledged or answered before its record is durable.
            self._link.acknowledge(entry.inbound.receipt for entry in entries if entry.inbound)
            self._link.publish(self._outgoing(entries))
            self._tell(entries)
            await self._link.room()

    async def _make_durable(self, batch: list[Inbound]) -> list[Entry]:
        """Handle and commit; from the start again when somebody was faster or the database was away."""
        entries: list[Entry] = []
        wait_s, conflicts = FIRST_RETRY_S, 0
        while conflicts < MOST_CONFLICTS:
            try:
                if self._in_doubt:
                    await self._read_back(entries)
                entries = self._handle(batch)
                await self._commit(entries)
            except Conflict:
                self._in_doubt = True
                conflicts += 1
            except DatabaseUnavailable as error:
                self._in_doubt = True
                wait_s = await self._wait_for_database(error, wait_s)
            else:
                return entries
        return await self._one_by_one(batch)

    async def _one_by_one(self, batch: list[Inbound]) -> list[Entry]:
        """Find the message that the database will not take and put it aside, so that it stops nobody else."""
        if len(batch) > 1:
            return [entry for inbound in batch for entry in await self._make_durable([inbound])]
        await self._read_back([])
        entries = [set_aside(self._state, inbound) for inbound in batch]
        await self._commit(entries)
        return entries

    def _handle(self, batch: list[Inbound]) -> list[Entry]:
        self._in_batch.clear()
        now, entries = monotonic_ns(), []
        for inbound in batch:
            entry = handle(self._state, inbound, now, self._known)
            if entry.key is not None:
                self._in_batch.add(entry.key)
            entries.append(entry)
        wall = self._state.wall_ms()
        entries += [end_over(self._state, session, wall) for session in self._state.sessions.due(wall)]
        return entries

    async def _commit(self, entries: list[Entry]) -> None:
        changed, opened = self._state.sessions.changes()
        batch = Batch(
            drafts=[entry.draft for entry in entries if entry.draft],
            changed=changed,
            opened=opened,
            usage=[entry.usage for entry in entries if entry.usage],
            chips=[entry.chip for entry in entries if entry.chip],
        )
        if not batch:
            return
        began = monotonic_ns()
        head = await self._writer.commit(batch)
        self._state.sessions.settle()
        self._remember(entries)
        self._set_database(True)
        self._observe(Committed(len(entries), len(batch.drafts), (monotonic_ns() - began) / 1e9, head.seq))

    # --- answers ---

    def _known(self, key: Key) -> bool:
        if key in self._answers:
            self._answers.move_to_end(key)  # or the answers of this very batch might push it out before it is sent
            return True
        return key in self._in_batch

    def _remember(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.key is not None and entry.draft is not None:
                self._answers[entry.key] = entry.reply
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    def _outgoing(self, entries: list[Entry]) -> Iterable[Outbound]:
        """Each chip's answer, the first one again for a repeat; then what goes to the feed."""
        for entry in entries:
            reply = entry.reply if entry.draft or entry.key is None else self._answers.get(entry.key)
            if reply is not None:
                yield reply
            if entry.feed is not None:
                yield entry.feed

    def _tell(self, entries: list[Entry]) -> None:
        now = monotonic_ns()
        self._observe(
            Answered(
                tuple((now - entry.inbound.arrived_ns) / 1e9 for entry in entries if entry.inbound and entry.reply)
            )
        )
        for entry in entries:
            for event in entry.observed:
                self._observe(event)

    # --- arrivals ---

    def deliver(self, inbound: Inbound) -> None:
        """Called by the link for each message, in order."""
        self._inbox.append(inbound)
        self._wake.set()
        if len(self._inbox) >= INBOX_LIMIT and not self._held_back:
            self._hold_back(True)

    def tick(self) -> None:
        """Look at the clock even when nothing arrives: sessions also end by time alone."""
        self._wake.set()

    def drain(self) -> None:
        """Take no new work, finish what is here, then return from ``run``."""
        self._draining = True
        self._hold_back(True)
        self._wake.set()

    @property
    def waiting(self) -> int:
        return len(self._inbox)

    async def _take(self) -> list[Inbound] | None:
        """The next batch, empty at a tick; None once drained."""
        if not self._inbox:
            if self._draining:
                return None
            self._wake.clear()
            await self._wake.wait()
        batch = [self._inbox.popleft() for _ in range(min(len(self._inbox), MAX_BATCH))]
        if self._held_back and not self._draining and len(self._inbox) < INBOX_LIMIT // 2:
            self._hold_back(False)
        return batch

    def _hold_back(self, held: bool) -> None:
        self._held_back = held
        self._link.hold_back(held)

    # --- trouble ---

    async def _read_back(self, entries: list[Entry]) -> None:
        """Take sessions, chips and already recorded answers from the database: memory may be ahead of it or behind."""
        keys = [entry.key for entry in entries if entry.key is not None]
        found, sessions, chips = await self._writer.run(
            lambda connection: (on_record(connection, keys), open_sessions(connection), chip_serials(connection))
        )
        for key, record in found.items():
            self._answers[key] = reply_on_record(record)
        self._state.sessions.load(sessions)
        self._state.chips = chips
        self._set_database(True)
        self._in_doubt = False

    async def probe_database(self) -> None:
        """Find out whether the database takes writes, without waiting for the next message."""
        try:
            await self._writer.run(probe)
        except DatabaseUnavailable as error:
            self._set_database(False, str(error))
        else:
            self._set_database(True)

    async def _wait_for_database(self, error: DatabaseUnavailable, wait_s: float) -> float:
        """Nothing is acknowledged meanwhile, so the broker keeps what follows."""
        if self._draining:
            raise error
        self._set_database(False, str(error))
        await asyncio.sleep(random.uniform(wait_s / 2, wait_s))  # noqa: S311  (jitter, not secrecy)
        return min(wait_s * 2, LONGEST_RETRY_S)

    def _set_database(self, ok: bool, problem: str = "") -> None:
        if ok and not self.database_ok:
            self._observe(Recovered("database", "writable"))
        elif not ok and self.database_ok:
            self._observe(Trouble("database", problem))
        self.database_ok = ok
