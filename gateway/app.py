"""The composition root: builds everything, runs it as one group of named tasks, and shuts it down in order."""

import asyncio
import gc
import math
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from gateway import __version__
from gateway.clock import now_ms
from gateway.core.session import OPEN_STATES
from gateway.errors import DatabaseUnavailable, WeldGateError
from gateway.figures import Keeper
from gateway.gate.state import GateState
from gateway.keys import open_code_keys
from gateway.mqtt.link import Hooks, Link
from gateway.mqtt.url import BrokerUrl, parse_broker_url
from gateway.observe.drops import Drops
from gateway.observe.events import Hub, Observer, Recovered, Trouble
from gateway.observe.feed import UsageFold
from gateway.observe.logs import Log
from gateway.observe.metrics import PRESENCES, Metrics
from gateway.pipeline import Pipeline
from gateway.registry.lookup import Books, Lookup
from gateway.registry.snapshot import Snapshot
from gateway.registry.sources import Sources, load_sources, push_secrets
from gateway.settings import Settings
from gateway.site import oidc
from gateway.site.faces import PAGES
from gateway.site.live import Follower
from gateway.site.parts import Parts
from gateway.site.site import Site
from gateway.store.engine import database_file, open_engine, room
from gateway.store.vault import Vault, open_vault
from gateway.store.writer import Writer
from gateway.upkeep import Upkeep, read_rulebook
from gateway.web.api import Api
from gateway.web.call import Services
from gateway.web.deliveries import Deliveries, Trust
from gateway.web.health import make_app
from gateway.wire import acl, topics
from gateway.wire.codec import encode
from gateway.wire.inbound import Inbound, Outbound
from gateway.wire.messages import GatewayStatus

DATABASE_PROBE_S = 2.0
TICK_S = 1.0
COLLECT_EVERY = (20_000, 20, 100)
"""Thresholds of the collector: the main path makes no cycles, and looking for them takes time from it."""
DRAIN_WITHIN_S = 10.0
FIGURES_WAIT_FOR = 64
"""Messages in the inbox while which nothing is counted for pages."""
DISCONNECT_WITHIN_S = 5.0


class Gateway:
    """One running gateway. ``stop`` drains it: no new work, what is in flight is committed and answered."""

    def __init__(self, settings: Settings, scribe: socket.socket, observers: tuple[Observer, ...] = ()) -> None:
        self._settings = settings
        broker = parse_broker_url(settings.broker.get_secret_value())
        self._hub = Hub()
        self._metrics = Metrics(__version__)
        self._fold = UsageFold(self._hub)
        everyone: tuple[Observer, ...] = (self._metrics, Log(), self._fold, *observers)
        for observer in everyone:
            self._hub.add(observer)
        self._engine = open_engine(settings.database, migrate=False)
        self._database_file = database_file(settings.database)
        self._writer = Writer(scribe)
        code_keys = open_code_keys(settings.keys)
        self._state = GateState(Snapshot(), read_rulebook(self._engine, settings.policy), now_ms, code_keys)
        self._link = self._make_link(broker)
        self._drops = Drops(self._hub)
        self._pipeline = Pipeline(
            self._state,
            self._writer,
            self._link,
            self._hub,
            accept_clock=settings.accept_clock,
            look_up=lambda operator_id: self._lookup.ask(operator_id),
        )
        sources = load_sources(settings.registry) if settings.registry else Sources()
        required = frozenset(name for name, source in sources.sources.items() if source.required)
        self._upkeep = Upkeep(self._engine, self._state, self._pipeline.wake, self._hub, required)
        vault = open_vault(settings.keys)
        books = Books(self._engine, vault, sources.how(), self._upkeep.load_registry)
        self._lookup = Lookup(sources, books, self._pipeline.resume, self._hub)
        self._state.lookups.offered = self._lookup.offered
        self._upkeep.on_registry = lambda: self._link.publish([self._status(online=True)])
        counted = open_engine(settings.database, migrate=False, durable=False)
        self._keeper = Keeper(counted, lambda: self._pipeline.waiting > FIGURES_WAIT_FOR, self._hub)
        self._api = self._make_api(sources, vault, code_keys)
        parts = self._make_parts(sources, vault, code_keys)
        self._follower = Follower(parts)
        self._hub.add(self._follower)
        self._site = Site(parts, self._follower, (*PAGES, *oidc.pages(settings.provider)))
        self._stop = asyncio.Event()
        self.ready = asyncio.Event()

    def _make_link(self, broker: BrokerUrl) -> Link:
        return Link(
            broker,
            acl.gateway_name(self._settings.instance),
            topics.CHIP_FILTERS,
            self._status(online=False),
            Hooks(self._deliver, self._on_link, self._on_resumed, self._on_trouble),
            self._settings.broker_tls,
            self._settings.mqtt,
            wished=(topics.BROKER_DROPPED,),
        )

    def _make_api(self, sources: Sources, vault: Vault, code_keys: tuple[bytes, ...]) -> Api:
        trust = Trust({name: push_secrets(name, sender) for name, sender in sources.push.items()}, sources.how())
        deliveries = Deliveries(self._engine, vault, trust, now_ms, self._upkeep.hurry.set)
        return Api(Services(self._state, self._engine, vault, code_keys, deliveries), self._hub)

    def _make_parts(self, sources: Sources, vault: Vault, code_keys: tuple[bytes, ...]) -> Parts:
        return Parts(
            self._state,
            self._engine,
            vault,
            code_keys,
            self._hub,
            self._upkeep.hurry.set,
            self._pipeline.ask,
            self._settings.trusted_proxies,
            self._settings.address,
            self._settings.provider is not None,
            how=sources.how(),
        )

    def stop(self) -> None:
        """Begin to drain; ``run`` returns when that is done."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until stopped. A task that dies ends all others and is raised from here."""
        await self._upkeep.load_registry()
        async with self._writer, self._http(), asyncio.TaskGroup() as group:
            pipeline = group.create_task(self._pipeline.run(), name="pipeline")
            side_tasks = [
                group.create_task(self._link.run(), name="broker link"),
                group.create_task(self._upkeep.watch_registry(), name="registry watch"),
                group.create_task(self._upkeep.watch_policy(self._settings.policy), name="policy watch"),
                group.create_task(self._watch_database(), name="database watch"),
                group.create_task(self._keep_time(), name="timekeeper"),
                group.create_task(self._lookup.run(), name="look-ups"),
                group.create_task(self._follower.run(), name="ledger follower"),
                group.create_task(self._keeper.run(), name="figures"),
            ]
            await self._stop.wait()
            await self._drain(pipeline)
            self._link.publish([self._status(online=False)])
            await self._link.close(DISCONNECT_WITHIN_S)
            for task in side_tasks:
                task.cancel()

    async def _drain(self, pipeline: asyncio.Task[None]) -> None:
        """Finish what is in flight. What cannot be finished in time was never acknowledged, so it comes again."""
        self._pipeline.drain()
        try:
            async with asyncio.timeout(DRAIN_WITHIN_S):
                await pipeline
        except (TimeoutError, DatabaseUnavailable):
            self._hub(Trouble("shutdown", f"{self._pipeline.waiting} messages left to the broker"))

    # --- side tasks ---

    async def _watch_database(self) -> None:
        """Know whether the database takes writes even when nothing arrives."""
        while True:
            await self._pipeline.probe_database()
            await asyncio.sleep(DATABASE_PROBE_S)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._pipeline.tick()
            if self._link.has_room:
                self._link.publish(self._fold.due(now_ms()))

    # --- broker ---

    def _deliver(self, inbound: Inbound) -> None:
        if inbound.topic == topics.BROKER_DROPPED:
            self._drops.take(inbound.payload)
        else:
            self._pipeline.deliver(inbound)

    def _on_link(self, connected: bool, detail: str) -> None:
        if connected:
            self._hub(Recovered("broker", detail))
            self._link.publish([self._status(online=True)])
            self.ready.set()
        else:
            self._hub(Trouble("broker", detail))

    def _on_resumed(self) -> None:
        self._pipeline.forget_waiting()

    def _on_trouble(self, problem: str) -> None:
        self._hub(Trouble("broker", problem))

    def _status(self, *, online: bool) -> Outbound:
        status = GatewayStatus(now_ms(), online, self._state.snapshot.version, __version__)
        return Outbound(topics.gateway_status(self._settings.instance), encode(status), retained=True)

    # --- HTTP ---

    def _checks(self) -> Mapping[str, bool]:
        return {
            "serving": not self._stop.is_set(),
            "broker": self._link.connected,
            "database": self._pipeline.database_ok,
            "registry": self._state.snapshot.version > 0,
            "clock": self._state.clock_behind_s(now_ms()) <= self._state.rulebook.policy.requests.max_age_s,
        }

    def _refresh_gauges(self) -> None:
        metrics = self._metrics
        states = Counter(session.state for session in self._state.sessions)
        for state in OPEN_STATES:
            metrics.sessions.labels(state).set(states[state])
        metrics.overdue.set(sum(session.live.overdue for session in self._state.sessions))
        for presence, chips in zip(PRESENCES, self._state.chips.online(), strict=True):
            metrics.chips.labels(presence).set(chips)
        metrics.overrides.set(self._state.snapshot.controls.overrides(now_ms()))
        metrics.queue.labels("inbox").set(self._pipeline.waiting)
        metrics.queue.labels("scribe").set(self._pipeline.at_scribe)
        metrics.queue.labels("unacknowledged").set(self._link.unacknowledged)
        metrics.broker.set(self._link.connected)
        metrics.dropped.set(math.nan if self._drops.total is None else self._drops.total)
        metrics.database.set(self._pipeline.database_ok)
        size, left = room(self._database_file)
        metrics.database_size.set(size)
        metrics.database_room.set(left)
        self._refresh_ages()
        metrics.clock.set(self._state.clock_behind_s(now_ms()))
        metrics.observers.set(self._hub.failures)

    def _refresh_ages(self) -> None:
        """How old the registries are, and may be. A source that has never confirmed is infinitely old."""
        metrics, policy, snapshot = self._metrics, self._state.rulebook.policy.registry, self._state.snapshot
        metrics.age.set(snapshot.age_s(now_ms()) or 0)
        metrics.max_age.set(policy.max_age_s)
        known = [
            (source, age_s) for source, age_s in snapshot.source_ages(now_ms()) if snapshot.source_confirmed[source]
        ]
        ages = dict.fromkeys((*policy.sources, *snapshot.source_confirmed), math.inf) | dict(known)
        for family in (metrics.source_age, metrics.source_max_age):
            family.clear()
        for source, age_s in ages.items():
            metrics.source_age.labels(source).set(age_s)
            metrics.source_max_age.labels(source).set(policy.sources.get(source, policy.max_age_s))

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[None]:
        host, port = self._settings.http_address
        app = make_app(self._metrics.registry, self._checks, self._refresh_gauges)
        self._api.add_to(app)
        self._site.add_to(app)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise WeldGateError(f"--http {host}:{port}: {error}; choose another address") from error
        try:
            yield
        finally:
            await runner.cleanup()


async def serve(settings: Settings, scribe: socket.socket) -> None:
    """Run a gateway until SIGTERM or SIGINT. Raises WeldGateError with what a person can act on."""
    gc.set_threshold(*COLLECT_EVERY)
    gateway = Gateway(settings, scribe)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    await gateway.run()
