"""A gate in memory with a clock of its own: the all-good county, asked as the pipeline asks it."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.core.model import (
    Asked,
    Certificate,
    Control,
    ControlAct,
    Decision,
    Enterprise,
    Facts,
    Machine,
    Operator,
    PhoneAsk,
)
from gateway.core.policy import Policy, Rulebook
from gateway.gate.configs import configs_due, wanted
from gateway.gate.entry import CommandBody, DecisionBody, Entry, EventBody
from gateway.gate.handle import handle
from gateway.gate.leases import on_time, work_off
from gateway.gate.offline import lists_due
from gateway.gate.phone import by_phone
from gateway.gate.sessions import Session, Sessions
from gateway.gate.state import GateState
from gateway.registry.snapshot import Changed, Delta, Snapshot
from gateway.store.journal import Book
from gateway.store.ledger import Key
from gateway.store.prepared import Row
from gateway.wire import topics
from gateway.wire.inbound import Inbound
from gateway.wire.tokens import Command
from gateway.wire.topics import ChipTopic
from tests.core.matrix import ALL_GOOD, certificate, employment, enterprise, machine, millis, operator

NOW = millis(ALL_GOOD.now)
TODAY: date = ALL_GOOD.now.date()
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
WELDERS = ("P000123", "P000456", "P000789")
MACHINES = ("HJ-0001", "HJ-0002", "HJ-0003")
CODE_KEY, CODE_KEY_BEFORE = b"1" * 32, b"0" * 32
DAY_S = 86_400


class Clock(Struct):
    """Wall time that moves only when told."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


class Gate(Struct):
    """One gate; ``recorded`` holds what a ledger would know, ``seqs`` the event numbers of each chip."""

    clock: Clock
    state: GateState
    recorded: dict[Key, Entry] = field(default_factory=dict)
    numbers: int = 0
    seqs: dict[str, int] = field(default_factory=dict)

    @property
    def sessions(self) -> Sessions:
        return self.state.sessions

    def session(self, machine_id: str = "HJ-0001") -> Session:
        """The open session at a machine."""
        session = self.sessions.at_machine(machine_id)
        assert session is not None
        return session

    # --- what chips send ---

    def send(self, kind: ChipTopic, payload: bytes, machine_id: str = "HJ-0001", **how: Any) -> Entry:
        return self.deliver(topics.to_gateway(machine_id, kind), payload, **how)

    def deliver(self, topic: str, payload: bytes, *, retained: bool = False, waited_ms: int = 0) -> Entry:
        """One message as it arrives; what it leads to counts as recorded."""
        return self._handle(Inbound(topic, payload, retained, 0, (1, 1)), waited_ms)

    def _handle(self, inbound: Inbound, waited_ms: int = 0) -> Entry:
        self.state.in_doubt = False  # the pipeline reads back before each batch
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
        seq = different.get("seq", self.seqs.get(machine_id, 0) + 1)
        self.seqs[machine_id] = max(seq, self.seqs.get(machine_id, 0))
        fields: dict[str, Any] = {
            "event_id": f"event-{self.numbers:08}",
            "seq": seq,
            "kind": kind,
            "at": self.clock.now,
            "session_id": session_id,
        }
        return self.send("event", msgspec.json.encode(fields | different), machine_id)

    def usage(self, session_id: str | None = None, machine_id: str = "HJ-0001", **different: Any) -> Entry:
        """A report of the machine's session: relay closed, no arc."""
        self.numbers += 1
        fields: dict[str, Any] = {
            "session_id": session_id or self.session(machine_id).session_id,
            "seq": self.numbers,
            "at": self.clock.now,
            "relay": "closed",
            **dict.fromkeys(("enabled_s", "arc_s", "idle_s", "arcs", "energy_wh"), 0),
        }
        return self.send("usage", msgspec.json.encode(fields | different), machine_id)

    def status(self, machine_id: str = "HJ-0001", **different: Any) -> Entry:
        fields: dict[str, Any] = {"online": True, "chip": "CHIP-0001", "at": self.clock.now}
        return self.send("status", msgspec.json.encode(fields | different), machine_id)

    # --- what people ask by phone ---

    def phone(self, welder: str = "P000123", machine_id: str = "HJ-0001", **different: Any) -> Entry:
        """Somebody who has signed in wants the machine unlocked."""
        self.numbers += 1
        fields = {"request_id": f"by-phone-{self.numbers:08}", "account_id": "account-1"} | different
        waited_ms = fields.pop("waited_ms", 0)
        return self._handle(by_phone(PhoneAsk(machine_id, welder, **fields), 0), waited_ms)

    # --- what happens by itself ---

    def work_off(self) -> list[Entry]:
        return work_off(self.state, self.clock.now)

    def tick(self) -> list[Entry]:
        """What a tick of the clock leads to."""
        now = self.clock.now
        self.state.agenda.hold_against_clock(self.sessions)
        due = configs_due(self.state, now) + lists_due(self.state, now)
        return due + on_time(self.state, now) + work_off(self.state, now)

    def ticks(self, seconds: int, every_s: int = 1) -> list[Entry]:
        """Everything that comes of ``seconds`` of ticks."""
        entries = []
        for _ in range(seconds // every_s):
            self.clock.pass_s(every_s)
            entries += self.tick()
        return entries

    # --- what people do ---

    def opened(self, welder: str = "P000123", machine_id: str = "HJ-0001", **different: Any) -> Session:
        """The session of an allow."""
        assert decision_of(self.request(welder, machine_id, **different)).outcome == "allow"
        return self.session(machine_id)

    def running(self, welder: str = "P000123", machine_id: str = "HJ-0001", **different: Any) -> Session:
        """The session of an allow that the chip took at once."""
        session = self.opened(welder, machine_id, **different)
        self.event("unlocked", session.session_id, machine_id, at=different.get("at", self.clock.now))
        return session

    def change(self, *rows: Any) -> None:
        """The registries change, as the registry watch takes it over. A certificate comes as (its holder, it)."""
        known = [("", *row) if isinstance(row, tuple) and isinstance(row[1], Certificate) else row for row in rows]
        snapshot = self.state.snapshot
        delta = Delta(snapshot.version + 1, self.clock.now, known)
        self.state.concern(snapshot.apply(delta))

    def control(self, act: ControlAct, **different: Any) -> None:
        """Somebody who may gives an order."""
        self.numbers += 1
        fields: dict[str, Any] = {"by": "supervisor-1", "reason": "test", "machine_id": "HJ-0001"}
        self.change(Control(f"control-{self.numbers}", self.clock.now, act, **fields | different))

    def adopt(self, policy: Policy) -> None:
        self.state.adopt(Rulebook(policy))

    def read_back(self, *sessions: Row, whole: bool = False, **different: Any) -> None:
        """As after a commit that failed, or at a start: what is in the database is all that ever happened."""
        held: dict[str, Any] = {"codes": [], "seqs": {}, "lists": [], "recent": [], "chips": [], "latest": 0}
        self.state.load(Book(sessions=list(sessions), **held | different), whole=whole)


def make_gate(policy: Policy | None = None, **facts: Any) -> Gate:
    """The all-good county with three machines and three welders; ``facts`` stand instead of theirs. The chips go by the
    policy already."""
    clock, snapshot = Clock(), Snapshot()
    snapshot.version, snapshot.confirmed_at = 7, NOW - 60_000
    firm: Enterprise | None = facts.get("enterprise", enterprise())
    machines: tuple[Machine, ...] = facts.get("machines", tuple(machine(machine_id=one) for one in MACHINES))
    rows: list[Any] = [*machines, *([firm] if firm else [])]
    for welder in facts.get("welders", WELDERS):
        person: Operator | None = facts.get("operator", operator(operator_id=welder))
        held: tuple[Certificate, ...] = facts.get("certificates", (certificate(ref=f"ref-{welder}"),))
        if person is not None:
            rows.append(operator(operator_id=welder, born_on=person.born_on, status=person.status))
        if held:
            snapshot.certificates[welder] = held
            snapshot._holders |= {one.ref: welder for one in held}
        rows += [(welder, work) for work in facts.get("employments", (employment(),))]
    for row in rows:  # not `apply`, which would be a new version
        snapshot._take(row, Changed())
    gate = Gate(clock, GateState(snapshot, Rulebook(policy or Policy()), clock, (CODE_KEY, CODE_KEY_BEFORE)))
    gate.state.settings.held |= dict.fromkeys([one.machine_id for one in machines], wanted(gate.state))
    return gate


# --- what it leads to -------------------------------------------------------------------------------------------


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


def event_of(entry: Entry) -> EventBody:
    assert entry.draft is not None
    assert entry.draft.kind == "event"
    return msgspec.json.decode(entry.draft.body, type=EventBody)


def lock_of(entry: Entry) -> CommandBody:
    """The record of a lock that was sent."""
    assert entry.draft is not None
    assert entry.draft.kind == "command"
    body = msgspec.json.decode(entry.draft.body, type=CommandBody)
    assert body.command == entry.command
    return body


def commands(entries: Iterable[Entry]) -> list[Command]:
    return [entry.command for entry in entries if entry.command is not None]


def alerts(entries: Iterable[Entry]) -> list[tuple[str, str, str | None]]:
    """(kind, machine, session) of each alert."""
    told = [msgspec.json.decode(entry.feed.payload) for entry in entries if entry.feed is not None]
    return [(one["kind"], one["machine_id"], one["session_id"]) for one in told if "kind" in one]
