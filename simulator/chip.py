"""The reference lock chip without any I/O: ``step(event, now)`` takes what happened and returns what to do.

It does everything that the protocol asks of a chip (numbers are the duties of "What a chip does"). The tables in
arms.py say which cue leads where; the methods here carry out what the arms name. Randomness and both clocks come
from outside, so the same events always give the same actions.
"""

from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from gateway.core.model import Event as ChipEvent
from gateway.core.model import EventKind, Relay, Request, Status
from gateway.wire import topics
from gateway.wire.codec import encode
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Command, Grant
from simulator.arms import LOCK_ARMS, QUESTION_ARMS, Cue, Do, Lock, Question
from simulator.grants import Expected, RefusedError, Verify, check_command, check_grant
from simulator.meter import Meter
from simulator.outbox import Outbox
from simulator.signals import (
    Action,
    ArcStarted,
    ArcStopped,
    CloseRelay,
    Connected,
    Delivered,
    Disconnected,
    Event,
    MessageArrived,
    Moment,
    OpenRelay,
    OperatorEnds,
    PowerOff,
    PowerOn,
    Publish,
    RelaySensed,
    Scanned,
    Show,
    Tampered,
    Tick,
)
from simulator.watch import Watch

WILL = b'{"online": false}'
GIVE_UP_MS = 30_000
"""Duty 1: an unanswered request is given up after 30 s of the chip's own monotonic clock."""
CHALLENGE_BYTES = 16
COMMANDS_REMEMBERED = 32
"""Ids of commands carried out, to take a second delivery for what it is."""


class ChipConfig(Struct, frozen=True):
    """What a chip is provisioned with. Times end in their unit."""

    machine_id: str
    serial: str | None = None
    firmware: str = "weldsim-1"
    usage_every_s: int = 10
    repeat_every_s: int = 5
    idle_lock_s: int = 900
    drain_s: int = 120
    first_seq: int = 1


class Session(Struct):
    """One unlocked period. ``last_n`` is the highest command number seen, ``ending`` why it drains."""

    session_id: str
    request_id: str
    meter: Meter
    last_n: int = 0
    ending: str = ""


class Why(Struct, frozen=True):
    """What a cue brings along: a word for the event, seconds, the grant."""

    word: str = ""
    seconds: int = 0
    grant: Grant | None = None


NOTHING = Why()


class Chip:
    """One lock. ``wake_ms`` is when (monotonic) it next wants a Tick; what has no underscore may be read."""

    def __init__(self, config: ChipConfig, verify: Verify, random: Random) -> None:
        self.config = config
        self.lock = Lock.OFF
        self.question = Question.QUIET
        self.session: Session | None = None
        self.relay: Relay = "open"
        self.online = False
        self.challenge = ""
        self.outbox = Outbox()
        self.dropped = 0  # messages that could not be read
        self._verify = verify
        self._random = random
        self._prefix = f"{random.getrandbits(48):012x}"
        self._asked = 0
        self._seq = config.first_seq - 1
        self._request: Request | None = None
        self._timers: dict[Cue, int] = {}
        self._commands: deque[str] = deque(maxlen=COMMANDS_REMEMBERED)
        self._arc: ArcStarted | None = None
        self._sensed: Relay | None = None
        self._switched_ms = 0
        self._watch = Watch()
        self._shown_status: Status | None = None
        self._now = Moment(0, None)
        self._actions: list[Action] = []
        self._effects = self._bind_effects()
        self._handlers = self._bind_handlers()

    @property
    def wake_ms(self) -> int | None:
        return min(self._timers.values(), default=None)

    def step(self, event: Event, now: Moment) -> list[Action]:
        """Everything to do because of ``event``, in order."""
        if self.lock is Lock.OFF and not isinstance(event, PowerOn):
            return []
        self._now, self._actions = now, []
        if jump_ms := self._watch.clock_jump_ms(now):
            self._report("clock_reset", None, None, {"by_ms": jump_ms})
        self._handlers[type(event)](event)
        self._watch_alarms()
        self._flush()
        return self._actions

    # --- events -------------------------------------------------------------------------------------------------

    def _bind_handlers(self) -> dict[type[Event], Callable[[Any], None]]:
        return {
            PowerOn: lambda _: self._cue(Cue.POWER_ON),
            PowerOff: lambda _: self._cue(Cue.POWER_OFF),
            Connected: self._on_connected,
            Disconnected: self._on_disconnected,
            Delivered: lambda event: self.outbox.delivered(event.key),
            MessageArrived: self._on_message,
            Scanned: self._on_scanned,
            OperatorEnds: lambda _: self._cue(Cue.FINISH, Why("operator")),
            ArcStarted: self._on_arc_started,
            ArcStopped: self._on_arc_stopped,
            RelaySensed: self._on_relay_sensed,
            Tampered: lambda _: self._report("tamper"),
            Tick: self._on_tick,
        }

    def _on_connected(self, _: Connected) -> None:
        """The gateway has to know the challenge before anything that answers it: status, what was kept, the request."""
        self.online = True
        self._shown_status = None
        self._flush()
        self._cue(Cue.LINK_UP)

    def _on_disconnected(self, _: Disconnected) -> None:
        self.online = False
        self.outbox.connection_lost()

    def _on_scanned(self, event: Scanned) -> None:
        if self.question is Question.QUIET:
            self._asked += 1
            request_id = f"{self._prefix}-{self._asked}"
            wall_ms = self._now.wall_ms
            self._request = Request(request_id, event.credential, self.challenge, event.method, wall_ms)
        self._cue(Cue.SCAN)

    def _on_arc_started(self, event: ArcStarted) -> None:
        self._arc = event
        self._cue(Cue.ARC_ON)

    def _on_arc_stopped(self, _: ArcStopped) -> None:
        self._arc = None
        self._cue(Cue.ARC_OFF, Why("arc_ended"))

    def _on_relay_sensed(self, event: RelaySensed) -> None:
        self._sensed = event.relay

    def _on_tick(self, _: Tick) -> None:
        while (due := self._earliest()) is not None:
            del self._timers[due]
            self._cue(due, Why(due.name.lower()))

    def _earliest(self) -> Cue | None:
        """The timer that is due and has waited longest."""
        due = [(at, cue.value, cue) for cue, at in self._timers.items() if at <= self._now.mono_ms]
        return min(due)[2] if due else None

    def _cue(self, cue: Cue, why: Why = NOTHING) -> None:
        """Both machines hear the cue; a state without an arm for it does nothing."""
        lock_arm = LOCK_ARMS.get((self.lock, cue))
        question_arm = QUESTION_ARMS.get((self.question, cue))
        if lock_arm is not None:
            self.lock = lock_arm.to
            self._effects[lock_arm.do](why)
        if question_arm is not None:
            self.question = question_arm.to
            self._effects[question_arm.do](why)

    # --- what arrives (duty 1) ----------------------------------------------------------------------------------

    def _on_message(self, event: MessageArrived) -> None:
        if event.topic == topics.decision(self.config.machine_id):
            arrived = self._on_decision
        elif event.topic == topics.command(self.config.machine_id):
            arrived = self._on_command
        else:
            self.dropped += 1
            return
        if event.retained:
            self._reject(RefusedError("retained"), {})
            return
        try:
            arrived(event.payload)
        except (msgspec.MsgspecError, UnicodeError):
            self.dropped += 1

    def _on_decision(self, payload: bytes) -> None:
        decision = msgspec.json.decode(payload, type=DecisionMessage)
        asked = self._request is not None and decision.request_id == self._request.request_id
        if decision.outcome == "deny":
            if asked:
                codes = tuple(reason.code for reason in decision.reasons)
                self._do(Show(decision.request_id, "deny", codes))
                self._cue(Cue.DENIED)
        elif not (self.session and self.session.request_id == decision.request_id):  # else: a second delivery
            self._on_allow(decision)

    def _on_allow(self, decision: DecisionMessage) -> None:
        """An allow for a scan or, with a request id of the gateway's own, by phone: the same checks."""
        try:
            grant = check_grant(decision.grant or "", self._verify, decision.request_id, self._expected())
        except RefusedError as refused:
            self._reject(refused, {"request_id": decision.request_id})
        else:
            self._cue(Cue.GRANT, Why(grant=grant))

    def _on_command(self, payload: bytes) -> None:
        message = msgspec.json.decode(payload, type=CommandMessage)
        if message.command_id in self._commands:
            return
        try:
            command = check_command(message.command, self._verify, message.command_id, self._expected())
        except RefusedError as refused:
            self._reject(refused, {"command_id": message.command_id})
        else:
            self._commands.append(message.command_id)
            self._obey(command)

    def _obey(self, command: Command) -> None:
        if command.cha is not UNSET:
            self._fresh_challenge()
        if command.sid is not UNSET and self.session is not None:
            self.session.last_n = command.n
        if command.cmd == "renew":
            self._cue(Cue.RENEW, Why(seconds=command.lease_s or 0))
        elif command.cmd == "lock":
            cue = Cue.LOCK_NOW if command.when == "now" else Cue.LOCK_SOON
            self._cue(cue, Why(command.reason or "command", command.deadline_s or 0))

    def _expected(self) -> Expected:
        session_id, last_n = (self.session.session_id, self.session.last_n) if self.session else (None, 0)
        return Expected(self.config.machine_id, self.challenge, self._now.wall_ms, session_id, last_n)

    def _reject(self, refused: RefusedError, detail: dict[str, Any]) -> None:
        self._report("grant_rejected", refused.reason, refused.session_id, detail)

    # --- effects of the arms ------------------------------------------------------------------------------------

    def _bind_effects(self) -> dict[Do, Callable[[Why], None]]:
        return {
            Do.BOOT: self._boot,
            Do.DIE: self._die,
            Do.BEGIN: self._begin,
            Do.REPLACE: self._replace,
            Do.RENEW: lambda why: self._set(Cue.LEASE_OVER, why.seconds),
            Do.STRIKE: self._strike,
            Do.REST: self._rest,
            Do.MEASURE: self._measure,
            Do.DRAIN: self._drain,
            Do.END: self._end,
            Do.ASK: self._ask,
            Do.REPEAT: self._repeat,
            Do.FORGET: self._forget,
            Do.GIVE_UP: self._give_up,
        }

    def _boot(self, _: Why) -> None:
        """Duty 4. The event names the session that the mains ended."""
        self._switch("open")
        self._fresh_challenge()
        interrupted, self.session = self.session, None
        self._report("boot", "power_up", interrupted.session_id if interrupted else None)

    def _die(self, _: Why) -> None:
        self._timers.clear()
        self._watch.reset()
        self._arc = self._sensed = None
        self._switch("open")
        self.online = False
        self.outbox.connection_lost()

    def _begin(self, why: Why) -> None:
        """Duty 2. The grant is used up: a fresh challenge."""
        grant, now_ms = why.grant, self._now.mono_ms
        if grant is None:
            raise AssertionError("a grant cue carries its grant")
        self.session = Session(grant.sid, grant.jti, Meter(grant.sid, now_ms), grant.n)
        self._set(Cue.LEASE_OVER, grant.lease_s)
        self._set(Cue.IDLE_OVER, self.config.idle_lock_s)
        self._set(Cue.USAGE_DUE, self.config.usage_every_s)
        self._fresh_challenge()
        self._switch("closed")
        self._report("unlocked", None, grant.sid)
        self._do(Show(grant.jti, "allow"))
        if self._arc is not None:
            self.lock = Lock.WELDING
            self._strike(why)

    def _replace(self, why: Why) -> None:
        """The relay stays closed; the books of the old session are closed before the new ones open."""
        self._close_books("replaced")
        self._begin(why)

    def _strike(self, _: Why) -> None:
        self._timers.pop(Cue.IDLE_OVER, None)
        if self.session is not None and self._arc is not None:
            self.session.meter.strike(self._now.mono_ms, self._arc.current_a, self._arc.voltage_v)

    def _rest(self, _: Why) -> None:
        self._set(Cue.IDLE_OVER, self.config.idle_lock_s)
        if self.session is not None:
            self.session.meter.rest(self._now.mono_ms)

    def _measure(self, _: Why) -> None:
        self._set(Cue.USAGE_DUE, self.config.usage_every_s)
        self._keep_usage(final=False)

    def _drain(self, why: Why) -> None:
        """Duty 3: at the next moment without current, and at the deadline in any case."""
        self._timers.pop(Cue.LEASE_OVER, None)
        before = self._timers.get(Cue.DEADLINE)
        self._set(Cue.DEADLINE, why.seconds or self.config.drain_s)
        if before is not None:
            self._timers[Cue.DEADLINE] = min(before, self._timers[Cue.DEADLINE])
        if self.session is not None:
            self.session.ending = self.session.ending or why.word

    def _end(self, why: Why) -> None:
        self._switch("open")
        ending = self.session.ending if self.session else ""
        self._close_books(ending or why.word)

    def _close_books(self, reason: str) -> None:
        """The last usage, then the event that ends the session."""
        for cue in (Cue.LEASE_OVER, Cue.IDLE_OVER, Cue.USAGE_DUE, Cue.DEADLINE):
            self._timers.pop(cue, None)
        if self.session is not None:
            self._keep_usage(final=True)
            self._report("locked", reason, self.session.session_id)
        self.session = None

    def _ask(self, why: Why) -> None:
        self._timers[Cue.GIVE_UP] = self._now.mono_ms + GIVE_UP_MS
        self._repeat(why)

    def _repeat(self, _: Why) -> None:
        self._set(Cue.REPEAT_DUE, self.config.repeat_every_s)
        if self.online and self._request is not None:
            self._do(Publish(topics.to_gateway(self.config.machine_id, "request"), encode(self._request)))

    def _forget(self, _: Why) -> None:
        self._request = None
        self._timers.pop(Cue.REPEAT_DUE, None)
        self._timers.pop(Cue.GIVE_UP, None)

    def _give_up(self, why: Why) -> None:
        if self._request is not None:
            self._do(Show(self._request.request_id, None))
        self._forget(why)
        self._fresh_challenge()

    # --- helpers ------------------------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    def _set(self, cue: Cue, after_s: int) -> None:
        self._timers[cue] = self._now.mono_ms + after_s * 1000

    def _fresh_challenge(self) -> None:
        self.challenge = urlsafe_b64encode(self._random.randbytes(CHALLENGE_BYTES)).rstrip(b"=").decode()

    def _switch(self, to: Relay) -> None:
        if self.relay != to:
            self._switched_ms = self._now.mono_ms
        self.relay = to
        self._do(CloseRelay() if to == "closed" else OpenRelay())

    def _report(
        self, kind: EventKind, reason: str | None = None, session_id: str | None = None, detail: Any = None
    ) -> None:
        """Duty 6: kept until delivered. What did not fit before is told as ``detail.lost``; its numbers are missing."""
        self._seq += 1
        detail = {**(detail or {}), **({"lost": self.outbox.lost} if self.outbox.lost else {})}
        event_id = f"{self._prefix}-e{self._seq}"
        if self.outbox.add_event(ChipEvent(event_id, self._seq, kind, self._now.wall_ms, session_id, reason, detail)):
            self.outbox.lost = 0

    def _keep_usage(self, *, final: bool) -> None:
        if self.session is not None:
            now = self._now
            self.outbox.add_usage(self.session.meter.usage(now.mono_ms, now.wall_ms, self.relay, final=final))

    def _flush(self) -> None:
        """Status first where it changed, then what was kept."""
        if not self.online:
            return
        session_id = self.session.session_id if self.session else None
        config = self.config
        status = Status(True, self.challenge, config.serial, config.firmware, self.relay, session_id)
        if status != self._shown_status:
            self._shown_status = status
            stamped = msgspec.structs.replace(status, at=self._now.wall_ms)
            self._do(Publish(topics.to_gateway(config.machine_id, "status"), encode(stamped), retain=True))
        for kept in self.outbox.due():
            kind: topics.ChipTopic = "event" if isinstance(kept.message, ChipEvent) else "usage"
            self._do(Publish(topics.to_gateway(config.machine_id, kind), kept.payload, key=kept.key))

    def _watch_alarms(self) -> None:
        """Duty 5."""
        if self.lock is Lock.OFF:
            return
        wrong: dict[EventKind, bool] = {
            "arc_without_lease": self._arc is not None and self.lock is Lock.LOCKED,
            "relay_stuck": self._sensed is not None and self._sensed != self.relay,
        }
        for kind in self._watch.alarms(self._now.mono_ms, self._switched_ms, wrong):
            self._report(kind, self._sensed if kind == "relay_stuck" else "current")
        self._timers.pop(Cue.ALARM, None)
        if self._watch.next_ms is not None:
            self._timers[Cue.ALARM] = self._watch.next_ms
