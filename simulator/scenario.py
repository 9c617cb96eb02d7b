"""What operators do and what goes wrong, as a list of acts in time. Pure: the same seed gives the same acts."""

from collections.abc import Callable, Iterable, Iterator
from math import inf
from random import Random
from typing import Literal

from msgspec import Struct

from simulator.cast import Cast

ScenarioName = Literal["mixed-faults", "morning-rush", "shift", "long-shift"]
Kind = Literal[
    "work",  # the right person at a free machine
    "stranger",  # somebody whom the files keep from this machine
    "unknown_badge",
    "unreadable_badge",
    "scan_again",  # the same person scans again while working
    "second_person",  # a second person at a machine in use
    "second_machine",  # a person at work scans at another machine
    "ghost",  # a machine that no registry knows
    "lost_answer",  # the first answer does not reach the chip
    "duplicate",  # the request goes out twice at once
    "old_request",  # an answered request again, byte by byte
    "old_id",  # an answered request's id with other content
    "malformed",  # not by the protocol, but with a readable id
    "junk",  # nothing that can be answered
    "retained",  # a request published retained
    "stale_clock",  # the chip's clock is minutes off
    "reconnect",  # the connection breaks
    "offline_work",  # the connection breaks in mid-session; the chip keeps its reports
    "power_cycle",
    "alarm",  # current without a lease, or the housing opened
]

MID_SESSION_MARGIN_S = 1.0
"""Acts on a running session keep this far from its planned start and end."""
GAP_S = 2.0
"""Between two planned uses of a machine or a person: answers and reports take their time."""
TRIES = 30


class Act(Struct, frozen=True):
    """One thing that happens ``at_s`` seconds into the run. ``work_s`` is how long the welding goes on."""

    at_s: float
    kind: Kind
    machine_id: str
    credential: str = ""
    work_s: float = 0.0
    number: int = 0


class Scenario(Struct, frozen=True):
    """``weights``: what happens how often. ``work_s``: shortest and longest session. ``pace``: of the rate, over time.

    ``pace`` maps the part of the run that is over (0 to 1) to a factor on the rate; it averages about 1.
    """

    weights: dict[Kind, float]
    work_s: tuple[float, float]
    pace: Callable[[float], float] = lambda _: 1.0
    faulty: bool = False


SCENARIOS: dict[ScenarioName, Scenario] = {
    "morning-rush": Scenario(
        {"work": 90, "stranger": 6, "unknown_badge": 1, "second_person": 2, "lost_answer": 1},
        (10.0, 30.0),
        lambda over: 2.0 * (1.0 - over),
    ),
    "shift": Scenario(
        {"work": 80, "stranger": 6, "scan_again": 4, "second_machine": 3, "second_person": 3, "offline_work": 4},
        (4.0, 12.0),
    ),
    "long-shift": Scenario(
        {"work": 84, "stranger": 6, "second_machine": 4, "second_person": 4, "reconnect": 2},
        (40.0, 160.0),
    ),
    "mixed-faults": Scenario(
        {
            "work": 36,
            "stranger": 14,
            "unknown_badge": 4,
            "unreadable_badge": 3,
            "scan_again": 4,
            "second_person": 5,
            "second_machine": 5,
            "ghost": 2,
            "lost_answer": 3,
            "duplicate": 4,
            "old_request": 3,
            "old_id": 2,
            "malformed": 3,
            "junk": 4,
            "retained": 1,
            "stale_clock": 2,
            "reconnect": 2,
            "offline_work": 2,
            "power_cycle": 2,
            "alarm": 1,
        },
        (2.5, 7.0),
        faulty=True,
    ),
}

_NEEDS_SESSION = ("scan_again", "second_person", "second_machine", "power_cycle")
_OPENS_SESSION = ("work", "lost_answer", "duplicate", "offline_work")


class _Planned(Struct, frozen=True):
    machine_id: str
    person: str
    from_s: float
    until_s: float


class Planner:
    """Draws acts one by one and keeps book of who is planned to be busy where. ``left_alone``: machines and people whom
    nothing happens to."""

    def __init__(self, cast: Cast, scenario: Scenario, seed: int, left_alone: Iterable[str] = ()) -> None:
        self._cast = cast
        self._scenario = scenario
        self._random = Random(f"{seed}/acts")  # noqa: S311  (a scenario, not a secret)
        self._busy_until: dict[str, float] = dict.fromkeys(left_alone, inf)
        self._sessions: list[_Planned] = []
        registered = cast.registry.machines
        self._machines = [part.machine_id for part in cast.parts if part.machine_id in registered]
        self._ghosts = [part.machine_id for part in cast.parts if part.machine_id not in registered]

    def acts(self, rate: float, for_s: float) -> Iterator[Act]:
        """About ``rate`` acts a second for ``for_s`` seconds, in order of time."""
        at_s = 0.0
        while True:
            pace = max(0.05, self._scenario.pace(at_s / for_s))
            at_s += self._random.expovariate(rate * pace)
            if at_s >= for_s:
                return
            act = self._draw(at_s)
            if act is not None:
                yield act

    def _draw(self, at_s: float) -> Act | None:
        """One act; where nothing running fits, somebody just starts to work, or is turned away."""
        self._sessions = [session for session in self._sessions if session.until_s > at_s]
        weights = self._scenario.weights
        kind = self._random.choices(list(weights), list(weights.values()))[0]
        if kind in _NEEDS_SESSION:
            act = self._on_session(kind, at_s)
        elif kind in _OPENS_SESSION:
            act = self._session(kind, at_s)
        else:
            act = self._lone(kind, at_s)
        return act or self._session("work", at_s) or self._lone("stranger", at_s)

    def _session(self, kind: Kind, at_s: float) -> Act | None:
        """The right person at a free machine."""
        pair = self._free_pair(at_s)
        if pair is None:
            return None
        work_s = self._random.uniform(*self._scenario.work_s)
        return self._book(Act(at_s, kind, *pair, work_s, self._random.getrandbits(32)))

    def _free_pair(self, at_s: float) -> tuple[str, str] | None:
        for _ in range(TRIES):
            machine_id = self._random.choice(self._machines)
            people = self._free(self._cast.fit(machine_id), at_s)
            if people and self._free([machine_id], at_s):
                return machine_id, self._random.choice(people)
        return None

    def _free(self, names: list[str], at_s: float) -> list[str]:
        return [name for name in names if self._busy_until.get(name, 0.0) <= at_s]

    def _book(self, act: Act) -> Act:
        until_s = act.at_s + act.work_s
        for name in (act.machine_id, act.credential):
            self._busy_until[name] = until_s + GAP_S
        self._sessions.append(_Planned(act.machine_id, act.credential, act.at_s, until_s))
        return act

    def _on_session(self, kind: Kind, at_s: float) -> Act | None:
        """Something happens to a session that runs."""
        early, late = at_s - MID_SESSION_MARGIN_S, at_s + MID_SESSION_MARGIN_S
        running = [s for s in self._sessions if s.from_s <= early and s.until_s >= late]
        if not running:
            return None
        session = self._random.choice(running)
        if kind == "second_person":
            others = self._free(self._cast.fit(session.machine_id), at_s)
            return self._one_scan(kind, at_s, session.machine_id, others)
        if kind == "second_machine":
            return self._one_scan(kind, at_s, self._free_machine(at_s), [session.person])
        if kind == "power_cycle":
            self._sessions.remove(session)
        return Act(at_s, kind, session.machine_id, session.person, number=self._random.getrandbits(32))

    def _one_scan(self, kind: Kind, at_s: float, machine_id: str | None, people: list[str]) -> Act | None:
        """A scan that is turned away; the machine and a free person are busy with it for a moment."""
        if machine_id is None or not people:
            return None
        person = self._random.choice(people)
        for name in (machine_id, person):
            self._busy_until[name] = max(self._busy_until.get(name, 0.0), at_s + GAP_S)
        return Act(at_s, kind, machine_id, person, number=self._random.getrandbits(32))

    def _lone(self, kind: Kind, at_s: float) -> Act | None:
        """Something at a machine that nobody uses."""
        machine_id = self._random.choice(self._ghosts) if kind == "ghost" and self._ghosts else self._free_machine(at_s)
        credential = self._credential(kind, machine_id) if machine_id else None
        if machine_id is None or credential is None:
            return None
        if self._free([credential], at_s):
            return self._one_scan(kind, at_s, machine_id, [credential])
        return None

    def _credential(self, kind: Kind, machine_id: str) -> str | None:
        if kind in ("unknown_badge", "retained", "malformed", "junk", "old_id"):
            return f"NOBODY-{self._random.getrandbits(40):010x}"
        if kind == "unreadable_badge":
            return self._random.choice(("", "P" * 257, "P000\x00001", "\u202eP000001", "line\nbreak", "\x1b[2J"))
        if kind == "stranger":
            fit = set(self._cast.fit(machine_id))
            staff = self._cast.staff(machine_id) if self._random.random() < 0.5 else []
            unfit = [person for person in staff or self._cast.people if person not in fit]
            return self._random.choice(unfit) if unfit else None
        people = self._cast.fit(machine_id) or self._cast.people
        return self._random.choice(people)

    def _free_machine(self, at_s: float) -> str | None:
        for _ in range(TRIES):
            machine_id = self._random.choice(self._machines)
            if self._free([machine_id], at_s):
                return machine_id
        return None
