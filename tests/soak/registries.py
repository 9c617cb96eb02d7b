"""A day in which registries live: a registry service changes and fails, a gateway beside it is pushed to and syncs.

Chips scan all the time; a model of the truth (``tests.soak.truth``) says of each answer whether it is right. What was
pushed has to count within a second of its 2xx, what was not within a second of the end of the pass that read it;
sessions of people who lost their right are locked within the same time.
"""

import asyncio
import base64
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.clock import now_ms
from gateway.core.rules import local_time
from gateway.keys import open_keys
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Verifier
from tests.api.gateways import SECRET, push
from tests.soak.truth import Change, Row, Truth, Value, Waiting
from tests.support.brokers import Limits, Mosquitto
from tests.support.chips import ROOT, Chips, Seen, a_request, new_id
from tests.support.gateway import Gateway, weldgate
from tests.support.registry_service import RegistryService

WELDERS = 3
"""Of each machine; the third comes only later, of some the second's certificate has expired."""
ANSWERED_WITHIN_S = 10.0
LOOKS_EVERY_S = 0.05
MOST_LAG_S = 2
POLICY = 'version = "soak"\n[lease]\nlease_s = 60\ndrain_deadline_s = 10\n'
SOURCES = """\
[sources.province]
kind = "http"
base_url = "{url}/v1"
lookup = "/operators/{{operator_id}}/file"
registries = ["enterprises", "operators", "certificates", "employments", "machines"]
interval_s = 1
max_lag_s = {lag}
timeout_s = 3
retries = 2
rate_per_s = 200
breaker = {{ failures = 20, open_s = 1 }}
[push.province]
secret_file = "{secret}"
[guard]
share_percent = 100
"""
FAULTS: tuple[dict[str, Any], ...] = (
    {"slow": 0.5, "slow_s": 1},
    {"error": 0.4},
    {"truncated": 0.4},
    {"contradictory": 0.5},
    {"stale": True},
    {"slow": 0.2, "slow_s": 1, "error": 0.2, "truncated": 0.2, "contradictory": 0.2},
)
AWAY = "away"
GIVING = ("renew", "reinstate", "unblock", "hire", "resume", "machine back")
GOOD = 0.8
"""Share of changes for the better, where something is wrong: else soon nobody could weld."""


class Place(Struct, frozen=True):
    """A machine, its firm, and who welds there."""

    machine_id: str
    uscc: str
    welders: list[str]


class Day(Struct):
    """What came of it. ``underway``: answers that were right either way, while a change was on its way; ``worst``:
    delays of locks in ms, since the push was taken or the pass was seen."""

    changes: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    underway: Counter[str] = field(default_factory=Counter)
    locks: int = 0
    passes: int = 0
    wrong: list[str] = field(default_factory=list)
    worst: dict[str, int] = field(default_factory=dict)
    longest_between_passes_ms: int = 0

    @property
    def scans(self) -> int:
        return self.decisions["allowed"] + self.decisions["refused"]

    def delayed(self, what: str, by_ms: int) -> None:
        self.worst[what] = max(self.worst.get(what, 0), by_ms)


Told = Callable[[float, Day], None]


def live(
    for_s: float, machines: int = 60, *, seed: int = 1, within_s: float = 1.0, tell: Told = lambda *_: None
) -> Day:
    """Let a county's registries live for a while."""
    with TemporaryDirectory(prefix="weldgate-soak-") as name:
        folder = Path(name)
        assert weldgate("registry", "sample", "--out", str(folder / "sample")).returncode == 0
        truth = Truth(folder / "sample")
        stage = Stage(truth, Random(seed), within_s)
        stage.cast(machines)
        with stage.run(folder):
            return asyncio.run(stage.play(for_s, tell))


class Stage:
    """All that takes part, and the truth about it."""

    def __init__(self, truth: Truth, chance: Random, within_s: float) -> None:
        self.truth, self.chance, self.within_ms = truth, chance, round(within_s * 1000)
        self.day, self.waiting = Day(), Waiting()
        self.today = local_time(now_ms()).date()
        self.places: list[Place] = []
        self._to_come: dict[str, list[tuple[str, Row]]] = {}
        self._hired: Counter[str] = Counter()
        self._stale: list[tuple[int, int | None]] = []
        self._sequence = count(1)
        self._answers: dict[str, asyncio.Future[tuple[int, DecisionMessage]]] = {}
        self._locks: dict[str, asyncio.Future[int]] = {}

    # --- who takes part -----------------------------------------------------------------------------------------

    def cast(self, machines: int) -> None:
        """Machines with somebody in order; colleagues join them, and some are yet to come."""
        in_order: dict[str, list[str]] = {}
        today = str(self.today)
        for (operator_id,), operator in self.truth.rows["operators"].items():
            jobs = [row for row in self.truth.of("employments", operator_id) if row["until"] is None]
            papers = self.truth.of("certificates", operator_id)
            fine = [row["item"] for row in papers if row["status"] == "valid" and str(row["valid_until"]) >= today]
            if operator["status"] == "active" and len(jobs) == 1 and "fusion" in fine:
                in_order.setdefault(str(jobs[0]["uscc"]), []).append(operator_id)
        for (machine_id,), row in self.truth.rows["machines"].items():
            firm = self.truth.rows["enterprises"][str(row["uscc"]),]
            people = in_order.get(str(row["uscc"]), [])
            ready = row["status"] == "active" == firm["status"] and row["process"] == "fusion"
            if ready and len(people) >= WELDERS and len(self.places) < machines:
                welders = [people.pop() for _ in range(WELDERS)]
                self.places.append(Place(machine_id, str(row["uscc"]), welders))
        assert len(self.places) == machines, f"the sample has {len(self.places)} such machines"
        for number, place in enumerate(self.places):
            self._to_come[place.welders[2]] = self.truth.take_out(place.welders[2])
            if number % 2:
                for row in self.truth.of("certificates", place.welders[1]):
                    row["valid_until"] = str(self.today - timedelta(days=1))

    @contextmanager
    def run(self, folder: Path) -> Iterator[None]:
        """The registry service, a first pass, a broker, the gateway, and the syncing beside it."""
        secret, described, policy = folder / "secret", folder / "registry.toml", folder / "policy.toml"
        secret.write_text(f"whsec_{base64.b64encode(SECRET).decode()}\n")
        secret.chmod(0o600)
        policy.write_text(POLICY)
        keys, database = folder / "keys", folder / "gate.db"
        with RegistryService(self.truth.write(folder / "county")) as self.registry:
            described.write_text(SOURCES.format(url=self.registry.url, lag=MOST_LAG_S, secret=secret))
            options = ("--registry", str(described))
            sync = ("registry", "sync", *options, "--database", f"sqlite:///{database}", "--keys", str(keys))
            first = weldgate(*sync, "--once")
            assert first.returncode == 0, first.stdout + first.stderr
            broker = Mosquitto(Limits()).start()
            self.gateway = Gateway(broker.url, database, keys, policy=policy, options=options).start().until_ready()
            with (folder / "sync.log").open("ab") as log:
                syncing = subprocess.Popen([sys.executable, "-m", "gateway", *sync], stdout=log, stderr=log)
            self._verify = Verifier(msgspec.json.decode(open_keys(keys).public())).claims
            try:
                with Chips(broker.port) as self.chips:
                    yield
                    assert syncing.poll() is None, (folder / "sync.log").read_text()
            finally:
                syncing.kill()
                syncing.wait()
                self.gateway.close()
                broker.close()

    async def play(self, for_s: float, tell: Told) -> Day:
        self._machines = {place.machine_id for place in self.places}
        loop = asyncio.get_running_loop()
        self._over = loop.time() + for_s
        self._at_registry = asyncio.Lock()

        def hear(seen: Seen) -> None:
            loop.call_soon_threadsafe(self._hear, seen, now_ms())

        self.chips.on_seen = hear
        async with asyncio.TaskGroup() as group:
            group.create_task(self._change(), name="changes")
            group.create_task(self._fail(), name="faults")
            looking = group.create_task(self._look(), name="looks")
            chips = [group.create_task(self._weld(place), name=place.machine_id) for place in self.places]
            while not all(chip.done() for chip in chips):
                await asyncio.wait(chips, timeout=0.5)
                tell(for_s - (self._over - loop.time()), self.day)
            looking.cancel()
        self.chips.on_seen = lambda _: None
        return self.day

    def _goes_on(self) -> bool:
        return asyncio.get_running_loop().time() < self._over

    # --- what happens at the registry ---------------------------------------------------------------------------

    async def _change(self) -> None:
        while self._goes_on():
            async with self._at_registry:
                change = self._some_change()
                pushed = self.chance.random() < 0.6
                await self._make(change, pushed=pushed)
            await asyncio.sleep(self.chance.expovariate(8))

    async def _make(self, change: Change, *, pushed: bool) -> None:
        """First true, then at the registry, then pushed."""
        begun = self.truth.change(change, now_ms())
        rows: dict[str, list[Row]] = {}
        for name, row in change.rows:
            rows.setdefault(name, []).append(row)
        told = await asyncio.to_thread(lambda: self.registry.change(**rows))
        done = now_ms()
        for value in begun:
            value.done = done
        self.waiting.values += begun
        if pushed and told:
            taken = await asyncio.to_thread(push, self.gateway, *told)
            assert taken.status == 200, taken.body
            outcomes = [one["outcome"] for one in taken.body["outcomes"]]
            self.day.outcomes.update(outcomes)
            if "unknown" not in outcomes:
                self._is_due(begun)
        self.day.changes[f"{change.kind}{' (pushed)' if pushed and told else ''}"] += 1

    def _is_due(self, begun: Sequence[Value]) -> None:
        taken = now_ms()
        for value in begun:
            value.done, value.due, value.pushed = taken, taken + self.within_ms, True
        self.waiting.values = [value for value in self.waiting.values if not value.pushed]

    def _some_change(self) -> Change:
        place = self.chance.choice(self.places)
        operator_id = self.chance.choice(place.welders)
        if operator_id in self._to_come:
            return Change("issue", tuple(self._to_come.pop(operator_id)))
        kinds = (self._of_certificate, self._of_operator, self._of_employment, self._of_firm, self._of_machine)
        could = [kind(place, operator_id) for kind in kinds]
        good = [change for change in could if change.kind in GIVING]
        bad = [change for change in could if change.kind not in GIVING]
        return self.chance.choice(good if good and (not bad or self.chance.random() < GOOD) else bad)

    def _of_certificate(self, _place: Place, operator_id: str) -> Change:
        row = self.chance.choice(self.truth.of("certificates", operator_id))
        key = {"number": row["number"], "item": row["item"]}
        if str(row["valid_until"]) < str(self.today):
            renewed = {**row, "valid_until": str(self.today + timedelta(days=2000))}
            return Change("renew", (("certificates", renewed),))
        to = "valid" if row["status"] != "valid" else self.chance.choice(("suspended", "revoked"))
        kind = {"valid": "reinstate", "suspended": "suspend", "revoked": "revoke"}[to]
        return Change(kind, (("certificates", {**key, "status": to}),))

    def _of_operator(self, _place: Place, operator_id: str) -> Change:
        blocked = self.truth.rows["operators"][operator_id,]["status"] == "blocked"
        row: Row = {"operator_id": operator_id, "status": "active" if blocked else "blocked"}
        return Change("unblock" if blocked else "block", (("operators", row),))

    def _of_employment(self, place: Place, operator_id: str) -> Change:
        """Whoever left is hired again, each time from another day on."""
        yesterday = self.today - timedelta(days=1)
        jobs = [row for row in self.truth.of("employments", operator_id) if row["uscc"] == place.uscc]
        running = [row for row in jobs if row["until"] is None]
        if running:
            left = [("employments", {**row, "until": str(yesterday)}) for row in running]
            return Change("leave", tuple(left))
        days = {row["from"] for row in jobs}
        since = next(str(day) for day in _back_from(yesterday) if str(day) not in days)
        row = {"operator_id": operator_id, "uscc": place.uscc, "from": since, "until": None}
        return Change("hire", (("employments", row),))

    def _of_firm(self, place: Place, _operator_id: str) -> Change:
        stopped = self.truth.rows["enterprises"][place.uscc,]["status"] != "active"
        row: Row = {"uscc": place.uscc, "status": "active" if stopped else "production_suspended"}
        return Change("resume" if stopped else "stop production", (("enterprises", row),))

    def _of_machine(self, place: Place, _operator_id: str) -> Change:
        suspended = self.truth.rows["machines"][place.machine_id,]["status"] != "active"
        row: Row = {"machine_id": place.machine_id, "status": "active" if suspended else "suspended"}
        return Change("machine back" if suspended else "machine suspended", (("machines", row),))

    # --- what goes wrong at the registry ------------------------------------------------------------------------

    async def _fail(self) -> None:
        while self._goes_on():
            await asyncio.sleep(self.chance.uniform(2, 5))
            fault = self.chance.choice((*FAULTS, {AWAY: True}))
            self.day.faults[" ".join(name for name in fault if name != "slow_s")] += 1
            if AWAY in fault:
                await self._be_away()
                continue
            await self._switch(fault)
            await asyncio.sleep(self.chance.uniform(2, 5))
            await self._switch({})

    async def _be_away(self) -> None:
        """Stopped for a while; it comes back with other cursors."""
        async with self._at_registry:
            self.registry.stop()
            await asyncio.sleep(self.chance.uniform(0.5, 3))
            self.truth.write(self.registry.folder)
            await asyncio.to_thread(self.registry.start)

    async def _switch(self, fault: dict[str, Any]) -> None:
        async with self._at_registry:
            at = now_ms()
            if "stale" in fault:
                self._stale.append((at, None))
            await asyncio.to_thread(lambda: self.registry.faults(**fault))
            if not fault and self._stale and self._stale[-1][1] is None:
                self._stale[-1] = (self._stale[-1][0], now_ms())

    # --- what the gateway can know ------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Each pass that ended well: what it has read has to count soon after."""
        seen = 0
        while True:
            rows = await asyncio.to_thread(self.gateway.rows, "SELECT confirmed_at FROM registry_sources")
            confirmed = int(rows[0]["confirmed_at"] or 0)
            if confirmed != seen:
                if seen:
                    self.day.passes += 1
                    self.day.longest_between_passes_ms = max(self.day.longest_between_passes_ms, confirmed - seen)
                seen = confirmed
                self.waiting.read(self._told(confirmed), now_ms() + self.within_ms)
            await asyncio.sleep(LOOKS_EVERY_S)

    def _told(self, at: int) -> int:
        """The moment that a pass begun at ``at`` has read: an earlier one while the registry told of old rows."""
        for since, until in self._stale:
            if since <= at and (until is None or at <= until):
                return since
        return at

    # --- at the machines ----------------------------------------------------------------------------------------

    async def _weld(self, place: Place) -> None:
        while self._goes_on():
            operator_id = self.chance.choice(place.welders)
            session_id = await self._scan(place, operator_id)
            if session_id is not None:
                await self._work(place, operator_id, session_id)
            await asyncio.sleep(self.chance.uniform(0.1, 0.5))

    async def _scan(self, place: Place, operator_id: str) -> str | None:
        """The session that was opened."""
        request_id, scanned = new_id(), now_ms()
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        self._send(place, "request", a_request(operator_id, request_id))
        try:
            arrived, decision = await asyncio.wait_for(answer, ANSWERED_WITHIN_S)
        except TimeoutError:
            self.day.wrong.append(f"{operator_id} at {place.machine_id}: no answer")
            return None
        finally:
            del self._answers[request_id]
        allowed = decision.session_id is not None
        self.day.decisions["allowed" if allowed else "refused"] += 1
        self._judge(place, operator_id, allowed, scanned, arrived, [reason.code for reason in decision.reasons])
        session_id: str | None = decision.session_id
        return session_id

    def _judge(
        self, place: Place, operator_id: str, allowed: bool, scanned: int, arrived: int, codes: Sequence[str]
    ) -> None:
        right = self.truth.possible(place.machine_id, operator_id, str(self.today), scanned, arrived)
        last = self.truth.latest(place.machine_id, operator_id, scanned)
        known = "pushed" if last.pushed else "synced"
        if allowed not in right:
            what = f"allowed {allowed} {codes}, right {right}; last change {known}, {scanned - last.done} ms before"
            self.day.wrong.append(f"{operator_id} at {place.machine_id}: {what}; answered in {arrived - scanned} ms")
        elif right == {True, False} and last.done and last.value is not None:
            self.day.underway[known] += 1

    async def _work(self, place: Place, operator_id: str, session_id: str) -> None:
        """Until a lock comes, or the work is done."""
        lock = self._locks[session_id] = asyncio.get_running_loop().create_future()
        self._report(place, "unlocked", session_id)
        for_s = 0.0 if self.chance.random() < 0.4 else self.chance.uniform(0.5, 6)
        ends = now_ms() + round(for_s * 1000)
        locked = None
        while locked is None and now_ms() < ends:
            looked = now_ms()
            possible = self.truth.possible(place.machine_id, operator_id, str(self.today), looked, looked)
            done, _ = await asyncio.wait([lock], timeout=LOOKS_EVERY_S)
            if done:
                locked = lock.result()
            elif True not in possible:
                self.day.wrong.append(f"{operator_id} at {place.machine_id}: no lock in time")
                break
        del self._locks[session_id]
        if locked is not None:
            self._judge_lock(place, operator_id, locked)
        self._report(place, "locked", session_id)

    def _judge_lock(self, place: Place, operator_id: str, locked: int) -> None:
        self.day.locks += 1
        before = locked - self.within_ms
        if False not in self.truth.possible(place.machine_id, operator_id, str(self.today), before, locked):
            self.day.wrong.append(f"{operator_id} at {place.machine_id}: locked without a cause")
        last = self.truth.latest(place.machine_id, operator_id, locked)
        if last.pushed:
            self.day.delayed("lock after a push", locked - last.done)
        elif last.due:
            self.day.delayed("lock after a pass", locked - (last.due - self.within_ms))

    def _report(self, place: Place, kind: str, session_id: str) -> None:
        event = {"event_id": new_id("evt"), "seq": next(self._sequence), "kind": kind, "at": now_ms()}
        self._send(place, "event", event | {"session_id": session_id})

    def _send(self, place: Place, kind: str, message: dict[str, Any]) -> None:
        self.chips.send(f"{ROOT}/{place.machine_id}/{kind}", msgspec.json.encode(message))

    def _hear(self, seen: Seen, at: int) -> None:
        _, _, machine_id, kind = f"{seen.topic}///".split("/")[:4]
        if machine_id in self._machines and kind == "decision":
            decision = msgspec.json.decode(seen.payload, type=DecisionMessage)
            waiting = self._answers.get(decision.request_id)
            if waiting is not None and not waiting.done():
                waiting.set_result((at, decision))
        elif machine_id in self._machines and kind == "command":
            claims = self._verify(msgspec.json.decode(seen.payload, type=CommandMessage).command)
            lock = self._locks.get(str(claims.get("sid")))
            if claims["cmd"] == "lock" and lock is not None and not lock.done():
                lock.set_result(at)


def _back_from(day: date) -> Iterator[date]:
    for days in count(1):
        yield day - timedelta(days=days)
