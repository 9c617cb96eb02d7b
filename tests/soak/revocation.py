"""How long it takes from a committed change to the published lock, with a county's sessions at work.

``python -m tests.soak revocation`` prints the figures as a table, and fails above a second. It opens one session for
each of 1,603 machines over one real Mosquitto against one real gateway, and each of them reports usage every 10 s
meanwhile. Every cause that somebody acts is played: orders, changes of person, certificate, machine and firms in the
registries, another policy. A date that passes midnight cannot be waited for here: tests/gate/test_reviews.py lets it
pass by a clock of its own, and the simulation with chips, broker and network around it.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import msgspec
import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion

from gateway.clock import now_ms
from gateway.core.model import Control, ControlAct, Millis
from gateway.keys import open_keys
from gateway.store.controls import enact, new_control_id
from gateway.store.engine import open_engine
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Verifier
from tests.soak import staff
from tests.support.brokers import Limits, Mosquitto
from tests.support.chips import ROOT, a_request
from tests.support.gateway import Gateway, weldgate
from tests.support.waiting import eventually

WITHIN_S = 60.0
LIMIT_MS = 1_000
USAGE_EVERY_S = 10.0
STOPPED_FIRMS = staff.FIRMS // 10
LOCKED, OUT_OF_SERVICE, BLOCKED, REVOKED, SUSPENDED = range(STOPPED_FIRMS, STOPPED_FIRMS + 5)
"""Machines, or their welders, to each of which one thing happens; their firms go on."""


class Delay(Struct, frozen=True):
    """From the change's commit to the lock's arrival, milliseconds: for the first, the middle and the last machine."""

    what: str
    sessions: int
    first_ms: float
    median_ms: float
    last_ms: float

    @property
    def late(self) -> bool:
        return self.last_ms > LIMIT_MS


class County:
    """Every machine of the county behind one connection, at work; remembers when each was sent a lock."""

    def __init__(self, port: int, jwks: dict[str, object], machines: int) -> None:
        self.machines = machines
        self.allowed: dict[str, str] = {}
        self.commands: list[tuple[str, int, bytes]] = []
        self._locked: dict[str, int] = {}
        self.usage_sent = 0
        self._at_work: set[int] = set()
        self._closing = Event()
        self._looked_at = 0
        self._verify = Verifier(jwks).claims
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "county", protocol=paho.MQTTv311)
        self._client.on_message = self._on_message
        self._client.max_inflight_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(f"{ROOT}/+/decision", 1), (f"{ROOT}/+/command", 1)])
        self._client.loop_start()
        self._reporting = Thread(target=self._report_usage, name="usage")

    def close(self) -> None:
        self._closing.set()
        if self._reporting.ident is not None:
            self._reporting.join()
        self._client.disconnect()
        self._client.loop_stop()

    def everybody_starts(self) -> None:
        """A session for each machine, unlocked and from now on reporting usage."""
        for number in range(self.machines):
            request = a_request(staff.welder(number), f"request-{number:05}-{now_ms()}")
            self._publish(staff.machine(number), "request", request)
        eventually(lambda: len(self.allowed) == self.machines, WITHIN_S, "every machine let in")
        for number in range(self.machines):
            self._report(number, "unlocked")
        self._at_work = set(range(self.machines))
        self._reporting.start()
        eventually(lambda: self.usage_sent >= self.machines, WITHIN_S, "usage of every machine")

    def who_was_locked_reports_it(self) -> None:
        done = {number for number in self._at_work if staff.machine(number) in self.locked}
        self._at_work = self._at_work - done
        for number in sorted(done):
            self._report(number, "locked")
        self._locked.clear()

    def until_locked(self, machines: int) -> None:
        eventually(lambda: len(self.locked) >= machines, WITHIN_S, f"{machines} locks")

    def _report_usage(self) -> None:
        """Each machine in its turn, evenly over 10 s, until the county closes."""
        began, turn = time.monotonic(), 0
        while not self._closing.wait(max(0.0, began + turn * USAGE_EVERY_S / self.machines - time.monotonic())):
            number, seq = turn % self.machines, turn // self.machines + 1
            if number in self._at_work:
                self._publish(staff.machine(number), "usage", self._usage(staff.machine(number), seq))
            self.usage_sent += 1
            turn += 1

    def _usage(self, machine_id: str, seq: int) -> dict[str, object]:
        figures = {"enabled_s": 10 * seq, "arc_s": 6 * seq, "idle_s": 4 * seq, "arcs": seq, "energy_wh": 12.5 * seq}
        told = {"session_id": self.allowed[machine_id], "seq": seq, "at": now_ms(), "relay": "closed"}
        return told | figures | {"current_a": 120.0, "voltage_v": 24.0}

    def _report(self, number: int, kind: str) -> None:
        machine_id = staff.machine(number)
        event = {"event_id": f"{kind}-{number:05}-{now_ms()}", "seq": time.monotonic_ns() // 1000, "kind": kind}
        self._publish(machine_id, "event", event | {"at": now_ms(), "session_id": self.allowed[machine_id]})

    def _publish(self, machine_id: str, kind: str, message: dict[str, object]) -> None:
        self._client.publish(f"{ROOT}/{machine_id}/{kind}", msgspec.json.encode(message), 1)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        machine_id = message.topic.split("/")[2]
        if message.topic.endswith("/decision"):
            decision = msgspec.json.decode(message.payload, type=DecisionMessage)
            if decision.session_id is not None:
                self.allowed[machine_id] = decision.session_id
            return
        self.commands.append((machine_id, now_ms(), bytes(message.payload)))

    @property
    def locked(self) -> dict[str, int]:
        """When each machine was sent a lock for its session; signatures are checked here, not as they arrive."""
        for machine_id, arrived, payload in self.commands[self._looked_at :]:
            self._looked_at += 1
            claims = self._verify(msgspec.json.decode(payload, type=CommandMessage).command)
            if claims["cmd"] == "lock" and claims["sid"] == self.allowed[machine_id]:
                self._locked.setdefault(machine_id, arrived)
        return self._locked


def measure(machines: int = staff.MACHINES) -> list[Delay]:
    """The delay of each cause, one after the other while everybody else goes on working."""
    with TemporaryDirectory(prefix="weldgate-soak-") as name:
        folder = Path(name)
        keys, database = folder / "keys", folder / "gate.db"
        where = ("--database", f"sqlite:///{database}", "--keys", str(keys))
        assert weldgate("registry", "import", str(staff.write(folder / "county", machines)), *where).returncode == 0
        policy = folder / "policy.toml"
        policy.write_text('version = "before"\n')
        broker = Mosquitto(Limits()).start()
        gateway = Gateway(broker.url, database, keys, policy=policy).start().until_ready()
        county = County(broker.port, msgspec.json.decode(open_keys(keys).public()), machines)
        try:
            county.everybody_starts()
            return list(_causes(county, gateway, folder, where, policy))
        finally:
            county.close()
            gateway.close()
            broker.close()


def _causes(county: County, gateway: Gateway, folder: Path, where: tuple[str, ...], policy: Path) -> Iterator[Delay]:
    yield _delay("a machine locked from afar", county, _order(gateway, "lock", LOCKED), 1)
    yield _delay("a machine taken out of service", county, _order(gateway, "out_of_service", OUT_OF_SERVICE), 1)
    for what, files in (
        ("a person blocked by an import", staff.blocked_welder(folder / "blocked", BLOCKED)),
        ("a certificate revoked by an import", staff.revoked_certificate(folder / "revoked", REVOKED)),
        ("a machine suspended by an import", staff.suspended_machine(folder / "suspended", SUSPENDED)),
    ):
        yield _delay(what, county, _import(gateway, files, where), 1)
    changed = _import(gateway, staff.stopped_firms(folder / "stopped", STOPPED_FIRMS), where)
    stopped = sum(number % staff.FIRMS < STOPPED_FIRMS for number in range(county.machines))
    yield _delay(f"{STOPPED_FIRMS} firms stopped by an import", county, changed, stopped)
    changed = now_ms()
    policy.write_text('version = "after"\n[age]\nmin_years = 90\nmax_years = 100\n')
    yield _delay("a policy that refuses everybody", county, changed, county.machines - stopped - 5)


def _order(gateway: Gateway, act: ControlAct, number: int) -> Millis:
    """A regulator's order, committed; when."""
    engine = open_engine(gateway.url, migrate=False)
    enact(engine, Control(new_control_id(), now_ms(), act, "监管员", "巡查发现隐患", machine_id=staff.machine(number)))
    engine.dispose()
    return now_ms()


def _import(gateway: Gateway, files: Path, where: tuple[str, ...]) -> Millis:
    """A change of the registries, committed; when."""
    unguarded = files.parent / "registry.toml"
    unguarded.write_text("[guard]\nshare_percent = 100\n")  # many lose their right here, on purpose
    done = weldgate("registry", "import", str(files), "--registry", str(unguarded), *where)
    assert done.returncode == 0, done.stderr
    changed: Millis = gateway.rows("SELECT max(at) AS at FROM registry_changes")[0]["at"]
    return changed


def _delay(what: str, county: County, changed: Millis, sessions: int) -> Delay:
    """Waits for the locks of so many sessions; those are over afterwards."""
    county.until_locked(sessions)
    delays = sorted(at - changed for at in county.locked.values())
    county.who_was_locked_reports_it()
    return Delay(what, len(delays), delays[0], delays[len(delays) // 2], delays[-1])
