"""Schemathesis tries the running gateway by its own OpenAPI document, with data that fits and data that does not."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway.store.api_tokens import SCOPES
from tests.api.gateways import PROGRAM, SECRET, call, takes_pushes, token_for
from tests.docs.pages import ROOT
from tests.service.conftest import mosquitto_of_module, prepared, start_gateway_of_module  # noqa: F401  (fixtures)
from tests.support.brokers import Mosquitto
from tests.support.waiting import eventually

EXAMPLES = 25
"""For each route, besides one for each rule of its schema: some 1,700 requests, in half a minute."""
CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_every_route_keeps_to_the_document(
    mosquitto_of_module: Mosquitto,  # noqa: F811
    start_gateway_of_module: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    options = takes_pushes(tmp_path)
    gateway = start_gateway_of_module(mosquitto_of_module.url, program=PROGRAM, options=options).until_ready()
    token = token_for(gateway, *SCOPES)
    bearer = f"Bearer {token}"
    eventually(lambda: call(gateway, "GET", "/registry", Authorization=bearer).status == 200, what="token taken")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    url = f"http://127.0.0.1:{gateway.port}/api/v1/openapi.json"
    done = subprocess.run(
        [*command, url, "--seed", "1", "--max-examples", str(EXAMPLES)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PUSH_SECRET": SECRET.decode(), "API_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.search(r"(\d+) generated, \1 passed", done.stdout)
    assert tried, done.stdout
    assert int(tried[1]) > 500
    assert gateway.alive
    assert [event for event in gateway.events("trouble") if event["where"] == "api"] == []
    assert gateway.rows("SELECT COUNT(*) AS taken FROM registry_events")[0]["taken"] > 0
    assert gateway.rows("SELECT COUNT(*) AS checked FROM ledger WHERE kind = 'check'")[0]["checked"] > 0
    gateway.intact()
