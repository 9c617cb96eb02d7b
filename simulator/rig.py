"""One chip on its test bench: the reference chip, its link, its two clocks and the faults that are put in between."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from random import Random

import msgspec
from msgspec import Struct

from gateway.core.model import Event as ChipEvent
from gateway.core.model import Request
from gateway.wire import topics
from gateway.wire.codec import decode
from simulator.arms import Lock, Question
from simulator.audit import Audit, Rule, Sent
from simulator.cast import Part
from simulator.chip import Chip
from simulator.link import Link
from simulator.signals import (
    Action,
    ArcStarted,
    ArcStopped,
    CloseRelay,
    Delivered,
    Disconnected,
    Event,
    MessageArrived,
    Moment,
    OpenRelay,
    PowerOff,
    Publish,
    RelaySensed,
    Scanned,
    Show,
)

REMEMBERED = 16
"""Recorded requests of a machine that may be played back."""


class Mischief(Struct):
    """Faults between chip and world: ``clock_off_ms`` on the wall clock, answers to lose, a request to send twice."""

    clock_off_ms: int = 0
    lose_answers: int = 0
    send_twice: bool = False


class Rig:
    """Feeds the chip and carries out what it says; everything passes the audit on its way."""

    def __init__(self, part: Part, chip: Chip, audit: Audit) -> None:
        self.part = part
        self.chip = chip
        self.mischief = Mischief()
        self.label = "work"
        self.worker = ""
        self.asked_once: deque[tuple[Request, bytes]] = deque(maxlen=REMEMBERED)
        self._audit = audit
        self._link: Link | None = None
        self._events: deque[Event] = deque()
        self._busy = False
        self._shown: asyncio.Future[Show] | None = None
        self._in_flight: dict[int, ChipEvent] = {}
        self._published: set[str] = set()
        self._raw = 0

    @property
    def machine_id(self) -> str:
        return self.part.machine_id

    @property
    def link(self) -> Link:
        """The connection; there from the moment the fleet wired the rig."""
        if self._link is None:
            raise RuntimeError(f"{self.machine_id}: not wired")
        return self._link

    def wire(self, make_link: Callable[[Callable[[Event], None]], Link]) -> None:
        """Put the rig on the air."""
        self._link = make_link(self.feed)

    def feed(self, event: Event) -> None:
        """Give the chip an event and do what it says; events that this causes queue behind."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                self._one(self._events.popleft())
        finally:
            self._busy = False

    def unlocked_by(self, worker: str) -> bool:
        """Whether ``worker``, the last one let in here, still has the machine."""
        return self.chip.session is not None and self.worker == worker

    async def scan(self, credential: str, label: str, within_s: float) -> Show | None:
        """Scan a code; what the chip shows, or None if it shows nothing in time or still waits for another answer."""
        if self.chip.question is Question.ASKING:
            return None
        self.label = label
        self._shown = asyncio.get_running_loop().create_future()
        self.feed(Scanned(credential))
        try:
            async with asyncio.timeout(within_s):
                return await self._shown
        except TimeoutError:
            return None
        finally:
            self._shown = None

    def send_raw(self, sent: Sent, payload: bytes, *, retain: bool = False) -> None:
        """Publish a request that the chip did not make."""
        self._audit.asked(sent)
        self.link.publish(Publish(topics.to_gateway(self.machine_id, "request"), payload, retain))

    def raw_request(
        self, credential: str, label: str, rule: Rule, request_id: str | None = None
    ) -> tuple[Request, Sent]:
        """A request beside the chip, for its challenge but never its question."""
        self._raw += 1
        request_id = request_id or f"{self.chip.challenge[:16]}-x{self._raw}"
        request = Request(request_id, credential, self.chip.challenge, "scan", self.moment().wall_ms)
        return request, self._sent(request, label, rule, by_chip=False)

    def moment(self) -> Moment:
        """The chip's clocks now."""
        wall_ms = time.time_ns() // 1_000_000 + self.mischief.clock_off_ms
        return Moment(time.monotonic_ns() // 1_000_000, wall_ms if self.part.has_clock else None)

    # --- what happens to the chip -------------------------------------------------------------------------------

    def _one(self, event: Event) -> None:
        if isinstance(event, MessageArrived) and self._intercepted(event):
            return
        if isinstance(event, Disconnected):
            self._audit.excuse(self.machine_id, raw_only=True)
        elif isinstance(event, PowerOff):
            self._audit.excuse(self.machine_id, raw_only=False)
            self._show(Show("", None))
        elif isinstance(event, Delivered):
            self._delivered(event)
        for action in self.chip.step(event, self.moment()):
            self._perform(action)

    def _intercepted(self, event: MessageArrived) -> bool:
        """The audit sees every message; a lost answer goes no further."""
        self._audit.arrived(self.machine_id, event.topic, event.payload, retained=event.retained, now_ms=monotonic_ms())
        if self.mischief.lose_answers and event.topic == topics.decision(self.machine_id):
            self.mischief.lose_answers -= 1
            return True
        return False

    def _delivered(self, event: Delivered) -> None:
        reported = self._in_flight.pop(event.key, None)
        if reported is not None:
            self._audit.delivered(self.machine_id, reported, monotonic_ms())

    # --- what the chip does -------------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        match action:
            case Publish():
                self._publish(action)
            case CloseRelay():
                self._events.append(RelaySensed("closed"))
            case OpenRelay():
                self._events += (RelaySensed("open"), ArcStopped())
            case Show():
                self._show(action)

    def _show(self, shown: Show) -> None:
        if self._shown is not None and not self._shown.done():
            self._shown.set_result(shown)

    def _publish(self, message: Publish) -> None:
        found = topics.chip_topic(message.topic)
        kind = found[1] if found else None
        if kind == "request":
            self._request(message)
        elif kind == "event" and message.key is not None:
            self._event(message.payload, message.key)
        elif kind == "usage":
            self._audit.kept["usage"] += 1
        self.link.publish(message)

    def _request(self, message: Publish) -> None:
        request = msgspec.json.decode(message.payload, type=Request)
        if self._audit.asked(self._sent(request, self.label, "oracle", by_chip=True)):
            self.asked_once.append((request, message.payload))
            if self.mischief.send_twice:
                self.mischief.send_twice = False
                self.link.publish(message)

    def _event(self, payload: bytes, key: int) -> None:
        event = decode("event", payload)
        if not isinstance(event, ChipEvent):
            raise TypeError("the chip publishes events on the event topic")
        self._in_flight[key] = event
        if event.event_id not in self._published:
            self._published.add(event.event_id)
            self._audit.reported(self.machine_id, event, monotonic_ms())

    def _sent(self, request: Request, label: str, rule: Rule, *, by_chip: bool) -> Sent:
        return Sent(
            request.request_id,
            self.machine_id,
            request.credential,
            request.challenge,
            label,
            self.part.serial,
            request.at,
            monotonic_ms(),
            time.time_ns() // 1_000_000,
            rule,
            by_chip,
        )

    # --- the machine behind the relay ---------------------------------------------------------------------------

    def strike(self, random: Random) -> None:
        """The welder strikes an arc, if the machine runs."""
        if self.chip.lock in (Lock.READY, Lock.WELDING):
            self.feed(ArcStarted(random.uniform(90, 240), random.uniform(20, 28)))

    def rest(self) -> None:
        """The welder takes the torch away."""
        self.feed(ArcStopped())


def monotonic_ms() -> float:
    return time.monotonic_ns() / 1e6
