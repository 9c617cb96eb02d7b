"""What happens at machines, written as the gate writes it: through the journal, decisions with their sessions."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from sqlalchemy import Engine

from gateway.core.model import Decision, Event, Machine, Method
from gateway.gate.entry import DecisionBody, EventBody, SessionEndBody
from gateway.store.journal import USAGE_COLUMNS, Batch, Journal
from gateway.store.ledger import Draft
from gateway.store.prepared import Row
from gateway.wire.answer import Answer
from gateway.wire.codec import encode
from gateway.wire.tokens import Grant, Signer
from tests.core.matrix import asked, facts
from tests.store.databases import AT, changed, session

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
FIRM, OTHER_FIRM = "91330521MA2B0AAA0X", "91330521MA2B0BBB1Y"
TOWN, COUNTY, OTHER_COUNTY = "330521101", "330521", "330522"


def machine(machine_id: str, uscc: str = FIRM, division: str = COUNTY) -> Machine:
    return Machine(machine_id, f"chip-{machine_id}", uscc, "fusion", division, "active")


class Shift:
    """Writes what happens; sessions and requests are numbered."""

    def __init__(self, engine: Engine, signer: Signer) -> None:
        self._engine = engine
        self._journal = Journal(engine.dialect, signer)
        self._numbers = count(1)
        self._seqs: dict[str, int] = {}
        self._revs: dict[str, int] = {}

    def write(self, batch: Batch) -> None:
        with self._engine.connect() as connection:
            self._journal.commit(connection, batch)

    def refuse(
        self,
        at: int = AT,
        where: Machine | None = None,
        operator_id: str | None = "P1",
        reasons: Sequence[str] = ("certificate_expired",),
        machine_id: str = "HJ-0001",
        method: Method = "scan",
    ) -> str:
        """``where`` None is a machine that is not registered."""
        request_id = f"request-{next(self._numbers):06}"
        machine_id = where.machine_id if where else machine_id
        answer = Answer(at, request_id, tuple(reasons))
        body = self._body(request_id, Decision("deny", tuple(reasons)), at, where, operator_id, method)
        self.write(Batch([Draft("decision", at, body, machine_id, request_id, operator_id, "deny", answer)]))
        return request_id

    def allow(
        self,
        at: int = AT,
        where: Machine | None = None,
        operator_id: str = "P1",
        warnings: Sequence[str] = (),
        replaces: Sequence[str] = (),
    ) -> str:
        """The id of the session."""
        where = where or machine("HJ-0001")
        number = next(self._numbers)
        request_id, session_id = f"request-{number:06}", f"session-{number:06}"
        grant = Grant(where.machine_id, "c-1", at // 1000 + 30, at // 1000, request_id, 900, session_id)
        decided = Decision("allow", (), tuple(warnings), (), 30, 900, "main")
        body = self._body(request_id, decided, at, where, operator_id, "scan", tuple(replaces))
        draft = Draft(
            "decision", at, body, where.machine_id, request_id, operator_id, "allow", Answer(at, request_id, (), grant)
        )
        opened = session(session_id, where.machine_id, operator_id, granted_at=at, division=where.division)
        ends = [self._ended(replaced, at, "replaced") for replaced in replaces]
        self.write(Batch([draft], changed=ends, opened=[opened]))
        return session_id

    def event(self, session_id: str, machine_id: str, kind: str, at: int, ends: bool = False) -> Draft:
        number = next(self._numbers)
        told = Event(f"event-{number:06}", number, kind, at, session_id)  # type: ignore[arg-type]
        body = encode(EventBody(session_id if ends else None, encode(told).decode()))
        return Draft("event", at, body, machine_id, told.event_id)

    def unlock(self, session_id: str, at: int, machine_id: str = "HJ-0001") -> None:
        draft = self.event(session_id, machine_id, "unlocked", at)
        self.write(Batch([draft], changed=[self._changed(session_id, unlocked_at=at)]))

    def lock(self, session_id: str, at: int, machine_id: str = "HJ-0001", unlocked_at: int | None = None) -> None:
        """By default it was unlocked a minute before."""
        draft = self.event(session_id, machine_id, "locked", at, ends=True)
        began = at - 60_000 if unlocked_at is None else unlocked_at
        self.write(Batch([draft], changed=[self._ended(session_id, at, "operator", unlocked_at=began)]))

    def time_up(self, session_id: str, at: int, machine_id: str = "HJ-0001") -> None:
        """It was never unlocked."""
        draft = Draft("session_end", at, encode(SessionEndBody("unused", session_id)), machine_id)
        self.write(Batch([draft], changed=[self._ended(session_id, at, "unused")]))

    def offline(self, at: int, where: Machine, operator_id: str, reasons: Sequence[str] = ()) -> str:
        """An unlock without a connection that was decided afterwards."""
        number = next(self._numbers)
        session_id, event_id = f"session-{number:06}", f"event-{number:06}"
        told = Event(event_id, number, "offline_unlock", at, session_id)
        decided = Decision("deny" if reasons else "allow", tuple(reasons))
        judged = DecisionBody(
            asked(request_id=event_id, at=at),
            decided,
            facts(now=at, machine=where, operator_id=operator_id),
            "0" * 64,
            1,
            (),
        )
        draft = Draft("event", at, encode(EventBody(None, encode(told).decode(), judged)), where.machine_id, event_id)
        opened = session(
            session_id, where.machine_id, None, granted_at=at, unlocked_at=at, offline=True, division=where.division
        )
        self.write(Batch([draft], opened=[opened]))
        return session_id

    def report(self, session_id: str, arc_s: int, at: int = AT, machine_id: str = "HJ-0001", **other: Any) -> None:
        self.write(Batch(usage=[self.usage(session_id, arc_s, at, machine_id, **other)]))

    def usage(self, session_id: str, arc_s: int, at: int = AT, machine_id: str = "HJ-0001", **other: Any) -> Row:
        """Twice as long enabled, an arc a minute, a tenth of a watt-hour a second."""
        self._seqs[session_id] = seq = other.pop("seq", self._seqs.get(session_id, 0) + 1)
        values: dict[str, Any] = {
            "session_id": session_id,
            "machine_id": machine_id,
            "seq": seq,
            "received_at": at,
            "at": at,
            "relay": "closed",
            "enabled_s": 2 * arc_s,
            "arc_s": arc_s,
            "idle_s": arc_s,
            "arcs": arc_s // 60,
            "energy_wh": arc_s / 10,
            "current_a": 120.0,
            "voltage_v": 24.0,
            "final": False,
        }
        values |= other
        return tuple(values[name] for name in USAGE_COLUMNS)

    def _body(
        self,
        request_id: str,
        decided: Decision,
        at: int,
        where: Machine | None,
        operator_id: str | None,
        method: Method,
        replaces: tuple[str, ...] = (),
    ) -> bytes:
        known = facts(now=at, machine=where, operator_id=operator_id)
        return encode(DecisionBody(asked(request_id=request_id, method=method), decided, known, "0" * 64, 1, replaces))

    def _changed(self, session_id: str, **different: Any) -> Row:
        rev = self._revs.get(session_id, 0)
        self._revs[session_id] = rev + 1
        return changed(session_id, seen=rev, rev=rev + 1, **different)

    def _ended(self, session_id: str, at: int, reason: str, **different: Any) -> Row:
        return self._changed(session_id, ended_at=at, end_reason=reason, **different)
