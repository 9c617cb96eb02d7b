"""One reference chip with its modem, its two clocks, its mains and its relay, on the virtual clock."""

from base64 import urlsafe_b64decode
from math import ceil
from random import Random
from typing import Protocol

import msgspec
from msgspec import Struct, field

from gateway.core.model import EventKind, Relay
from gateway.wire import topics
from gateway.wire.messages import CommandMessage
from gateway.wire.tokens import Command
from simulator.arms import Lock, Question
from simulator.chip import WILL, Chip, ChipConfig
from simulator.grants import Verify
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
    Scanned,
    Show,
    Tampered,
    Tick,
)
from tests.simulation.broker import Broker
from tests.simulation.network import Connection, Line, Network
from tests.simulation.timeline import Timeline

LONGEST_BACKOFF_MS = 10_000
BELIEVED_MS = 70_000
"""A word that its chip dates no further ahead may be believed."""
LATELY_MS = 2_400_000
"""As long as a command may wait for a chip that is cut off, and what it began may go on."""
STATUS_KEPT = 4
"""Messages outside the chip's own outbox that a modem keeps to send again."""


class Witness(Protocol):
    """Who watches what a chip does, and judges."""

    def relay_closed(self, host: "ChipHost", event: Event) -> None: ...
    def relay_opened(self, host: "ChipHost", event: Event) -> None: ...
    def renewed(self, host: "ChipHost", lease_s: int) -> None: ...
    def chip_asked(self, host: "ChipHost", request_id: str, challenge: str, credential: str) -> None: ...
    def misled(self, session_id: str) -> None: ...
    def note(self, who: str, what: str) -> None: ...


class Lately:
    """A number, and what it was lately: what began or was sent by then may go on."""

    def __init__(self, value: int) -> None:
        self._value = value
        self._before: list[tuple[int, int]] = []

    def set(self, value: int, now: int) -> None:
        if value != self._value:
            self._before.append((now + LATELY_MS, self._value))
            self._value = value

    def most(self, now: int) -> int:
        """The largest of late."""
        self._before = [before for before in self._before if before[0] >= now]
        return max([self._value, *[value for _, value in self._before]])


class TellsTime(Struct):
    """Whether a gateway can know of the chip's clock as it is: since when, and which times and events would tell."""

    set_at: int = -1
    untold: bool = False
    times: set[int] = field(default_factory=set)
    after_seq: int = 0

    def heard(self, at: int | None, seq: int | None = None) -> None:
        """A status, or an event of its clock, is on record."""
        if at in self.times if seq is None else seq > self.after_seq:
            self.untold = False


class ChipClocks(Struct):
    """``rate``: ticks of the monotonic clock in a true millisecond. ``wall_off_ms`` is None without a wall clock."""

    base_ms: int
    rate: float = 1.0
    wall_off_ms: int | None = 0
    starts_anew: bool = True
    booted_at: int = 0

    def moment(self, now: int) -> Moment:
        wall = None if self.wall_off_ms is None else self.base_ms + now + self.wall_off_ms
        return Moment(int((now - self.booted_at) * self.rate), wall)

    def true(self, mono_ms: int) -> int:
        """The first true millisecond at which the monotonic clock has come that far."""
        return self.booted_at + ceil(mono_ms / self.rate)


class World(Struct):
    """What a host needs of its surroundings."""

    timeline: Timeline
    network: Network
    broker: Broker
    witness: Witness


class ChipHost:
    """Carries out what the chip says. ``visitor`` is told what the chip shows after a scan."""

    def __init__(
        self, config: ChipConfig, verify: Verify, clocks: ChipClocks, line: Line, world: World, random: Random
    ) -> None:
        self.machine_id = config.machine_id
        self.client_id = f"chip-{config.machine_id}"
        self.chip = Chip(config, verify, random)
        self.clocks = clocks
        self.line = line
        self.powered = False
        self.modem_resends = random.random() < 0.3
        self.own_drain_s, self.policy_drain_s = Lately(config.drain_s), Lately(config.drain_s)
        """How long an arc may outlast a lease by what the chip goes by, and a lock by what the policy says."""
        self.lost_count = False
        self.clock = TellsTime()
        self.visitor: Visitor | None = None
        self.arc = False
        self.accepted_at: int | None = None
        """When the chip last accepted a signed token, as far as can be seen from outside."""
        self.closed_since: int | None = None
        self.closed_ms = 0
        self._world = world
        self._random = random
        self._connection: Connection | None = None
        self._mid = 0
        self._keys: dict[int, int] = {}
        self._kept: dict[int, Publish] = {}
        self._armed: int | None = None
        self._backoff = 500
        self._dialling = False
        self._will = (topics.to_gateway(config.machine_id, "status"), WILL, True)
        self._topics = (topics.decision(config.machine_id), topics.command(config.machine_id))

    @property
    def longest_drain_s(self) -> int:
        """The longest that an arc which goes on now may outlast a lease or a lock."""
        now = self._world.timeline.now
        return max(self.own_drain_s.most(now), self.policy_drain_s.most(now))

    @property
    def relay(self) -> Relay:
        return self.chip.relay

    @property
    def session_id(self) -> str | None:
        return self.chip.session.session_id if self.chip.session else None

    # --- mains and people ---

    def power(self, on: bool) -> None:
        if on == self.powered:
            return
        self.powered = on
        now = self._world.timeline.now
        if on:
            if self.clocks.starts_anew:
                self.clocks.booted_at = now
            self.step(PowerOn())
            self._dial()
            return
        self.step(PowerOff())
        self.arc = False
        self._keys.clear()
        self._kept.clear()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._world.network.vanish(connection)
        if self.visitor is not None:
            self.visitor.dark(self)

    def scan(self, credential: str, visitor: "Visitor") -> None:
        """A code is held before the scanner; one question at a time."""
        before = self.chip._request
        if self.chip.question is not Question.QUIET and self.chip.online:
            return
        self.visitor = visitor
        challenge = self.chip.challenge
        self.step(Scanned(credential))
        if (request := self.chip._request) is not None and request is not before:
            self._world.witness.chip_asked(self, request.request_id, challenge, credential)

    def strike(self) -> bool:
        """Try to weld; without the relay there is no current."""
        if self.relay != "closed" or not self.powered or self.arc:
            return False
        self.arc = True
        self.step(ArcStarted())
        return True

    def rest(self) -> None:
        if self.arc:
            self.arc = False
            self.step(ArcStopped())

    def finish(self) -> None:
        self.step(OperatorEnds())

    def open_housing(self) -> None:
        self.step(Tampered())

    # --- the chip ---

    def step(self, event: Event) -> None:
        """One step of the chip and what it leads to."""
        self._carry_out(self.chip.step(event, self.clocks.moment(self._world.timeline.now)), event)

    def say_falsely(self, kind: EventKind, ahead_ms: int = 0) -> None:
        """The chip reports what is not so: that its session is over, or that it just booted, with a wrong date."""
        chip, now = self.chip, self.clocks.moment(self._world.timeline.now)
        if not self.powered:
            return
        wall_ms = None if now.wall_ms is None else now.wall_ms + ahead_ms
        dated_right = wall_ms is not None and wall_ms <= self.clocks.base_ms + self._world.timeline.now + BELIEVED_MS
        if self.session_id is not None and (kind == "locked" or dated_right):
            self._world.witness.misled(self.session_id)
        chip._now, chip._actions = Moment(now.mono_ms, wall_ms), []
        chip._report(kind, "operator" if kind == "locked" else None, self.session_id if kind == "locked" else None)
        chip._flush()
        self._carry_out(chip._actions, Tick())

    def set_clock(self, off_ms: int) -> None:
        """Its wall clock is set; what it says from now on tells."""
        self.clocks.wall_off_ms = off_ms
        self.clock = TellsTime(self._world.timeline.now, True, set(), self.chip._seq)

    def lose_count(self) -> None:
        """It forgets how many events it made, and which; it begins with a low number and other ids."""
        self.lost_count = True
        self.chip._seq = min(self.chip._seq, self._random.randrange(10))
        self.chip._prefix = f"{self._random.getrandbits(48):012x}"

    def _carry_out(self, actions: list[Action], event: Event) -> None:
        world = self._world
        for action in actions:
            if isinstance(action, Publish):
                self._publish(action)
            elif isinstance(action, CloseRelay):
                self._relay_closed(event)
            elif isinstance(action, OpenRelay):
                self._relay_opened(event)
            elif isinstance(action, Show) and self.visitor is not None:
                visitor, self.visitor = self.visitor, None
                world.timeline.after(300, visitor.shown, self, action.outcome, action.codes)
        self._arm()
        if self.arc and self.relay == "open":
            self.rest()

    def _relay_closed(self, event: Event) -> None:
        if self.closed_since is None:
            self.closed_since = self._world.timeline.now
        self._world.witness.relay_closed(self, event)

    def _relay_opened(self, event: Event) -> None:
        if self.closed_since is not None:
            self.closed_ms += self._world.timeline.now - self.closed_since
            self.closed_since = None
            self._world.witness.relay_opened(self, event)

    def _arm(self) -> None:
        wake_ms = self.chip.wake_ms
        if wake_ms is None:
            return
        when = self.clocks.true(wake_ms)
        if self._armed is None or when < self._armed:
            self._armed = when
            self._world.timeline.at(when, self._tick, when)

    def _tick(self, armed: int) -> None:
        if self._armed != armed:
            return
        self._armed = None
        wake_ms = self.chip.wake_ms
        if wake_ms is None or not self.powered:
            return
        if self.clocks.moment(self._world.timeline.now).mono_ms >= wake_ms:
            self.step(Tick())
        else:
            self._arm()

    # --- the modem ---

    def _publish(self, message: Publish) -> None:
        connection = self._connection
        if connection is None:
            return
        self._mid += 1
        if self.clock.untold and message.retain:
            self.clock.times.add(_told(message.payload).at or 0)
        if message.key is not None:
            self._keys[self._mid] = message.key
        elif self.modem_resends:
            self._kept[self._mid] = message
            while len(self._kept) > STATUS_KEPT:
                del self._kept[next(iter(self._kept))]
        connection.up(self._world.broker.from_client, self._mid, message.topic, message.payload, message.retain)

    def _dial(self) -> None:
        self._dialling = False
        if self.powered and self._connection is None:
            self._world.broker.dial(self, self._topics, self._will)

    def _dial_later(self) -> None:
        if not self._dialling:
            self._dialling = True
            self._world.timeline.after(int(self._backoff * (0.5 + self._random.random())), self._dial)
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_MS)

    def on_connected(self, connection: Connection, *, resumed: bool) -> None:
        if not self.powered:
            self._world.network.vanish(connection)
            return
        self._connection = connection
        self._backoff = 500
        self._keys.clear()
        for mid, message in self._kept.items():
            connection.up(self._world.broker.from_client, mid, message.topic, message.payload, message.retain)
        self._world.witness.note(self.machine_id, "connected")
        self.step(Connected())

    def on_publish(self, connection: Connection, mid: int, topic: str, payload: bytes, retained: bool) -> None:
        if connection is not self._connection:
            return
        connection.up(self._world.broker.acknowledged, mid)
        chip = self.chip
        before = chip.challenge, chip.session.last_n if chip.session else 0
        self.step(MessageArrived(topic, payload, retained))
        self.own_drain_s.set(chip.config.drain_s, self._world.timeline.now)
        if before == (chip.challenge, chip.session.last_n if chip.session else 0):
            return
        self.accepted_at = self._world.timeline.now
        if topic == self._topics[1] and chip.lock in (Lock.READY, Lock.WELDING):
            command = _claims(payload)
            if command.cmd == "renew":
                self._world.witness.renewed(self, command.lease_s or 0)

    def on_acknowledged(self, connection: Connection, mid: int) -> None:
        if connection is self._connection:
            self._kept.pop(mid, None)
            if (key := self._keys.pop(mid, None)) is not None:
                self.step(Delivered(key))

    def on_closed(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._world.witness.note(self.machine_id, "connection lost")
            self.step(Disconnected())
        if self.powered and self._connection is None:
            self._dial_later()

    def on_unreachable(self) -> None:
        if self.powered and self._connection is None:
            self._dial_later()


class _At(Struct):
    at: int | None


_told = msgspec.json.Decoder(_At).decode


def _claims(payload: bytes) -> Command:
    """What a command that the chip believed says."""
    token = msgspec.json.decode(payload, type=CommandMessage).command
    claims = token.split(".")[1]
    return msgspec.json.decode(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)), type=Command)


class Visitor(Protocol):
    """Who scanned and waits for the answer."""

    def shown(self, host: ChipHost, outcome: str | None, codes: tuple[str, ...]) -> None: ...
    def dark(self, host: ChipHost) -> None: ...
