"""The stand that a gateway is tested on: the kit's chips, the people of its county, hooks that act on the gateway."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.wire import topics
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Command, Grant, TokenError, Verifier
from simulator.conformance import mqtt
from simulator.conformance.cases import About, Failed, NotRun, Observations, expect
from simulator.conformance.gateway import county
from simulator.conformance.gateway.device import Device, Seen
from simulator.conformance.gateway.tap import Tap
from simulator.conformance.packet_log import PacketLog
from simulator.link import Broker

T = TypeVar("T")
Act = Callable[[], Awaitable[None]]


class Options(Struct, frozen=True):
    """``answer_s``: real seconds within which a decision has to come; ``quiet_s``: silence that proves that none does.

    ``longest_s`` is how long a case may wait for a lease: with longer leases cases about them are not run.
    ``overtime_s``: how long after its lease a session of which nothing is heard may stay open, for start-by, drain
    deadline and clocks that are off.
    """

    answer_s: float = 5.0
    quiet_s: float = 2.0
    ready_s: float = 60.0
    longest_s: float = 120.0
    overtime_s: float = 240.0
    without: frozenset[str] = frozenset()


class Hooks(Struct, frozen=True):
    """What acts on the gateway from outside; None where nothing was given.

    ``stop`` ends it without a goodbye (kill), ``start`` starts it again on the same database, ``restart`` does both;
    ``import_files`` imports a folder of registry files and says whether that went well; ``make_code`` gives the present
    rolling code of an operator.
    """

    stop: Act | None = None
    start: Act | None = None
    restart: Act | None = None
    import_files: Callable[[Path], Awaitable[bool]] | None = None
    make_code: Callable[[str], Awaitable[str]] | None = None
    break_storage: Act | None = None
    mend_storage: Act | None = None
    tap: Tap | None = None


class Place(Struct, frozen=True):
    """A machine and somebody who may weld there, not used before in this run."""

    machine_id: str
    badge: str
    serial: str


class Stand:
    """One gateway under test."""

    def __init__(
        self, broker: Broker, jwks: dict[str, Any], files: county.Tables, hooks: Hooks, options: Options, log: PacketLog
    ) -> None:
        self.hooks = hooks
        self.options = options
        self.files = files
        self.verifier = Verifier(jwks)
        self._broker = broker
        self._log = log
        self._run = token_hex(4)
        self._ids = itertools.count(1)
        self._devices: list[Device] = []
        self.pairs: Iterator[int] = itertools.cycle(random.sample(range(1, county.PAIRS + 1), county.PAIRS))
        self._open: list[tuple[str, str]] = []
        self.air: Device
        self._observations = Observations()

    async def begin(self, about: About) -> None:
        """Fresh ears: everything that the gateway says on chips' and on the feed's topics."""
        self._log.begin(f"{about.id} {about.title}")
        for capability in about.needs:
            if capability in self.options.without:
                raise NotRun(f"the gateway is declared to be without {capability}", declared=True)
        await self._end_sessions()
        await self.close()
        await self._listen()

    async def _listen(self) -> None:
        self.air = await self.device()
        await self.air.subscribe(f"{topics.ROOT}/+/decision", f"{topics.ROOT}/+/command", f"{topics.ROOT}/feed/#")

    async def first_contact(self) -> None:
        """Before the first case: the gateway may still be on its way to the tap. Raises Failed if it never answers."""
        await self._listen()
        await self.until_ready()

    def excerpt(self, lines: int) -> tuple[str, ...]:
        return self._log.excerpt(lines)

    async def close(self) -> None:
        """Every connection of the kit ends."""
        for device in self._devices:
            await device.vanish()
        self._devices.clear()

    async def _end_sessions(self) -> None:
        """What a case left open would stand in the way of the next."""
        left, self._open = self._open, []
        for machine_id, session_id in left if self._devices else ():
            await self.event(machine_id, "locked", session_id, reason="operator")

    async def observed(self, watch: "Callable[[Stand], Awaitable[T]]") -> T:
        """What ``watch`` sees, played once however many cases rest on it."""
        return await self._observations.of(watch, self)

    # --- who is there ---------------------------------------------------------------------------------------------

    def place(self) -> Place:
        """The next pair; a run uses each once."""
        number = next(self.pairs)
        return Place(county.machine(number), county.welder(number), county.serial(number))

    async def device(self, client_id: str = "", *, version: int = mqtt.V311, clean: bool = True) -> Device:
        """Another connection, ended with the case."""
        client_id = client_id or f"kit-{self._run}-{next(self._ids)}"
        device = Device(self._broker, client_id, self._log, version=version, clean=clean)
        self._devices.append(device)
        return await device.connect()

    def new_id(self, kind: str) -> str:
        return f"{kind}-{self._run}-{next(self._ids):05}"

    # --- what a chip says -----------------------------------------------------------------------------------------

    def request(self, badge: str, **other: Any) -> dict[str, Any]:
        """A request's fields."""
        request_id = self.new_id("req")
        fit: dict[str, Any] = {"request_id": request_id, "credential": badge, "challenge": f"challenge-{request_id}"}
        return fit | {"method": "scan", "at": now_ms()} | other

    async def send(self, machine_id: str, kind: topics.ChipTopic, fields: dict[str, Any], **how: Any) -> bytes:
        """Publish on a chip's topic; the payload that went out."""
        payload = msgspec.json.encode(fields)
        await self.air.publish(topics.to_gateway(machine_id, kind), payload, **how)
        return payload

    async def event(self, machine_id: str, kind: str, session_id: str | None = None, **other: Any) -> dict[str, Any]:
        fields = {"event_id": self.new_id("evt"), "seq": next(self._ids), "kind": kind, "at": now_ms()}
        fields |= {"session_id": session_id, "reason": None, "detail": {}} | other
        await self.send(machine_id, "event", fields)
        return fields

    async def usage(self, machine_id: str, session_id: str, seq: int, **other: Any) -> None:
        fields = {"session_id": session_id, "seq": seq, "at": now_ms(), "relay": "closed", "current_a": 0.0}
        fields |= {"enabled_s": 10 * seq, "arc_s": 6 * seq, "idle_s": 4 * seq, "arcs": seq, "energy_wh": 1.5 * seq}
        await self.send(machine_id, "usage", fields | other)

    async def status(self, machine_id: str, serial: str, challenge: str, **other: Any) -> None:
        fields = {"online": True, "challenge": challenge, "chip": serial, "firmware": "kit", "relay": "open"}
        fields |= {"session_id": None, "at": now_ms()}
        payload = msgspec.json.encode(fields | other)
        await self.air.publish(topics.to_gateway(machine_id, "status"), payload, retain=True)

    async def forget_status(self, machine_id: str) -> None:
        """Take the retained status off the broker."""
        await self.air.publish(topics.to_gateway(machine_id, "status"), b"", retain=True)

    # --- what the gateway says ------------------------------------------------------------------------------------

    def answers(self, machine_id: str, request_id: str, device: Device | None = None) -> list[Seen]:
        said = (device or self.air).on(topics.decision(machine_id))
        return [seen for seen in said if seen.content.get("request_id") == request_id]

    async def answer(
        self, machine_id: str, request_id: str, *, number: int = 1, device: Device | None = None, within_s: float = 0
    ) -> Seen:
        """Waits for the first (or a later) decision on a request; raises Failed."""
        ears, within_s = device or self.air, within_s or self.options.answer_s

        def find() -> Seen | None:
            found = self.answers(machine_id, request_id, ears)
            return found[number - 1] if len(found) >= number else None

        found = await ears.until(find, within_s)
        if found is None:
            got = len(self.answers(machine_id, request_id, ears))
            raise Failed(f"decision {number} on {request_id}", f"{got} within {within_s:g} s")
        return found

    async def ask(self, machine_id: str, badge: str, **other: Any) -> DecisionMessage:
        """Scan and wait for the decision, which has to be by the protocol."""
        fields = self.request(badge, **other)
        await self.send(machine_id, "request", fields)
        seen = await self.answer(machine_id, str(fields["request_id"]))
        return self.read(machine_id, seen)

    def read(self, machine_id: str, seen: Seen) -> DecisionMessage:
        """The decision as a struct; an allow's session is ended with the case."""
        try:
            decision = msgspec.json.decode(seen.payload, type=DecisionMessage)
        except msgspec.MsgspecError as error:
            raise Failed("a decision by the protocol", f"{error}: {seen.payload.decode('utf-8', 'replace')}") from None
        if decision.session_id is not None:
            self._open.append((machine_id, decision.session_id))
        return decision

    async def let_in(self, place: Place, **other: Any) -> DecisionMessage:
        """The pair's welder scans and is let in."""
        decision = await self.ask(place.machine_id, place.badge, **other)
        codes = [reason.code for reason in decision.reasons]
        expect(decision.outcome == "allow", f"allow for {place.badge} at {place.machine_id}", f"deny {codes}")
        return decision

    async def unlocked(self, place: Place) -> tuple[str, Grant]:
        """Let in and reported as unlocked: the session and its grant."""
        decision = await self.let_in(place)
        grant = self.grant(decision)
        await self.event(place.machine_id, "unlocked", grant.sid)
        return grant.sid, grant

    def grant(self, decision: DecisionMessage) -> Grant:
        """The grant's claims after its signature was checked; raises Failed."""
        return self._claims(decision.grant or "", Grant)

    def _claims(self, token: str, kind: type[T]) -> T:
        try:
            return msgspec.convert(self.verifier.claims(token), kind)
        except TokenError as error:
            raise Failed("a token signed with a key of --jwks", str(error)) from None
        except msgspec.ValidationError as error:
            raise Failed("claims by the protocol", str(error)) from None

    def commands(self, machine_id: str, name: str = "") -> list[Command]:
        """Every command so far, signature checked, in order."""
        return [command for _, command in self.timed_commands(machine_id, name)]

    def timed_commands(self, machine_id: str, name: str = "") -> list[tuple[float, Command]]:
        """The same with when each arrived, by the kit's monotonic clock in seconds."""
        said = self.air.on(topics.command(machine_id))
        found = [(one.at, msgspec.json.decode(one.payload, type=CommandMessage).command) for one in said]
        checked = [(at, self._claims(token, Command)) for at, token in found]
        return [(at, command) for at, command in checked if name in ("", command.cmd)]

    async def command(self, machine_id: str, name: str, *, number: int = 1, within_s: float = 0) -> Command:
        """Waits for the first (or a later) command of this name."""

        def find() -> Command | None:
            found = self.commands(machine_id, name)
            return found[number - 1] if len(found) >= number else None

        within_s = within_s or self.options.answer_s
        found = await self.air.until(find, within_s)
        if found is None:
            raise Failed(f"command {number} `{name}` to {machine_id}", f"{len(self.commands(machine_id, name))} so far")
        return found

    async def any_command(self, machine_id: str, names: Sequence[str], within_s: float) -> str | None:
        """The name of whichever comes first; None where none does."""
        return await self.air.until(
            lambda: next((name for name in names if self.commands(machine_id, name)), None), within_s
        )

    async def feed(self, kind: str, good: Callable[[dict[str, Any]], bool], expected: str) -> dict[str, Any]:
        """Waits for a message of the feed."""
        topic = f"{topics.ROOT}/feed/{county.DIVISION}/{kind}"

        def find() -> dict[str, Any] | None:
            return next((seen.content for seen in self.air.on(topic) if good(seen.content)), None)

        found = await self.air.until(find, self.options.answer_s)
        if found is None:
            raise Failed(f"{expected} on {topic}", f"{len(self.air.on(topic))} other messages")
        return found

    async def quiet(self) -> None:
        """Real time in which a wrong answer would come."""
        await asyncio.sleep(self.options.quiet_s)

    # --- what is done to the gateway ------------------------------------------------------------------------------

    def need(self, hook: T | None, option: str) -> T:
        """The hook; raises NotRun where it was not given."""
        if hook is None:
            raise NotRun(f"needs {option}")
        return hook

    async def stop(self) -> None:
        await self.need(self.hooks.stop, "--stop-command")()
        self._log.note("gateway stopped")

    async def start(self) -> None:
        """Started; returns once it answers again."""
        await self.need(self.hooks.start, "--start-command")()
        self._log.note("gateway started")
        await self.until_ready()

    async def restart(self) -> None:
        """Killed and started; returns once it answers again."""
        if self.hooks.restart is None:
            self.may_restart()
            await self.stop()
            await self.start()
            return
        await self.hooks.restart()
        self._log.note("gateway restarted")
        await self.until_ready()

    def may_restart(self) -> None:
        """Before anything is asked: there has to be a way."""
        if self.hooks.restart is None and (self.hooks.stop is None or self.hooks.start is None):
            raise NotRun("needs --restart-command, or --stop-command and --start-command")

    def may_stop(self) -> None:
        """Before anything is stopped: both commands have to be there."""
        self.need(self.hooks.stop, "--stop-command")
        self.need(self.hooks.start, "--start-command")

    async def until_ready(self) -> None:
        """Somebody who is nobody asks until there is an answer."""
        deadline = time.monotonic() + self.options.ready_s
        while time.monotonic() < deadline:
            fields = self.request("CKP-NOBODY")
            await self.send("CK-NOWHERE", "request", fields)
            if await self.air.until(lambda: self.answers("CK-NOWHERE", fields["request_id"]) or None, 1.0):  # noqa: B023
                return
        raise Failed(f"a gateway that answers within {self.options.ready_s:g} s", "no answer")

    async def import_tables(self, made: county.Tables) -> bool:
        """Import the county with these rows; whether the gateway took it."""
        import_files = self.need(self.hooks.import_files, "--import-command with {folder} in it")
        with TemporaryDirectory(prefix="weldgate-kit-") as folder:
            done = await import_files(county.write(Path(folder), made))
        self._log.note(f"registry imported: {'taken' if done else 'refused'}")
        return done


def now_ms() -> int:
    return time.time_ns() // 1_000_000
