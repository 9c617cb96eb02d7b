"""What must always hold, checked wherever a step could break it. The first thing broken ends the run."""

from collections import deque
from collections.abc import Mapping
from math import inf
from typing import Any

import msgspec
from msgspec import Struct

from gateway.core.credential import kind_of
from gateway.core.lease import CLOCK_ERROR_S
from gateway.core.model import PhoneAsk, Usage
from gateway.core.policy import Offline
from gateway.gate.entry import CommandBody, DecisionBody, EventBody
from gateway.gate.phone import key_of
from gateway.store import journal, orders
from gateway.store.journal import Batch
from gateway.store.ledger import Draft, Key
from gateway.wire import topics
from gateway.wire.inbound import Outbound
from simulator.chip import GIVE_UP_MS
from simulator.signals import Event, MessageArrived, Scanned
from simulator.watch import CLOCK_JUMP_MS
from tests.simulation.basis import Basis
from tests.simulation.chip_host import ChipHost
from tests.simulation.evidence import Evidence
from tests.simulation.gateway_host import GatewayHost
from tests.simulation.ground import Ground, Held
from tests.simulation.statistics import Statistics
from tests.simulation.timeline import Timeline
from tests.simulation.verdict import Broken

_SESSION = {name: place for place, name in enumerate(journal.SESSION_COLUMNS)}
_CHANGED = {name: place for place, name in enumerate(journal.CHANGED_COLUMNS)}
_CHIP_AT = journal.CHIP_COLUMNS.index("at")
_decode_body = msgspec.json.Decoder(DecisionBody).decode
_decode_event = msgspec.json.Decoder(EventBody).decode
_decode_command = msgspec.json.Decoder(CommandBody).decode
WALL_OFF_MS = 700_000
"""How far a chip's wall clock may be behind (a fault of the runs)."""
ROUNDING_MS = 20
"""Chips count whole milliseconds, and one timer starts the next."""


class _Answered(Struct):
    request_id: str


class _Numbered(Struct):
    seq: int
    kind: str
    at: int | None = None


_number = msgspec.json.Decoder(_Numbered).decode
_welders = msgspec.json.Decoder(list[tuple[str, int]]).decode
_request_id = msgspec.json.Decoder(_Answered).decode


class Question(Struct):
    """A request as the chip made it."""

    at: int
    machine_id: str
    challenge: str
    credential: str


class Phoned(Struct):
    """What was asked by phone: ``at`` is when it was on record, ``start_by_s`` how long the grant was for then.

    ``clock_known``: a gateway could know how the chip's clock stood.
    """

    at: int
    challenge: str
    start_by_s: int
    clock_known: bool


class Kept(Struct):
    """A session by what the ledger says of it.

    ``yields``: an override, or an unlock without a connection, let it stand beside another one. ``known_at``: when it
    was on record, None as long as only the chip knows of it.
    ``misled``: its chip said that it had locked, and had not. ``opened_at``: when the database had it as open;
    ``lock_now``: whether it is locked without waiting for the arc.
    """

    session_id: str
    machine_id: str
    operator_id: str
    request_id: str
    lease_s: int
    yields: bool = False
    misled: bool = False
    known_at: int | None = 0
    opened_at: int | None = None
    lock_now: bool = False
    ended: bool = False
    end_reason: str | None = None
    displaced: bool = False


class Invariants:
    """Sees everything that chips and gateways do, and judges."""

    def __init__(self, timeline: Timeline, offline: Offline, stats: Statistics, ground: Ground, basis: Basis) -> None:
        self.timeline = timeline
        self.offline = offline
        self.basis = basis
        self.evidence = Evidence(timeline, self.breaks)
        self.stats = stats
        self.ground = ground
        self.base_ms = ground.county.base_ms
        self.chips: Mapping[str, ChipHost] = {}
        self.log: deque[str] | None = None
        self.broken: Broken | None = None
        self.sessions: dict[str, Kept] = {}
        self.open_at: dict[str, str] = {}
        self.events: dict[str, set[int]] = {}
        self._gaps: dict[str, list[tuple[int, int | None]]] = {}
        self._told: dict[str, int] = {}
        self._listed: dict[str, list[tuple[str, int]]] = {}
        self._open_of: dict[str, str] = {}
        self._questions: dict[str, Question] = {}
        self._asked_by_phone: set[Key] = set()
        self._phoned: dict[Key, Phoned] = {}
        self._used: set[str] = set()
        self._allows: dict[Key, Kept] = {}
        self._replies: dict[Key, bytes | None] = {}
        self._commands: set[bytes] = set()
        self._reached: set[Key] = set()
        self._leases: dict[str, int] = {}

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
        self._questions[request_id] = Question(self.timeline.now, host.machine_id, challenge, credential)

    # --- phones ---

    def phone_asked(self, ask: PhoneAsk) -> None:
        self.stats.count("asked by phone")
        self.note(ask.operator_id, f"asks {ask.request_id} by phone for {ask.machine_id}")
        self._asked_by_phone.add(key_of(ask))

    def phone_answered(self, ask: PhoneAsk, reply: bytes) -> None:
        """INVARIANTS 1 and 2: what is handed over is on record."""
        on_record = self._replies.get(key_of(ask))
        if on_record != reply:
            self.breaks("I1" if on_record is None else "I2", f"{ask.request_id} got an answer that is not on record")

    def _decided_by_phone(self, key: Key, body: DecisionBody) -> None:
        if key not in self._asked_by_phone:
            self.breaks("I1", f"{key[2]} of {key[0]} is on record as asked by phone, and nobody did")
        known = not self.chips[key[0]].clock.untold
        self._phoned[key] = Phoned(self.timeline.now, body.asked.challenge, body.decision.start_by_s, known)

    # --- relays ---

    def relay_closed(self, host: ChipHost, event: Event) -> None:
        session = host.chip.session
        if session is None:
            self.breaks("I1", f"the relay of {host.machine_id} closed without a session")
            return
        self.note(host.machine_id, f"relay closes, session {session.session_id}")
        self.stats.count("unlocks")
        if isinstance(event, Scanned):
            self._closed_offline(host, session.session_id, event.credential)
            return
        kept = self._allows.get((host.machine_id, "decision", session.request_id))
        if kept is None or kept.session_id != session.session_id:
            self.breaks("I1", f"the relay of {host.machine_id} closed for {session.session_id}, not on record as allow")
            return
        self._in_time(host, event, kept)
        self._alone(host, kept)
        self._lease_begins(host, kept.lease_s)
        self.ground.look(host)

    def _closed_offline(self, host: ChipHost, session_id: str, credential: str) -> None:
        """INVARIANT 1, without a connection: a list on record names the person, and the gateway was heard lately."""
        self.stats.count("offline unlocks")
        offline, now = self.offline, self.timeline.now
        wall_s = (self.base_ms + now - WALL_OFF_MS) // 1000
        listed = any(until > wall_s for listed, until in self._listed.get(host.machine_id, ()) if listed == credential)
        heard = (
            host.accepted_at is not None and now - host.accepted_at <= offline.for_s * 1000 / host.clocks.rate + 2_000
        )
        if not listed or not heard:
            self.breaks("I1", f"{host.machine_id} let {credential} in offline; listed: {listed}, in time: {heard}")
        kept = Kept(session_id, host.machine_id, credential, "", offline.lease_s, yields=True, known_at=None)
        self.sessions[session_id] = kept
        self._lease_begins(host, offline.lease_s)

    def _in_time(self, host: ChipHost, event: Event, kept: Kept) -> None:
        machine_id = host.machine_id
        if not isinstance(event, MessageArrived) or event.retained:
            self.breaks("I5", f"the relay of {machine_id} closed by {type(event).__name__}, retained or no message")
            return
        key: Key = (machine_id, "decision", kept.request_id)
        question, phoned = self._questions.get(kept.request_id), self._phoned.get(key)
        asked = phoned or question
        if asked is None or (question is not None and question.machine_id != machine_id):
            self.breaks("I5", f"the relay of {machine_id} closed for a request that nobody made")
            return
        if asked.challenge in self._used:
            self.breaks("I5", f"the relay of {machine_id} closed by a challenge that was answered before")
        self._used.add(asked.challenge)
        waited_ms, may_wait_ms = self.timeline.now - asked.at, GIVE_UP_MS / host.clocks.rate + ROUNDING_MS
        if phoned is not None:
            self.stats.count("unlocks by phone")
            may_wait_ms = self._may_wait_ms(host, phoned)
        if waited_ms > may_wait_ms:
            self.breaks("I5", f"the relay of {machine_id} closed {waited_ms} ms after asking")
        if event.payload != self._replies.get(key):
            self.breaks("I1", f"the relay of {machine_id} closed by other bytes than those on record")

    def _may_wait_ms(self, host: ChipHost, phoned: Phoned) -> float:
        """How long a grant by phone may be on its way: by the chip's clock, as far as a gateway can know it, and as
        far as the gateway's own is right."""
        error_ms, decided_at = self.ground.limits.clock_error_ms, phoned.at - 4 * self.ground.limits.slowest_commit_ms
        if error_ms is None or not phoned.clock_known or host.clock.set_at > decided_at:
            return inf
        return (phoned.start_by_s + CLOCK_ERROR_S) * 1000 + 2 * error_ms + CLOCK_JUMP_MS + ROUNDING_MS

    def _alone(self, host: ChipHost, kept: Kept) -> None:
        """INVARIANT 4, at the relays: nobody has two closed ones, and none closes for a session that is over."""
        if kept.ended and not (kept.displaced or kept.misled) and not self._succeeded(kept):
            self.breaks(
                "I4", f"the relay of {host.machine_id} closed for {kept.session_id}, ended by {kept.end_reason}"
            )
        for other in self.chips.values():
            theirs = self.sessions.get(other.session_id or "") if other.relay == "closed" else None
            if other is host or theirs is None or theirs.operator_id != kept.operator_id:
                continue
            if not any(one.displaced or one.yields or one.misled for one in (theirs, kept)):
                self.breaks("I4", f"{kept.operator_id} has closed relays at {host.machine_id} and {other.machine_id}")

    def _succeeded(self, kept: Kept) -> bool:
        """Whether the same person has an open session at the same machine now."""
        successor = self.open_at.get(kept.machine_id)
        return successor is not None and self.sessions[successor].operator_id == kept.operator_id

    def renewed(self, host: ChipHost, lease_s: int) -> None:
        """The chip took a renewal."""
        self.stats.count("renewals taken")
        self.note(host.machine_id, f"lease begins anew, {lease_s} s")
        self._lease_begins(host, lease_s)

    def _lease_begins(self, host: ChipHost, lease_s: int) -> None:
        """INVARIANT 6, the lease: look again when it is over for certain."""
        number = self._leases[host.machine_id] = self._leases.get(host.machine_id, 0) + 1
        over_at = self.timeline.now + int(lease_s * 1000 / host.clocks.rate) + ROUNDING_MS
        self.timeline.at(over_at, self._lease_over, host, host.session_id, number, over_at)

    def _lease_over(self, host: ChipHost, session_id: str, number: int, over_at: int) -> None:
        """An arc may outlast it."""
        if host.relay == "open" or host.session_id != session_id or self._leases[host.machine_id] != number:
            return
        drained_at = over_at + int(host.longest_drain_s * 1000 / host.clocks.rate)
        if drained_at > self.timeline.now:
            self.timeline.at(drained_at, self._lease_over, host, session_id, number, over_at)
        else:
            self.breaks("I6", f"the relay of {host.machine_id} is closed for {session_id} although its lease is over")

    def relay_opened(self, host: ChipHost, event: Event) -> None:
        self.note(host.machine_id, f"relay opens by {type(event).__name__}")
        self.ground.look(host)

    def held(self, session_id: str) -> Held | None:
        """For the watch over the ground: whose session this is."""
        kept = self.sessions.get(session_id)
        if kept is None or kept.known_at is None:
            return None
        return Held(session_id, kept.operator_id, kept.displaced, kept.known_at, kept.misled and kept.ended)

    def misled(self, session_id: str) -> None:
        """The chip says that the session is over, and goes on with it."""
        if session_id in self.sessions:
            self.sessions[session_id].misled = True

    # --- gateways: what is made durable ---

    def committed(self, gateway: GatewayHost, batch: Batch, result: orders.Committed) -> None:
        self._commands.update(result.commands)
        for draft, reply in zip(batch.drafts, result.replies, strict=True):
            self._recorded(gateway, draft, reply)
        for row in batch.changed:
            if row[_CHANGED["ended_at"]] is not None:
                self._end(row[0], row[_CHANGED["end_reason"]])
            self.sessions[row[0]].lock_now |= bool(row[_CHANGED["lock_now"]])
        for row in batch.opened:
            self._open(row)
        for row in batch.changed:
            self._check_ended(row[0])
        for order in batch.orders:
            self.basis.ordered(order)
        self.evidence.committed(gateway.client_id, batch, self.sessions, self.open_at)
        for machine_id, _, first, last in batch.lost:
            self._gaps.setdefault(machine_id, []).append((first, last))
        for row in batch.chips:
            self.chips[row[0]].clock.heard(row[_CHIP_AT])
        for row in batch.lists:
            self._listed.setdefault(row[0], []).extend(_welders(row[-1]))

    def _recorded(self, gateway: GatewayHost, draft: Draft, reply: bytes | None) -> None:
        self.stats.count(f"{draft.kind}s on record")
        if self.log is not None:
            self.note(gateway.client_id, f"has {draft.kind} of {draft.machine_id} on record {draft.outcome or ''}")
        if draft.kind == "decision":
            self._decided(draft, reply)
        elif draft.kind == "event":
            body = _decode_event(draft.body)
            told = _number(body.payload)
            if told.kind == "clock_reset":
                self.chips[draft.machine_id or ""].clock.heard(told.at, told.seq)
            self.events.setdefault(draft.machine_id or "", set()).add(told.seq)
            if body.judged is not None:
                self.basis.decided(body.judged)
        elif draft.kind == "command":
            order = _decode_command(draft.body)
            self.note(draft.machine_id or "", f"is to be locked: {order.reason}")
            if order.review is not None:
                self.basis.decided(order.review)

    def _decided(self, draft: Draft, reply: bytes | None) -> None:
        key: Key = (draft.machine_id or "", "decision", draft.message_id or "")
        if key in self._replies:
            self.breaks("I2", f"a second decision on {key[2]} of {key[0]}")
            return
        body = _decode_body(draft.body)
        self.basis.decided(body)
        self._replies[key] = reply
        if body.asked.method == "phone":
            self._decided_by_phone(key, body)
        grant = draft.answer.grant if draft.answer else None
        if (draft.outcome == "allow") != (grant is not None):
            self.breaks("I1", f"{key[2]} of {key[0]} is on record as {draft.outcome}, but its answer says otherwise")
        if grant is None:
            return
        self.stats.count("allows")
        self.basis.let_in(body)
        yields = bool(body.decision.overridden)
        kept = Kept(grant.sid, grant.aud, draft.operator_id or "", grant.jti, grant.lease_s, yields)
        self._allows[key] = self.sessions[grant.sid] = kept
        if yields:
            for session_id in body.replaces:
                self.sessions[session_id].displaced = True
        self._code_is_new(key, body)

    def _code_is_new(self, key: Key, body: DecisionBody) -> None:
        question = self._questions.get(key[2])
        if question is None or kind_of(question.credential) != "code":
            return
        if question.credential in self._used:
            self.breaks("I5", f"{key[2]} of {key[0]} was let in by a code that was used before")
        self._used.add(question.credential)

    def _open(self, row: Any) -> None:
        session_id, machine_id, operator_id = row[0], row[_SESSION["machine_id"]], row[_SESSION["operator_id"]]
        if session_id not in self.sessions:
            self.breaks("I1", f"session {session_id} opened without an allow on record")
            return
        if row[_SESSION["ended_at"]] is not None:
            self._end(session_id, row[_SESSION["end_reason"]])  # opened and replaced within one batch
            return
        if machine_id in self.open_at:
            self.breaks("I4", f"two open sessions at {machine_id}")
        if operator_id is not None and operator_id in self._open_of:
            self.breaks("I4", f"two open sessions of {operator_id}")
        self.open_at[machine_id] = self._open_of[operator_id or session_id] = session_id
        self.sessions[session_id].opened_at = self.timeline.now
        self.sessions[session_id].lock_now = bool(row[_SESSION["lock_now"]])
        if self.sessions[session_id].known_at is None:
            self.sessions[session_id].known_at = self.timeline.now
            self.ground.look(self.chips[machine_id])

    def _end(self, session_id: str, reason: str | None) -> None:
        kept = self.sessions[session_id]
        if kept.ended:
            return
        kept.ended, kept.end_reason = True, reason
        self.stats.count("sessions ended")
        self.note(kept.machine_id, f"session {session_id} ended in the database: {reason}")
        for index, name in (
            (self.open_at, kept.machine_id),
            (self._open_of, kept.operator_id),
            (self._open_of, session_id),
        ):
            if index.get(name) == session_id:
                del index[name]

    def _check_ended(self, session_id: str) -> None:
        kept = self.sessions[session_id]
        host = self.chips[kept.machine_id]
        if not kept.ended or host.relay == "open" or host.session_id != session_id or self._succeeded(kept):
            return
        if kept.displaced or kept.misled:
            self.ground.look(host)
        elif kept.request_id or self.ground.limits.clock_error_ms is not None:
            # A gateway whose clock is an hour ahead takes an unlock that its chip dates rightly for long over.
            self.breaks("I4", f"session {session_id} ended by {kept.end_reason}; {kept.machine_id}'s relay is closed")

    # --- gateways: what comes and goes ---

    def gateway_received(self, gateway: GatewayHost, topic: str, payload: bytes) -> None:
        addressed = topics.chip_topic(topic)
        if addressed is None:
            return
        if self.log is not None:
            self.note(gateway.client_id, f"receives {addressed[1]} of {addressed[0]}")
        if addressed[1] == "request":
            self._reached.add((addressed[0], "decision", _request_id(payload).request_id))
        elif addressed[1] == "event":
            self.evidence.reached(gateway.client_id, addressed[0], payload)

    def gateway_published(self, gateway: GatewayHost, message: Outbound) -> None:
        machine_id, _, kind = message.topic.removeprefix(f"{topics.ROOT}/").partition("/")
        if kind == "command":
            self.stats.count("commands sent")
            self.note(gateway.client_id, f"sends a command to {machine_id}")
            if message.payload not in self._commands:
                self.breaks("I1", f"a command to {machine_id} that was not signed after a commit")
        if kind != "decision":
            return
        key: Key = (machine_id, "decision", _request_id(message.payload).request_id)
        self.note(gateway.client_id, f"answers {key[2]} of {machine_id}")
        if self._replies.get(key) != message.payload:
            self.breaks("I2" if key in self._replies else "I1", f"an answer to {key[2]} that is not the one on record")

    def gateway_down(self, until: int) -> None:
        """It has died, whenever that was ordered: a crash waits for its moment."""
        self.ground.blind(until)

    def gateway_failed(self, gateway: GatewayHost, error: BaseException) -> None:
        self.breaks("F", f"{gateway.client_id}: {type(error).__name__}: {error}")

    def broker_forgot(self) -> None:
        """What the gateways had not dealt with is lost; nobody can answer it."""
        self._reached = {key for key in self._reached if key in self._replies}

    # --- in the end ---

    def hear_out(self) -> None:
        """What chips have told by now has to be on record at rest: they go on to tell of new things meanwhile."""
        self._told = {host.machine_id: host.chip._seq for host in self.chips.values()}

    def at_rest(self, events_may_be_lost: bool) -> None:
        """When faults have stopped and time has passed since ``hear_out``."""
        unanswered = sorted(key for key in self._reached if key not in self._replies)
        if unanswered:
            self.breaks("I2", f"{unanswered[0][2]} of {unanswered[0][0]} reached a gateway and was never decided")
        for host in self.chips.values():
            self._chip_at_rest(host, events_may_be_lost)
        for session_id in self.open_at.values():
            self.breaks("L", f"session {session_id} is still open in the database")

    def _chip_at_rest(self, host: ChipHost, events_may_be_lost: bool) -> None:
        if host.relay == "closed":
            self.breaks("L", f"the relay of {host.machine_id} is still closed for {host.session_id}")
        told = self._told[host.machine_id]
        waiting = [kept.message for kept in host.chip.outbox._kept]
        kept = [message for message in waiting if isinstance(message, Usage) or message.seq <= told]
        if kept:
            self.breaks("L", f"{host.machine_id} still keeps {len(kept)} messages")
        if host.lost_count:
            return  # what its numbers tell is checked at each commit
        arrived = self.events.get(host.machine_id, set())
        missing = {number for number in range(min(arrived, default=1), told + 1) if number not in arrived}
        if missing and not events_may_be_lost:
            self.breaks("L", f"{host.machine_id} made {told} events, {sorted(missing)} are not on record")
        gaps = self._gaps.get(host.machine_id, ())
        unnoticed = [n for n in sorted(missing) if not any(first <= n and n <= (last or n) for first, last in gaps)]
        if unnoticed:
            self.breaks("L", f"events {unnoticed} of {host.machine_id} are lost, and no gap is on record")
