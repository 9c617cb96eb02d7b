"""Who is let in at all: by certificate, by password; and what becomes of those who are thrown out."""

import datetime
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.pki.authority import open_authority
from gateway.pki.orders import Order
from gateway.wire import topics
from tests.identity.conftest import (
    GATEWAY,
    GONE,
    A,
    B,
    Files,
    Production,
    configure,
    make_files,
    run,
    start_production,
)
from tests.identity.peers import WITHIN_S, Door, Peer, Proof, by_certificate
from tests.mqtt.test_tls import make_authority
from tests.support import packets
from tests.support.waiting import eventually

ACCEPTED = b"\x20\x02\x00\x00"
Prove = Callable[[Files, Path], ssl.SSLContext]


def answer(port: int, context: ssl.SSLContext, connect: bytes) -> bytes:
    """What the broker says to a CONNECT; nothing where it ends the connection first."""
    try:
        bare = socket.create_connection(("127.0.0.1", port), WITHIN_S)
        with bare, context.wrap_socket(bare, server_hostname="127.0.0.1") as secured:
            secured.sendall(connect)
            return secured.recv(4)
    except (ssl.SSLError, ConnectionError):
        return b""


def shown(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = by_certificate(authority, certificate, key).tls
    assert context is not None
    return context


def _nothing(files: Files, _: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files.authority))


def _revoked(files: Files, _: Path) -> ssl.SSLContext:
    return shown(files.authority, *files.pair(GONE))


def _expired(files: Files, _: Path) -> ssl.SSLContext:
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    open_authority(files.folder, None).issue([Order("machine", "HJ-OLD")], long_ago, days=1, renew=True)
    return shown(files.authority, *files.pair("HJ-OLD"))


def _self_signed(files: Files, folder: Path) -> ssl.SSLContext:
    made = make_authority(A)
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "self.key").write_bytes(key)
    return shown(files.authority, made.write(folder / "self.crt"), folder / "self.key")


def _of_another_authority(files: Files, folder: Path) -> ssl.SSLContext:
    run("pki", "init", "--dir", folder / "other")
    run("pki", "issue", A, "--dir", folder / "other")
    return shown(files.authority, *Files(folder / "other").pair(A))


def _of_a_server(files: Files, _: Path) -> ssl.SSLContext:
    servers = files.folder / "servers"
    return shown(files.authority, servers / "127.0.0.1.crt", servers / "127.0.0.1.key")


# --- by certificate ---------------------------------------------------------------------------------------------


def test_a_certificate_of_the_authority_lets_in(production: Production, files: Files) -> None:
    context = shown(files.authority, *files.pair(A))
    assert answer(production.port, context, packets.connect(A)) == ACCEPTED


@pytest.mark.parametrize("prove", [_nothing, _revoked, _expired, _self_signed, _of_another_authority, _of_a_server])
def test_no_other_certificate_lets_in(production: Production, files: Files, tmp_path: Path, prove: Prove) -> None:
    assert answer(production.port, prove(files, tmp_path), packets.connect(A)) == b""


def test_a_password_does_not_stand_in_for_a_certificate(production: Production, files: Files) -> None:
    context = ssl.create_default_context(cafile=str(files.authority))
    with (
        pytest.raises((ConnectionError, ssl.SSLError)),
        Peer(Door(production.port), A, Proof(context, A, production.passwords[A])),
    ):
        pass


@pytest.mark.parametrize(("version", "lets_in"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_tls_1_2_is_the_oldest_that_is_spoken(
    production: Production, files: Files, version: str, lets_in: bool
) -> None:
    """By OpenSSL's own client: Python's warns of old versions before it tries them."""
    certificate, key = files.pair(A)
    for port in (production.port, production.password_port):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "DEFAULT@SECLEVEL=0"]
        command += [
            "-cert",
            str(certificate),
            "-key",
            str(key),
            "-CAfile",
            str(files.authority),
            "-verify_return_error",
        ]
        done = subprocess.run(command, input=b"", capture_output=True, check=False)
        assert (done.returncode == 0) is lets_in
        assert (b"alert protocol version" in done.stderr) is not lets_in


def test_a_machine_s_certificate_does_not_pass_for_the_broker_s(files: Files) -> None:
    """Whoever holds a chip's key can otherwise play the broker to all others."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*files.pair(A))
    client = ssl.create_default_context(cafile=str(files.authority))
    client.check_hostname = False
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    there = served.wrap_bio(to_server, to_client, server_side=True)
    for side in (here, there):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        here.do_handshake()


# --- by password ------------------------------------------------------------------------------------------------

WRONG = [(A, "wrong"), (A, ""), (A, None), ("HJ-0009", "x"), ("", "x"), (None, None), ("weldgate-county", "x")]


@pytest.fixture(params=["passwords", "embedded"])
def by_password(request: pytest.FixtureRequest, files: Files) -> tuple[Door, ssl.SSLContext | None, dict[str, str]]:
    if request.param == "embedded":
        port, passwords = request.getfixturevalue("embedded")
        return Door(port), None, passwords
    production: Production = request.getfixturevalue("production")
    context = ssl.create_default_context(cafile=str(files.authority))
    return Door(production.password_port), context, production.passwords


@pytest.mark.parametrize(("user", "password"), WRONG)
def test_a_wrong_password_lets_nobody_in_and_throws_nobody_out(
    by_password: tuple[Door, ssl.SSLContext | None, dict[str, str]], user: str | None, password: str | None
) -> None:
    door, context, passwords = by_password
    with (
        Peer(door, A, Proof(context, A, passwords[A])) as real,
        Peer(door, GATEWAY, Proof(context, GATEWAY, passwords[GATEWAY])) as gateway,
    ):
        assert real.subscribe(topics.decision(A))
        with pytest.raises(ConnectionRefusedError), Peer(door, A, Proof(context, user, password)):
            pass
        gateway.publish(topics.decision(A), b"still there")
        real.hears(topics.decision(A), b"still there")
        assert real.drops == 0


def test_a_certificate_does_not_stand_in_for_a_password(production: Production, files: Files) -> None:
    with pytest.raises(ConnectionRefusedError), Peer(Door(production.password_port), A, files.proof(A)):
        pass


def test_a_password_is_not_somebody_else_s(
    by_password: tuple[Door, ssl.SSLContext | None, dict[str, str]],
) -> None:
    door, context, passwords = by_password
    with pytest.raises(ConnectionRefusedError), Peer(door, B, Proof(context, B, passwords[A])):
        pass


# --- thrown out, and what lasts ---------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Files, Production]]:
    """An authority and a Mosquitto of the test's own."""
    files = make_files(tmp_path / "pki")
    production = start_production(files, tmp_path / "broker")
    yield files, production
    production.broker.close()


def test_a_revoked_certificate_is_refused_from_the_reload_and_thrown_out_at_the_restart(
    own: tuple[Files, Production],
) -> None:
    files, production = own
    door = Door(production.port)

    def refused(name: str) -> bool:
        return answer(production.port, shown(files.authority, *files.pair(name)), packets.connect(name)) == b""

    with Peer(door, B, files.proof(B)) as other, Peer(door, A, files.proof(A)) as stolen:
        for name in (A, GONE):
            run("pki", "revoke", name, "--dir", files.folder)
        (production.folder / "crl.pem").write_bytes((files.folder / "crl.pem").read_bytes())
        production.broker.reload()
        eventually(lambda: refused(GONE), WITHIN_S, "refused after the reload")
        assert refused(A)
        assert other.drops == 0
        assert stolen.drops == 0, "what is open stays open: this is why a restart is asked for"
        production.broker.restart()
        stolen.until(lambda: stolen.drops == 1, "the end of the open connection")
    assert refused(A)
    assert not refused(B)


def test_a_renewed_certificate_and_the_one_before_it_let_in_until_the_old_one_is_revoked(
    own: tuple[Files, Production],
) -> None:
    files, production = own
    connect, old = packets.connect(A), shown(files.authority, *files.pair(A))
    serial = run("pki", "list", A, "--dir", files.folder).split()[0]
    run("pki", "issue", A, "--renew", "--dir", files.folder)
    new = shown(files.authority, *files.pair(A))
    assert answer(production.port, old, connect) == answer(production.port, new, connect) == ACCEPTED
    run("pki", "revoke", serial, "--dir", files.folder)
    (production.folder / "crl.pem").write_bytes((files.folder / "crl.pem").read_bytes())
    production.broker.restart()
    assert (answer(production.port, old, connect), answer(production.port, new, connect)) == (b"", ACCEPTED)


def test_while_one_authority_follows_the_other_both_let_in_and_both_revoke(
    own: tuple[Files, Production], tmp_path: Path
) -> None:
    old, production = own
    new = make_files(tmp_path / "new")
    ports = production.port, production.password_port
    run("pki", "revoke", GONE, "--dir", new.folder)
    run("pki", "revoke", B, "--dir", old.folder)

    def let_in(trusting: Files) -> set[tuple[str, str]]:
        found = set()
        for which, files in (("old", old), ("new", new)):
            for name in (A, B, GONE):
                context = shown(trusting.authority, *files.pair(name))
                if answer(production.port, context, packets.connect(name)) == ACCEPTED:
                    found.add((which, name))
        return found

    configure(old, production.folder, ports, "--trust", new.folder)
    production.broker.restart()
    assert let_in(old) == {("old", A), ("old", GONE), ("new", A), ("new", B)}
    configure(new, production.folder, ports, "--trust", old.folder)
    production.broker.restart()
    assert let_in(new) == {("old", A), ("old", GONE), ("new", A), ("new", B)}
    configure(new, production.folder, ports)
    production.broker.restart()
    assert let_in(new) == {("new", A), ("new", B)}


@pytest.mark.parametrize("way", ["certificates", "passwords"])
def test_what_machines_say_waits_for_a_gateway_across_a_restart_of_the_broker(
    own: tuple[Files, Production], way: str
) -> None:
    """Rights are looked up for a session that has no connection: its name must survive the restart."""
    files, production = own
    port = production.port if way == "certificates" else production.password_port

    def proof(name: str) -> Proof:
        context = ssl.create_default_context(cafile=str(files.authority))
        return files.proof(name) if way == "certificates" else Proof(context, name, production.passwords[name])

    with Peer(Door(port), GATEWAY, proof(GATEWAY), lasting=True) as gateway:
        assert gateway.subscribe(topics.to_gateway("+", "request"))
    production.broker.restart()
    with Peer(Door(port), A, proof(A)) as chip:
        chip.publish(topics.to_gateway(A, "request"), b"before")
    production.broker.restart()
    with Peer(Door(port), GATEWAY, proof(GATEWAY), lasting=True) as gateway:
        gateway.hears(topics.to_gateway(A, "request"), b"before")


def test_a_message_that_is_too_long_goes_nowhere(production: Production, files: Files) -> None:
    door, topic = Door(production.port), topics.to_gateway(A, "event")
    with Peer(door, GATEWAY, files.proof(GATEWAY)) as gateway, Peer(door, A, files.proof(A)) as chip:
        assert gateway.subscribe(topics.to_gateway("+", "event"))
        for payload in (b"x" * 9_000, b"short"):
            chip.publish(topic, payload)
        gateway.hears(topic, b"short")
        assert len(gateway.seen) == 1
