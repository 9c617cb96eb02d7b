"""What a record of the ledger means for the figures. Pure."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct, field

from gateway.core.model import Millis, Outcome

DecisionKind = Literal["request", "offline"]
"""``offline``: an unlock without a connection, decided afterwards."""


class Verdict(NamedTuple):
    """A row of ``decisions``."""

    seq: int
    at: Millis
    kind: DecisionKind
    division: str
    uscc: str
    machine_id: str
    operator_id: str | None
    outcome: Outcome
    method: str | None
    request_id: str | None
    session_id: str | None
    reasons: str
    warnings: str
    overridden: str

    @property
    def codes(self) -> list[str]:
        """The codes under which it is counted: of a refusal its reasons, of an allow its warnings."""
        return list(dict.fromkeys((self.reasons if self.outcome == "deny" else self.warnings).split()))


class Opened(NamedTuple):
    """Where and by whom a session was opened, as the record knows it."""

    division: str
    uscc: str
    operator_id: str


class Meaning(Struct):
    """What some records mean: decisions, sessions that they opened, and sessions that they may have changed.
    ``unreadable`` records mean nothing; ``weldgate audit verify`` says what is wrong with them."""

    verdicts: list[Verdict] = field(default_factory=list)
    opened: dict[str, Opened] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    unreadable: int = 0


class Told(NamedTuple):
    """A row of the ledger as far as it is needed."""

    seq: int
    at: Millis
    kind: str
    machine_id: str | None
    message_id: str | None
    record: bytes


def meaning(rows: Iterable[Told]) -> Meaning:
    """What rows of the ledger mean, in their order."""
    found = Meaning()
    for row in rows:
        read = _READERS.get(row.kind)
        if read is not None:
            try:
                read(row, found)
            except (msgspec.MsgspecError, UnicodeError):
                found.unreadable += 1
    return found


# --- bodies, as far as they are needed --------------------------------------------------------------------------


class _Machine(Struct):
    division: str
    uscc: str


class _Facts(Struct):
    machine: _Machine | None = None
    operator_id: str | None = None


class _Asked(Struct):
    method: str | None = None


class _Decision(Struct):
    outcome: Outcome
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()


class _Judged(Struct):
    asked: _Asked
    decision: _Decision
    facts: _Facts


class _Reply(Struct):
    session_id: str | None = None


class _DecisionBody(_Judged):
    replaces: tuple[str, ...] = ()
    reply: _Reply = field(default_factory=_Reply)


class _EventBody(Struct):
    payload: str
    ends: str | None = None
    judged: _Judged | None = None


class _EndBody(Struct):
    session_id: str


class _Payload(Struct):
    session_id: str | None = None


class _DecisionRecord(Struct):
    body: _DecisionBody


class _EventRecord(Struct):
    body: _EventBody


class _EndRecord(Struct):
    body: _EndBody


_decode_decision = msgspec.json.Decoder(_DecisionRecord).decode
_decode_event = msgspec.json.Decoder(_EventRecord).decode
_decode_end = msgspec.json.Decoder(_EndRecord).decode
_decode_payload = msgspec.json.Decoder(_Payload).decode


def _read_decision(row: Told, found: Meaning) -> None:
    body = _decode_decision(row.record).body
    _judge(row, "request", body, body.reply.session_id, found)
    found.touched.update(body.replaces)


def _read_event(row: Told, found: Meaning) -> None:
    body = _decode_event(row.record).body
    session_id = _decode_payload(body.payload).session_id
    if body.judged is not None:
        _judge(row, "offline", body.judged, session_id, found)
    found.touched.update(named for named in (session_id, body.ends) if named is not None)


def _read_end(row: Told, found: Meaning) -> None:
    found.touched.add(_decode_end(row.record).body.session_id)


def _judge(row: Told, kind: DecisionKind, body: _Judged, session_id: str | None, found: Meaning) -> None:
    machine, decision, operator_id = body.facts.machine, body.decision, body.facts.operator_id
    division, uscc = (machine.division, machine.uscc) if machine else ("", "")
    found.verdicts.append(
        Verdict(
            row.seq,
            row.at,
            kind,
            division,
            uscc,
            row.machine_id or "",
            operator_id,
            decision.outcome,
            body.asked.method,
            row.message_id,
            session_id,
            " ".join(decision.reasons),
            " ".join(decision.warnings),
            " ".join(decision.overridden),
        )
    )
    if session_id is not None:
        found.opened.setdefault(session_id, Opened(division, uscc, operator_id or ""))
        found.touched.add(session_id)


_READERS: dict[str, Callable[[Told, Meaning], None]] = {
    "decision": _read_decision,
    "event": _read_event,
    "session_end": _read_end,
}
