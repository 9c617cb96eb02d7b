"""The real gateway as a process: started, looked at from outside, drained, killed."""

import http.client
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests.support.brokers import free_port
from tests.support.waiting import eventually

STARTED_WITHIN_S = 30.0
STOPPED_WITHIN_S = 30.0
_SAMPLE = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


def weldgate(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command of ``weldgate`` to its end, in this process: importing it anew each time takes a second."""
    from gateway.cli import app

    result = CliRunner().invoke(app, list(arguments), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


@dataclass
class Gateway:
    """One gateway process over one database file; ``start`` again after ``kill`` continues with the same database."""

    broker: str
    database: Path
    keys: Path
    instance: str = "test"
    policy: Path | None = None
    options: tuple[str, ...] = ()
    log_level: str = "info"
    program: str | None = None
    """Run in place of ``python -m gateway``, with its arguments: for a gateway with something broken inside."""
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    # --- life ---

    def start(self) -> "Gateway":
        """Start without waiting."""
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    @property
    def command(self) -> list[str]:
        policy = ("--policy", str(self.policy)) if self.policy else ()
        program = ("-c", self.program) if self.program else ("-m", "gateway")
        return [
            *(sys.executable, *program, "serve"),
            *("--broker", self.broker, "--database", self.url, "--keys", str(self.keys)),
            *("--http", f"127.0.0.1:{self.port}", "--instance", self.instance, "--log-level", self.log_level),
            *policy,
            *self.options,
        ]

    def until_ready(self) -> "Gateway":
        eventually(lambda: self.alive and self.ready, STARTED_WITHIN_S, f"ready:\n{self.log}")
        return self

    def until_live(self) -> "Gateway":
        eventually(lambda: self.live, STARTED_WITHIN_S, f"live:\n{self.log}")
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None, "the gateway was not started"
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """The gateway's process and those that it has started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    @property
    def alive(self) -> bool:
        """Whether the process runs; one that ended by itself fails the test."""
        assert self._process is not None, "the gateway was not started"
        assert self._process.poll() is None, f"the gateway ended with {self._process.returncode}:\n{self.log}"
        return True

    def kill(self) -> None:
        """As a power failure."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, not waited for."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def drain(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def ended(self) -> int:
        """Waits for the process to end by itself; the exit code."""
        assert self._process is not None
        return self._process.wait(STARTED_WITHIN_S)

    def close(self) -> None:
        """Whatever state it is in: gone."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(STOPPED_WITHIN_S)

    # --- looks ---

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; (0, "") while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    @property
    def live(self) -> bool:
        return self.get("/livez")[0] == 200

    @property
    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def settle(self) -> None:
        """Some turns of its event loop: what had reached the gateway before, messages or a signal, is taken up."""
        for _ in range(3):
            self.get("/livez")

    def not_ready(self, what: str) -> bool:
        """Whether ``/readyz`` names ``what`` (broker, database, registry) as the trouble."""
        status, text = self.get("/readyz")
        return status == 503 and f"{what}: NOT READY" in text

    def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels, as Prometheus reads it."""
        return {name: float(value) for name, value in _SAMPLE.findall(self.get("/metrics")[1])}

    def metric(self, name: str) -> float:
        return self.metrics().get(name, 0.0)

    @property
    def log(self) -> str:
        return self._log_file.read_text() if self._log_file.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's entries of one name."""
        entries = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == name]

    @property
    def _log_file(self) -> Path:
        return self.database.with_suffix(".log")

    # --- the database ---

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What another process sees in the database."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def execute(self, statement: str) -> None:
        """Another process changes the database."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(statement)

    def decisions(self, request_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM ledger WHERE kind = 'decision' AND message_id = ?", request_id)

    def sessions(self, machine_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM sessions WHERE machine_id = ? ORDER BY granted_at", machine_id)

    @contextmanager
    def locked_database(self) -> Iterator[None]:
        """Somebody else writes: no commit gets through meanwhile."""
        with closing(sqlite3.connect(self.database, timeout=20, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def audit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return weldgate("audit", *arguments, "--database", self.url)

    def intact(self) -> None:
        """The chain holds, and every decision comes out again from its own record."""
        for command, says in (("verify", "intact"), ("replay", " 0 different")):
            done = self.audit(command)
            assert done.returncode == 0, done.stdout + done.stderr
            assert says in done.stdout
