"""The whole service where everybody has to say who they are: a gateway decides, and a fleet finds nothing wrong."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from simulator.cli import app as weldsim
from simulator.link import Broker, CredentialsError, Link, parse_passwords
from tests.identity.conftest import GATEWAY, INSTANCE, ConfiguredMosquitto, Files, configure, run
from tests.service.conftest import started_mosquitto
from tests.support.brokers import free_port
from tests.support.gateway import Gateway
from tests.support.waiting import eventually

MACHINES = 6
DROPPED = "weldgate_broker_dropped_messages"
FIGURES_WITHIN_S = 20.0
"""Mosquitto publishes its figures every 10 s."""


@dataclass(frozen=True)
class County:
    """Registry files, a database that holds them, the keys of the gateway, and certificates for everybody."""

    folder: Path
    files: Files

    @property
    def registry(self) -> Path:
        return self.folder / "registry"


@dataclass(frozen=True)
class Setting:
    """A broker, the options of gateway and fleet that say who they are, and the gateway's password."""

    url: str
    gateway: tuple[str, ...]
    fleet: tuple[str, ...]
    password: str = ""

    @property
    def gateway_url(self) -> str:
        scheme, host = self.url.split("://")
        return f"{scheme}://{GATEWAY}:{self.password}@{host}" if self.password else self.url


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> County:
    folder = tmp_path_factory.mktemp("county")
    run("registry", "sample", "--out", folder / "registry")
    run(
        *("registry", "import", folder / "registry"),
        *("--database", f"sqlite:///{folder / 'county.db'}", "--keys", folder / "keys"),
    )
    run("keys", "public", "--out", folder / "jwks.json", "--keys", folder / "keys")
    run("pki", "init", "--dir", folder / "pki")
    run("pki", "issue", "--all-machines", "--database", f"sqlite:///{folder / 'county.db'}", "--dir", folder / "pki")
    run("pki", "issue", "--gateway", INSTANCE, "--dir", folder / "pki")
    run("pki", "issue", "--server", "127.0.0.1", "--dir", folder / "pki")
    return County(folder, Files(folder / "pki"))


def _passwords(county: County, folder: Path) -> dict[str, str]:
    who = ("--from", county.registry, "--gateway", INSTANCE)
    run("broker", "password", *who, "--passwords", folder / "weldgate.passwords", "--out", folder / "handed-over")
    return parse_passwords((folder / "handed-over").read_text())


@contextmanager
def by_certificate(county: County, folder: Path) -> Iterator[Setting]:
    with _mosquitto(county, folder) as (port, _):
        url, trust = f"mqtts://127.0.0.1:{port}", ("--broker-ca", str(county.files.authority))
        certificate, key = county.files.pair(GATEWAY)
        own = ("--broker-cert", str(certificate), "--broker-key", str(key))
        yield Setting(url, (*trust, *own), (*trust, "--tls-dir", str(county.files.folder / "machines")))


@contextmanager
def by_password(county: County, folder: Path) -> Iterator[Setting]:
    with _mosquitto(county, folder) as (_, port):
        trust = ("--broker-ca", str(county.files.authority))
        own = parse_passwords((folder / "handed-over").read_text())[GATEWAY]
        yield Setting(f"mqtts://127.0.0.1:{port}", trust, (*trust, "--passwords", str(folder / "handed-over")), own)


@contextmanager
def embedded(county: County, folder: Path) -> Iterator[Setting]:
    own = _passwords(county, folder)[GATEWAY]
    command = [sys.executable, "-m", "gateway.mqtt.embedded", "--port", "0", "--until-stdin-closes"]
    command += ["--passwords", str(folder / "weldgate.passwords")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        yield Setting(url, (), ("--passwords", str(folder / "handed-over")), own)
        process.terminate()


@contextmanager
def _mosquitto(county: County, folder: Path) -> Iterator[tuple[int, int]]:
    started_mosquitto().close()  # skips where it is not installed
    ports = free_port(), free_port()
    configure(county.files, folder, ports)
    _passwords(county, folder)
    broker = ConfiguredMosquitto(folder, ports)
    broker.start()
    yield ports
    broker.close()


@contextmanager
def _gateway(county: County, setting: Setting, folder: Path, instance: str = INSTANCE) -> Iterator[Gateway]:
    database = folder / "gateway.db"
    database.write_bytes((county.folder / "county.db").read_bytes())
    gateway = Gateway(setting.gateway_url, database, county.folder / "keys", instance, options=setting.gateway)
    yield gateway.start()
    gateway.close()


Way = Callable[[County, Path], AbstractContextManager[Setting]]


@pytest.mark.parametrize("way", [by_certificate, by_password, embedded])
def test_a_fleet_gets_the_right_answers(county: County, tmp_path: Path, way: Way) -> None:
    (tmp_path / "broker").mkdir()
    with way(county, tmp_path / "broker") as setting, _gateway(county, setting, tmp_path) as gateway:
        gateway.until_ready()
        command = ["run", "--registry", str(county.registry), "--jwks", str(county.folder / "jwks.json")]
        command += ["--broker", setting.url, "--machines", str(MACHINES), "--for", "4s", "--rate", "6"]
        command += ["--scenario", "shift", "--report", str(tmp_path / "report.json"), "--quiet", *setting.fleet]
        done = CliRunner().invoke(weldsim, command)
        assert done.exit_code == 0, done.output
        report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
        assert report["allowed"] > 0
        assert report["unanswered"] == 0
        if way is by_certificate:
            eventually(lambda: gateway.metric(DROPPED) == 0, FIGURES_WITHIN_S, "the broker's list lets it hear that")
        assert gateway.drain() == 0
    if setting.password:
        assert setting.password not in gateway.log


@pytest.mark.parametrize("instance", ["other", "county"])
def test_a_gateway_with_another_identity_s_certificate_does_not_start(
    county: County, tmp_path: Path, instance: str
) -> None:
    """The broker would let it in and leave it deaf: Mosquitto grants a subscription that it delivers nothing to."""
    name = GATEWAY if instance == "other" else next((county.files.folder / "machines").glob("*.crt")).stem
    certificate, key = county.files.pair(name)
    url = f"mqtts://127.0.0.1:{free_port()}"
    own = ("--broker-ca", str(county.files.authority), "--broker-cert", str(certificate), "--broker-key", str(key))
    with _gateway(county, Setting(url, own, ()), tmp_path, instance) as gateway:
        assert gateway.ended() == 1
        assert f"is for {name}, and this gateway is weldgate-{instance}" in gateway.log
        assert "Traceback" not in gateway.log


# --- what a chip of the fleet proves its name with --------------------------------------------------------------


def refused(*options: str) -> str:
    """What weldsim says to a run that cannot take place."""
    nothing = ("--registry", "nowhere", "--jwks", "nowhere")
    done = CliRunner().invoke(weldsim, ["run", *nothing, *options])
    assert done.exit_code == 2
    return done.output


def test_certificates_need_tls(tmp_path: Path) -> None:
    assert "give --broker mqtts://" in refused("--tls-dir", str(tmp_path))


@pytest.mark.parametrize("content", ["", "HJ-0001\n", "HJ-0001:\n", ":secret-words\n"])
def test_a_file_that_holds_no_passwords_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "passwords").write_text(content)
    message = refused("--passwords", str(tmp_path / "passwords"))
    assert "weldgate broker password --out" in message
    assert "secret-words" not in message


@pytest.mark.parametrize(
    "broker", [Broker("h", 1, True, tls_dir=Path("/nowhere")), Broker("h", 1, passwords={"A": "b"})]
)
def test_a_chip_without_anything_to_show_is_named_at_once(broker: Broker) -> None:
    with pytest.raises(CredentialsError, match="HJ-0001"):
        Link(broker, "HJ-0001", lambda _: None, None, None)  # type: ignore[arg-type]
