"""``weldsim registry`` as a process: what it serves can be changed, and its faults switched, while it runs."""

import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.support.brokers import free_port
from tests.support.waiting import eventually

STARTED_WITHIN_S = 20.0


class RegistryService:
    """``with RegistryService(folder) as registry``; ``stop`` and ``start`` as a registry goes away and comes back."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        listen = ("--registry", str(self.folder), "--listen", f"127.0.0.1:{self.port}")
        command = [sys.executable, "-m", "simulator", "registry", *listen, *self.options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        eventually(self._answers, STARTED_WITHIN_S, "the registry service's answer")
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def change(self, **rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows by registry; each names its key and the fields that change. The events that a push would tell of it."""
        told: list[dict[str, Any]] = self._post("change", rows)["events"]
        return told

    def faults(self, **switched: Any) -> None:
        """Those that are not named are off."""
        self._post("faults", switched)

    def _post(self, what: str, content: Any) -> Any:
        body = msgspec.json.encode(content)
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/control/{what}", body), timeout=10) as answer:
            return msgspec.json.decode(answer.read())

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/openapi.json", timeout=1):
                return True
        except OSError:
            return False

    def described(self, path: Path, **keys: Any) -> Path:
        """A registry.toml with this service as the source ``province``, written to ``path``."""
        settings = {"kind": "http", "base_url": f"{self.url}/v1", "lookup": "/operators/{operator_id}/file"} | keys
        settings.setdefault("registries", ["enterprises", "operators", "certificates", "employments", "machines"])
        lines = (f"{key} = {msgspec.json.encode(value).decode()}" for key, value in settings.items())
        path.write_text("[sources.province]\n" + "\n".join(lines) + "\n")
        return path
