"""mqtts://: the broker's certificate is checked against the authorities that were named."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.wire.inbound import Outbound
from tests.mqtt.conftest import running
from tests.service.conftest import started_mosquitto
from tests.support.brokers import Limits, Mosquitto

TOPIC = "weldgate/v1/HJ-0001/request"
MANY = 2_000
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"  # paho leaves a failed handshake's socket unclosed
)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A self-made authority."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def write(self, path: Path) -> Path:
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path


def _builder(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )


def make_authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, key).issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Authority(key, builder.sign(key, hashes.SHA256()))


def write_server(authority: Authority, folder: Path) -> None:
    """Key and certificate of a broker on the loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = _builder("broker", key).issuer_name(authority.certificate.subject)
    builder = builder.add_extension(names, critical=False).add_extension(issuer, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    (folder / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Path:
    made = make_authority("the county's authority")
    write_server(made, folder)
    return made.write(folder / "authority.pem")


@pytest.fixture(scope="module")
def broker(folder: Path, authority: Path) -> Iterator[str]:
    """The URL of a Mosquitto that speaks TLS."""
    started_mosquitto().close()  # skips where it is not installed
    files = (f"certfile {folder}/server.pem", f"keyfile {folder}/server.key")
    mosquitto = Mosquitto(Limits(inflight=0, extra=files)).start()
    yield f"mqtts://127.0.0.1:{mosquitto.port}"
    mosquitto.close()


async def test_with_the_right_authority_it_connects_and_everything_arrives(broker: str, authority: Path) -> None:
    """Many at once: one TLS record holds bytes that the socket does not announce again."""
    async with running(broker, authority) as gate:
        await gate.until(lambda: gate.link.connected)
        gate.link.publish(Outbound(TOPIC, b"%d" % number + b"x" * 500) for number in range(MANY))
        await gate.until(lambda: len(gate.arrived) == MANY)
        assert [int(inbound.payload.rstrip(b"x")) for inbound in gate.arrived] == list(range(MANY))
        gate.link.acknowledge(inbound.receipt for inbound in gate.arrived)
        await gate.until(lambda: gate.link.unacknowledged == 0)
        await gate.link.close(within_s=5)


async def test_with_a_wrong_authority_it_does_not_connect_and_says_why(broker: str, folder: Path) -> None:
    other = make_authority("somebody else").write(folder / "other.pem")
    async with running(broker, other) as gate:
        await gate.until(lambda: len(gate.said) >= 2)
        assert not any(connected for connected, _ in gate.said)
        assert "certificate verify failed" in gate.said[0][1]


async def test_with_the_systems_authorities_a_self_made_one_is_refused(broker: str) -> None:
    async with running(broker) as gate:
        await gate.until(lambda: gate.said)
        assert "certificate verify failed" in gate.said[0][1]


async def test_a_broker_under_another_name_is_refused(broker: str, authority: Path) -> None:
    async with running(broker.replace("127.0.0.1", "localhost"), authority) as gate:
        await gate.until(lambda: gate.said)
        assert "Hostname mismatch" in gate.said[0][1]


async def test_a_broker_that_speaks_no_tls_is_refused(authority: Path, mosquitto: Mosquitto) -> None:
    async with running(f"mqtts://127.0.0.1:{mosquitto.port}", authority) as gate:
        await gate.until(lambda: gate.said)
        assert not gate.said[0][0]
        assert gate.said[0][1]


def test_the_check_is_not_switched_off() -> None:
    """paho has a switch for it; nothing here may use it."""
    sources = Path(__file__, "../../../gateway/mqtt").resolve().glob("*.py")
    assert ssl.CERT_REQUIRED
    assert not [path.name for path in sources if "insecure" in path.read_text() or "CERT_NONE" in path.read_text()]
