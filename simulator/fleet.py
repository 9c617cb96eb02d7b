"""A whole fleet against a gateway: chips, links, scenario and audit under one TaskGroup of named tasks."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from random import Random

from joserfc.errors import JoseError
from msgspec import Struct

from gateway.wire.tokens import Verifier
from simulator.audit import Audit
from simulator.cast import Cast, Part, choose
from simulator.chip import Chip, ChipConfig
from simulator.grants import Verify
from simulator.link import CONNECT_TIMEOUT_S, CONNECTING_AT_ONCE, Broker, Link, allow_open_files
from simulator.oracle import county_day
from simulator.registry import Registry
from simulator.report import Report
from simulator.rig import Rig
from simulator.scenario import SCENARIOS, Planner, ScenarioName
from simulator.signals import Event, OperatorEnds, PowerOn, Tick
from simulator.stage import Stage

TICK_S = 0.05
"""How exactly the chips' timers fire: finer than anything the protocol times."""
KEEP_ALIVE_S = 1.0
CONNECT_ALL_S = 60.0
SETTLE_S = 1.5
"""After the last chip connected, before the first scan: the gateway takes in all those statuses."""
DRAIN_S = 15.0
"""After the last act, for answers and reports still on their way."""
RATE_PER_MACHINE = 0.075
GRANTS_REMEMBERED = 4096
"""Each grant is verified by the audit and by its chip; the second time costs nothing."""


class FleetError(Exception):
    """The run cannot take place; the message names the option, the value and the remedy."""


class FleetOptions(Struct, frozen=True, kw_only=True):
    """One run. ``rate`` is acts a second, None for 0.075 a machine; times end in their unit.
    Machines to ``leave_alone`` come on top: they are on the air, and nobody in the run touches them, nor such people.
    """

    broker: Broker
    registry: Registry
    jwks: dict[str, object]
    machines: int
    seed: int = 1
    for_s: float = 60.0
    scenario: ScenarioName = "mixed-faults"
    rate: float | None = None
    usage_every_s: int = 10
    repeat_every_s: int = 5
    leave_alone: tuple[str, ...] = ()


class Progress(Struct, frozen=True):
    """Where a run stands."""

    stage: str
    elapsed_s: float
    online: int
    requests: int
    decisions: int
    mismatches: int


class Fleet:
    """One run against one broker. ``await run()`` once."""

    def __init__(self, options: FleetOptions, on_progress: Callable[[Progress], None] | None = None) -> None:
        self.options = options
        self.verify = _verifier(options.jwks)
        self.audit = Audit(options.registry, self.verify)
        scenario = SCENARIOS[options.scenario]
        today = county_day(time.time_ns() // 1_000_000)
        self.cast: Cast = choose(
            options.registry, options.machines, options.seed, today, faulty=scenario.faulty, besides=options.leave_alone
        )
        self.rigs: dict[str, Rig] = {}
        self._on_progress = on_progress
        self._stage = "connecting"
        self._started = time.monotonic()
        self._over = asyncio.Event()
        self._stopped = asyncio.Event()
        self._crash: BaseException | None = None

    async def run(self) -> Report:
        """Connect everybody, play the scenario, drain; raises FleetError if the fleet cannot get on the air."""
        self._check_limits()
        await _reach(self.options.broker)
        asyncio.get_running_loop().set_exception_handler(self._on_crash)
        self._build()
        try:
            await self._run_tasks()
        except BaseExceptionGroup as group:
            if (expected := group.subgroup(FleetError)) is not None:
                raise _first(expected) from None
            raise
        return self._report()

    def stop(self) -> None:
        """End the run before its time: everybody goes home, and the report is of what was played."""
        self._stopped.set()

    async def _run_tasks(self) -> None:
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(rig.link.run(), name=f"link:{machine_id}") for machine_id, rig in self.rigs.items()
            ]
            background.append(group.create_task(self._tick(), name="ticks"))
            background.append(group.create_task(self._keep_alive(), name="keep-alive"))
            try:
                await self._all_online()
                await self._play()
                await self._drain()
            finally:
                for task in background:
                    task.cancel()

    # --- getting ready ------------------------------------------------------------------------------------------

    def _check_limits(self) -> None:
        carried = allow_open_files(self.options.machines + len(self.options.leave_alone))
        if carried < self.options.machines:
            raise FleetError(
                f"--machines {self.options.machines}: open files are limited to {carried} chips here; "
                "raise the hard limit (ulimit -Hn) or ask for fewer"
            )

    def _build(self) -> None:
        started_ms = time.time_ns() // 1_000_000
        slots = asyncio.Semaphore(CONNECTING_AT_ONCE)
        for part in self.cast.parts:
            rig = Rig(part, self._chip(part, started_ms), self.audit)
            rig.wire(self._link_maker(part, slots))
            rig.feed(PowerOn())
            self.rigs[part.machine_id] = rig

    def _chip(self, part: Part, started_ms: int) -> Chip:
        """Ids and challenges differ from run to run. Event numbers go on from those of any earlier run."""
        options = self.options
        config = ChipConfig(
            part.machine_id,
            part.serial,
            usage_every_s=options.usage_every_s,
            repeat_every_s=options.repeat_every_s,
            first_seq=started_ms,
        )
        seed = f"{options.seed}/{started_ms}/{part.machine_id}"
        return Chip(config, self.verify, Random(seed))  # noqa: S311  (a simulated chip; repeatable on purpose)

    def _link_maker(self, part: Part, slots: asyncio.Semaphore) -> Callable[[Callable[[Event], None]], Link]:
        jitter = Random(f"{self.options.seed}/link/{part.machine_id}")  # noqa: S311  (spreads reconnects)
        return lambda feed: Link(self.options.broker, part.machine_id, feed, slots, jitter)

    async def _all_online(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_ALL_S):
                while self._online() < len(self.rigs):
                    self._raise_crash()
                    self._refused()
                    await asyncio.sleep(TICK_S)
        except TimeoutError:
            raise FleetError(
                f"--broker: only {self._online()} of {len(self.rigs)} chips were connected within "
                f"{CONNECT_ALL_S:.0f} s; raise the broker's connection limit or ask for fewer --machines"
            ) from None
        await asyncio.sleep(SETTLE_S)

    def _online(self) -> int:
        return sum(rig.link.online for rig in self.rigs.values())

    def _refused(self) -> None:
        """A broker that wants another user says so to everybody."""
        for rig in self.rigs.values():
            if "uthori" in rig.link.refusal or "user" in rig.link.refusal.lower():
                raise FleetError(
                    f"--broker: the broker refuses us ({rig.link.refusal}); "
                    "put the right user and password into mqtt://user:password@host:port"
                )

    # --- the run ------------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        """Each act in a task of its own, at its time."""
        self._stage = "running"
        options, loop = self.options, asyncio.get_running_loop()
        stage = Stage(self.rigs, self.audit, self._over)
        planner = Planner(self.cast, SCENARIOS[options.scenario], options.seed, options.leave_alone)
        rate = options.rate or options.machines * RATE_PER_MACHINE
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for number, act in enumerate(planner.acts(rate, options.for_s)):
                if await self._stopped_before(start + act.at_s):
                    break
                self._raise_crash()
                group.create_task(stage.play(act), name=f"act:{number}:{act.kind}")
            await self._stopped_before(start + options.for_s)
            self._over.set()

    async def _stopped_before(self, moment: float) -> bool:
        """Wait until a moment of the loop's clock; True at once if the run was stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(moment):
                await self._stopped.wait()
        return self._stopped.is_set()

    async def _drain(self) -> None:
        """Everybody goes home; answers and reports still on their way arrive."""
        self._stage = "draining"
        for rig in self.rigs.values():
            rig.rest()
            rig.feed(OperatorEnds())
        give_up = time.monotonic() + DRAIN_S
        while time.monotonic() < give_up and (
            self.audit.waiting() or any(len(r.chip.outbox) for r in self.rigs.values())
        ):
            self._raise_crash()
            await asyncio.sleep(TICK_S)

    async def _tick(self) -> None:
        """Wakes each chip when one of its timers is due."""
        while True:
            now_ms = time.monotonic_ns() // 1_000_000
            for rig in self.rigs.values():
                wake_ms = rig.chip.wake_ms
                if wake_ms is not None and wake_ms <= now_ms:
                    rig.feed(Tick())
            await asyncio.sleep(TICK_S)

    async def _keep_alive(self) -> None:
        while True:
            for rig in self.rigs.values():
                rig.link.keep_alive()
            if self._on_progress is not None:
                self._on_progress(self._progress())
            await asyncio.sleep(KEEP_ALIVE_S)

    def _progress(self) -> Progress:
        audit, elapsed_s = self.audit, time.monotonic() - self._started
        return Progress(self._stage, elapsed_s, self._online(), audit.requests, audit.decisions, audit.mismatches)

    def _on_crash(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A fault in a socket callback ends the run instead of being logged."""
        error = context.get("exception")
        self._crash = error if isinstance(error, BaseException) else RuntimeError(str(context.get("message")))

    def _raise_crash(self) -> None:
        if self._crash is not None:
            raise self._crash

    def _report(self) -> Report:
        self._raise_crash()
        options = self.options
        duration_s = round(time.monotonic() - self._started, 3)
        report = Report(scenario=options.scenario, seed=options.seed, machines=len(self.rigs), duration_s=duration_s)
        return self.audit.close(report)


def _verifier(jwks: dict[str, object]) -> Verify:
    try:
        return lru_cache(maxsize=GRANTS_REMEMBERED)(Verifier(jwks).claims)
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise FleetError(
            f"--jwks: no usable key ({error or type(error).__name__}); make it with: weldgate keys public --out FILE"
        ) from error


async def _reach(broker: Broker) -> None:
    """One plain connection first: a broker that is not there is better told once than by every chip."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port)
    except (OSError, TimeoutError) as error:
        why = str(error) or "no answer"
        raise FleetError(
            f"--broker: cannot reach {broker.host}:{broker.port} ({why}); start the broker or correct the address"
        ) from error
    writer.close()


def _first(group: BaseExceptionGroup[FleetError]) -> FleetError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
