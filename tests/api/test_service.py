"""A real gateway: a push opens and locks within a second, tokens come and go while it runs, the CLI makes them."""

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import now_ms
from tests.api.gateways import SECRET, call, event, push, takes_pushes, token_for
from tests.docs.pages import DOCS, blocks
from tests.service import county
from tests.service.conftest import (  # noqa: F401  (fixtures)
    Service,
    mosquitto_of_module,
    prepared,
    start_gateway_of_module,
)
from tests.support.brokers import Mosquitto
from tests.support.chips import Chips
from tests.support.gateway import weldgate
from tests.support.waiting import eventually

WITHIN_S = 1.0
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def service(
    mosquitto_of_module: Mosquitto,  # noqa: F811
    start_gateway_of_module: Any,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    options = takes_pushes(tmp_path_factory.mktemp("described"))
    gateway = start_gateway_of_module(mosquitto_of_module.url, options=options).until_ready()
    with Chips(mosquitto_of_module.port) as chips:
        yield Service(gateway, chips)
    gateway.close()


def new_welder(serial: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A person whom no registry knows, with the events that certify and hire."""
    operator_id, today = f"P-PUSHED-{serial}", date.today()  # noqa: DTZ011  (months away from any limit)
    certificate = {
        "number": f"T{county.id_number(serial)}",
        "operator_id": operator_id,
        "item": "fusion",
        "valid_from": str(today - timedelta(days=1)),
        "valid_until": str(today + timedelta(days=2000)),
        "review_due": str(today + timedelta(days=1000)),
        "status": "valid",
        "verification": "verified",
    }
    holder = {"operator_id": operator_id, "name": "样例丙", "id_number": county.id_number(serial)}
    issued = event("issue", certificate=certificate, operator=holder)
    hired = event("hire", operator_id=operator_id, uscc=county.FIRM, **{"from": str(today)})
    return operator_id, issued, hired


def outcomes(answer: Any) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["outcome"] for one in answer.body["outcomes"]]


def test_a_newly_certified_welder_starts_a_machine_within_a_second(service: Service, record_property: Record) -> None:
    took = []
    for serial in range(800, 805):
        machine, _ = service.pair()
        operator_id, issued, hired = new_welder(serial)
        assert service.chips.codes(machine, operator_id) == ["credential_unknown"]
        assert outcomes(push(service.gateway, issued, hired)) == ["applied", "applied"]
        answered = time.monotonic()
        while service.chips.codes(machine, operator_id):
            assert time.monotonic() - answered < WITHIN_S
        took.append(time.monotonic() - answered)
    record_property("seconds", took)


@pytest.mark.parametrize("how", ["revoke", "block", "leave", "stop_production"])
def test_a_right_that_is_taken_away_locks_a_running_session_within_a_second(
    service: Service, how: str, record_property: Record
) -> None:
    machine, welder = service.pair()
    number = int(welder[1:])
    said: dict[str, dict[str, Any]] = {
        "revoke": {"number": f"T{county.id_number(number)}"},
        "block": {"operator_id": welder},
        "leave": {"operator_id": welder, "uscc": county.FIRM, "until": str(date.today() - timedelta(days=1))},  # noqa: DTZ011
        "stop_production": {"uscc": county.FIRM},
    }
    granted = service.chips.ask(machine, welder)
    assert granted.outcome == "allow"
    service.chips.event(machine, "unlocked", granted.session_id)
    assert outcomes(push(service.gateway, event(how, **said[how]))) == ["applied"]
    answered = time.monotonic()
    lock = service.chips.command(machine, within_s=WITHIN_S)
    record_property("seconds", lock.at - answered)
    if how == "stop_production":
        assert outcomes(push(service.gateway, event("resume", uscc=county.FIRM))) == ["applied"]


def test_a_delivery_that_comes_again_is_answered_as_before(service: Service) -> None:
    blocked = event("block", operator_id="P-OVERDUE")
    first, again = push(service.gateway, blocked), push(service.gateway, blocked)
    assert (first.body["sender"], outcomes(first), outcomes(again)) == ("exam-centre", ["applied"], ["applied"])
    assert [first.body["outcomes"][0]["repeated"], again.body["outcomes"][0]["repeated"]] == [False, True]
    version = first.body["outcomes"][0]["version"]
    (record,) = [
        json.loads(row["record"])
        for row in service.gateway.rows("SELECT record FROM ledger WHERE kind = 'registry'")
        if json.loads(row["record"])["body"]["version"] == version
    ]
    assert record["body"]["events"] == [blocked["event_id"]]


@pytest.mark.parametrize("wrong", [{"secret": b"?" * 32}, {"off_s": -301}, {"off_s": 301}])
def test_what_no_sender_signed_now_changes_nothing(service: Service, wrong: dict[str, Any]) -> None:
    answer = push(service.gateway, event("block", operator_id="P-EXPIRED"), **wrong)
    assert (answer.status, answer.body["title"]) == (401, "Unauthorized")
    assert service.gateway.rows("SELECT status FROM operators WHERE operator_id = 'P-EXPIRED'") == [
        {"status": "active"}
    ]


def test_bad_events_leave_the_good_ones_and_all_bad_is_an_error(service: Service) -> None:
    good, bad = event("block", operator_id="P-NOT-YET"), event("block", operator_id="")
    answer = push(service.gateway, bad, good)
    assert outcomes(answer) == ["invalid", "applied"]
    assert "operator_id" in answer.body["outcomes"][0]["problem"]
    refused = push(service.gateway, bad)
    assert (refused.status, [one["outcome"] for one in refused.body["outcomes"]]) == (422, ["invalid"])


def test_a_database_that_takes_no_writes_takes_no_delivery(service: Service) -> None:
    late = event("block", operator_id="P-SUSPENDED")
    with service.gateway.locked_database():
        assert push(service.gateway, late).status == 503
    eventually(lambda: service.gateway.ready, 10, "ready again")
    answer = push(service.gateway, late)
    assert answer.body["outcomes"][0] | {"version": None} == {
        "event_id": late["event_id"],
        "outcome": "applied",
        "repeated": False,
        "version": None,
        "problem": None,
    }


def test_what_a_push_did_is_seen_over_http(service: Service) -> None:
    operator_id, issued, hired = new_welder(850)
    pushed = push(service.gateway, issued, hired).body["outcomes"][0]["version"]
    token = token_for(service.gateway, "registry:read")

    def seen() -> Any:
        return call(service.gateway, "GET", f"/operators/{operator_id}", Authorization=f"Bearer {token}")

    eventually(lambda: seen().status == 200, WITHIN_S, "seen")
    assert (seen().body["status"], seen().body["version"]) == ("active", pushed)
    versions = call(service.gateway, "GET", "/registry/versions?limit=1", Authorization=f"Bearer {token}")
    assert [(one["version"], one["source"]) for one in versions.body["versions"]] == [(pushed, "exam-centre")]


def test_no_number_that_was_pushed_stands_in_log_answer_or_ledger(service: Service) -> None:
    _, issued, hired = new_welder(860)
    answer = push(service.gateway, issued, hired)
    number = county.id_number(860)
    ledger = str(service.gateway.rows("SELECT record FROM ledger"))
    for text in (json.dumps(answer.body), service.gateway.log, ledger, service.gateway.get("/metrics")[1]):
        assert number not in text


def test_the_ledger_stays_intact(service: Service) -> None:
    push(service.gateway, event("block", operator_id="P-REVOKED"))
    service.gateway.intact()


# --- tokens -----------------------------------------------------------------------------------------------------


def test_a_token_opens_as_soon_as_it_is_made_and_closes_within_a_second_of_its_revocation(service: Service) -> None:
    gateway = service.gateway
    token = token_for(gateway, "codes")
    before = now_ms()

    def status() -> int:
        return call(gateway, "POST", f"/operators/{county.welder(1)}/code", Authorization=f"Bearer {token}").status

    eventually(lambda: status() == 200, 2 * WITHIN_S, "taken")
    given = call(gateway, "POST", f"/operators/{county.welder(1)}/code", Authorization=f"Bearer {token}").body
    assert given["valid_until"] > before
    assert service.chips.codes(county.machine(1), given["code"]) == []
    assert service.chips.codes(county.machine(1), given["code"]) == ["credential_replayed"]
    revoked = weldgate("token", "revoke", token.split("_")[1], "--database", gateway.url)
    assert revoked.returncode == 0
    eventually(lambda: status() in (401, 429), 2 * WITHIN_S, "refused")
    assert token not in gateway.log
    assert given["code"] not in gateway.log
    assert gateway.events("api.denied")
    assert gateway.metric('weldgate_api_denied_total{kind="unauthorized"}') > 0


def test_a_token_can_go_to_a_file_of_its_owner_alone(service: Service, tmp_path: Path) -> None:
    target, database = tmp_path / "token", service.gateway.url
    add = ("token", "add", "page", "--scope", "codes", "--days", "30", "--out", str(target), "--database", database)
    done = weldgate(*add)
    token = target.read_text().strip()
    assert (done.returncode, done.stdout, target.stat().st_mode & 0o777) == (0, "", 0o600)
    assert token.startswith("wgt_")
    assert json.loads(done.stderr)["event"] == "token.added"
    again = weldgate(*add)
    assert (again.returncode, "is there already" in again.stderr, target.read_text().strip()) == (1, True, token)


def test_the_list_shows_every_token_and_none_itself(service: Service) -> None:
    database = ("--database", service.gateway.url)
    token = weldgate("token", "add", "dashboard", "--scope", "registry:read", "--days", "1", *database).stdout.strip()
    token_id = token.split("_")[1]
    assert "holds until" in _line(service, token_id)
    assert weldgate("token", "revoke", token_id, *database).returncode == 0
    listed = _line(service, token_id)
    assert "dashboard" in listed
    assert "registry:read" in listed
    assert "revoked" in listed
    assert token not in weldgate("token", "list", *database).stdout
    assert weldgate("token", "revoke", token_id, *database).returncode == 1


def _line(service: Service, token_id: str) -> str:
    listed = weldgate("token", "list", "--database", service.gateway.url)
    (line,) = [line for line in listed.stdout.splitlines() if token_id in line]
    return line


# --- the example of the documents -------------------------------------------------------------------------------


def test_the_signed_example_runs(service: Service, tmp_path: Path) -> None:
    (block,) = blocks(DOCS / "api.md", "python push")
    script = tmp_path / "push.py"
    script.write_text(block.content, encoding="utf-8")
    url = f"http://127.0.0.1:{service.gateway.port}/api/v1/registry/events"
    secret = f"whsec_{base64.b64encode(SECRET).decode()}"
    command = [sys.executable, str(script), url, secret, "P-FORGED"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"block-\d+ applied\n", done.stdout)
    assert service.gateway.rows("SELECT status FROM operators WHERE operator_id = 'P-FORGED'") == [
        {"status": "blocked"}
    ]
