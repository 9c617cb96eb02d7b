"""An authority, and a broker of each kind with the configuration that the commands write."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from gateway.wire import acl
from tests.identity.peers import Door, Peer, Proof, by_certificate
from tests.service.conftest import started_mosquitto
from tests.support.brokers import Limits, Mosquitto, free_port
from tests.support.gateway import weldgate
from tests.support.waiting import eventually

A, B, GONE = "HJ-0001", "HJ-0002", "HJ-GONE"
INSTANCE, READER = "county", "board"
GATEWAY, BOARD = acl.gateway_name(INSTANCE), acl.reader_name(READER)
FOLDERS = {A: "machines", B: "machines", GONE: "machines", GATEWAY: "gateways", BOARD: "readers"}


class ConfiguredMosquitto(Mosquitto):
    """Mosquitto as Debian sets it up: a main file that includes the folder of the generated one."""

    def __init__(self, generated: Path, ports: tuple[int, int]) -> None:
        self._generated = generated
        self._last_port = ports[1]
        super().__init__(Limits(), ports[0])

    def start(self) -> "ConfiguredMosquitto":
        """Returns once both listeners are there."""
        super().start()
        eventually(self._listens, 10, "the second listener")
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._last_port)) == 0

    def _config(self) -> str:
        own = [line for line in super()._config().splitlines() if line.startswith(("user ", "persistence_location "))]
        return "\n".join([*own, f"include_dir {self._generated}"]) + "\n"

    def reload(self) -> None:
        """SIGHUP, as ``systemctl reload`` sends it."""
        os.kill(self.pid, signal.SIGHUP)


def run(*arguments: object) -> str:
    """One command of ``weldgate`` that has to succeed; its output."""
    done = weldgate(*map(str, arguments))
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Files:
    """An authority's folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    def pair(self, name: str) -> tuple[Path, Path]:
        folder = self.folder / FOLDERS.get(name, "machines")
        return folder / f"{name}.crt", folder / f"{name}.key"

    def proof(self, name: str) -> Proof:
        return by_certificate(self.authority, *self.pair(name))


def make_files(folder: Path) -> Files:
    """An authority that has issued to everybody who plays here."""
    run("pki", "init", "--dir", folder)
    run("pki", "issue", A, B, GONE, "--dir", folder)
    run("pki", "issue", "--gateway", INSTANCE, "--dir", folder)
    run("pki", "issue", "--reader", READER, "--dir", folder)
    run("pki", "issue", "--server", "127.0.0.1", "--server", "localhost", "--dir", folder)
    return Files(folder)


@pytest.fixture(scope="package")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = make_files(tmp_path_factory.mktemp("identity") / "pki")
    run("pki", "revoke", GONE, "--dir", made.folder)
    return made


@dataclass(frozen=True)
class Production:
    """A running Mosquitto with the generated configuration, and the passwords of its second listener."""

    broker: ConfiguredMosquitto
    folder: Path
    port: int
    password_port: int
    passwords: dict[str, str]


@pytest.fixture(scope="package")
def production(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    started_mosquitto().close()  # skips where it is not installed
    made = start_production(files, tmp_path_factory.mktemp("broker"))
    yield made
    made.broker.close()


def start_production(files: Files, folder: Path) -> Production:
    ports = free_port(), free_port()
    configure(files, folder, ports)
    passwords = make_passwords(folder / "weldgate.passwords", folder / "handed-over")
    broker = ConfiguredMosquitto(folder, ports)
    broker.start()
    return Production(broker, folder, *ports, passwords)


def configure(files: Files, folder: Path, ports: tuple[int, int], *others: object) -> None:
    run(
        *("broker", "config", "--out", folder, "--dir", files.folder, "--gateway", INSTANCE, "--reader", READER),
        *("--address", "127.0.0.1", "--port", ports[0], "--passwords", "--password-port", ports[1]),
        *others,
    )


def make_passwords(hashes: Path, handed_over: Path) -> dict[str, str]:
    """For everybody; the passwords by name."""
    who = (A, B, "--gateway", INSTANCE, "--reader", READER)
    run("broker", "password", *who, "--passwords", hashes, "--out", handed_over)
    return dict(line.split(":") for line in handed_over.read_text().splitlines())


@dataclass(frozen=True)
class Stand:
    """A broker that knows who is who, and what everybody proves it with."""

    name: str
    door: Door
    proofs: dict[str, Proof]
    refuses_subscriptions: bool

    def peer(self, name: str, client_id: str | None = None, will: tuple[str, bytes] | None = None) -> Peer:
        return Peer(self.door, client_id or name, self.proofs[name], will)


def _by_password(files: Files, passwords: dict[str, str], *, tls: bool) -> dict[str, Proof]:
    context = ssl.create_default_context(cafile=str(files.authority)) if tls else None
    return {name: Proof(context, name, password) for name, password in passwords.items()}


@pytest.fixture(scope="package")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, str]]]:
    """The embedded broker with passwords: its port and the passwords by name."""
    folder = tmp_path_factory.mktemp("embedded")
    passwords = make_passwords(folder / "hashes", folder / "handed-over")
    command = [sys.executable, "-m", "gateway.mqtt.embedded", "--port", "0", "--until-stdin-closes"]
    command += ["--passwords", str(folder / "hashes")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().decode().rpartition(":")[2]), passwords
        process.terminate()


@pytest.fixture(scope="package", params=["certificates", "certificates, MQTT 5", "passwords", "embedded"])
def stand(request: pytest.FixtureRequest, files: Files) -> Stand:
    """Each test runs against every way of saying who one is."""
    if request.param == "embedded":
        port, passwords = request.getfixturevalue("embedded")
        return Stand(request.param, Door(port), _by_password(files, passwords, tls=False), True)
    production: Production = request.getfixturevalue("production")
    if request.param == "passwords":
        proofs = _by_password(files, production.passwords, tls=True)
        return Stand(request.param, Door(production.password_port), proofs, False)
    protocol = paho.MQTTv5 if "5" in request.param else paho.MQTTv311
    proofs = {name: files.proof(name) for name in (A, B, GATEWAY, BOARD)}
    return Stand(request.param, Door(production.port, protocol), proofs, False)
