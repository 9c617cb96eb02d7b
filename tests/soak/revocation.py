"""How long it takes from a committed change to the published lock, with a county's sessions running.

``python -m tests.soak revocation`` prints the figures as a table; it opens one session for each of 1,603 machines over
one real Mosquitto against one real gateway.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion

from gateway.clock import now_ms
from gateway.core.model import Control
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
ONE = 7
"""The machine that is locked by itself; its firm is among those that are stopped."""


class Delay(Struct, frozen=True):
    """From the change's commit to the lock's arrival, milliseconds: for the first, the middle and the last machine."""

    what: str
    sessions: int
    first_ms: float
    median_ms: float
    last_ms: float


class County:
    """Every machine of the county behind one connection; remembers when each was sent a lock."""

    def __init__(self, port: int, jwks: dict[str, object], machines: int) -> None:
        self.machines = machines
        self.allowed: dict[str, str] = {}
        self.commands: list[tuple[str, int, bytes]] = []
        self._locked: dict[str, int] = {}
        self._looked_at = 0
        self._verify = Verifier(jwks).claims
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "county", protocol=paho.MQTTv311)
        self._client.on_message = self._on_message
        self._client.max_inflight_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(f"{ROOT}/+/decision", 1), (f"{ROOT}/+/command", 1)])
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def everybody_starts(self) -> None:
        """A session for each machine, unlocked."""
        for number in range(self.machines):
            request = a_request(staff.welder(number), f"request-{number:05}-{now_ms()}")
            self._publish(staff.machine(number), "request", request)
        eventually(lambda: len(self.allowed) == self.machines, WITHIN_S, "every machine let in")
        for number in range(self.machines):
            self._report(number, "unlocked")

    def everybody_reports_locked(self) -> None:
        for number in range(self.machines):
            if staff.machine(number) in self.locked:
                self._report(number, "locked")
        self._locked.clear()

    def until_locked(self, machines: int) -> None:
        eventually(lambda: len(self.commands) - self._looked_at >= machines, WITHIN_S, f"{machines} commands")
        eventually(lambda: len(self.locked) >= machines, WITHIN_S, f"{machines} locks")

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
    """The delays of a machine locked from afar, of firms that are stopped, and of a policy that concerns everybody."""
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
            return [_one(county, gateway), _firms(county, gateway, folder, where), _everybody(county, policy)]
        finally:
            county.close()
            gateway.close()
            broker.close()


def _one(county: County, gateway: Gateway) -> Delay:
    """A regulator locks one machine."""
    county.everybody_starts()
    engine = open_engine(gateway.url, migrate=False)
    control = Control(new_control_id(), now_ms(), "lock", "监管员", "巡查发现隐患", machine_id=staff.machine(ONE))
    enact(engine, control)
    changed = now_ms()
    engine.dispose()
    county.until_locked(1)
    return _delay("one machine locked from afar", county, changed)


def _firms(county: County, gateway: Gateway, folder: Path, where: tuple[str, ...]) -> Delay:
    """An import stops a tenth of the firms."""
    county.everybody_reports_locked()
    firms = staff.FIRMS // 10
    concerned = [number for number in range(county.machines) if number % staff.FIRMS < firms and number != ONE]
    assert weldgate("registry", "import", str(staff.without(folder / "stop", firms)), *where).returncode == 0
    changed = gateway.rows("SELECT max(at) AS at FROM registry_changes")[0]["at"]
    county.until_locked(len(concerned))
    return _delay(f"{firms} firms stopped by an import", county, changed)


def _everybody(county: County, policy: Path) -> Delay:
    """A policy comes into force under which nobody is old enough."""
    county.everybody_reports_locked()
    left = county.machines - sum(number % staff.FIRMS < staff.FIRMS // 10 for number in range(county.machines))
    changed = now_ms()
    policy.write_text('version = "after"\n[age]\nmin_years = 90\nmax_years = 100\n')
    county.until_locked(left)
    return _delay("a policy that refuses everybody", county, changed)


def _delay(what: str, county: County, changed: int) -> Delay:
    delays = sorted(at - changed for at in county.locked.values())
    return Delay(what, len(delays), delays[0], delays[len(delays) // 2], delays[-1])
