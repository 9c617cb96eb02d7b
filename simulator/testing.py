"""pytest fixtures for teams that build lock chips or change rules: a real gateway with a fleet to drive.

Import the fixture in your ``conftest.py`` and ask for it::

    from simulator.testing import weldgate_fleet

    __all__ = ["weldgate_fleet"]

    def test_the_default_policy_decides_as_the_files_say(weldgate_fleet):
        stand = weldgate_fleet()
        report = stand.run(machines=20, for_s=10)
        assert report.mismatches == 0

    def test_our_policy_lets_unverified_certificates_pass(weldgate_fleet):
        stand = weldgate_fleet(policy=Path("policy.toml"), registry=Path("registry"))
        assert "certificate_unverified" not in stand.run(machines=20, for_s=10).by_reason

    def test_our_chip_is_let_in(weldgate_fleet):
        stand = weldgate_fleet()
        place = stand.place()  # a machine with somebody who may weld there
        our_chip = OurChip(stand.broker_url, place.machine_id, place.serial, stand.jwks)
        assert our_chip.scan(place.badge).outcome == "allow"

``weldgate_fleet(...)`` may be called more than once in a test; everything that it started ends with the test. The
registry is a made-up county unless a folder of registry files is given. The oracle behind ``Report.mismatches``
knows the default policy alone: with a policy of your own, assert on ``by_reason``, ``allowed`` and the like.

The broker is Mosquitto where it is installed, else the small embedded one (up to a hundred chips or so);
``broker=`` takes a third one of your own that is empty and lets anybody in.
"""

import asyncio
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
import uvloop
from msgspec import Struct

from simulator.cast import choose
from simulator.fleet import Fleet, FleetOptions
from simulator.link import parse_broker
from simulator.oracle import county_day
from simulator.registry import Registry, load
from simulator.report import Report
from simulator.scenario import ScenarioName

START_WITHIN_S = 30.0
STOP_WITHIN_S = 15.0
COMMAND_WITHIN_S = 120.0
POLL_S = 0.05
LOG_SHOWN = 4000
"""Characters of a process's log that an error quotes."""

StartStand = Callable[..., "Stand"]


class StandError(Exception):
    """The stand cannot be set up; the message quotes the log of what failed."""


class Place(Struct, frozen=True):
    """A machine that no fleet plays, the serial its chip has to report, and a badge that is let in there."""

    machine_id: str
    serial: str | None
    badge: str


class Stand(Struct):
    """A running gateway: ``broker_url`` is for chips, ``http_url`` for everybody else, ``jwks`` what chips believe."""

    broker_url: str
    http_url: str
    registry: Path
    jwks: dict[str, object]

    def run(
        self, machines: int, for_s: float, *, scenario: ScenarioName = "mixed-faults", seed: int = 1, rate: float = 0
    ) -> Report:
        """Drive a fleet; call it where no event loop runs (else await ``play``)."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self.play(machines, for_s, scenario=scenario, seed=seed, rate=rate))

    async def play(
        self, machines: int, for_s: float, *, scenario: ScenarioName = "mixed-faults", seed: int = 1, rate: float = 0
    ) -> Report:
        """Drive a fleet of ``machines`` chips for ``for_s`` seconds; ``rate`` 0 is 0.075 acts a second and machine."""
        options = FleetOptions(
            broker=parse_broker(self.broker_url),
            registry=self.files(),
            jwks=self.jwks,
            machines=machines,
            seed=seed,
            for_s=for_s,
            scenario=scenario,
            rate=rate or None,
        )
        return await Fleet(options).run()

    def files(self) -> Registry:
        """The registry files, read by the simulator."""
        return load(self.registry)

    def place(self, number: int = 0) -> Place:
        """The machine of this number that has somebody fit for it; raises StandError where there are fewer."""
        registry = self.files()
        today = county_day(time.time_ns() // 1_000_000)
        cast = choose(registry, len(registry.machines), 1, today, faulty=False)
        for part in cast.parts:
            if fit := cast.fit(part.machine_id):
                if number == 0:
                    return Place(part.machine_id, part.serial, fit[0])
                number -= 1
        raise StandError(f"{self.registry}: no further machine has an operator who may weld there")


@pytest.fixture
def weldgate_fleet(tmp_path: Path) -> Iterator[StartStand]:
    """A function that starts a gateway and returns its ``Stand``: ``weldgate_fleet(registry=, policy=, broker=)``."""
    with ExitStack() as stack:
        started = 0

        def start(registry: Path | None = None, policy: Path | None = None, broker: str | None = None) -> Stand:
            nonlocal started
            started += 1
            folder = tmp_path / f"stand-{started}"
            folder.mkdir()
            return stack.enter_context(stand(folder, registry, policy, broker))

        yield start


@contextmanager
def stand(
    folder: Path, registry: Path | None = None, policy: Path | None = None, broker: str | None = None
) -> Iterator[Stand]:
    """A broker and a gateway whose files live in ``folder``; both end with the block."""
    registry = registry or _sample(folder / "registry")
    database, keys = f"sqlite:///{folder / 'gateway.db'}", folder / "keys"
    _weldgate("registry", "import", str(registry), "--database", database, "--keys", str(keys))
    _weldgate("keys", "public", "--keys", str(keys), "--out", str(folder / "jwks.json"))
    jwks = msgspec.json.decode((folder / "jwks.json").read_bytes(), type=dict[str, object])
    with ExitStack() as stack:
        broker_url = broker or stack.enter_context(_broker(folder))
        options = ["--broker", broker_url, "--database", database, "--keys", str(keys), "--instance", "stand"]
        options += ["--policy", str(policy)] if policy else []
        address = f"127.0.0.1:{_free_port()}"
        command = [sys.executable, "-m", "gateway", "serve", *options, "--http", address]
        gateway = stack.enter_context(_running(command, folder / "gateway.log"))
        _wait(gateway, folder / "gateway.log", lambda: _ready(address))
        yield Stand(broker_url, f"http://{address}", registry, jwks)


def _sample(folder: Path) -> Path:
    _weldgate("registry", "sample", "--out", str(folder))
    return folder


def _weldgate(*arguments: str) -> None:
    """Run one command of the gateway to its end."""
    command = [sys.executable, "-m", "gateway", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False)  # noqa: S603
    if done.returncode:
        raise StandError(f"weldgate {' '.join(arguments[:2])} failed: {(done.stderr or done.stdout)[-LOG_SHOWN:]}")


# --- the broker -------------------------------------------------------------------------------------------------


@contextmanager
def _broker(folder: Path) -> Iterator[str]:
    """The URL of a broker on a free port of the loopback."""
    port, log = _free_port(), folder / "broker.log"
    mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if mosquitto is not None:
        (folder / "mosquitto.conf").write_text(_mosquitto_config(port))
        command = [mosquitto, "-c", str(folder / "mosquitto.conf")]
    else:
        command = [sys.executable, "-m", "gateway.mqtt.embedded", "--port", str(port)]
    with _running(command, log) as broker:
        _wait(broker, log, lambda: _listens(port))
        yield f"mqtt://127.0.0.1:{port}"


def _mosquitto_config(port: int) -> str:
    """Its defaults lose messages: they queue 1,000 and let 20 be in flight for each client."""
    user = "root" if os.getuid() == 0 else ""
    lines = (
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "set_tcp_nodelay true",
        "max_queued_messages 100000",
        "max_inflight_messages 1000",
        f"user {user}" if user else "",
    )
    return "\n".join(lines) + "\n"


# --- processes --------------------------------------------------------------------------------------------------


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the length of the block, told to end with SIGTERM."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    give_up = time.monotonic() + START_WITHIN_S
    while not ready():
        if process.poll() is not None or time.monotonic() > give_up:
            raise StandError(f"{log.stem} did not start: {log.read_text(errors='replace')[-LOG_SHOWN:]}")
        time.sleep(POLL_S)


def _ready(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
