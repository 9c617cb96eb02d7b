"""Everything that a run does, drawn from its seed before it begins: people's visits and faults, as a list of acts.

Each act stands for itself, so that a failing run can be made smaller by leaving acts out.
"""

from random import Random

import msgspec
from msgspec import Struct

from gateway.core.policy import Policy
from tests.simulation.basis import ALWAYS_RUN
from tests.simulation.county import DAY_MS, ORDERS, REGISTRY_CHANGES, later_policy, make_policy
from tests.simulation.gateway_host import CRASH_POINTS
from tests.simulation.network import Weather
from tests.simulation.people import Visit

MIDNIGHT_MS = 1_781_452_800_000
"""2026-06-15 00:00 in the county."""
HOUR_MS = 3_600_000
DAY_S = 86_400
NOTICED_MS = 60_000
"""By then a chip has noticed that its connection is dead."""
GATEWAYS = (1, 1, 2)
"""How many gateway processes share a database, at random."""


class Act(Struct, frozen=True):
    """At ``at`` milliseconds something is done: ``what`` to ``whom`` (a number), for or by so much."""

    at: int
    what: str
    whom: int = 0
    much: int = 0
    detail: str = ""
    visit: Visit | None = None

    def words(self) -> str:
        if self.visit is not None:
            minutes = sum(rest + arc for rest, arc in self.visit.bursts) // 60_000
            return f"{self.visit.person} goes to {self.visit.machine_id} for {minutes} min, will {self.visit.leave}"
        return f"{self.what} #{self.whom} {self.detail} {self.much or ''}".rstrip()


class Config(Struct, frozen=True):
    """How one run is set up. ``wild_clocks``: the gateways' clocks go wrong by hours, so that no day can be trusted.

    ``later``: policies that hold at some time later.
    """

    seed: int
    base_ms: int
    hours: int
    machines: int
    people: int
    gateways: int
    policy: Policy
    weather: Weather
    usage_every_s: int
    persistent_broker: bool
    events_kept: int
    wild_clocks: bool
    real_tokens: bool
    sqlite: bool
    commit_ms: tuple[int, int]
    later: tuple[Policy, ...] = ()

    @property
    def policies(self) -> tuple[Policy, ...]:
        return (self.policy, *self.later)

    def words(self) -> str:
        lease = self.policy.lease
        return (
            f"{self.machines} machines, {self.people} people, {self.gateways} gateways, {self.hours} h; lease "
            f"{lease.lease_s} s, start-by {lease.start_by_s} s, idle {lease.idle_lock_s} s, drain "
            f"{lease.drain_deadline_s} s, usage every {self.usage_every_s} s; delay {self.weather.base_ms} to "
            f"{self.weather.base_ms + self.weather.jitter_ms} ms, hostile {self.weather.hostile}; "
            f"{'persistent' if self.persistent_broker else 'forgetful'} broker, {self.events_kept} events kept"
            f"; {len(self.policies)} policies, registries for {self.policy.registry.max_age_s} s"
            f"{', wild clocks' if self.wild_clocks else ''}{', ES256' if self.real_tokens else ''}"
            f"{', SQLite' if self.sqlite else ''}"
        )


def make_config(seed: int) -> Config:
    """The setting of a run: most are mild in most ways and harsh in a few."""
    random = Random(f"{seed}/config")
    hours = random.choice((4, 8, 12, 24, 24, 48))
    begin_ms = random.randrange(6, 22) * HOUR_MS
    real, wild = random.random() < 0.02, random.random() < 0.06
    hostile = random.choice((0.002, 0.02)) if random.random() < 0.1 else 0.0
    policy = make_policy(random)
    return Config(
        seed=seed,
        base_ms=MIDNIGHT_MS + begin_ms,
        hours=2 if real else hours,
        machines=random.randrange(3, 9),
        people=random.randrange(3, 9),
        gateways=1 if wild else random.choice(GATEWAYS),
        policy=policy,
        later=tuple(later_policy(random, policy) for _ in range(random.choice((0, 0, 1, 3)))),
        weather=Weather(
            base_ms=random.choice((2, 20, 100, 400)),
            jitter_ms=random.choice((1, 50, 500, 3_000)),
            spikes=random.choice((0.0, 0.002)),
            hostile=hostile,
        ),
        usage_every_s=random.choice((10, 20, 30, 30)),
        persistent_broker=random.random() < 0.75,
        events_kept=random.choice((5, 1000, 1000)),
        wild_clocks=wild,
        real_tokens=real,
        sqlite=real and random.random() < 0.5,
        commit_ms=random.choice(((1, 3), (1, 30), (5, 800))),
    )


def make_plan(config: Config) -> list[Act]:
    """Visits in working hours, and faults at any time; sorted by time."""
    random = Random(f"{config.seed}/plan")
    until = config.hours * HOUR_MS
    acts = _visits(config, random, until) + _faults(config, random, until) + _around_midnight(config, random, until)
    acts = _by_phone(config, acts)
    return sorted((act for act in acts if act.at < until), key=lambda act: act.at)


# --- people -----------------------------------------------------------------------------------------------------


def _visits(config: Config, random: Random, until: int) -> list[Act]:
    """Each person has some visits; with fewer machines than people they meet at the same ones."""
    acts: list[Act] = []
    liveliness = random.choice((0.3, 0.8, 0.8, 3))
    for number in range(config.people):
        at = random.randrange(60_000, 6 * 60_000)
        while at < until:
            visit = _visit(config, random, f"P{number:06}")
            acts.append(Act(at, "visit", number, visit=visit))
            stay = sum(rest + arc for rest, arc in visit.bursts)
            at += int(stay * random.choice((0.5, 1, 1.2))) + int(random.expovariate(liveliness) * HOUR_MS)
    return acts


def _visit(config: Config, random: Random, person: str) -> Visit:
    bursts = tuple(
        (random.randrange(2_000, random.choice((20_000, 20_000, 600_000))), random.randrange(1_000, 240_000))
        for _ in range(random.choice((0, 1, 2, 3, 5, 8)))
    )
    shows = random.choice(("badge", "code"))
    if random.random() < 0.1:
        shows = random.choice(("old code", "old code", f"P{random.randrange(config.people):06}", "nobody", "\x00"))
    machine_id = f"HJ-{random.randrange(config.machines):04}"
    leave = "finish" if random.random() < 0.7 else "forget"
    return Visit(person, machine_id, shows, bursts, leave, tries=random.choice((1, 2, 4)))  # type: ignore[arg-type]


def _around_midnight(config: Config, random: Random, until: int) -> list[Act]:
    """Midnight is when certificates end: people work through it, and just then something fails."""
    acts: list[Act] = []
    for midnight in range(MIDNIGHT_MS + DAY_MS - config.base_ms, until, DAY_MS):
        for number in range(config.people):
            if random.random() < 0.5:
                visit = _visit(config, random, f"P{number:06}")
                bursts = tuple((random.randrange(2_000, 30_000), random.randrange(60_000, 300_000)) for _ in range(12))
                late = msgspec.structs.replace(visit, bursts=bursts, tries=4)
                acts.append(Act(midnight - random.randrange(60_000, 2_400_000), "visit", number, visit=late))
                if random.random() < 0.3:
                    chip, begins = int(visit.machine_id[3:]), midnight - random.randrange(5_000, 120_000)
                    acts.append(Act(begins, "chip cut", chip, random.randrange(300_000, 1_500_000)))
        for _ in range(random.randrange(6)):
            kind = random.choice(("chip cut", "chip cut", "chip stall", "gateway dies", "broker crash", "gateway cut"))
            acts += _fault(config, random, kind, midnight - random.randrange(5_000, 1_800_000))
    return acts


# --- phones -----------------------------------------------------------------------------------------------------


def _by_phone(config: Config, acts: list[Act]) -> list[Act]:
    """In most runs some ask by phone instead; also while a lock that is still taken for online cannot be reached."""
    random = Random(f"{config.seed}/phones")
    share = random.choice((0, 0.15, 0.15, 0.6))
    asked = [_phoned(act, act.visit, random) if act.visit and random.random() < share else act for act in acts]
    for act in acts if share else ():
        if act.what in ("chip cut", "chip stall") and act.much > NOTICED_MS and random.random() < 0.5:
            visit = _visit(config, random, f"P{random.randrange(config.people):06}")
            visit = msgspec.structs.replace(visit, machine_id=f"HJ-{act.whom:04}", shows="phone")
            asked.append(Act(act.at + random.randrange(NOTICED_MS // 2), "visit", int(visit.person[1:]), visit=visit))
    return asked


def _phoned(act: Act, visit: Visit, random: Random) -> Act:
    shows = random.choice(("phone", "phone", "phone", "phone twice"))
    return msgspec.structs.replace(act, visit=msgspec.structs.replace(visit, shows=shows))


# --- faults -----------------------------------------------------------------------------------------------------


def _faults(config: Config, random: Random, until: int) -> list[Act]:
    per_hour = random.choice((0.5, 1.5, 4))
    kinds = _kinds(config)
    acts: list[Act] = []
    at = 0.0
    while True:
        at += random.expovariate(per_hour) * HOUR_MS
        if at >= until:
            return acts
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        acts += _fault(config, random, kind, int(at))


def _kinds(config: Config) -> dict[str, float]:
    return {
        "chip power": 3,
        "chip cut": 4,
        "chip stall": 2,
        "chip clock": 1,
        "chip says": 0.7,
        "chip count": 0.3,
        "tamper": 0.6,
        "gateway crash": 4,
        "gateway dies": 1,
        "gateway stop": 0.7,
        "gateway cut": 1.5,
        "gateway stall": 1,
        "gateway freeze": 1,
        "gateway clock": 1,
        "scribe dies": 0.7,
        "database away": 1.5,
        "broker crash": 0.7,
        "registry": 4,
        "order": 3,
        "replay": 1.5,
        "rule fails": 0.7,
        "policy": 2 if config.later else 0,
        "registry silent": 1 if config.policy.registry.max_age_s < DAY_S else 0,
    }


def _fault(config: Config, random: Random, kind: str, at: int) -> list[Act]:
    """One fault, with what undoes it where something has to."""
    chip, gateway = random.randrange(config.machines), random.randrange(config.gateways)
    short, long = random.randrange(20, 5_000), random.randrange(5_000, 1_500_000)
    span = random.choice((short, short, long))
    match kind:
        case "chip cut":
            return [Act(at, kind, chip, span), *_visits_meanwhile(config, random, chip, at, span)]
        case "chip power":
            return [Act(at, kind, chip, span)]
        case "chip stall":
            return [Act(at, kind, chip, span, random.choice(("up", "down")))]
        case "chip clock":
            off = random.choice((-1, 1)) * random.choice((3_000, 45_000, 600_000, DAY_MS))
            acts = [Act(at, kind, chip, off), Act(at + long, kind, chip, 0)]
            return acts + (_locked_at_work(config, random, chip, at) if random.random() < 0.5 else [])
        case "gateway crash":
            return [Act(at, kind, gateway, random.choice((20, 2_000, 60_000)), random.choice(CRASH_POINTS))]
        case "gateway dies":
            return [Act(at, kind, gateway, random.choice((20, 2_000, 900_000)), random.choice(("process", "machine")))]
        case "gateway stall":
            return [Act(at, kind, gateway, span, random.choice(("up", "down")))]
        case "gateway clock":
            return _clock_fault(config, random, gateway, at, long)
        case "broker crash" | "database away" | "gateway freeze":
            return [Act(at, kind, gateway, min(span, 120_000))]
        case "registry":
            return _change(random, at, long, "registry", random.choice(REGISTRY_CHANGES))
        case "order":
            return _change(random, at, long, "order", random.choice(ORDERS))
        case "chip says":
            ahead_ms = random.choice((0, DAY_MS))
            said = Act(at, kind, chip, ahead_ms, random.choice(("locked", "boot")))
            return [said, *_at_work(config, random, chip, at)]
        case "policy":
            return [Act(at, kind, random.randrange(len(config.policies)))]
        case "rule fails":
            return [Act(at, kind, 0, span, random.choice(ALWAYS_RUN))]
        case "registry silent":
            return [Act(at, kind, 0, random.randrange(1, 4) * config.policy.registry.max_age_s * 1000)]
        case "replay":
            detail = random.choice(("again", "retained", "other machine"))
            return [Act(at, kind, chip, random.randrange(1, 1_000), detail)]
        case _:
            return [Act(at, kind, gateway if "gateway" in kind or kind == "scribe dies" else chip, span)]


def _at_work(config: Config, random: Random, chip: int, at: int) -> list[Act]:
    """Somebody comes to the machine some time before, and is likely to work there still."""
    number = random.randrange(config.people)
    visit = _visit(config, random, f"P{number:06}")
    bursts = tuple((random.randrange(2_000, 20_000), random.randrange(1_000, 60_000)) for _ in range(12))
    visit = msgspec.structs.replace(visit, machine_id=f"HJ-{chip:04}", shows="badge", bursts=bursts, tries=4)
    return [Act(max(at - random.randrange(70_000, 300_000), 60_000), "visit", number, visit=visit)]


def _locked_at_work(config: Config, random: Random, chip: int, at: int) -> list[Act]:
    """Somebody works at the machine, and it is locked from afar."""
    locked_at = at + random.randrange(1_000, 60_000)
    release = Act(locked_at + 300_000, "order", chip, 0, "release")
    return [*_at_work(config, random, chip, at), Act(locked_at, "order", chip, 0, "lock"), release]


def _visits_meanwhile(config: Config, random: Random, chip: int, at: int, span: int) -> list[Act]:
    """People come while a chip cannot be reached, and the chip has noticed."""
    acts: list[Act] = []
    for _ in range(random.randrange(4) if span > NOTICED_MS else 0):
        number = random.randrange(config.people)
        visit = _visit(config, random, f"P{number:06}")
        visit = msgspec.structs.replace(visit, machine_id=f"HJ-{chip:04}", shows="badge")
        acts.append(Act(at + random.randrange(NOTICED_MS, span), "visit", number, visit=visit))
    return acts


def _clock_fault(config: Config, random: Random, gateway: int, at: int, back: int) -> list[Act]:
    sizes: tuple[int, ...] = (1_500, 4_000) if not config.wild_clocks else (60_000, HOUR_MS, 30 * HOUR_MS)
    off = random.choice((-1, 1)) * random.choice(sizes)
    return [Act(at, "gateway clock", gateway, off), Act(at + back, "gateway clock", gateway, 0)]


def _change(random: Random, at: int, back: int, what: str, pair: tuple[str, str]) -> list[Act]:
    """A change of the registries or an order, mostly taken back later."""
    number, (there, back_again) = random.randrange(1_000), pair
    acts = [Act(at, what, number, 0, there)]
    if back_again and random.random() < 0.8:
        acts.append(Act(at + back, what, number, 0, back_again))
    return acts
