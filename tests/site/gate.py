"""The gate behind the site, over the site's own database, and the reference chip at a machine; no broker between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from random import Random

from joserfc.jwk import ECKey
from msgspec import Struct, field
from sqlalchemy import Engine

from gateway.clock import monotonic_ns
from gateway.core.model import PhoneAsk
from gateway.gate.state import GateState
from gateway.observe.events import Observer
from gateway.pipeline import Pipeline
from gateway.store.scribe import Scribe
from gateway.upkeep import Upkeep
from gateway.wire import topics
from gateway.wire.inbound import Inbound, Outbound
from gateway.wire.tokens import Signer, Verifier
from simulator.chip import Chip, ChipConfig
from simulator.signals import (
    Action,
    CloseRelay,
    Connected,
    Delivered,
    Event,
    MessageArrived,
    Moment,
    OpenRelay,
    PowerOn,
    Publish,
    RelaySensed,
)
from tests.store.databases import writer_on

WITHIN_S = 10.0
KEY = ECKey.generate_key("P-256", auto_kid=True)
VERIFY = Verifier({"keys": [KEY.as_dict(private=False)]}).claims


class Lock(Struct):
    """The reference chip, with the site's clock on its wall. ``held``: what reaches it waits."""

    gate: "Gate"
    chip: Chip
    held: bool = False
    waiting: list[Event] = field(default_factory=list)

    def feed(self, *events: Event) -> None:
        self.waiting += events
        while self.waiting and not self.held:
            moment = Moment(monotonic_ns() // 1_000_000, self.gate.state.wall_ms())
            for action in self.chip.step(self.waiting.pop(0), moment):
                self._perform(action)

    def let_go(self) -> None:
        """What has waited reaches it."""
        self.held = False
        self.feed()

    def _perform(self, action: Action) -> None:
        match action:
            case Publish():
                self.gate.deliver(action)
                self.waiting += [Delivered(action.key)] if action.key is not None else []
            case CloseRelay():
                self.waiting.append(RelaySensed("closed"))
            case OpenRelay():
                self.waiting.append(RelaySensed("open"))
            case _:
                pass


class Gate:
    """The pipeline, and the locks that it reaches."""

    def __init__(self, state: GateState) -> None:
        self.state = state
        self.locks: dict[str, Lock] = {}
        self.published: list[Outbound] = []
        self.acknowledged = 0
        self.pipeline: Pipeline | None = None
        self.hurry: Callable[[], None] = lambda: None

    async def lock(self, machine_id: str = "HJ-0001", serial: str = "C-1") -> Lock:
        """A lock that has shown its challenge."""
        lock = self.locks[machine_id] = Lock(self, Chip(ChipConfig(machine_id, serial), VERIFY, Random(1)))
        lock.feed(PowerOn(), Connected())
        await until(lambda: self.state.chips[machine_id].challenge == lock.chip.challenge)
        return lock

    def deliver(self, sent: Publish) -> None:
        assert self.pipeline is not None
        self.pipeline.deliver(Inbound(sent.topic, sent.payload, False, monotonic_ns(), (1, 1)))

    async def ask(self, ask: PhoneAsk, within_s: float) -> bytes:
        assert self.pipeline is not None
        return await self.pipeline.ask(ask, within_s)

    # --- the broker's side, as the pipeline sees it ---

    def acknowledge(self, receipts: Iterable[tuple[int, int]]) -> None:
        self.acknowledged += len(list(receipts))

    def publish(self, messages: Iterable[Outbound]) -> None:
        for message in messages:
            self.published.append(message)
            for machine_id, lock in self.locks.items():
                if message.topic in (topics.decision(machine_id), topics.command(machine_id)):
                    arrived = MessageArrived(message.topic, message.payload, message.retained)
                    asyncio.get_running_loop().call_soon(lock.feed, arrived)

    def hold_back(self, held: bool) -> None:
        """Nothing is ever too much here."""

    async def room(self) -> None:
        """There always is."""


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not what():  # noqa: ASYNC110 - chip, pipeline and scribe are loops of their own
            await asyncio.sleep(0.005)


@asynccontextmanager
async def gate_on(engine: Engine, state: GateState, observe: Observer) -> AsyncIterator[Gate]:
    """A gate that decides with ``state``, and takes over what is ordered as a gateway does."""
    gate = Gate(state)
    async with writer_on(Scribe(engine, Signer(KEY))) as writer:
        pipeline = gate.pipeline = Pipeline(state, writer, gate, observe)
        upkeep = Upkeep(engine, state, pipeline.wake, observe, frozenset())
        gate.hurry = upkeep.hurry.set
        running = asyncio.create_task(pipeline.run(), name="pipeline")
        watching = asyncio.create_task(upkeep.watch_registry(), name="registry watch")
        try:
            yield gate
        finally:
            watching.cancel()
            pipeline.drain()
            await running
