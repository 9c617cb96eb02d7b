"""The reference lock chip without any I/O: ``step(event, now)`` takes what happened and returns what to do.

It does everything that the protocol asks of a chip (numbers are the duties of "What a chip does"). The tables in
arms.py say which cue leads where; the methods here carry out what the arms name. Randomness and both clocks come
from outside, so the same events always give the same actions.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import UNSET, Struct, UnsetType, structs

from gateway.core.model import Event as ChipEvent
from gateway.core.model import EventKind, Relay, Request, Status
from gateway.wire import topics
from gateway.wire.codec import encode
from gateway.wire.tokens import Command, Grant
from simulator.arms import END_WORDS, LOCK_ARMS, QUESTION_ARMS, Cue, Do, Lock, Question
from simulator.grants import Expected, RefusedError, Verify
from simulator.inbox import Denied, Inbox
from simulator.offline import OfflineRight, Right
from simulator.outbox import USAGE_KEPT, Outbox
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
from simulator.timers import Timers
from simulator.unlocked import Opening, Session, begin
from simulator.watch import Watch

WILL = b'{"online": false}'
GIVE_UP_MS = 30_000
"""Duty 1: an unanswered request is given up after 30 s of the chip's own monotonic clock."""
CHALLENGE_BYTES = 16
LOCKED_FROM_AFAR = "remote"
"""The end reason for a lock command that gives none."""
WORD_CHARACTERS = 64
"""So much of a lock command's word becomes the end reason."""


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
    usage_kept: int = USAGE_KEPT


class Why(Struct, frozen=True):
    """What a cue brings along: a word for the event, seconds, what to begin."""

    word: str = ""
    seconds: int = 0
    opening: Opening | None = None


NOTHING = Why()


class Chip:
    """One lock. ``wake_ms`` is when (monotonic) it next wants a Tick; what has no underscore may be read.

    ``config`` follows the commands that change it.
    """

    def __init__(self, config: ChipConfig, verify: Verify, random: Random) -> None:
        self.config = config
        self.lock = Lock.OFF
        self.question = Question.QUIET
        self.session: Session | None = None
        self.relay: Relay = "open"
        self.online = False
        self.challenge = ""
        self.inbox = Inbox(config.machine_id, verify)
        self.outbox = Outbox(config.usage_kept)
        self._offline = OfflineRight(config.machine_id)
        self._random = random
        self._prefix = f"{random.getrandbits(48):012x}"
        self._asked = 0
        self._seq = config.first_seq - 1
        self._request: Request | None = None
        self._timers = Timers()
        self._arc: ArcStarted | None = None
        self._watch = Watch()
        self._shown_status: Status | None = None
        self._now = Moment(0, None)
        self._actions: list[Action] = []
        self._effects = self._bind_effects()
        self._handlers = self._bind_handlers()

    @property
    def wake_ms(self) -> int | None:
        return self._timers.next_ms

    def step(self, event: Event, now: Moment) -> list[Action]:
        """Everything to do because of ``event``, in order."""
        if self.lock is Lock.OFF and not isinstance(event, PowerOn):
            return []
        self._now, self._actions = now, []
        if jump_ms := self._watch.clock_jump_ms(now):
            self._offline.clock_jumped()
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
            OperatorEnds: lambda _: self._cue(Cue.FINISH, Why(END_WORDS[Cue.FINISH])),
            ArcStarted: self._on_arc_started,
            ArcStopped: self._on_arc_stopped,
            RelaySensed: lambda event: self._watch.sense(event.relay),
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
        """Ask, or where nobody can be asked go by the list."""
        right = self._right(event)
        if right is None and self.question is not Question.QUIET:
            return
        self._asked += 1
        request_id = f"{self._prefix}-{self._asked}"
        if right is not None:
            detail = {**structs.asdict(right), "method": event.method}
            opening = Opening(f"{self._prefix}-s{self._asked}", request_id, right.lease_s, detail)
            self._cue(Cue.OFFLINE_GRANT, Why(opening=opening))
        else:
            wall_ms = self._now.wall_ms
            self._request = Request(request_id, event.credential, self.challenge, event.method, wall_ms)
            self._cue(Cue.SCAN)

    def _right(self, event: Scanned) -> Right | None:
        """What the list allows now: nothing while connected, in a session, or without room for the evidence of it."""
        if self.online or (self.lock, Cue.OFFLINE_GRANT) not in LOCK_ARMS or not self.outbox.has_room:
            return None
        return self._offline.of(event.credential, self._now)

    def _on_arc_started(self, event: ArcStarted) -> None:
        self._arc = event
        self._cue(Cue.ARC_ON)

    def _on_arc_stopped(self, _: ArcStopped) -> None:
        self._arc = None
        self._cue(Cue.ARC_OFF)

    def _on_tick(self, _: Tick) -> None:
        while (due := self._timers.take_due(self._now.mono_ms)) is not None:
            self._cue(due, Why(END_WORDS.get(due, "")))

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
        try:
            heard = self.inbox.read(event, self._expected())
            if isinstance(heard, Denied):
                self._on_deny(heard)
            elif isinstance(heard, Grant):
                self._accepted(heard)
                self._cue(Cue.GRANT, Why(opening=Opening(heard.sid, heard.jti, heard.lease_s)))
            elif isinstance(heard, Command):
                self._on_command(heard)
        except RefusedError as refused:
            self._report("grant_rejected", refused.reason, refused.session_id, refused.detail)

    def _expected(self) -> Expected:
        machine_id, wall_ms, session = self.config.machine_id, self._now.wall_ms, self.session
        if session is None:
            return Expected(machine_id, self.challenge, wall_ms)
        return Expected(machine_id, self.challenge, wall_ms, session.session_id, session.last_n, session.request_id)

    def _on_deny(self, denied: Denied) -> None:
        if self._request is not None and denied.request_id == self._request.request_id:
            self._do(Show(denied.request_id, "deny", denied.codes))
            self._cue(Cue.DENIED)

    def _on_command(self, command: Command) -> None:
        if command.cmd == "offline_list":
            self._offline.take(command)
        self._accepted(command)
        self.inbox.carried_out(command.jti)
        if command.sid is not UNSET and self.session is not None:
            self.session.last_n = command.n
        self._obey(command)

    def _accepted(self, token: Grant | Command) -> None:
        """Word from the gateway. What it was addressed to is used up: a fresh challenge."""
        self._offline.heard(token.iat, self._now)
        if token.cha is not UNSET:
            self._fresh_challenge()

    def _obey(self, command: Command) -> None:
        if command.cmd == "renew":
            self._cue(Cue.RENEW, Why(seconds=command.lease_s or 0))
        elif command.cmd == "lock":
            cue = Cue.LOCK_NOW if command.when == "now" else Cue.LOCK_SOON
            word = (command.reason or LOCKED_FROM_AFAR)[:WORD_CHARACTERS]
            self._cue(cue, Why(word, command.deadline_s or 0))
        elif command.cmd == "config":
            self._configure(command.idle_lock_s, command.drain_deadline_s)

    def _configure(self, idle_lock_s: int | UnsetType, drain_s: int | UnsetType) -> None:
        """From now on and over power loss. An idle clock that runs already ends no later than the new one would."""
        config = self.config
        self.config = structs.replace(
            config, idle_lock_s=idle_lock_s or config.idle_lock_s, drain_s=drain_s or config.drain_s
        )
        if self._timers.runs(Cue.IDLE_OVER):
            self._timers.set_if_sooner(Cue.IDLE_OVER, self._in(self.config.idle_lock_s))

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
            Do.WITHDRAW: self._withdraw,
            Do.GIVE_UP: self._give_up,
        }

    def _boot(self, _: Why) -> None:
        """Duty 4. The event names the session that the mains ended."""
        self._switch("open")
        self._fresh_challenge()
        self._offline.power_came(self._now)
        interrupted, self.session = self.session, None
        self._report("boot", "power_up", interrupted.session_id if interrupted else None)

    def _die(self, _: Why) -> None:
        self._timers.stop()
        self._arc = None
        self._switch("open")
        self._watch.reset()
        self.online = False
        self.outbox.connection_lost()

    def _begin(self, why: Why) -> None:
        """Duty 2."""
        opening = why.opening
        if opening is None:
            raise AssertionError("what begins a session says which")
        self.session = begin(opening, self._now.mono_ms)
        self._set(Cue.LEASE_OVER, opening.lease_s)
        self._set(Cue.IDLE_OVER, self.config.idle_lock_s)
        self._set(Cue.USAGE_DUE, self.config.usage_every_s)
        self._switch("closed")
        offline = opening.detail is not None
        self._report("offline_unlock" if offline else "unlocked", None, opening.session_id, opening.detail)
        self._do(Show(opening.request_id, "allow", offline=offline))
        if self._arc is not None:
            self.lock = Lock.WELDING
            self._strike(why)

    def _replace(self, why: Why) -> None:
        """The relay stays closed; the books of the old session are closed before the new ones open."""
        self._close_books("replaced")
        self._begin(why)

    def _strike(self, _: Why) -> None:
        self._timers.stop(Cue.IDLE_OVER)
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
        self._timers.stop(Cue.LEASE_OVER)
        self._timers.set_if_sooner(Cue.DEADLINE, self._in(why.seconds or self.config.drain_s))
        if self.session is not None:
            self.session.ending = self.session.ending or why.word

    def _end(self, why: Why) -> None:
        """What opens the relay gives the reason; at the end of a drain it is what began it."""
        self._switch("open")
        ending = self.session.ending if self.session else ""
        self._close_books(why.word or ending)

    def _close_books(self, reason: str) -> None:
        """The last usage, then the event that ends the session."""
        self._timers.stop(Cue.LEASE_OVER, Cue.IDLE_OVER, Cue.USAGE_DUE, Cue.DEADLINE)
        if self.session is not None:
            self._keep_usage(final=True)
            self._report("locked", reason, self.session.session_id)
        self.session = None

    def _ask(self, why: Why) -> None:
        self._timers.set(Cue.GIVE_UP, self._now.mono_ms + GIVE_UP_MS)
        self._repeat(why)

    def _repeat(self, _: Why) -> None:
        self._set(Cue.REPEAT_DUE, self.config.repeat_every_s)
        if self.online and self._request is not None:
            self._do(Publish(topics.to_gateway(self.config.machine_id, "request"), encode(self._request)))

    def _forget(self, _: Why) -> None:
        self._request = None
        self._timers.stop(Cue.REPEAT_DUE, Cue.GIVE_UP)

    def _withdraw(self, why: Why) -> None:
        self._forget(why)
        self._fresh_challenge()

    def _give_up(self, why: Why) -> None:
        if self._request is not None:
            self._do(Show(self._request.request_id, None))
        self._withdraw(why)

    # --- helpers ------------------------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    def _set(self, cue: Cue, after_s: int) -> None:
        self._timers.set(cue, self._in(after_s))

    def _in(self, seconds: int) -> int:
        """So much later, by the monotonic clock in milliseconds."""
        return self._now.mono_ms + seconds * 1000

    def _fresh_challenge(self) -> None:
        self.challenge = urlsafe_b64encode(self._random.randbytes(CHALLENGE_BYTES)).rstrip(b"=").decode()

    def _switch(self, to: Relay) -> None:
        if self.relay != to:
            self._watch.switched(self._now.mono_ms)
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
            stamped = structs.replace(status, at=self._now.wall_ms)
            self._do(Publish(topics.to_gateway(config.machine_id, "status"), encode(stamped), retain=True))
        for kept in self.outbox.due():
            kind: topics.ChipTopic = "event" if isinstance(kept.message, ChipEvent) else "usage"
            self._do(Publish(topics.to_gateway(config.machine_id, kind), kept.payload, key=kept.key))

    def _watch_alarms(self) -> None:
        """Duty 5."""
        if self.lock is Lock.OFF:
            return
        stray_arc = self._arc is not None and self.lock is Lock.LOCKED
        for kind, seen in self._watch.alarms(self._now.mono_ms, self.relay, stray_arc=stray_arc):
            self._report(kind, seen)
        self._timers.stop(Cue.ALARM)
        if self._watch.next_ms is not None:
            self._timers.set(Cue.ALARM, self._watch.next_ms)
