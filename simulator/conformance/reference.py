"""The reference chip as a process of its own, driven on standard input.

``python -m simulator.conformance.reference --jwks FILE`` connects to a broker like any device, and does with the
lines of driver.py what a bench does to a device.
"""

import argparse
import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import msgspec
from msgspec import Struct

from gateway.core.model import Relay
from gateway.wire.tokens import Verifier
from simulator.chip import Chip, ChipConfig
from simulator.conformance import clocks
from simulator.conformance.driver import Answer, Do
from simulator.link import Broker, Link
from simulator.signals import (
    Action,
    ArcStarted,
    ArcStopped,
    CloseRelay,
    Event,
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

KEEP_ALIVE_EVERY_S = 1.0


class Setup(Struct, frozen=True):
    """Where the broker is, what the chip is provisioned with, and how many times faster its clocks run."""

    host: str
    port: int
    jwks: dict[str, Any]
    config: ChipConfig
    scale: float = 1.0
    has_clock: bool = True


class Reference:
    """The chip with its connection, its clocks and its relay; ``do`` is the bench's side."""

    patient = False

    def __init__(self, setup: Setup, make_chip: Callable[..., Chip] = Chip) -> None:
        self.setup = setup
        self.relay: Relay = "open"
        self._verifier = Verifier(setup.jwks)
        self.chip = make_chip(setup.config, self.verify, Random(SystemRandom().getrandbits(64)))  # noqa: S311
        self._shown: Show | None = None
        self._held_contact = False
        self._clock_off_ms = 0
        self._events: deque[Event] = deque()
        self._busy = False
        self._link: Link | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def verify(self, token: str) -> dict[str, object]:
        """The claims of a token with a good signature; raises TokenError."""
        return self._verifier.claims(token)

    # --- the bench's side ---

    async def do(self, what: Do, **details: Any) -> Answer:
        """Carry out one line; unknown ones are refused by name."""
        stimuli: dict[str, Callable[[], Event]] = {
            "scan": lambda: Scanned(details["badge"]),
            "arc_on": ArcStarted,
            "arc_off": ArcStopped,
            "tamper": Tampered,
            "finish": OperatorEnds,
        }
        if what in stimuli:
            for _ in range(details.get("times", 1)):
                self.feed(stimuli[what]())
            return Answer(True)
        others: dict[str, Callable[[], Awaitable[Answer]]] = {
            "power_on": self.power_on,
            "power_off": self.power_off,
            "sense": lambda: self._sense(details["relay"]),
            "set_clock": lambda: self._set_clock(details["unix_ms"]),
            "relay?": self._tell_relay,
            "shown?": self._tell_shown,
        }
        return await others[what]() if what in others else Answer(False, f"{what!r} is not known")

    async def power_on(self) -> Answer:
        """Mains on: the modem dials in by itself."""
        if not self._tasks:
            self.feed(PowerOn())
            setup = self.setup
            broker = Broker(setup.host, setup.port)
            slots, random = asyncio.Semaphore(1), Random()  # noqa: S311  (jitter)
            self._link = self.make_link(broker, setup.config.machine_id, self.feed, slots, random)
            self._tasks = [
                asyncio.create_task(self._link.run(), name="link"),
                asyncio.create_task(self._keep_alive(self._link), name="keep alive"),
            ]
        return Answer(True)

    def make_link(self, *parts: Any) -> Link:
        return Link(*parts)

    async def power_off(self) -> Answer:
        """Mains off; what the chip keeps in flash stays."""
        self.feed(PowerOff())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._link = [], None
        return Answer(True)

    async def _sense(self, relay: str) -> Answer:
        self._held_contact = relay != "follow"
        self.feed(RelaySensed("closed" if relay == "closed" or (relay, self.relay) == ("follow", "closed") else "open"))
        return Answer(True)

    async def _set_clock(self, unix_ms: int | None) -> Answer:
        right_ms = clocks.wall_ms(self.setup.scale)
        self._clock_off_ms = 0 if unix_ms is None else unix_ms - right_ms
        self.feed(Tick())
        return Answer(True)

    async def _tell_relay(self) -> Answer:
        return Answer(True, relay=self.relay)

    async def _tell_shown(self) -> Answer:
        shown = self._shown
        return Answer(True, shown=" ".join([shown.outcome or "no answer", *shown.codes]) if shown else "")

    # --- the chip's side ---

    def feed(self, event: Event) -> None:
        """Give the chip an event and do what it says; events that this causes queue behind."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for action in self.chip.step(self._events.popleft(), self.moment()):
                    self._perform(action)
        finally:
            self._busy = False
        self._set_timer()

    def moment(self) -> Moment:
        scale = self.setup.scale
        wall_ms = clocks.wall_ms(scale) + self._clock_off_ms if self.setup.has_clock else None
        return Moment(clocks.mono_ms(scale), wall_ms)

    def _perform(self, action: Action) -> None:
        match action:
            case Publish():
                if self._link is not None:
                    self._link.publish(action)
            case CloseRelay():
                self._switched("closed")
            case OpenRelay():
                self._switched("open")
                self._events.append(ArcStopped())
            case Show():
                self._shown = action

    def _switched(self, relay: Relay) -> None:
        """The contact follows, unless the bench holds it."""
        self.relay = relay
        if not self._held_contact:
            self._events.append(RelaySensed(relay))

    def _set_timer(self) -> None:
        """Wake the chip when it wants to be woken."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.chip.wake_ms is not None:
            after_s = max(0.0, (self.chip.wake_ms - self.moment().mono_ms) / 1000 / self.setup.scale)
            self._timer = asyncio.get_running_loop().call_later(after_s, self.feed, Tick())

    async def _keep_alive(self, link: Link) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_EVERY_S)
            link.keep_alive()

    async def close(self) -> None:
        await self.power_off()
        if self._timer is not None:
            self._timer.cancel()


async def serve(reference: Reference) -> None:
    """Driver lines from standard input, answers on standard output, until the input ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    try:
        while line := await lines.readline():
            answer = await _answered(reference, line)
            sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
            sys.stdout.flush()
    finally:
        await reference.close()


async def _answered(reference: Reference, line: bytes) -> Answer:
    try:
        details = msgspec.json.decode(line, type=dict[str, Any])
        return await reference.do(details.pop("do"), **details)
    except (msgspec.MsgspecError, KeyError) as error:
        return Answer(False, f"not a line of the driver's protocol: {error}")


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m simulator.conformance.reference", description=__doc__)
    parser.add_argument("--broker", default="127.0.0.1:18883", help="HOST:PORT, where the kit listens")
    parser.add_argument("--jwks", required=True, type=Path, help="public keys that the chip believes")
    parser.add_argument("--machine-id", default="HJ-CONFORM-1")
    parser.add_argument("--time-scale", type=float, default=1.0, help="its clocks run so many times faster")
    parser.add_argument("--idle-lock-s", type=int, default=20)
    parser.add_argument("--drain-s", type=int, default=10)
    parser.add_argument("--without-clock", action="store_true", help="no wall clock, as cheap modems have none")
    return parser


def setup_of(arguments: argparse.Namespace) -> Setup:
    host, _, port = arguments.broker.rpartition(":")
    config = ChipConfig(
        machine_id=arguments.machine_id,
        serial="REFERENCE-1",
        idle_lock_s=arguments.idle_lock_s,
        drain_s=arguments.drain_s,
    )
    jwks = msgspec.json.decode(arguments.jwks.read_bytes(), type=dict[str, Any])
    return Setup(host, int(port), jwks, config, arguments.time_scale, not arguments.without_clock)


async def _main() -> None:
    reference = Reference(setup_of(options().parse_args()))
    await serve(reference)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
