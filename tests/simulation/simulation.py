"""One run: builds a world from its configuration, lets the plan happen in it, and brings it to rest."""

from collections import deque
from random import Random
from typing import Any

import simulator.outbox
from gateway.core.credential import make_code, step_at
from gateway.core.policy import Rulebook
from gateway.wire import topics
from simulator.chip import ChipConfig
from simulator.grants import Verify
from tests.simulation import county as registries
from tests.simulation.basis import Basis, BrittleRules
from tests.simulation.broker import Broker
from tests.simulation.chip_host import ChipClocks, ChipHost, Lately, World
from tests.simulation.database import Database, ScribeModel
from tests.simulation.gateway_host import Carrier, GatewayHost, Surroundings
from tests.simulation.ground import Ground, Held, Limits
from tests.simulation.invariants import Invariants
from tests.simulation.network import Line, Network, Weather
from tests.simulation.people import Person
from tests.simulation.phones import Phones
from tests.simulation.plan import DAY_S, HOUR_MS, Act, Config
from tests.simulation.real_database import RealDatabase
from tests.simulation.statistics import Statistics
from tests.simulation.timeline import Timeline
from tests.simulation.tokens import signing
from tests.simulation.verdict import Broken
from tests.simulation.virtual_time import virtual_time

CHIP_KEEPALIVE_MS = 30_000
GATEWAY_KEEPALIVE_MS = 20_000
FIRST_CHIP_AT_MS = 30_000
"""A broker drops what nobody has subscribed to yet, so gateways come first."""
CALM = Weather(base_ms=20, jitter_ms=30, spikes=0.0)
CLOCK_ERROR_MS = 5_000
"""How wrong the gateways' clocks may be where they are not wild."""
CHECK_EVERY_MS = 60_000
"""How often a run looks whether something is broken; it stops at the first thing anyway."""


class Simulation:
    """The world of one run. ``acts`` may be fewer than the plan of the seed."""

    def __init__(self, config: Config, acts: list[Act], *, traced: int | None = None) -> None:
        self.config = config
        self.stats = Statistics()
        self.timeline = Timeline()
        self._acts = acts
        self._random = Random(f"{config.seed}/run")
        self._rulebooks = [Rulebook(policy) for policy in config.policies]
        self._silent_until = 0
        self.county = registries.make_county(
            Random(f"{config.seed}/county"), config.base_ms, config.policy, config.machines, config.people
        )
        clock_error_ms = None if config.wild_clocks else CLOCK_ERROR_MS
        lease_s = max(max(policy.lease.lease_s, policy.offline.lease_s) for policy in config.policies)
        limits = Limits(
            lease_s, config.gateways, config.usage_every_s, config.weather, config.commit_ms[1], clock_error_ms
        )
        self.ground = Ground(self.timeline, self.county, limits, self._held, self._breaks)
        self.rules = BrittleRules()
        rulebooks = {rulebook.hash: rulebook for rulebook in self._rulebooks}
        self.basis = Basis(self.ground, self.rules, rulebooks, self._breaks)
        self.invariants = Invariants(self.timeline, config.policy.offline, self.stats, self.ground, self.basis)
        self.invariants.log = None if traced is None else deque(maxlen=traced or None)
        self.broker = Broker(
            self.timeline, Random(f"{config.seed}/broker"), self.stats, persistent=config.persistent_broker
        )
        self.network = Network(self.timeline, self.broker.lost)
        self.database = Database()
        self.signer, verify = signing(config.real_tokens, lambda: self._random.randbytes(32))
        self._real = RealDatabase(self.signer) if config.sqlite else None
        self._code_key = self._random.randbytes(32)
        self.chips = self._make_chips(verify)
        self.invariants.chips = self.ground.chips = {host.machine_id: host for host in self.chips}
        self._codes: deque[str] = deque(maxlen=20)
        phones = Phones(self.timeline, self.invariants, Random(f"{config.seed}/phone"))
        self.people = [Person(self.timeline, self._credential, phones) for _ in range(config.people)]
        self._around = self._make_surroundings()
        self.gateways = phones.gateways = self._make_gateways()

    def _held(self, session_id: str) -> Held | None:
        return self.invariants.held(session_id)

    def _breaks(self, invariant: str, what: str) -> None:
        self.invariants.breaks(invariant, what)

    def _credential(self, person: str, shows: str) -> str:
        """The text that a person holds before a scanner."""
        if shows == "badge":
            return person
        if shows == "code":
            step = step_at(self.config.base_ms + self.timeline.now)
            self._codes.append(make_code(self._code_key, person, step))
            return self._codes[-1]
        return self._random.choice(self._codes or [person]) if shows == "old code" else shows

    def _make_chips(self, verify: Verify) -> list[ChipHost]:
        config = self.config
        world = World(self.timeline, self.network, self.broker, self.invariants)
        hosts = []
        for number, machine in enumerate(self.county.machines.values()):
            random = Random(f"{config.seed}/chip/{number}")
            chip = ChipConfig(
                machine.machine_id,
                machine.chip or f"OWN-{number}",
                usage_every_s=config.usage_every_s,
                idle_lock_s=random.choice((60, 300, 900)),
                drain_s=random.choice((10, 60, config.policy.lease.chip_drain_s)),
            )
            clocks = ChipClocks(
                config.base_ms,
                rate=1 + random.choice((0, 0, random.uniform(-0.02, 0.02))),
                wall_off_ms=None if random.random() < 0.25 else random.randrange(-1_500, 1_500),
                starts_anew=random.random() < 0.5,
            )
            line = Line(Random(f"{config.seed}/line/{number}"), config.weather, CHIP_KEEPALIVE_MS)
            hosts.append(ChipHost(chip, verify, clocks, line, world, random))
            hosts[-1].policy_drain_s = Lately(config.policy.lease.drain_deadline_s)
        return hosts

    def _make_surroundings(self) -> Surroundings:
        config = self.config
        self._keep_policy(self._rulebooks[0])
        return Surroundings(
            self.timeline,
            self.network,
            self.broker,
            self.database,
            self.county,
            self._rulebooks[0],
            self.invariants,
            self._make_scribe,
            config.base_ms,
            config.commit_ms,
            (self._code_key,),
        )

    def _make_gateways(self) -> list[GatewayHost]:
        config = self.config
        hosts = []
        for number in range(config.gateways):
            line = Line(Random(f"{config.seed}/gateway line/{number}"), config.weather, GATEWAY_KEEPALIVE_MS)
            hosts.append(GatewayHost(number, self._around, line, Random(f"{config.seed}/gateway/{number}")))
        self.broker.gateways = [host.client_id for host in hosts]
        return hosts

    def _make_scribe(self) -> Carrier:
        if self._real is not None:
            return self._real.scribe(self.database)
        return ScribeModel(self.database, self.signer)

    # --- the run ---

    def run(self) -> Statistics:
        """Raises Broken."""
        before, simulator.outbox.EVENTS_KEPT = simulator.outbox.EVENTS_KEPT, self.config.events_kept
        try:
            with virtual_time(self.timeline, self._random), self.rules.in_force():
                self._live()
        finally:
            simulator.outbox.EVENTS_KEPT = before
            if self._real is not None:
                self._real.close()
        return self.stats

    def _live(self) -> None:
        for gateway in self.gateways:
            gateway.start()
        for number, host in enumerate(self.chips):
            self.timeline.at(FIRST_CHIP_AT_MS + number * 100, host.power, True)
        for act in self._acts:
            self.timeline.at(act.at, self._do, act)
        self._confirm()
        end = self.config.hours * HOUR_MS
        while self.timeline.now < end:
            self._run_until(min(end, self.timeline.now + CHECK_EVERY_MS))
        self._come_to_rest()
        self._account(self.timeline.now)

    def _run_until(self, when: int) -> None:
        self.timeline.run(when, self.invariants)
        if self.invariants.broken is not None:
            raise self.invariants.broken

    def _account(self, ran_ms: int) -> None:
        self.stats.runs = 1
        self.stats.machine_ms = ran_ms * len(self.chips)
        self.stats.closed_ms = sum(host.closed_ms for host in self.chips)
        self.stats.steps = self.timeline.steps

    def _come_to_rest(self) -> None:
        """Faults stop: everything is on, connected and right. Then time passes until every lease is over."""
        for person in self.people:
            person.go_home()
        self.database.away = False
        self._silent_until, self.rules.broken = 0, None
        for gateway in self.gateways:
            gateway.clock_off_ms, gateway.frozen_until, gateway.crash_at, gateway.down_ms = 0, 0, None, 0
            gateway.start()
        lines = [host.line for host in self.chips] + [gateway.line for gateway in self.gateways]
        for line in lines:
            line.weather = CALM
            self.network.heal(line)
        for host in self.chips:
            host.rest()
            host.power(True)
        longest_s = 2 * self.config.policy.lease.chip_drain_s
        settle_s = 300 + int(1.1 * (2 * self.ground.limits.lease_s + longest_s + 30))
        self._run_until(self.timeline.now + 120_000)
        for line in lines:
            if line.connection is not None:
                self.network.reset(line.connection)
        self._run_until(self.timeline.now + 120_000)
        for host in self.chips:
            host.open_housing()  # an event after the last that may be lost shows the gap
        self._run_until(self.timeline.now + settle_s * 1000)
        self.invariants.hear_out()
        self._run_until(self.timeline.now + 30_000)
        lossy = not self.config.persistent_broker or self.config.events_kept < 1000
        self.invariants.at_rest(lossy)
        if self.config.gateways == 1:
            self._chips_go_by_the_policy()
        if self.invariants.broken is not None:
            raise self.invariants.broken

    def _chips_go_by_the_policy(self) -> None:
        """Several gateways hear a part each of what a chip shows, and cannot always know that it has to be told."""
        lease = self._around.rulebook.policy.lease
        for host in self.chips:
            held = host.chip.config
            if (held.idle_lock_s, held.drain_s) != (lease.idle_lock_s, lease.drain_deadline_s):
                self._breaks("L", f"{host.machine_id} was never told what the policy says")

    # --- acts ---

    def _do(self, act: Act) -> None:
        self.invariants.note("", f"--- {act.words()}")
        if act.visit is not None:
            host = self.invariants.chips[act.visit.machine_id]
            self.people[act.whom].go(act.visit, host)
            return
        self.stats.fault(act.what)
        kind, _, name = act.what.partition(" ")
        match kind:
            case "chip" | "tamper":
                self._chip_fault(act, name or kind)
            case "gateway" | "scribe":
                self._gateway_fault(act, name if kind == "gateway" else kind)
            case "registry" | "order" if name != "silent":
                self._change(act)
            case "registry":
                self._silent_until = max(self._silent_until, self.timeline.now + act.much)
            case "policy":
                self._adopt(self._rulebooks[act.whom])
            case "rule":
                self.basis.rule_fails(act.detail, self.timeline.now + act.much)
                self.timeline.after(act.much, self.basis.rule_is_well)
            case "replay":
                self._replay(act)
            case _:
                self._shared_fault(act)

    def _chip_fault(self, act: Act, what: str) -> None:
        host, span = self.chips[act.whom], act.much
        if what in ("power", "cut", "stall"):
            self.ground.disturbed(self.timeline.now + span, host.machine_id)
        match what:
            case "power":
                host.power(False)
                self.timeline.after(span, host.power, True)
            case "cut":
                self.network.stall(host.line, span)
            case "stall":
                self.network.stall(host.line, span, up=act.detail == "up", down=act.detail == "down")
            case "clock" if host.clocks.wall_off_ms is not None:
                host.set_clock(span)
            case "says":
                host.say_falsely(act.detail, span)  # type: ignore[arg-type]
            case "count":
                host.lose_count()
            case "tamper":
                host.open_housing()

    def _gateway_fault(self, act: Act, what: str) -> None:
        gateway, span = self.gateways[act.whom], act.much
        self.ground.blind(self.timeline.now + max(span, 0))
        match what:
            case "crash":
                gateway.crash_at, gateway.down_ms = act.detail, span  # type: ignore[assignment]
            case "dies":
                gateway.down_ms = span
                gateway.crash(silently=act.detail == "machine")
            case "stop":
                gateway.down_ms = span
                gateway.stop()
            case "cut":
                self.network.stall(gateway.line, span)
            case "stall":
                self.network.stall(gateway.line, span, up=act.detail == "up", down=act.detail == "down")
            case "freeze":
                gateway.freeze(span)
            case "clock":
                gateway.clock_off_ms = span
            case "scribe":
                gateway.scribe_dies()

    def _shared_fault(self, act: Act) -> None:
        self.ground.blind(self.timeline.now + act.much)
        if act.what == "database away":
            self.database.away = True
            self.timeline.after(act.much, self._database_back)
        elif self.broker.up:
            self.broker.crash(act.much)
            if not self.config.persistent_broker:
                self.invariants.broker_forgot()

    def _database_back(self) -> None:
        self.database.away = False

    def _change(self, act: Act) -> None:
        """The registries change, or somebody gives an order."""
        now = self.timeline.now
        if act.what == "registry":
            registries.change(self.county, act.detail, act.whom, now)
        else:
            machine = sorted(self.county.machines)[act.whom % len(self.county.machines)]
            registries.order(self.county, act.detail, act.whom, now, self.invariants.open_at.get(machine))
        self.ground.changed()
        for gateway in self.gateways:
            gateway.registry_changed()

    def _adopt(self, rulebook: Rulebook) -> None:
        """The policy file is another one from now on."""
        now = self.timeline.now
        self._keep_policy(rulebook)
        self._around.rulebook = rulebook
        self.county.adopt(rulebook.policy, now)
        for host in self.chips:
            host.policy_drain_s.set(rulebook.policy.lease.drain_deadline_s, now)
        self.basis.adopt(rulebook)
        self.ground.changed()
        for gateway in self.gateways:
            gateway.policy_changed()

    def _keep_policy(self, rulebook: Rulebook) -> None:
        drain_s = rulebook.policy.lease.drain_deadline_s
        self.database.longest_drain_s = max(self.database.longest_drain_s, drain_s)
        if self._real is not None:
            self._real.keep_policy(rulebook)

    def _confirm(self) -> None:
        """A source confirms the registries, unless it is silent; several times before they are too old."""
        max_age_s = self.config.policy.registry.max_age_s
        if max_age_s >= DAY_S:
            return
        self.timeline.after(max_age_s * 250, self._confirm)
        if self.timeline.now >= self._silent_until:
            self.county.confirm(self.timeline.now)
            for gateway in self.gateways:
                gateway.registry_changed()

    def _replay(self, act: Act) -> None:
        """Somebody on the broker repeats what was said before."""
        recorded = self.broker.recorded
        if not recorded:
            return
        topic, payload = recorded[act.much % len(recorded)]
        machine_id, kind = topic.split("/")[-2:]
        if kind == "request":
            self.broker.publish(topic, payload)
            return
        if act.detail == "other machine":
            machine_id = self.chips[act.whom].machine_id
        again = topics.decision(machine_id) if kind == "decision" else topics.command(machine_id)
        self.broker.to_chip(again, payload, retained=act.detail == "retained")


def run(config: Config, acts: list[Act], *, traced: int | None = None) -> tuple[Statistics, Broken | None, Any]:
    """One run to its end; the broken invariant, if one is, and the trace."""
    simulation = Simulation(config, acts, traced=traced)
    try:
        return simulation.run(), None, simulation.invariants.log
    except Broken as broken:
        return simulation.stats, broken, simulation.invariants.log
