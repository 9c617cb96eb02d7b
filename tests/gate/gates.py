"""A gate in memory with a clock of its own: the all-good county, asked as the pipeline asks it."""

from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.core.model import Asked, Certificate, Decision, Enterprise, Facts, Machine, Operator
from gateway.core.policy import Policy, Rulebook
from gateway.gate.entry import DecisionBody, Entry
from gateway.gate.handle import handle
from gateway.gate.sessions import Sessions
from gateway.gate.state import GateState
from gateway.registry.snapshot import Snapshot
from gateway.store.ledger import Key
from gateway.wire import topics
from gateway.wire.inbound import Inbound
from gateway.wire.topics import ChipTopic
from tests.core.matrix import ALL_GOOD, certificate, employment, enterprise, machine, millis, operator

NOW = millis(ALL_GOOD.now)
WELDERS = ("P000123", "P000456", "P000789")
MACHINES = ("HJ-0001", "HJ-0002", "HJ-0003")


class Clock(Struct):
    """Wall time that moves only when told."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


class Gate(Struct):
    """One gate; ``recorded`` holds what a ledger would know."""

    clock: Clock
    state: GateState
    recorded: dict[Key, Entry] = field(default_factory=dict)
    numbers: int = 0

    @property
    def sessions(self) -> Sessions:
        return self.state.sessions

    def send(self, kind: ChipTopic, payload: bytes, machine_id: str = "HJ-0001", **how: Any) -> Entry:
        return self.deliver(topics.to_gateway(machine_id, kind), payload, **how)

    def deliver(self, topic: str, payload: bytes, *, retained: bool = False, waited_ms: int = 0) -> Entry:
        """One message as it arrives; what it leads to counts as recorded."""
        inbound = Inbound(topic, payload, retained, 0, (1, 1))
        entry = handle(self.state, inbound, waited_ms * 1_000_000, lambda key: key in self.recorded)
        if entry.key is not None and entry.draft is not None:
            self.recorded[entry.key] = entry
        return entry

    def request(self, welder: str = "P000123", machine_id: str = "HJ-0001", **different: Any) -> Entry:
        self.numbers += 1
        fields: dict[str, Any] = {
            "request_id": f"request-{self.numbers:08}",
            "credential": welder,
            "challenge": f"challenge-{self.numbers}",
            "method": "scan",
            "at": self.clock.now,
        }
        return self.send("request", msgspec.json.encode(fields | different), machine_id)

    def event(self, kind: str, session_id: str | None = None, machine_id: str = "HJ-0001", **different: Any) -> Entry:
        self.numbers += 1
        fields: dict[str, Any] = {
            "event_id": f"event-{self.numbers:08}",
            "seq": self.numbers,
            "kind": kind,
            "at": self.clock.now,
            "session_id": session_id,
        }
        return self.send("event", msgspec.json.encode(fields | different), machine_id)


def make_gate(policy: Policy | None = None, **facts: Any) -> Gate:
    """The all-good county with three machines and three welders; ``facts`` stand instead of theirs."""
    clock, snapshot = Clock(), Snapshot()
    snapshot.version, snapshot.confirmed_at = 7, NOW - 60_000
    firm: Enterprise | None = facts.get("enterprise", enterprise())
    machines: tuple[Machine, ...] = facts.get("machines", tuple(machine(machine_id=one) for one in MACHINES))
    snapshot.machines = {one.machine_id: one for one in machines}
    snapshot.enterprises = {firm.uscc: firm} if firm else {}
    for welder in WELDERS:
        person: Operator | None = facts.get("operator", operator(operator_id=welder))
        held: tuple[Certificate, ...] = facts.get("certificates", (certificate(ref=f"ref-{welder}"),))
        if person is not None:
            snapshot.operators[welder] = operator(operator_id=welder, born_on=person.born_on, status=person.status)
        if held:
            snapshot.certificates[welder] = held
        snapshot.employments[welder] = facts.get("employments", (employment(),))
    return Gate(clock, GateState(snapshot, Rulebook(policy or Policy()), clock))


def body_of(entry: Entry) -> DecisionBody:
    assert entry.draft is not None
    assert entry.draft.kind == "decision"
    return msgspec.json.decode(entry.draft.body, type=DecisionBody)


def decision_of(entry: Entry) -> Decision:
    return body_of(entry).decision


def asked_of(entry: Entry) -> Asked:
    return body_of(entry).asked


def facts_of(entry: Entry) -> Facts:
    return body_of(entry).facts
