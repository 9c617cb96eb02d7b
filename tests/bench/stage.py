"""What is measured: responders as processes, each behind a Mosquitto of its own."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.devices import Device, from_registry, made_up
from tests.bench.echo import READY
from tests.bench.load import Check, allowed, answered
from tests.support.brokers import Limits, Mosquitto, free_port

READY_WITHIN_S = 300.0
"""A province on a laptop takes its time."""
SEED = 1
_POLL_S = 0.01
_STOP_S = 20.0


@dataclass(frozen=True)
class Responder:
    """A running responder. ``ready_s`` is the time from its start until it took work."""

    name: str
    pid: int
    broker: Mosquitto
    devices: list[Device]
    check: Check
    ready_s: float


def gateway_is_there() -> bool:
    """Whether this tree can serve."""
    return subprocess.run(_gateway("serve", "--help"), capture_output=True, check=False).returncode == 0


@contextmanager
def echo(devices: int) -> Iterator[Responder]:
    with _broker() as broker:
        command = [sys.executable, "-m", "tests.bench.echo", "--port", str(broker.port)]
        with _process(command, stdout=subprocess.PIPE) as (process, started):
            assert process.stdout is not None
            if process.stdout.readline().decode().strip() != READY:
                raise RuntimeError("the echo did not start")
            took = time.monotonic() - started
            yield Responder("echo", process.pid, broker, made_up(devices), answered, took)


@contextmanager
def gateway(profile: str, folder: Path, devices: int, program: str | None = None) -> Iterator[Responder]:
    """The gateway over a sample registry, with its database in ``folder`` (on a real disk: each decision is synced).
    ``program`` runs in its place, with its arguments."""
    registry, keys, database = folder / profile, folder / "keys", f"sqlite:///{folder / 'bench.db'}"
    store = ("--database", database, "--keys", str(keys))
    _run(_gateway("registry", "sample", "--profile", profile, "--seed", str(SEED), "--out", str(registry)))
    _run(_gateway("registry", "import", str(registry), *store))
    with _broker() as broker:
        http_port = free_port()
        command = _gateway("serve", "--broker", broker.url, "--http", f"127.0.0.1:{http_port}", *store)
        if program is not None:
            command[1:3] = ["-c", program]
        with (
            (folder / "gateway.log").open("wb") as log,
            _process([*command, "--instance", "bench"], stdout=log) as (process, started),
        ):
            _wait_until_ready(http_port, process, folder / "gateway.log")
            took = time.monotonic() - started
            yield Responder("gateway", process.pid, broker, from_registry(registry, devices), allowed, took)


@contextmanager
def all_responders(profile: str, folder: Path, devices: int) -> Iterator[list[Responder]]:
    """The gateway, where this tree has one, and the echo."""
    with ExitStack() as stack:
        running = [stack.enter_context(gateway(profile, folder, devices))] if gateway_is_there() else []
        running.append(stack.enter_context(echo(devices)))
        yield running


@contextmanager
def _broker() -> Iterator[Mosquitto]:
    broker = Mosquitto(Limits()).start()
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def _process(command: list[str], stdout: object) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A process with the moment of its start; ended on the way out."""
    started = time.monotonic()
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.STDOUT) as process:  # type: ignore[call-overload]
        try:
            yield process, started
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        if _status(port) == http.HTTPStatus.OK:
            return
        time.sleep(_POLL_S)
    raise RuntimeError(f"the gateway did not become ready:\n{log.read_text(errors='replace')[-2000:]}")


def _status(port: int) -> int | None:
    """The status of /readyz; None while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def _gateway(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])}:\n{done.stdout}{done.stderr}")
