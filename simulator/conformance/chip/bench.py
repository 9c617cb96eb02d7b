"""The bench that a device stands on: the words in which its duties are written down.

Seconds of a device (``_s`` of leases and waits) are those of its own clock; ``prompt_s`` and ``quiet_s`` are real.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from secrets import token_hex
from typing import Any, TypeVar

from msgspec import Struct

from gateway.core.model import Event, EventKind, Relay, Request, Status, Usage
from gateway.wire import topics
from gateway.wire.codec import encode, wire_reasons
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import ISSUER, Signer
from simulator.conformance import clocks, mqtt
from simulator.conformance.cases import About, Failed, NotRun, Observations, expect
from simulator.conformance.chip.broker import Arrived, Broker
from simulator.conformance.driver import Answer, Do, Driver, need
from simulator.conformance.keys import Keys
from simulator.conformance.packet_log import PacketLog

POLL_S = 0.02
START_BY_S = 30
"""What the protocol allows at most from ``iat`` to ``exp``."""
Claims = dict[str, Any]
T = TypeVar("T")


class Options(Struct, frozen=True):
    """What the kit has to know of the device.

    ``idle_lock_s`` and ``drain_s`` are what it was configured with; ``badge`` is any text for its scanner. ``scale`` is
    how many times faster than real its clocks run. ``prompt_s``: real seconds within which it must react;
    ``quiet_s``: real seconds of silence that prove that it does nothing; ``lease_real_s``: shortest real lease.
    ``offline_s``: for how long of its own time it is left without network where its memory for usage has to run out.
    """

    machine_id: str = "HJ-CONFORM-1"
    badge: str = "CONFORMANCE-1"
    idle_lock_s: int = 20
    drain_s: int = 10
    scale: float = 1.0
    prompt_s: float = 5.0
    quiet_s: float = 2.0
    lease_real_s: float = 3.0
    ready_s: float = 60.0
    offline_s: float = 90.0
    without: frozenset[str] = frozenset()


class Unlocked(Struct, frozen=True):
    """A session that the kit granted: ``sent`` is the decision's payload, ``at`` when it went out (monotonic s)."""

    session_id: str
    request_id: str
    challenge: str
    lease_s: int
    sent: bytes
    at: float


class Bench:
    """One device under test."""

    def __init__(self, broker: Broker, driver: Driver, keys: Keys, options: Options, log: PacketLog) -> None:
        self.broker = broker
        self.options = options
        self.keys = keys
        self._driver = driver
        self._log = log
        self._ids = count(1)
        self._run = token_hex(3)
        self._list_version = 0
        self._start = 0
        self._powered = False
        self._touched: set[Do] = set()
        self._trusted = False
        self._observations = Observations()

    # --- before each case -----------------------------------------------------------------------------------------

    async def begin(self, about: About) -> None:
        """A quiet network and a device that is on the air and locked; mains off and on where it is not."""
        self._log.begin(f"{about.id} {about.title}")
        for capability in about.needs:
            if capability in self.options.without:
                raise NotRun(f"the device is declared to be without {capability}", declared=True)
        await self._calm()
        if not self._trusted or not await self._is_idle():
            await self.power_cycle()
        self._trusted = False
        self._start = len(self.broker.messages)

    def excerpt(self, lines: int) -> tuple[str, ...]:
        return self._log.excerpt(lines)

    async def _calm(self) -> None:
        """Undo what the case before did to device and network."""
        self.broker.accepts = self.broker.acknowledges = True
        for did, undo, details in _UNDO:
            if did in self._touched:
                await self.do(undo, **details)
        self._touched.clear()

    async def _is_idle(self) -> bool:
        status = self.latest_status()
        quiet = self._powered and self.on_air and status is not None and status.session_id is None
        return quiet and await self.relay_now() == "open"

    def at_rest(self) -> None:
        """The case says that it left the device locked, with nothing unanswered: no need to switch it off and on."""
        self._trusted = True

    async def observed(self, watch: "Callable[[Bench], Awaitable[T]]") -> T:
        """What ``watch`` sees, played once however many cases rest on it; the later ones find the device at rest."""
        if watch in self._observations:
            self.at_rest()
        return await self._observations.of(watch, self)

    # --- the bench: what is done to the device --------------------------------------------------------------------

    async def do(self, what: Do, **details: Any) -> Answer:
        """One stimulus; raises NotRun where this bench does not offer it."""
        if not what.endswith("?"):
            self._log.note(f"bench: {what} {' '.join(str(value) for value in details.values())}")
            self._touched.add(what)
        return need(await self._driver.do(what, **details), what)

    async def power_off(self) -> None:
        await self.do("power_off")
        self._powered = False

    async def power_on(self) -> None:
        """Mains on; returns once the device is on the air."""
        mark = self.mark()
        await self.do("power_on")
        self._powered = True
        await self.back_on_air(mark)

    async def power_cycle(self) -> None:
        await self.power_off()
        self.broker.cut()
        await self.power_on()

    async def back_on_air(self, mark: int) -> Status:
        """Connected, subscribed to both topics, and its status told since ``mark``."""
        status = await self._find(self._statuses(mark, lambda status: status.online), self.options.ready_s)
        if status is None or not await self.broker.until(lambda: self.on_air or None, self.options.ready_s):
            wanted = "a connection, both subscriptions and a status with online: true"
            raise Failed(wanted, f"none of it complete within {self.options.ready_s:.0f} s")
        return status

    async def cut_off(self) -> None:
        """The network breaks and stays away; returns once a device has had time to notice."""
        self.broker.accepts = False
        self.broker.cut()
        await self.quiet()

    async def network_back(self) -> Status:
        """The network is there again; returns with the device's status."""
        mark = self.mark()
        self.broker.accepts = True
        return await self.back_on_air(mark)

    @property
    def on_air(self) -> bool:
        subscribed = self.broker.subscribed
        return self.broker.connected and self.decision_topic in subscribed and self.command_topic in subscribed

    async def pause(self, device_s: float) -> None:
        await asyncio.sleep(self.real(device_s))

    def real(self, device_s: float) -> float:
        """Real seconds of so many seconds of the device."""
        return device_s / self.options.scale

    @property
    def lease_s(self) -> int:
        """The shortest lease whose end can be told apart from a slow network."""
        return max(2, math.ceil(self.options.lease_real_s * self.options.scale))

    # --- the gateway: what is said to the device ------------------------------------------------------------------

    @property
    def decision_topic(self) -> str:
        return topics.decision(self.options.machine_id)

    @property
    def command_topic(self) -> str:
        return topics.command(self.options.machine_id)

    def new_id(self, kind: str) -> str:
        return f"{kind}-{self._run}-{next(self._ids):04}"

    def next_list_version(self) -> int:
        """Higher than any that the device may hold of an earlier run."""
        self._list_version = max(self._list_version + 2, self.now_s())
        return self._list_version

    def now_s(self) -> int:
        """The right time, seconds since 1970."""
        return clocks.wall_ms(self.options.scale) // 1000

    def grant(self, request_id: str, challenge: str, **changes: Any) -> Claims:
        """Claims that fit, apart from the changes."""
        now_s = self.now_s()
        fit: Claims = {
            "iss": ISSUER,
            "aud": self.options.machine_id,
            "jti": request_id,
            "sid": self.new_id("session"),
            "cha": challenge,
            "iat": now_s,
            "exp": now_s + START_BY_S,
            "lease_s": self.lease_s,
            "n": 0,
        }
        return fit | changes

    def allow(
        self, claims: Claims, *, request_id: str | None = None, token: str | None = None, retain: bool = False
    ) -> Unlocked:
        """Send an allow; with another ``request_id`` or ``token`` than the claims make."""
        token = token if token is not None else self.keys.signer.sign(claims)
        about = request_id or claims["jti"]
        message = DecisionMessage(self.now_s() * 1000, token, "allow", (), about, claims["sid"])
        payload = encode(message)
        self.say(self.decision_topic, payload, retain=retain)
        return Unlocked(claims["sid"], about, claims["cha"], claims["lease_s"], payload, time.monotonic())

    async def deny(self, request: Request, *codes: str) -> None:
        """Returns once the device has it, so that the next scan is a new question."""
        reasons = wire_reasons(codes or ("certificate_expired",))
        message = DecisionMessage(self.now_s() * 1000, None, "deny", reasons, request.request_id, None)
        await self.acknowledged(self.say(self.decision_topic, encode(message)), "decision")

    async def acknowledged(self, packet_id: int, what: str) -> None:
        """Waits for the device's PUBACK."""
        await self.sees(lambda: packet_id in self.broker.acknowledged or None, f"a PUBACK for the {what}")

    def command(self, cmd: str, /, *, signer: Signer | None = None, retain: bool = False, **claims: Any) -> bytes:
        """Send a signed command; address it with ``sid`` and ``n``, or with ``cha``. The payload that went out."""
        now_s = self.now_s()
        command_id = self.new_id("command")
        fit: Claims = {"iss": ISSUER, "aud": self.options.machine_id, "jti": command_id, "iat": now_s}
        fit |= {"exp": now_s + START_BY_S, "cmd": cmd, "n": 0, **claims}
        payload = encode(CommandMessage((signer or self.keys.signer).sign(fit), fit["jti"]))
        self.say(self.command_topic, payload, retain=retain)
        return payload

    def say(self, topic: str, payload: bytes, *, retain: bool = False, dup: bool = False) -> int:
        return self.broker.publish(mqtt.Publish(topic, payload, 1, retain, dup))

    # --- what the device says -------------------------------------------------------------------------------------

    def mark(self) -> int:
        """A place in the stream of messages, to look only at what comes after it."""
        return len(self.broker.messages)

    def since(self, mark: int | None = None) -> list[Arrived]:
        return self.broker.messages[self._start if mark is None else mark :]

    def events(self, mark: int | None = None) -> list[Event]:
        """Events in order of arrival, a second delivery of one left out."""
        found: dict[str, Event] = {}
        for message in self.since(mark):
            if isinstance(message.content, Event):
                found.setdefault(message.content.event_id, message.content)
        return list(found.values())

    def usage(self, session_id: str | None = None, mark: int | None = None) -> list[Usage]:
        said = [message.content for message in self.since(mark)]
        return [one for one in said if isinstance(one, Usage) and session_id in (None, one.session_id)]

    def requests(self, mark: int | None = None) -> list[Request]:
        return [message.content for message in self.since(mark) if isinstance(message.content, Request)]

    def latest_status(self) -> Status | None:
        return next(self._statuses_back(), None)

    def _statuses_back(self) -> Iterator[Status]:
        for message in reversed(self.broker.messages):
            if isinstance(message.content, Status):
                yield message.content

    def challenge(self) -> str:
        """The challenge of the latest status; raises Failed where there is none."""
        status = self.latest_status()
        if status is None or not status.challenge:
            raise Failed("a status with a challenge", "none so far")
        return status.challenge

    def _statuses(self, mark: int, fits: Callable[[Status], bool]) -> Callable[[], Status | None]:
        def find() -> Status | None:
            said = (message.content for message in self.since(mark))
            return next((one for one in said if isinstance(one, Status) and fits(one)), None)

        return find

    async def _find(self, find: Callable[[], T | None], within_s: float) -> T | None:
        return await self.broker.until(find, within_s)

    async def sees(self, find: Callable[[], T | None], expected: str, *, device_s: float = 0) -> T:
        """Waits for what ``find`` finds, ``device_s`` and the time for a reaction long; raises Failed."""
        found = await self._find(find, self.real(device_s) + self.options.prompt_s)
        if found is None:
            raise Failed(expected, f"not within {device_s:g} s + {self.options.prompt_s:g} s; {self._lately()}")
        return found

    def _lately(self) -> str:
        kinds = [
            f"event {one.content.kind}" if isinstance(one.content, Event) else str(one.kind) for one in self.since()
        ]
        return f"since the case began: {', '.join(kinds[-8:]) or 'nothing'}"

    async def event(
        self, kind: EventKind, mark: int | None = None, *, session_id: str | None = None, device_s: float = 0
    ) -> Event:
        """Waits for an event of this kind."""

        def find() -> Event | None:
            fits = (one for one in self.events(mark) if one.kind == kind and session_id in (None, one.session_id))
            return next(fits, None)

        about = f" of session {session_id}" if session_id else ""
        return await self.sees(find, f"an event `{kind}`{about}", device_s=device_s)

    async def status(self, expected: str, fits: Callable[[Status], bool], mark: int | None = None) -> Status:
        """Waits for a status that fits."""
        return await self.sees(self._statuses(self._start if mark is None else mark, fits), f"a status {expected}")

    async def fresh_challenge(self, old: str, mark: int) -> str:
        """Waits for a status with another challenge."""
        status = await self.status("with a fresh challenge", lambda one: one.challenge not in (None, "", old), mark)
        return status.challenge or ""

    async def scan(self, badge: str | None = None) -> Request:
        """Scan; waits for the request."""
        mark = self.mark()
        await self.do("scan", badge=badge or self.options.badge)
        return await self.sees(lambda: next(iter(self.requests(mark)), None), "a request after a scan")

    async def quiet(self) -> None:
        """Real time in which a wrong reaction would show."""
        await asyncio.sleep(self.options.quiet_s)

    # --- the relay ------------------------------------------------------------------------------------------------

    async def relay_now(self) -> Relay:
        """What the contact is, measured."""
        relay = (await self.do("relay?")).relay
        if relay is None:
            raise NotRun("the driver answered relay? without saying closed or open")
        return relay

    async def relay_becomes(self, wanted: Relay, *, device_s: float = 0) -> None:
        """Waits for the contact; a person at the bench is asked once the device itself says so."""
        give_up = time.monotonic() + self.real(device_s) + self.options.prompt_s
        if self._driver.patient:
            await self._find(lambda: self._said_relay(wanted), give_up - time.monotonic())
        while (seen := await self.relay_now()) != wanted:
            late = time.monotonic() > give_up or self._driver.patient
            expect(not late, f"the relay {wanted} within {device_s:g} s + {self.options.prompt_s:g} s", f"it is {seen}")
            await asyncio.sleep(POLL_S)

    def _said_relay(self, wanted: Relay) -> bool | None:
        status = self.latest_status()
        return True if status and status.relay == wanted else None

    async def relay_stays(self, wanted: Relay, *, device_s: float = 0) -> None:
        """For so long (and at least as long as a wrong reaction takes) the contact does not move."""
        until = time.monotonic() + (self.real(device_s) or self.options.quiet_s)
        while time.monotonic() < until:
            if not self._driver.patient:
                seen = await self.relay_now()
                expect(seen == wanted, f"the relay to stay {wanted}", f"it is {seen}")
            await asyncio.sleep(min(POLL_S, max(0.0, until - time.monotonic())))
        seen = await self.relay_now()
        expect(seen == wanted, f"the relay to stay {wanted}", f"it is {seen}")

    # --- whole steps ----------------------------------------------------------------------------------------------

    async def unlock(self, lease_s: int | None = None) -> Unlocked:
        """Scan, be let in, relay closed and said so."""
        request = await self.scan()
        claims = self.grant(request.request_id, request.challenge, lease_s=lease_s or self.lease_s)
        unlocked = self.allow(claims)
        await self.relay_becomes("closed")
        await self.event("unlocked", session_id=unlocked.session_id)
        return unlocked

    async def lock(self, unlocked: Unlocked) -> None:
        """Locked by command, so that the next case finds the device at rest."""
        self.command("lock", sid=unlocked.session_id, n=1_000_000, when="now", reason="remote")
        await self.relay_becomes("open")
        await self.event("locked", session_id=unlocked.session_id)
        self.at_rest()

    async def refused(self, mark: int) -> None:
        """The token was not believed: the relay stays open, and the device says so."""
        await self.event("grant_rejected", mark)
        await self.relay_stays("open")
        expect(not self._began(mark), "no session", "an event `unlocked`")

    def _began(self, mark: int) -> bool:
        return any(one.kind == "unlocked" for one in self.events(mark))


_UNDO: tuple[tuple[Do, Do, dict[str, Any]], ...] = (
    ("arc_on", "arc_off", {}),
    ("sense", "sense", {"relay": "follow"}),
    ("set_clock", "set_clock", {"unix_ms": None}),
)
