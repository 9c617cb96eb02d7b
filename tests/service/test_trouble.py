"""What the gateway depends on goes away: nobody passes meanwhile, nothing is lost, and it recovers by itself."""

import os
import resource
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.service.conftest import StartGateway, started_mosquitto
from tests.support.brokers import Limits, Mosquitto, free_port
from tests.support.chips import Chips
from tests.support.fake_broker import FakeBroker
from tests.support.gateway import Gateway
from tests.support.waiting import eventually

BUSY_S = 5.0
"""How long SQLite waits for another process's write."""
LEFT_BYTES = 64 * 1024
"""A file may not grow beyond this while the disk is full; the database's log is longer by then."""
RECOVERED_WITHIN_S = 5.0


def trouble(gateway: Gateway, where: str) -> float:
    return gateway.metric(f'weldgate_trouble_total{{where="{where}"}}')


# --- the broker -------------------------------------------------------------------------------------------------


def test_broker_restart_loses_nothing(lasting_mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    broker = lasting_mosquitto
    gateway = start_gateway(broker.url).until_ready()
    with Chips(broker.port) as chips:
        with gateway.locked_database():
            asked = chips.request("HJ-0001", "P0001")
            gateway.settle()
            broker.restart()
        eventually(lambda: gateway.decisions(asked), what="decided without being asked again")
        chips.until_subscribed()
        chips.request("HJ-0001", "P0001", asked)  # a chip asks again when it is back on air
        assert chips.answer("HJ-0001", asked).content["outcome"] == "allow"
        assert chips.ask("HJ-0002", "P0002").outcome == "allow"
        assert len(gateway.decisions(asked)) == len(gateway.sessions("HJ-0001")) == 1
    gateway.intact()


def test_while_the_broker_is_away_it_is_alive_but_not_ready(start_gateway: StartGateway) -> None:
    broker = started_mosquitto()
    try:
        gateway = start_gateway(broker.url).until_ready()
        broker.kill()
        eventually(lambda: gateway.not_ready("broker"), what="not ready")
        assert gateway.live
        assert gateway.metric("weldgate_broker_connected") == 0
        broker.start()
        eventually(lambda: gateway.ready, 2 * RECOVERED_WITHIN_S, "ready again")
        assert gateway.metric("weldgate_broker_connected") == 1
        assert trouble(gateway, "broker") >= 1
        with Chips(broker.port) as chips:
            assert chips.ask("HJ-0001", "P0001").outcome == "allow"
    finally:
        broker.close()


def test_an_unreachable_broker_at_the_start_is_tried_again_with_jitter(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(f"mqtt://127.0.0.1:{port}").until_live()
    eventually(lambda: trouble(gateway, "broker") >= 5, what="tried again and again")
    assert gateway.not_ready("broker")
    tried = [entry["timestamp"] for entry in gateway.events("trouble") if entry["where"] == "broker"]
    assert "refused" in gateway.events("trouble")[0]["problem"]
    assert len(set(tried)) == len(tried)
    broker = Mosquitto(Limits(), port=port).start()
    try:
        gateway.until_ready()
    finally:
        broker.close()


def test_a_broker_that_refuses_the_subscription_leaves_it_not_ready(start_gateway: StartGateway) -> None:
    with FakeBroker() as broker:
        gateway = start_gateway(broker.url)
        with broker.accept() as connection:
            connection.welcome(granted=0x80)
            eventually(lambda: trouble(gateway, "broker") >= 1, what="said")
        assert gateway.not_ready("broker")
        assert "refused the subscription" in gateway.events("trouble")[0]["problem"]
        with broker.client():
            gateway.until_ready()


def test_a_wrong_password_is_said_without_repeating_it(tmp_path: Path, start_gateway: StartGateway) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("gate:$7$101$" + "A" * 16 + "$" + "A" * 86 + "==\n")
    passwords.chmod(0o600)
    broker = Mosquitto(Limits(extra=("allow_anonymous false", f"password_file {passwords}"))).start()
    try:
        gateway = start_gateway(f"mqtt://gate:not-the-password@127.0.0.1:{broker.port}").until_live()
        eventually(lambda: trouble(gateway, "broker") >= 2, what="tried again")
        assert "refused the connection: Not authorized" in gateway.events("trouble")[0]["problem"]
        assert gateway.not_ready("broker")
        assert "not-the-password" not in gateway.log
    finally:
        broker.close()


# --- the database -----------------------------------------------------------------------------------------------


def test_while_the_database_is_locked_nobody_passes(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips:
        with gateway.locked_database():
            began = time.monotonic()
            asked = chips.request("HJ-0001", "P0001")
            eventually(lambda: gateway.not_ready("database"), 3 * BUSY_S, "not ready")
            assert time.monotonic() - began >= BUSY_S - 1
            assert gateway.live
            assert gateway.metric("weldgate_database_writable") == 0
            assert chips.answers("HJ-0001", asked) == []
        eventually(lambda: gateway.ready, RECOVERED_WITHIN_S, "ready again")
        assert chips.answer("HJ-0001", asked).content["outcome"] == "allow"
        assert len(gateway.decisions(asked)) == len(gateway.sessions("HJ-0001")) == 1
        assert trouble(gateway, "database") >= 1
    gateway.intact()


@contextmanager
def full_disk(gateway: Gateway) -> Iterator[None]:
    """The kernel refuses the gateway's processes every further byte of the database's log."""
    unlimited = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    for pid in gateway.pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (LEFT_BYTES, unlimited[1]))
    yield
    for pid in gateway.pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)


def test_while_the_disk_is_full_nobody_passes(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    log = gateway.database.with_name(gateway.database.name + "-wal")
    with Chips(mosquitto.port) as chips:
        while log.stat().st_size < 2 * LEFT_BYTES:
            chips.ask("HJ-0003", "P0003")
        with full_disk(gateway):
            asked = chips.request("HJ-0001", "P0001")
            eventually(lambda: gateway.not_ready("database"), what="not ready")
            assert gateway.live
            assert chips.answers("HJ-0001", asked) == []
            assert gateway.decisions(asked) == []
        eventually(lambda: gateway.ready, RECOVERED_WITHIN_S, "ready again")
        assert chips.answer("HJ-0001", asked).content["outcome"] == "allow"
        assert len(gateway.decisions(asked)) == len(gateway.sessions("HJ-0001")) == 1
    gateway.intact()


def test_without_the_process_that_writes_the_gateway_ends(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    _, scribe = gateway.pids
    os.kill(scribe, signal.SIGKILL)
    assert gateway.ended() == 1
    assert "the scribe has ended" in gateway.log


def test_the_process_that_writes_ends_with_the_gateway(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    _, scribe = gateway.pids
    gateway.kill()
    eventually(lambda: not Path(f"/proc/{scribe}").exists(), what="gone")


# --- the registry -----------------------------------------------------------------------------------------------


def test_an_unreadable_registry_is_counted_and_decisions_go_on_from_the_last_good_one(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips, closing(sqlite3.connect(gateway.database)) as database:
        database.execute("ALTER TABLE registry_state RENAME TO hidden")
        eventually(lambda: trouble(gateway, "registry") >= 1, what="noticed")
        assert chips.ask("HJ-0001", "P0001").outcome == "allow"
        assert chips.codes("HJ-0002", "P-EXPIRED") == ["certificate_expired"]
        database.execute("ALTER TABLE hidden RENAME TO registry_state")
        eventually(lambda: any(it["where"] == "registry" for it in gateway.events("recovered")), what="recovered")


def test_a_registry_that_nobody_confirmed_for_too_long_refuses(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url, policy="[registry]\nmax_age_s = 1\n").until_ready()
    with Chips(mosquitto.port) as chips:
        eventually(lambda: gateway.metric("weldgate_registry_age_seconds") > 1, what="stale")
        assert chips.codes("HJ-0001", "P0001") == ["registry_stale"]


def test_without_any_registry_it_is_not_ready_and_refuses(
    mosquitto: Mosquitto, start_gateway: StartGateway, tmp_path: Path
) -> None:
    gateway = start_gateway(mosquitto.url, database=tmp_path / "empty.db").until_live()
    eventually(lambda: gateway.not_ready("registry"), what="not ready")
    with Chips(mosquitto.port) as chips:
        assert "machine_unknown" in chips.codes("HJ-0001", "P0001")


# --- a start that cannot work says why and ends with 1 ------------------------------------------------------------


def said_at_the_end(gateway: Gateway) -> str:
    """What the gateway printed before it ended with exit code 1: one line, no trace."""
    assert gateway.ended() == 1, gateway.log
    lines = [line for line in gateway.log.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, gateway.log
    assert lines[0].startswith("weldgate: ")
    return lines[0]


def test_a_taken_http_port(start_gateway: StartGateway) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = said_at_the_end(start_gateway(f"mqtt://127.0.0.1:{free_port()}", port=port))
    assert f"--http 127.0.0.1:{port}" in said
    assert "address already in use" in said


@pytest.mark.parametrize(
    ("policy", "line", "why"),
    [
        ("[lease]\nstart_by_s = 31\n", 2, "<= 30"),
        ("[rules]\n\ncertificate_expired = 'sometimes'\n", 3, "'sometimes' is no mode"),
        ("[rules]\ncertificate_lost = 'off'\n", 2, "no reason code"),
        ("[observe]\nenabled = maybe\n", 2, "not valid TOML"),
        ("version = 'x'\n[leese]\nlease_s = 900\n", 2, "leese"),
    ],
)
def test_an_invalid_policy(start_gateway: StartGateway, policy: str, line: int, why: str) -> None:
    said = said_at_the_end(start_gateway(f"mqtt://127.0.0.1:{free_port()}", policy=policy))
    assert f"line {line}" in said
    assert why in said


def test_a_policy_that_is_not_there(start_gateway: StartGateway, tmp_path: Path) -> None:
    said = said_at_the_end(start_gateway(f"mqtt://127.0.0.1:{free_port()}", options=("--policy", "nowhere.toml")))
    assert "--policy nowhere.toml" in said


@pytest.mark.parametrize("url", ["amqp://127.0.0.1", "127.0.0.1:1883", "mqtt://"])
def test_a_broker_url_that_is_none(start_gateway: StartGateway, url: str) -> None:
    assert "--broker" in said_at_the_end(start_gateway(url))


def test_a_database_that_is_none(start_gateway: StartGateway, tmp_path: Path) -> None:
    database = tmp_path / "text.db"
    database.write_text("no database " * 1000)
    said = said_at_the_end(start_gateway(f"mqtt://127.0.0.1:{free_port()}", database=database))
    assert "--database" in said
    assert "file is not a database" in said


def test_a_database_that_is_locked_at_the_start(start_gateway: StartGateway, tmp_path: Path) -> None:
    database = tmp_path / "locked.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        said = said_at_the_end(start_gateway(f"mqtt://127.0.0.1:{free_port()}", database=database))
    assert "database is locked" in said


def test_authorities_that_cannot_be_read(start_gateway: StartGateway) -> None:
    options = ("--broker-ca", "nowhere.pem")
    said = said_at_the_end(start_gateway(f"mqtts://127.0.0.1:{free_port()}", options=options))
    assert "--broker-ca nowhere.pem" in said
