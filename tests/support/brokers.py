"""Debian's Mosquitto as a real process on a free port of the loopback."""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01
_SBIN = "/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True)
class Limits:
    """What Mosquitto may hold for one client; its own defaults (20 in flight, 1,000 queued) lose messages.

    ``queued`` 0 means no limit; ``inflight`` 0 means no limit.
    """

    queued: int = 100_000
    inflight: int = 1_000
    persistence: bool = False
    extra: tuple[str, ...] = ()


def mosquitto_binary() -> str | None:
    """The path of the broker, also where sbin is not on the PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Mosquitto:
    """One broker; ``restart`` and ``start`` after ``kill`` keep port and folder, so a persisted queue survives."""

    limits: Limits = field(default_factory=Limits)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="weldgate-mosquitto-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the broker has printed since its first start."""
        return self._path("log").read_text(errors="replace")

    def start(self) -> "Mosquitto":
        """Start and return once it accepts connections; raises RuntimeError with its log."""
        binary = mosquitto_binary()
        if binary is None:
            raise RuntimeError("mosquitto is not installed: apt-get install mosquitto")
        self._path("conf").write_text(self._config())
        with self._path("log").open("ab") as log:
            command = [binary, "-c", str(self._path("conf"))]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._wait_until_it_listens()
        return self

    def stop(self) -> None:
        """Orderly: persists where told to, sends no last wills."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power failure."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop and remove the folder."""
        self.stop()
        self._folder.cleanup()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def _path(self, name: str) -> Path:
        return Path(self._folder.name, f"mosquitto.{name}")

    def _config(self) -> str:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            f"user {_user()}",
            "set_tcp_nodelay true",
            f"max_queued_messages {self.limits.queued}",
            f"max_inflight_messages {self.limits.inflight}",
            "log_type error",
            "log_type warning",
            f"persistence {str(self.limits.persistence).lower()}",
            f"persistence_location {self._folder.name}/",
            *self.limits.extra,
        ]
        return "\n".join(lines) + "\n"

    def _wait_until_it_listens(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(_POLL_S)
        self.kill()
        raise RuntimeError(f"mosquitto did not start:\n{self.log}")


def _user() -> str:
    """As root it would drop to its own user, who may not write into our folder."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
