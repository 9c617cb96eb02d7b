"""A gateway at work, read by a real Prometheus with the configuration and the rules of deploy/."""

import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.deploy.files import PROMETHEUS, RULE_FILES, program, read_yaml
from tests.service.conftest import (
    Service,
    StartGateway,
    mosquitto_of_module,
    prepared,
    start_gateway_of_module,
)
from tests.support.brokers import Mosquitto, free_port
from tests.support.chips import Chips
from tests.support.gateway import weldgate
from tests.support.waiting import eventually

__all__ = ["mosquitto_of_module", "prepared", "start_gateway_of_module"]

EVERY = "500ms"
"""Instead of the quarter and the whole minute of deploy/: a test has not that long."""
SOURCES = (
    '[sources.province]\nkind = "http"\nbase_url = "http://127.0.0.1:9"\nregistries = ["operators"]\nrequired = true\n'
)
POLICY = '[rules]\nregistry_stale = "warn"\n'


@dataclass(frozen=True)
class Prometheus:
    """What a running Prometheus knows."""

    port: int

    def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer; what Prometheus finds wrong fails the test."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def value(self, expr: str) -> float:
        """The sum over all series, 0 where there are none."""
        return sum(float(series["value"][1]) for series in self.query(expr))

    def exported(self) -> dict[str, frozenset[str]]:
        """Every metric with the names of the labels that any of its series has."""
        names: dict[str, set[str]] = {}
        for series in self.get("series", **{"match[]": '{__name__=~".+"}'}):
            names.setdefault(series["__name__"], set()).update(series)
        return {name: frozenset(labels) for name, labels in names.items()}


def _configured(folder: Path, targets: dict[str, str]) -> Path:
    """The configuration of deploy/ with other addresses and a shorter step; its path."""
    config = read_yaml(PROMETHEUS / "prometheus.yml")
    config["global"] = {"scrape_interval": EVERY, "evaluation_interval": EVERY}
    config.pop("alerting")
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    (folder / "rules").mkdir()
    for path in RULE_FILES:
        written = read_yaml(path)
        for group in written["groups"]:
            group.pop("interval", None)
        (folder / "rules" / path.name).write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / "prometheus.yml"


@pytest.fixture(scope="module")
def service(
    mosquitto_of_module: Mosquitto, start_gateway_of_module: StartGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A gateway that expects a source which never came, and lets people weld all the same."""
    sources = tmp_path_factory.mktemp("sources") / "registry.toml"
    sources.write_text(SOURCES, encoding="utf-8")
    options = ("--registry", str(sources))
    gateway = start_gateway_of_module(mosquitto_of_module.url, policy=POLICY, options=options).until_ready()
    with Chips(mosquitto_of_module.port) as chips:
        yield Service(gateway, chips)


@pytest.fixture(scope="module")
def textfile(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an audit of the gateway's ledger left for Prometheus."""
    path = tmp_path_factory.mktemp("audit") / "metrics"
    done = weldgate("audit", "verify", "--textfile", str(path), "--database", service.gateway.url)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture(scope="module")
def host(textfile: Path) -> Iterator[str]:
    """Hands out the textfile as node_exporter does; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(textfile.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def prometheus(service: Service, host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Reads the gateway while people weld; ready once it has seen figures rise."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    own = f"127.0.0.1:{port}"
    config = _configured(folder, {"weldgate": f"127.0.0.1:{service.gateway.port}", "host": host, "prometheus": own})
    command = [
        program("prometheus"),
        *(f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address={own}", "--log.level=warn"),
    ]
    seen = Prometheus(port)
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for times in (1, 2):
                _a_day_of_work(service)
                eventually(lambda: _has_seen(seen, times), what="seen by Prometheus")  # noqa: B023  (called at once)
            eventually(lambda: seen.query("instance:weldgate_answer_seconds:p99_rate5m > 0"), what="recorded")
            yield seen
        finally:
            process.kill()


def _has_seen(prometheus: Prometheus, times: int) -> bool:
    try:
        return prometheus.value('weldgate_usage_seconds_total{what="arc"}') >= 60 * times
    except OSError:
        return False


def _a_day_of_work(service: Service) -> None:
    """Somebody welds, somebody is refused, somebody passes by an override; a chip reports something unusable."""
    machine, welder = service.pair()
    chips, url = service.chips, service.gateway.url
    chips.to_gateway(machine, "status", {"online": True})
    session_id = chips.ask(machine, welder).session_id or ""
    chips.event(machine, "unlocked", session_id)
    chips.usage(machine, session_id, 10, final=True, relay="open")
    chips.event(machine, "locked", session_id, seq=2, reason="operator")
    other, _ = service.pair()
    assert chips.codes(other, "P-NEVER") == ["operator_not_employed"]
    words = ("--code", "operator_not_employed", "--minutes", "30", "--by", "Wang An", "--reason", "a test")
    asked = weldgate("override", "ask", "P-NEVER", other, *words, "--database", url).stdout.splitlines()[0]
    done = weldgate("override", "approve", asked, "--by", "Li Bo", "--level", "regulator", "--database", url)
    assert done.returncode == 0, done.stderr
    eventually(lambda: chips.ask(other, "P-NEVER").outcome == "allow", what="the override is in force")
    chips.event(other, "locked", chips.ask(other, "P-NEVER").session_id, reason="operator")
    chips.to_gateway(machine, "usage", {"nonsense": True})
