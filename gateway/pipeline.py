"""From arrival to answer, in batches: handle, make durable, acknowledge, publish. The main path of the whole system.

While the scribe commits one batch, the next is handled and sent after it, so that both processes stay busy. Whatever
fails, nothing of it was acknowledged or answered: it is handled again, in order, on what the database really holds.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct

from gateway.clock import monotonic_ns
from gateway.core.model import PhoneAsk
from gateway.errors import DatabaseUnavailable, Unanswered
from gateway.gate.configs import configs_due
from gateway.gate.doubts import doubtful
from gateway.gate.entry import Entry
from gateway.gate.handle import handle
from gateway.gate.leases import on_time, work_off
from gateway.gate.offline import lists_due, offered
from gateway.gate.phone import ANSWERED_WITHIN_S, Callers, by_phone, is_for_the_chip, key_of, unanswered
from gateway.gate.reports import accepted_clock, set_aside
from gateway.gate.state import GateState
from gateway.observe.events import Answered, Committed, NotAnswered, Observer, Recovered, Trouble
from gateway.store import orders
from gateway.store.journal import Batch
from gateway.store.ledger import Key
from gateway.store.writer import Conflict, OutOfDate, Writer, checked
from gateway.wire import topics
from gateway.wire.answer import order
from gateway.wire.inbound import Inbound, Outbound
from gateway.wire.replies import reply_to

MAX_BATCH = 256
"""Messages in one commit: the gain of sharing a commit levels off here, the wait goes on growing."""
IN_FLIGHT = 2
"""Batches at the scribe: one being committed, the next ready."""
INBOX_LIMIT = 4096
"""Messages taken off the broker and not yet in a batch; above it the link stops reading."""
REMEMBERED = 8192
"""Latest answers kept in memory for repeats, some 10 MB: minutes of a county, a quarter minute of a province. Older
ones are read from the ledger, which costs the whole batch a second attempt."""
MOST_CONFLICTS = 4
"""Conflicts in a row after which a batch is taken apart."""
DAY_MS = 86_400_000
FIRST_RETRY_S, LONGEST_RETRY_S = 0.05, 2.0


class BrokerLink(Protocol):
    """What the pipeline needs of the connection to the broker."""

    def acknowledge(self, receipts: Iterable[tuple[int, int]]) -> None: ...
    def publish(self, messages: Iterable[Outbound]) -> None: ...
    def hold_back(self, held: bool) -> None: ...
    async def room(self) -> None: ...


class Flight(Struct):
    """A batch on its way to being durable."""

    batch: list[Inbound]
    entries: list[Entry]
    sent_ns: int
    skew: int | None
    result: "asyncio.Future[orders.Result]"


class Pipeline:
    """One task runs it, and everything that changes sessions goes through it. ``look_up`` is called with a person about
    whom a source is to be asked; ``resume`` has to follow within the time that a chip waits."""

    def __init__(
        self,
        state: GateState,
        writer: Writer,
        link: BrokerLink,
        observe: Observer,
        *,
        accept_clock: bool = False,
        look_up: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._state = state
        self._writer = writer
        self._link = link
        self._observe = observe
        self._inbox: deque[Inbound] = deque()
        self._flights: deque[Flight] = deque()
        self._failed: list[Flight] = []
        self._wake = asyncio.Event()
        self._landed = asyncio.Event()
        self._ticked = False
        self._draining = False
        self._held_back = False
        self._answers: OrderedDict[Key, bytes | None] = OrderedDict()
        self._under_way: set[Key] = set()
        self._accept_clock = accept_clock
        self._ask_about = look_up
        self._waiting_for: dict[str, list[Inbound]] = {}
        self._callers = Callers()
        self._started = False
        self._fault: Exception | None = None
        self.database_ok = False

    async def run(self) -> None:
        """Until drained: take a batch, handle it, send it to the scribe; what has landed answers itself."""
        try:
            await self._run()
        finally:
            self._draining = True
            self._callers.send_away()

    async def _run(self) -> None:
        while (batch := await self._take()) is not None:
            await self._space(IN_FLIGHT - 1)
            if self._state.in_doubt or doubtful(self._state, batch):
                await self._one_by_one(batch)
            else:
                self._send(batch)
        await self._space(0)
        if self._state.in_doubt:
            await self._one_by_one([])

    def _send(self, batch: list[Inbound]) -> None:
        entries = self._handle(batch)
        if not entries:
            return
        flight = self._flight(entries)
        self._flights.append(flight)
        flight.result.add_done_callback(self._land)

    def _flight(self, entries: list[Entry]) -> Flight:
        batch = [entry.inbound for entry in entries if entry.inbound]
        return Flight(batch, entries, monotonic_ns(), self._state.skew, self._writer.commit(self._to_write(entries)))

    def _land(self, _result: "asyncio.Future[orders.Result]") -> None:
        """A batch at the scribe is done. An error of this callback would only be logged: ``run`` raises it."""
        try:
            self._settle(self._flights.popleft())
        except Exception as error:  # noqa: BLE001  (whatever it is, ``run`` raises it and the process ends)
            self._fault = error
            self._wake.set()
        self._landed.set()

    def _settle(self, flight: Flight) -> None:
        """Results come in the order of sending."""
        result = None if flight.result.exception() else flight.result.result()
        if isinstance(result, orders.Committed):
            self._answer(flight, result)
            return
        if isinstance(result, orders.Unavailable):
            self._set_database(False, result.problem)
        self._failed.append(flight)
        self._state.in_doubt = True
        self._wake.set()

    def _answer(self, flight: Flight, committed: orders.Committed) -> None:
        """INVARIANT: only what is durable is acknowledged and answered, and in that order."""
        self._state.stored_skew = flight.skew
        self._remember(flight.entries, committed.replies)
        came = [entry.inbound for entry in flight.entries if entry.inbound]
        self._link.acknowledge(inbound.receipt for inbound in came if inbound.phone is None)
        self._link.publish(self._outgoing(flight.entries, committed.commands))
        for ask in [inbound.phone for inbound in came if inbound.phone]:
            self._callers.answer(ask, self._answers.get(key_of(ask)))
        self._tell(flight, committed)

    def _handle(self, batch: list[Inbound]) -> list[Entry]:
        now, entries = monotonic_ns(), []
        if stepped_ms := self._state.keep_time(now):
            self._observe(Trouble("clock", f"the clock was set by {stepped_ms / 1000:+.1f} s"))
        for inbound in batch:
            entry = handle(self._state, inbound, now, self._known)
            if entry.awaits is not None:
                self._wait_for(entry.awaits, inbound)
                continue
            if entry.key is not None and entry.draft is not None:
                self._under_way.add(entry.key)
            entries.append(entry)
        return entries + self._unasked()

    def _unasked(self) -> list[Entry]:
        """What no message asks for: the clock's due, and sessions that something else concerns."""
        wall, entries = self._state.wall_ms(), []
        if self._ticked:
            self._ticked = False
            self._state.agenda.hold_against_clock(self._state.sessions)
            entries = configs_due(self._state, wall) + lists_due(self._state, wall)
        return entries + on_time(self._state, wall) + work_off(self._state, wall)

    def _to_write(self, entries: list[Entry]) -> Batch:
        changed, opened = self._state.sessions.take_changes()
        return Batch(
            drafts=[entry.draft for entry in entries if entry.draft],
            changed=changed,
            opened=opened,
            usage=[entry.usage for entry in entries if entry.usage],
            chips=[entry.chip for entry in entries if entry.chip],
            codes=self._state.codes.take_fresh(),
            seqs=[entry.seq for entry in entries if entry.seq],
            lost=[entry.lost for entry in entries if entry.lost],
            lists=[entry.offline_list for entry in entries if entry.offline_list],
            orders=[order(entry.command) for entry in entries if entry.command],
        )

    # --- answers ---

    def _known(self, key: Key) -> bool:
        if key in self._answers:
            self._answers.move_to_end(key)  # or the answers of this very batch might push it out before it is sent
            return True
        return key in self._under_way

    def _remember(self, entries: list[Entry], replies: list[bytes | None]) -> None:
        recorded = [entry for entry in entries if entry.draft]
        self._state.latest = max([self._state.latest, *[entry.draft.at for entry in recorded if entry.draft]])
        for entry, reply in zip(recorded, replies, strict=True):
            if entry.key is not None:
                self._answers[entry.key] = reply
                self._under_way.discard(entry.key)
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    def _outgoing(self, entries: list[Entry], commands: list[bytes]) -> Iterable[Outbound]:
        """Each chip's answer, for a repeat the one on record; its command; then what goes to the feed."""
        signed, now = iter(commands), self._state.wall_ms()
        for entry in entries:
            reply = self._answers.get(entry.key) if entry.key else None
            if reply is not None and entry.key and entry.inbound and is_for_the_chip(entry.inbound, reply, now):
                yield reply_to(entry.inbound, entry.key[0], reply, entry.expires_s)
            if entry.command is not None:
                yield Outbound(topics.command(entry.command.aud), next(signed))
            if entry.feed is not None:
                yield entry.feed

    def _tell(self, flight: Flight, committed: orders.Committed) -> None:
        self._set_database(True)
        now, entries = monotonic_ns(), flight.entries
        decided = [entry for entry in entries if entry.draft and entry.draft.kind == "decision"]
        answered = [entry.inbound.arrived_ns for entry in decided if entry.inbound]
        self._observe(Answered(tuple([(now - arrived_ns) / 1e9 for arrived_ns in answered])))
        self._observe(
            Committed(len(flight.batch), len(committed.replies), (now - flight.sent_ns) / 1e9, committed.head.seq)
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

    async def ask(self, ask: PhoneAsk, within_s: float = ANSWERED_WITHIN_S) -> bytes:
        """What somebody who has signed in asks by phone goes the way of a chip's request. Returns the exact answer, on
        record by then and published to the chip; the same ask again gets the same bytes.

        Raises Unanswered where there is none within that many seconds. It may still be decided and unlock until the
        policy's ``answer_within_s`` and the start-by are over: whoever asks the same again learns of it. Raises
        ValueError for an id that the protocol does not have.
        """
        inbound = by_phone(ask, monotonic_ns())
        try:
            if self._draining or len(self._inbox) >= INBOX_LIMIT:
                raise unanswered("stopping" if self._draining else "busy")
            self.deliver(inbound)
            return await self._callers.wait(key_of(ask), within_s)
        except Unanswered as error:
            self._observe(NotAnswered(ask.machine_id, ask.request_id, error.why))
            raise

    def _wait_for(self, operator_id: str, inbound: Inbound) -> None:
        """Put a request aside until somebody has been asked about the person."""
        asked = operator_id in self._waiting_for
        waiting = self._waiting_for.setdefault(operator_id, [])
        if not any(one is inbound for one in waiting):  # a batch that failed is handled again
            waiting.append(inbound)
        if not asked:
            self._ask_about(operator_id)

    def resume(self, operator_id: str) -> None:
        """Somebody was asked about the person, whatever came of it: handle first what has waited for that."""
        self._state.lookups.answered(operator_id, self._state.wall_ms())
        self._inbox.extendleft(reversed(self._waiting_for.pop(operator_id, [])))
        self._wake.set()

    def forget_waiting(self) -> None:
        """The broker sends again what was not acknowledged: what still waits here would only be done twice. It keeps
        nothing of what was asked by phone."""
        self._inbox = deque(inbound for inbound in self._inbox if not inbound.receipt[1])
        waiting = self._waiting_for.items()
        kept = {person: [inbound for inbound in those if inbound.phone] for person, those in waiting}
        self._waiting_for = {person: those for person, those in kept.items() if those}

    def tick(self) -> None:
        """Look at the clock: sessions also end by time alone."""
        self._ticked = True
        self._wake.set()

    def wake(self) -> None:
        """Something was put on the agenda."""
        self._wake.set()

    def drain(self) -> None:
        """Take no new work, finish what is here, then return from ``run``."""
        self._draining = True
        self._hold_back(True)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Messages not handled yet."""
        return len(self._inbox) + sum(map(len, self._waiting_for.values()))

    @property
    def at_scribe(self) -> int:
        """Messages handled and not durable yet."""
        return sum(len(flight.batch) for flight in (*self._flights, *self._failed))

    async def _take(self) -> list[Inbound] | None:
        """The next batch, empty at a tick, with something on the agenda or after a failure; None once drained."""
        if not self._inbox:
            if self._draining:
                return None
            if self._state.agenda:
                await asyncio.sleep(0)  # a long agenda keeps nobody else waiting
            else:
                await self._wake.wait()
                self._wake.clear()
        batch = [self._inbox.popleft() for _ in range(min(len(self._inbox), MAX_BATCH))]
        if self._held_back and not self._draining and len(self._inbox) < INBOX_LIMIT // 2:
            self._hold_back(False)
        return batch

    async def _space(self, most: int) -> None:
        """Wait until at most so many batches are at the scribe, and the broker takes answers. Raises what went wrong
        where one landed."""
        while len(self._flights) > most and self._fault is None:
            self._landed.clear()
            await self._landed.wait()
        if self._fault is not None:
            raise self._fault
        await self._link.room()

    def _hold_back(self, held: bool) -> None:
        self._held_back = held
        self._link.hold_back(held)

    # --- trouble ---

    async def _one_by_one(self, batch: list[Inbound]) -> None:
        """First what failed, then this batch, in order and one at a time, on what the database really holds."""
        await self._space(0)
        failed, self._failed = self._failed, []
        for flight in failed:
            await self._make_durable(flight.batch, _keys(flight.entries))
        await self._make_durable(batch, [])

    async def _make_durable(self, batch: list[Inbound], keys: list[Key]) -> None:
        """Handle and commit, from the start again while somebody is faster or the database is away.

        A batch that the database goes on refusing is taken apart; a message that it refuses on its own is put aside,
        so that it stops nobody else.
        """
        wait_s, conflicts = FIRST_RETRY_S, 0
        while len(batch) <= 1 or conflicts < MOST_CONFLICTS:
            try:
                if self._state.in_doubt:
                    await self._read_back(keys)
                await self._commit(batch, keys, hopeless=conflicts >= MOST_CONFLICTS)
            except OutOfDate:
                self._state.in_doubt = True
                await asyncio.sleep(random.uniform(0, FIRST_RETRY_S))  # noqa: S311  (jitter, not secrecy)
            except Conflict as error:
                self._state.in_doubt = True
                conflicts += 1
                if conflicts > MOST_CONFLICTS:
                    raise
                if conflicts == MOST_CONFLICTS:
                    self._observe(Trouble("database", f"refuses {len(batch)} messages: {error}"))
            except DatabaseUnavailable as error:
                self._state.in_doubt = True
                wait_s = await self._wait_for_database(error, wait_s)
            else:
                return
        for inbound in batch:
            await self._make_durable([inbound], keys)

    async def _commit(self, batch: list[Inbound], keys: list[Key], *, hopeless: bool) -> None:
        """``keys`` becomes what has to be read back where it fails."""
        await self._look_up(batch)
        entries = [set_aside(self._state, inbound) for inbound in batch] if hopeless else self._handle(batch)
        keys[:] = _keys(entries)
        flight = self._flight(entries)
        committed = checked(await flight.result)
        assert isinstance(committed, orders.Committed)
        self._answer(flight, committed)

    async def _look_up(self, batch: list[Inbound]) -> None:
        """Read what events speak of and memory does not hold."""
        unknown = doubtful(self._state, batch)
        if not unknown:
            return
        machine_ids = list(dict.fromkeys(unknown.values()))
        found = await self._writer.look_up(orders.LookUp(list(unknown), machine_ids))
        self._answers |= dict(found.answers)
        self._state.refresh(machine_ids, found.about)

    async def _read_back(self, keys: list[Key]) -> None:
        """Take sessions, chips and recorded answers from the database: memory may be ahead of it or behind."""
        whole, clock = not self._started, accepted_clock(self._state) if self._accept_clock else None
        recalled = await self._writer.recall(orders.Recall(keys, whole, self._recent_since() if whole else None, clock))
        self._accept_clock = False
        self._under_way.clear()
        self._answers |= dict(recalled.answers)
        self._state.load(recalled.book, whole=whole)
        self._started = True
        self._set_database(True)

    def _recent_since(self) -> int | None:
        """From when on it matters who was let in where."""
        days = self._state.rulebook.policy.offline.recent_days
        return self._state.wall_ms() - days * DAY_MS if offered(self._state) else None

    async def probe_database(self) -> None:
        """Find out whether the database takes writes, without waiting for the next message."""
        try:
            await self._writer.probe()
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


def _keys(entries: list[Entry]) -> list[Key]:
    return [entry.key for entry in entries if entry.key is not None]
