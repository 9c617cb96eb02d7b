"""What must always hold, checked wherever a step could break it. The first thing broken ends the run."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.core.model import Facts
from gateway.core.policy import Rulebook
from gateway.gate.entry import DecisionBody
from gateway.gate.explain import decide_again
from gateway.store import journal, orders
from gateway.store.journal import Batch
from gateway.store.ledger import Draft, Key
from gateway.wire import topics
from gateway.wire.inbound import Outbound
from simulator.chip import GIVE_UP_MS
from simulator.signals import Event, MessageArrived
from tests.simulation.chip_host import ChipHost
from tests.simulation.county import end_of
from tests.simulation.gateway_host import GatewayHost
from tests.simulation.statistics import Statistics
from tests.simulation.timeline import Timeline

_SESSION = {name: place for place, name in enumerate(journal.SESSION_COLUMNS)}
_CHANGED = {name: place for place, name in enumerate(journal.CHANGED_COLUMNS)}
_decode_body = msgspec.json.Decoder(DecisionBody).decode


class _Answered(Struct):
    request_id: str


_request_id = msgspec.json.Decoder(_Answered).decode

INVARIANTS = {
    "I1": "a relay closes only by an allow that was on record before it was published",
    "I2": "every request gets exactly one decision, always the same bytes, and in the end gets it",
    "I4": "one open session per machine and per person, one closed relay per person, none ended under a closed relay",
    "I5": "nothing unlocks late, by an old challenge, or by a retained message",
    "I6": "a relay is open when what the unlock rests on is over, or the lease",
    "I7": "a recorded decision, made again from its record, comes out the same",
    "L": "once faults stop, every session ends on the chip and in the database, and all evidence is there",
    "F": "the gateway itself does not fail",
}


ROUNDING_MS = 20
"""Chips count whole milliseconds, and one timer starts the next."""


class Broken(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant} ({INVARIANTS[invariant]}): {what}")
        self.invariant = invariant


class Question(Struct):
    """A request as the chip made it."""

    at: int
    machine_id: str
    challenge: str


class Kept(Struct):
    """A session by what the ledger says of it."""

    session_id: str
    machine_id: str
    operator_id: str | None
    request_id: str
    lease_s: int
    ground_ends: int | None
    ended: bool = False
    end_reason: str | None = None


class Invariants(Struct):
    """Sees everything that chips and gateways do. ``clock_error_ms``: how wrong a gateway's clock may be."""

    timeline: Timeline
    base_ms: int
    rulebook: Rulebook
    stats: Statistics
    clock_error_ms: int
    chips: Mapping[str, ChipHost] = {}
    log: deque[str] | None = None
    broken: Broken | None = None
    questions: dict[str, Question] = field(default_factory=dict)
    used_challenges: set[str] = field(default_factory=set)
    decisions: dict[Key, Kept | None] = field(default_factory=dict)
    replies: dict[Key, bytes | None] = field(default_factory=dict)
    sessions: dict[str, Kept] = field(default_factory=dict)
    open_at: dict[str, str] = field(default_factory=dict)
    open_of: dict[str, str] = field(default_factory=dict)
    reached: set[Key] = field(default_factory=set)
    events: dict[str, set[str]] = field(default_factory=dict)

    def breaks(self, invariant: str, what: str) -> None:
        """Remember the first thing that went wrong; the run stops after this step."""
        if self.broken is None:
            self.broken = Broken(invariant, what)
            self.note("BROKEN", str(self.broken))

    def note(self, who: str, what: str) -> None:
        """A line of the trace, where one is kept."""
        if self.log is not None:
            self.log.append(f"{self.timeline.now / 1000:>12.3f}  {who:<20} {what}")

    # --- chips ---

    def chip_asked(self, host: ChipHost, request_id: str, challenge: str, credential: str) -> None:
        self.stats.count("requests")
        self.note(host.machine_id, f"asks {request_id} for {credential!r}")
        self.questions[request_id] = Question(self.timeline.now, host.machine_id, challenge)

    def relay_closed(self, host: ChipHost, event: Event) -> None:
        session = host.chip.session
        if session is None:
            self.breaks("I1", f"the relay of {host.machine_id} closed without a session")
            return
        self.note(host.machine_id, f"relay closes, session {session.session_id}")
        self.stats.count("unlocks")
        kept = self.decisions.get((host.machine_id, "decision", session.request_id))
        if kept is None or kept.session_id != session.session_id:
            self.breaks("I1", f"the relay of {host.machine_id} closed for {session.session_id}, not on record as allow")
            return
        self._in_time(host, event, session.request_id)
        self._alone(host, kept)
        self._bounded(host, kept)

    def _in_time(self, host: ChipHost, event: Event, request_id: str) -> None:
        if not isinstance(event, MessageArrived) or event.retained:
            self.breaks("I5", f"the relay of {host.machine_id} closed by {type(event).__name__}, retained or no message")
        question = self.questions.get(request_id)
        if question is None or question.machine_id != host.machine_id:
            self.breaks("I5", f"the relay of {host.machine_id} closed for a request that it never made")
            return
        if question.challenge in self.used_challenges:
            self.breaks("I5", f"the relay of {host.machine_id} closed by a challenge that was answered before")
        self.used_challenges.add(question.challenge)
        longest = GIVE_UP_MS / host.clocks.rate + 1
        if self.timeline.now - question.at > longest:
            self.breaks("I5", f"the relay of {host.machine_id} closed {self.timeline.now - question.at} ms after asking")
        grant = self.sessions[host.session_id or ""]
        reply = self.replies.get((host.machine_id, "decision", grant.request_id))
        if not isinstance(event, MessageArrived) or event.payload != reply:
            self.breaks("I1", f"the relay of {host.machine_id} closed by other bytes than those on record")

    def _alone(self, host: ChipHost, kept: Kept) -> None:
        """INVARIANT 4, at the relays: nobody has two closed ones, and none closes for a session that is over."""
        if kept.ended and not self._succeeded(kept):
            self.breaks("I4", f"the relay of {host.machine_id} closed for {kept.session_id}, ended by {kept.end_reason}")
        for other in self.chips.values():
            if other is not host and other.relay == "closed" and other.session_id is not None:
                theirs = self.sessions.get(other.session_id)
                if theirs is not None and theirs.operator_id == kept.operator_id:
                    self.breaks(
                        "I4", f"{kept.operator_id} has closed relays at {host.machine_id} and {other.machine_id}"
                    )

    def _succeeded(self, kept: Kept) -> bool:
        """Whether the same person has an open session at the same machine now."""
        successor = self.open_at.get(kept.machine_id)
        return successor is not None and self.sessions[successor].operator_id == kept.operator_id

    def _bounded(self, host: ChipHost, kept: Kept) -> None:
        """INVARIANT 6: look again when the lease is over for certain, and when the ground is."""
        config, rate = host.chip.config, host.clocks.rate
        drain_ms = config.drain_s * 1000 / rate
        lease_ms = kept.lease_s * 1000 / rate
        self.timeline.after(int(lease_ms + drain_ms) + ROUNDING_MS, self._must_be_open, host, kept.session_id, "its lease is over")
        if kept.ground_ends is not None:
            slow_ms = lease_ms - kept.lease_s * 1000
            ends = kept.ground_ends - self.base_ms + drain_ms + max(0.0, slow_ms) + self.clock_error_ms + 1_000
            self.timeline.at(int(ends), self._must_be_open, host, kept.session_id, "what it rests on is over")

    def _must_be_open(self, host: ChipHost, session_id: str, why: str) -> None:
        if host.relay == "closed" and host.session_id == session_id:
            self.breaks("I6", f"the relay of {host.machine_id} is closed for {session_id} although {why}")

    def relay_opened(self, host: ChipHost, event: Event) -> None:
        self.note(host.machine_id, f"relay opens by {type(event).__name__}")

    # --- gateways ---

    def gateway_received(self, gateway: GatewayHost, topic: str, payload: bytes) -> None:
        addressed = topics.chip_topic(topic)
        if addressed is None:
            return
        self.note(gateway.client_id, f"receives {addressed[1]} of {addressed[0]}")
        if addressed[1] == "request":
            self.reached.add((addressed[0], "decision", _request_id(payload).request_id))

    def committed(self, gateway: GatewayHost, batch: Batch, result: orders.Committed) -> None:
        for draft, reply in zip(batch.drafts, result.replies, strict=True):
            self.note(gateway.client_id, f"has {draft.kind} of {draft.machine_id} on record: {draft.outcome or ''}")
            if draft.kind == "decision":
                self._decided(draft, reply)
            elif draft.kind == "event":
                self.events.setdefault(draft.machine_id or "", set()).add(draft.message_id or "")
        opened = {row[_SESSION["session_id"]]: row for row in batch.opened}
        for row in batch.changed:
            ended = row[_CHANGED["ended_at"]]
            if ended is not None:
                self._end(row[0], row[_CHANGED["end_reason"]])
        for row in opened.values():
            self._open(row)
        for row in batch.changed:
            self._check_ended(row[0])

    def _decided(self, draft: Draft, reply: bytes | None) -> None:
        key: Key = (draft.machine_id or "", "decision", draft.message_id or "")
        if key in self.replies:
            self.breaks("I2", f"a second decision on {key[2]} of {key[0]}")
            return
        body = _decode_body(draft.body)
        self.stats.count("decisions")
        if decide_again(body, self.rulebook) != body.decision:
            self.breaks("I7", f"decision {key[2]} of {key[0]} comes out otherwise from its record")
        self.replies[key] = reply
        grant = draft.answer.grant if draft.answer else None
        if (draft.outcome == "allow") != (grant is not None):
            self.breaks("I1", f"{key[2]} of {key[0]} is on record as {draft.outcome}, but its answer says otherwise")
        if grant is None:
            self.decisions[key] = None
            return
        ground = ground_ends(body.facts)
        kept = Kept(grant.sid, grant.aud, draft.operator_id, grant.jti, grant.lease_s, ground)
        self.decisions[key] = self.sessions[grant.sid] = kept
        self.stats.count("allows")

    def _open(self, row: Any) -> None:
        session_id, machine_id, operator_id = row[0], row[_SESSION["machine_id"]], row[_SESSION["operator_id"]]
        if row[_SESSION["ended_at"]] is not None:
            self._end(session_id, row[_SESSION["end_reason"]])  # opened and replaced within one batch
            return
        if machine_id in self.open_at:
            self.breaks("I4", f"two open sessions at {machine_id}")
        if operator_id in self.open_of:
            self.breaks("I4", f"two open sessions of {operator_id}")
        if session_id not in self.sessions:
            self.breaks("I1", f"session {session_id} opened without an allow on record")
            return
        self.open_at[machine_id] = session_id
        if operator_id is not None:
            self.open_of[operator_id] = session_id

    def _end(self, session_id: str, reason: str | None) -> None:
        kept = self.sessions[session_id]
        if kept.ended:
            return
        kept.ended, kept.end_reason = True, reason
        self.stats.count("sessions ended")
        self.note(kept.machine_id, f"session {session_id} ended in the database: {reason}")
        if self.open_at.get(kept.machine_id) == session_id:
            del self.open_at[kept.machine_id]
        if self.open_of.get(kept.operator_id or "") == session_id:
            del self.open_of[kept.operator_id or ""]

    def _check_ended(self, session_id: str) -> None:
        kept = self.sessions[session_id]
        host = self.chips[kept.machine_id]
        if kept.ended and host.relay == "closed" and host.session_id == session_id and not self._succeeded(kept):
            self.breaks("I4", f"session {session_id} ended by {kept.end_reason}; {kept.machine_id}'s relay is closed")

    def gateway_published(self, gateway: GatewayHost, message: Outbound) -> None:
        machine_id, _, kind = message.topic.removeprefix(f"{topics.ROOT}/").partition("/")
        if kind != "decision":
            return
        key: Key = (machine_id, "decision", _request_id(message.payload).request_id)
        self.note(gateway.client_id, f"answers {key[2]} of {machine_id}")
        if self.replies.get(key) != message.payload:
            self.breaks("I2" if key in self.replies else "I1", f"an answer to {key[2]} that is not the one on record")

    def gateway_failed(self, gateway: GatewayHost, error: BaseException) -> None:
        self.breaks("F", f"{gateway.client_id}: {type(error).__name__}: {error}")

    def broker_forgot(self) -> None:
        """What the gateways had not dealt with is lost; nobody can answer it."""
        self.reached = {key for key in self.reached if key in self.replies}

    # --- in the end ---

    def at_rest(self, events_may_be_lost: bool) -> None:
        """When faults have stopped and time has passed."""
        unanswered = sorted(key for key in self.reached if key not in self.replies)
        if unanswered:
            self.breaks("I2", f"{unanswered[0][2]} of {unanswered[0][0]} reached a gateway and was never decided")
        for host in self.chips.values():
            if host.relay == "closed":
                self.breaks("L", f"the relay of {host.machine_id} is still closed for {host.session_id}")
            if len(host.chip.outbox):
                self.breaks("L", f"{host.machine_id} still keeps {len(host.chip.outbox)} messages")
            made = host.chip._seq
            arrived = len(self.events.get(host.machine_id, ()))
            if not events_may_be_lost and made != arrived:
                self.breaks("L", f"{host.machine_id} made {made} events, {arrived} are on record")
        for session_id in self.open_at.values():
            self.breaks("L", f"session {session_id} is still open in the database")


def ground_ends(facts: Facts) -> int | None:
    """When what an allow rests on is over (Unix ms), for people with one certificate and one employment."""
    days = []
    for certificate in facts.certificates:
        days.append(certificate.valid_until)
        if certificate.review_due is not None and certificate.reviewed_on is None:
            days.append(certificate.review_due)
    days += [work.until for work in facts.employments if work.until is not None]
    return min((end_of(day) for day in days), default=None)
