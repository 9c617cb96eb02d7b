"""One gateway process on the virtual clock: the real pipeline and gate, over a modelled link and scribe.

A crash ends it between any two of the steps that matter; what it had sent to the scribe is carried out all the same,
what it held in memory is gone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Literal, Protocol, cast

import msgspec
from msgspec import Struct

from gateway.core.model import PhoneAsk
from gateway.core.policy import Rulebook
from gateway.errors import DatabaseUnavailable, Unanswered
from gateway.gate.state import GateState
from gateway.observe.events import Observed
from gateway.pipeline import Pipeline
from gateway.registry.snapshot import Snapshot
from gateway.store import orders
from gateway.store.journal import Batch
from gateway.store.writer import ScribeLost, Writer
from gateway.wire.inbound import Inbound, Outbound
from tests.simulation.broker import Broker
from tests.simulation.county import County
from tests.simulation.database import Database
from tests.simulation.gateway_ports import Gone, Lost, ModelLink, ModelWriter
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Connection, Line, Network
from tests.simulation.timeline import Timeline

CrashPoint = Literal["arrived", "handled", "sent", "committed", "replied", "acknowledged", "published"]
CRASH_POINTS: tuple[CrashPoint, ...] = (
    "arrived",
    "handled",
    "sent",
    "committed",
    "replied",
    "acknowledged",
    "published",
)
"""Just before: it is handled, it is sent, it is committed, the reply comes, it is acknowledged, it is published; and
just after it was published."""
TICK_MS = 1_000
"""As in ``gateway.app``. Ticks that would find nothing due are left out, but never for longer than the next number."""
LONGEST_WITHOUT_TICK_MS = 20_000


class Carrier(Protocol):
    """A scribe, modelled or real."""

    def carry_out(self, order: orders.Order) -> orders.Result: ...


class Watcher(Protocol):
    """Who sees what a gateway makes durable and publishes."""

    def committed(self, gateway: "GatewayHost", batch: Batch, result: orders.Committed) -> None: ...
    def gateway_published(self, gateway: "GatewayHost", message: Outbound) -> None: ...
    def gateway_received(self, gateway: "GatewayHost", topic: str, payload: bytes) -> None: ...
    def gateway_failed(self, gateway: "GatewayHost", error: BaseException) -> None: ...
    def gateway_down(self, until: int) -> None: ...
    def note(self, who: str, what: str) -> None: ...


class Surroundings(Struct):
    """What all gateways of a run share."""

    timeline: Timeline
    network: Network
    broker: Broker
    database: Database
    county: County
    rulebook: Rulebook
    watcher: Watcher
    make_scribe: Callable[[], Carrier]
    base_ms: int
    commit_ms: tuple[int, int]
    code_keys: tuple[bytes, ...]


class Process:
    """What lives and dies with one process: loop, pipeline, state, orders under way, link state."""

    def __init__(self, host: "GatewayHost", around: Surroundings) -> None:
        self.alive = True
        self.loop = VirtualLoop(around.timeline, host.run_ready)
        self.state = GateState(Snapshot(), around.rulebook, host.wall_ms, around.code_keys)
        self.scribe = around.make_scribe()
        self.awaited: deque[asyncio.Future[orders.Result]] = deque()
        self.scribe_free_at = 0
        self.connection: Connection | None = None
        self.connection_number = 0
        self.mid = 0
        self.unacknowledged: dict[int, Outbound] = {}
        self.held_back = False
        self.held: list[Inbound] = []
        self.tick_at: int | None = None
        self.asking: list[Coroutine[Any, Any, None]] = []
        self.stopping = False
        self.pipeline = Pipeline(
            self.state, cast(Writer, ModelWriter(host, self)), ModelLink(host, self), host.observed
        )
        self.task: asyncio.Task[None] | None = None


class GatewayHost:
    """A gateway's machine: starts it, crashes it, tells it the time."""

    def __init__(self, number: int, around: Surroundings, line: Line, random: Random) -> None:
        self.client_id = f"weldgate-gateway-{number}"
        self.line = line
        self.clock_off_ms = 0
        self.frozen_until = 0
        self.crash_at: CrashPoint | None = None
        self.down_ms = 0
        self.process: Process | None = None
        self.crashes = 0
        self._around = around
        self._random = random

    def wall_ms(self) -> int:
        return self._around.base_ms + self._around.timeline.now + self.clock_off_ms

    @property
    def running(self) -> bool:
        return self.process is not None

    # --- life ---

    def start(self) -> None:
        if self.process is not None:
            return
        process = self.process = Process(self, self._around)
        process.state.snapshot.apply(self._around.county.delta(0))
        process.task = process.loop.create_task(process.pipeline.run(), name="pipeline")
        process.task.add_done_callback(lambda task: self._ended(process, task))
        self._around.watcher.note(self.client_id, "starts")
        process.loop.run_ready()
        self._dial()

    def _ended(self, process: Process, task: "asyncio.Task[None]") -> None:
        """The pipeline's task is over: drained, without its scribe, or by a fault of its own."""
        if not process.alive:
            return
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ScribeLost | DatabaseUnavailable):
            self._around.watcher.gateway_failed(self, error)
        self._die(process, "stops" if error is None else f"ends: {error}", silently=False)
        self._around.timeline.after(self._down_ms, self.start)

    def crash(self, *, silently: bool) -> None:
        """At once, in the midst of whatever it does. ``silently``: its machine lost power."""
        if self.process is not None:
            self._die(self.process, "crashes", silently=silently)
            self._around.timeline.after(self._down_ms, self.start)

    @property
    def _down_ms(self) -> int:
        return self.down_ms or 2_000

    def _die(self, process: Process, why: str, *, silently: bool) -> None:
        process.alive = False
        process.loop.end()
        for asking in process.asking:
            asking.close()
        if silently:
            process.scribe = Lost()  # on the same machine
        if process.task is not None:
            process.task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.process = None
        self.crashes += 1
        self._around.watcher.note(self.client_id, why)
        self._around.watcher.gateway_down(self._around.timeline.now + self._down_ms)
        if process.connection is not None:
            if silently:
                self._around.network.vanish(process.connection)
            else:
                process.connection.close_client_end()

    def stop(self) -> None:
        """An orderly stop: drain, then end."""
        if self.process is not None and not self.process.stopping:
            self.process.stopping = True
            self.process.pipeline.drain()
            self.run_ready()
            self._around.timeline.after(10_000, self._stop_hard, self.process)

    def _stop_hard(self, process: Process) -> None:
        if self.process is process:
            self.crash(silently=False)

    def crash_point(self, point: CrashPoint) -> None:
        """Die here if that is what was ordered."""
        if self.crash_at == point and self.process is not None:
            self.crash_at = None
            self._around.watcher.note(self.client_id, f"crashes when {point}")
            self.crash(silently=self._random.random() < 0.5)
            raise Gone

    def scribe_dies(self) -> None:
        """The scribe's process is gone; the gateway ends because of it."""
        process = self.process
        if process is None:
            return
        process.scribe = Lost()
        self._around.watcher.note(self.client_id, "loses its scribe")
        while process.awaited:
            awaited = process.awaited.popleft()
            if not awaited.done():
                awaited.set_exception(ScribeLost("the scribe has ended"))
        self.run_ready()

    def run_ready(self) -> None:
        """Let the process do what it can do now; a frozen one does it later."""
        process = self.process
        if process is None:
            return
        if self.frozen_until > self._around.timeline.now:
            return
        try:
            process.loop.run_ready()
        except Gone:
            return
        if process.loop.problems:
            problem = process.loop.problems.pop()
            self._around.watcher.gateway_failed(self, problem.get("exception") or RuntimeError(str(problem)))

    def freeze(self, duration: int) -> None:
        """The process does not run for a while: its machine is paused, or out of breath."""
        self.frozen_until = self._around.timeline.now + duration
        self._around.timeline.at(self.frozen_until, self._thaw)

    def _thaw(self) -> None:
        process = self.process
        if process is None or self.frozen_until > self._around.timeline.now:
            return
        if not process.held_back:
            waiting, process.held = process.held, []
            for inbound in waiting:
                arrived_ns = self._around.timeline.now * 1_000_000
                process.pipeline.deliver(msgspec.structs.replace(inbound, arrived_ns=arrived_ns))
        self.run_ready()

    # --- side tasks of the application ---

    def registry_changed(self) -> None:
        """Another version is there; the process sees it within a quarter second, and some to read it."""
        self._around.timeline.after(int(self._random.random() * 250) + 20, self._take_registry)

    def _take_registry(self) -> None:
        if self.process is None:
            return
        if self._around.database.away:
            self._around.timeline.after(250, self._take_registry)
            return
        state = self.process.state
        state.concern(state.snapshot.apply(self._around.county.delta(state.snapshot.version)))
        self.process.pipeline.wake()
        self.run_ready()

    def policy_changed(self) -> None:
        """The policy file is another one; the process sees it within a quarter second."""
        self._around.timeline.after(int(self._random.random() * 250) + 20, self._take_policy)

    def _take_policy(self) -> None:
        """As ``Upkeep.watch_policy`` does: it is kept in the database first."""
        process, rulebook = self.process, self._around.rulebook
        if process is None or process.state.rulebook.hash == rulebook.hash:
            return
        if self._around.database.away:
            self._around.timeline.after(250, self._take_policy)
            return
        process.state.adopt(rulebook)
        process.pipeline.wake()
        self.run_ready()

    def keep_ticking(self) -> None:
        """Have the process look at the clock when that can lead to something."""
        process = self.process
        if process is None or not (len(process.state.sessions) or _listed(process.state)):
            return
        when = self._around.timeline.now + _until_something_is_due(process.state, self.wall_ms())
        if process.tick_at is None or when < process.tick_at:
            process.tick_at = when
            self._around.timeline.at(when, self._tick, process, when)

    def _tick(self, process: Process, when: int) -> None:
        if process.alive and process.tick_at == when:
            process.tick_at = None
            process.pipeline.tick()
            self.run_ready()
            self.keep_ticking()

    def observed(self, event: Observed) -> None:
        """Nothing observes here; the invariants look at what is durable and what is published."""

    # --- phones ---

    def ask(self, ask: PhoneAsk, answered: Callable[[bytes | None], None]) -> None:
        """Somebody's phone asks this gateway; of a process that ends meanwhile nothing more is heard."""
        process = self.process
        if process is None:
            return
        if self.frozen_until > self._around.timeline.now:
            self._around.timeline.at(self.frozen_until, self.ask, ask, answered)
            return
        process.asking.append(_asking(process.pipeline, ask, answered))
        process.loop.create_task(process.asking[-1], name="phone")
        self.run_ready()

    # --- link ---

    def _dial(self) -> None:
        process = self.process
        if process is not None and process.connection is None and not process.stopping:
            self._around.broker.dial(self, (), None)

    def on_connected(self, connection: Connection, *, resumed: bool) -> None:
        process = self.process
        if process is None or process.connection is not None:
            connection.close_client_end()
            return
        process.connection = connection
        process.connection_number += 1
        if resumed:
            process.pipeline.forget_waiting()
        for mid, message in process.unacknowledged.items():
            connection.up(self._around.broker.from_client, mid, message.topic, message.payload, message.retained)

    def on_publish(self, connection: Connection, mid: int, topic: str, payload: bytes, retained: bool) -> None:
        process = self.process
        if process is None or process.connection is not connection or process.stopping:
            return
        try:
            self.crash_point("arrived")
        except Gone:
            return
        self._around.watcher.gateway_received(self, topic, payload)
        arrived_ns = self._around.timeline.now * 1_000_000
        inbound = Inbound(topic, payload, retained, arrived_ns, (process.connection_number, mid))
        if process.held_back or self.frozen_until > self._around.timeline.now:
            process.held.append(inbound)
        else:
            process.pipeline.deliver(inbound)
            self.run_ready()

    def on_acknowledged(self, connection: Connection, mid: int) -> None:
        if self.process is not None and self.process.connection is connection:
            self.process.unacknowledged.pop(mid, None)

    def on_closed(self, connection: Connection) -> None:
        process = self.process
        if process is not None and process.connection in (connection, None):
            process.connection = None
            process.held.clear()
            self._around.timeline.after(200 + int(self._random.random() * 2_000), self._dial)

    def on_unreachable(self) -> None:
        self._around.timeline.after(int(self._random.random() * 4_000), self._dial)


async def _asking(pipeline: Pipeline, ask: PhoneAsk, answered: Callable[[bytes | None], None]) -> None:
    try:
        answered(await pipeline.ask(ask))
    except Unanswered:
        answered(None)


def _listed(state: GateState) -> list[int]:
    """When offline lists and settings are due."""
    return [*state.offline.due.values(), *state.settings.due.values()]


def _until_something_is_due(state: GateState, wall_ms: int) -> int:
    """Milliseconds until the tick at which a session, a lock, an offline list or a setting is due."""
    due = min(_listed(state), default=wall_ms + LONGEST_WITHOUT_TICK_MS)
    for session in state.sessions:
        if session.drained_at is not None:
            return TICK_MS
        due = min(due, session.open_until, session.live.stands_until or due)
    ticks = (due - wall_ms) // TICK_MS + 1
    return int(min(max(ticks, 1) * TICK_MS, LONGEST_WITHOUT_TICK_MS))
