"""A gateway process that takes what one sender pushes, and that sender."""

import base64
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.clock import now_ms
from gateway.registry.push import sign
from gateway.web.routes import ROOT
from tests.support.chips import new_id
from tests.support.gateway import Gateway, weldgate

SECRET = b"the exam centre's own secret key"
PROGRAM = "import gateway.web.access; gateway.web.access.FAILURES_AT_MOST = 10**9; from gateway.cli import app; app()"
"""``python -m gateway`` for whoever tries without a token more often than the limit on failed attempts lets anybody."""


def takes_pushes(folder: Path) -> tuple[str, str]:
    """The option of a gateway that takes what one sender pushes."""
    secret = folder / "exam-centre.secret"
    secret.write_text(f"whsec_{base64.b64encode(SECRET).decode()}\n")
    secret.chmod(0o600)
    described = folder / "registry.toml"
    described.write_text(f'[push.exam-centre]\nsecret_file = "{secret}"\n')
    return "--registry", str(described)


class Answered(Struct):
    status: int
    body: Any


def call(gateway: Gateway, method: str, path: str, body: bytes = b"", **headers: str) -> Answered:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, ROOT + path, body or None, sent)
        response = connection.getresponse()
        content = response.read()
        return Answered(response.status, json.loads(content) if content else None)
    finally:
        connection.close()


def push(gateway: Gateway, *events: Mapping[str, Any], secret: bytes = SECRET, off_s: int = 0) -> Answered:
    """One delivery, signed now."""
    body, delivery, at = json.dumps({"events": events}).encode(), new_id("msg"), str(now_ms() // 1000 + off_s)
    signature = sign(secret, delivery, at, body)
    return call(
        gateway, "POST", "/registry/events", body,
        Content_Type="application/json", webhook_id=delivery, webhook_timestamp=at, webhook_signature=signature,
    )  # fmt: skip


def event(kind: str, **said: Any) -> dict[str, Any]:
    return {"event_id": new_id("evt"), "at": now_ms(), "kind": kind, **said}


def token_for(gateway: Gateway, *scopes: str) -> str:
    """A token made beside the running gateway."""
    options = [word for scope in scopes for word in ("--scope", scope)]
    done = weldgate("token", "add", "test", *options, "--database", gateway.url)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
