"""``weldgate registry sync`` and ``sources`` against ``weldsim registry``, each as a process of its own."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.registry.sample import PROFILES, generate
from gateway.registry.sheets import write_files
from tests.support.brokers import free_port
from tests.support.waiting import eventually

Weldgate = Callable[..., Any]
DESCRIPTION = """[sources.county]
kind = "http"
base_url = "http://127.0.0.1:{port}/v1"
registries = ["enterprises", "operators", "certificates", "employments", "machines", "permits", "work_hours"]
interval_s = 0.2
retries = 0
rate_per_s = 1000
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def weldgate(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Weldgate:
    (tmp_path / "registry.toml").write_text(DESCRIPTION.format(port=port))
    monkeypatch.setenv("WELDGATE_DATABASE", f"sqlite:///{tmp_path}/gate.db")
    monkeypatch.setenv("WELDGATE_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("WELDGATE_REGISTRY", str(tmp_path / "registry.toml"))
    return lambda *words: CliRunner().invoke(app, ["registry", *words])


@pytest.fixture
def service(tmp_path: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    write_files(generate(PROFILES["county"], 1, date(2026, 11, 1)), tmp_path, form="csv", chinese=False)
    command = ["-m", "simulator", "registry", "--registry", str(tmp_path), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on http://127.0.0.1:{port}\n"
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.usefixtures("service")
def test_a_county_comes_in_and_its_age_is_known(weldgate: Weldgate) -> None:
    first, again, standing = weldgate("sync", "--once"), weldgate("sync", "--once"), weldgate("sources")
    assert (first.exit_code, again.exit_code, standing.exit_code) == (0, 0, 0)
    assert "1,603 machines, 66 permits, 86 work_hours; 7,360 changed, registry version 1" in first.stdout
    assert "county: nothing new" in again.stdout
    assert [word for word in standing.stdout.splitlines()[1].split() if word in ("county", "s", "confirmed")] == [
        "county",
        "s",
        "confirmed",
    ]


def test_a_source_that_does_not_answer_is_told_and_its_data_is_old(weldgate: Weldgate) -> None:
    failed, standing = weldgate("sync", "--once"), weldgate("sources")
    assert failed.exit_code == 1
    assert "county: enterprises: connection" in failed.stderr
    assert [word in standing.stdout for word in ("never", "failing", "connection")] == [True] * 3


@pytest.mark.usefixtures("service")
def test_it_goes_on_until_it_is_stopped(weldgate: Weldgate) -> None:
    with subprocess.Popen([sys.executable, "-m", "gateway", "registry", "sync"]) as process:
        eventually(lambda: "confirmed" in weldgate("sources").stdout, what="confirmed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("text", "words", "named"),
    [
        ("", (), "describes no source"),
        ("typo = 1\n", (), "line 1: typo"),
        (DESCRIPTION, ("--source", "city"), "--source city"),
        (DESCRIPTION + '[sources.county.auth]\nkind = "bearer"\ntoken_env = "NOT_SET"\n', (), "NOT_SET"),
        (DESCRIPTION + 'ca_file = "nowhere.pem"\n', (), "nowhere.pem"),
    ],
)
def test_a_mistake_is_one_line(
    weldgate: Weldgate, tmp_path: Path, text: str, words: tuple[str, ...], named: str
) -> None:
    (tmp_path / "registry.toml").write_text(text.format(port=1))
    refused = weldgate("sync", "--once", *words)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith("weldgate: ")
    assert named in refused.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--listen", "here"), "--listen here"),
        (("--fault", "loud=1"), "--fault"),
        (("--push", "http://127.0.0.1:1/"), "--push-secret-file"),
        (("--token-file", "nowhere"), "nowhere"),
        ((), "enterprises.csv"),
    ],
)
def test_the_service_says_what_it_lacks(tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    command = [sys.executable, "-m", "simulator", "registry", "--registry", str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert named in done.stderr
