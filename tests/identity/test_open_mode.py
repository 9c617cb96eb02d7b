"""The embedded broker without passwords: names of the protocol have their rights, test tools on this machine all."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.mqtt.embedded import BrokerStartError, EmbeddedBroker
from gateway.wire import topics
from tests.identity.conftest import make_passwords
from tests.identity.peers import Door, Peer, Proof
from tests.support.raw_client import RawClient

MINE, OTHERS = topics.to_gateway("HJ-0001", "request"), topics.to_gateway("HJ-0002", "request")


@pytest.fixture
def port(embedded_broker: EmbeddedBroker) -> int:
    return int(embedded_broker.url.rpartition(":")[2])


def test_a_machine_s_client_id_has_that_machine_s_rights_alone(port: int) -> None:
    with RawClient(port, "tool") as tool, RawClient(port, "HJ-0001") as chip:
        assert tool.subscribe("weldgate/v1/#") == 1
        chip.publish(OTHERS, b"foreign")
        chip.publish(MINE, b"mine")
        assert tool.receive().payload == b"mine"
        assert chip.subscribe(topics.decision("HJ-0002")) == 0x80
        assert chip.subscribe("#") == 0x80
        assert chip.subscribe(topics.decision("HJ-0001")) == 1


def test_a_gateway_s_client_id_has_a_gateway_s(port: int) -> None:
    with RawClient(port, "weldgate-x") as gateway, RawClient(port, "tool") as tool:
        assert tool.subscribe("weldgate/v1/#") == 1
        assert gateway.subscribe(topics.to_gateway("+", "request")) == 1
        assert gateway.subscribe("#") == 0x80
        gateway.publish(MINE, b"foreign")
        gateway.publish(topics.decision("HJ-0001"), b"mine")
        assert tool.receive().payload == b"mine"


def test_a_foreign_last_will_is_left_out(port: int) -> None:
    with RawClient(port, "tool") as tool:
        tool.subscribe("weldgate/v1/#")
        for number in (2, 1):
            with RawClient(port, "HJ-0001", will=(topics.to_gateway(f"HJ-000{number}", "status"), "gone")):
                pass
        assert tool.receive().topic == topics.to_gateway("HJ-0001", "status")


async def test_with_passwords_nobody_else_comes_in(tmp_path: Path) -> None:
    passwords = make_passwords(tmp_path / "hashes", tmp_path / "handed-over")
    async with EmbeddedBroker(passwords=tmp_path / "hashes") as broker:
        door = Door(int(broker.url.rpartition(":")[2]))

        def tool_is_refused() -> bool:
            with pytest.raises(ConnectionRefusedError), Peer(door, "tool", Proof()):
                pass
            with Peer(door, "any", Proof(None, "HJ-0001", passwords["HJ-0001"])) as chip:
                return chip.subscribe(topics.decision("HJ-0001"))

        assert await asyncio.to_thread(tool_is_refused)


async def test_a_missing_password_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrokerStartError):
        await EmbeddedBroker(passwords=tmp_path / "nothing").start()
    command = [sys.executable, "-m", "gateway.mqtt.embedded", "--passwords", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert "weldgate broker password" in done.stderr
    assert "Traceback" not in done.stderr
