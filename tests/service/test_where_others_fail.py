"""What goes wrong in systems that do a similar job, one test for each that needs the running service.

The numbers are those of the list in the design's domain page; what is decided by pure functions is tested there.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.service import county
from tests.service.conftest import Service, StartGateway
from tests.support import packets
from tests.support.brokers import Mosquitto
from tests.support.chips import ROOT, Chips, a_request, new_id
from tests.support.fake_broker import FakeBroker
from tests.support.gateway import weldgate
from tests.support.raw_client import RawClient
from tests.support.waiting import eventually

SHORT = "[lease]\nlease_s = 30\nstart_by_s = 1\ndrain_deadline_s = 1\nchip_drain_s = 1\n"
OBSERVE = "[observe]\nenabled = true\n"


def test_1_a_denied_start_opens_no_session(service: Service) -> None:
    machine, welder = service.pair()
    decision = service.chips.ask(machine, "P-EXPIRED")
    assert (decision.outcome, decision.session_id, decision.grant) == ("deny", None, None)
    assert service.gateway.sessions(machine) == []
    assert service.chips.ask(machine, welder).outcome == "allow", "nor does it stand in the way of the next"


def test_2_of_many_who_want_one_machine_at_once_one_wins(service: Service) -> None:
    pairs = [service.pair() for _ in range(12)]
    machine = pairs[0][0]
    with service.gateway.locked_database():  # so that all are there before the first is decided
        asked = [service.chips.request(machine, welder) for _, welder in pairs]
    outcomes = [service.chips.answer(machine, request_id).content["outcome"] for request_id in asked]
    assert sorted(outcomes) == ["allow", *["deny"] * 11]
    assert len(service.gateway.sessions(machine)) == 1


def test_2_of_many_machines_that_one_welder_wants_at_once_one_starts(service: Service) -> None:
    pairs = [service.pair() for _ in range(12)]
    welder = pairs[0][1]
    with service.gateway.locked_database():
        asked = [(machine, service.chips.request(machine, welder)) for machine, _ in pairs]
    outcomes = [service.chips.answer(machine, request_id).content["outcome"] for machine, request_id in asked]
    assert sorted(outcomes) == ["allow", *["deny"] * 11]


def test_4_an_unlock_reply_is_never_retained(service: Service, mosquitto_of_module: Mosquitto) -> None:
    machine, welder = service.pair()
    assert service.chips.ask(machine, welder).outcome == "allow"
    with RawClient(mosquitto_of_module.port, "late") as late:
        late.subscribe(f"{ROOT}/#")
        topics = set()
        while f"{ROOT}/gateway/{service.gateway.instance}/status" not in topics:  # retained: sent at once
            topics.add(late.receive().topic)
        with pytest.raises(TimeoutError):
            late.receive(within_s=0.5)
    assert not [topic for topic in topics if topic.endswith("/decision")]


def test_4_a_retained_request_is_dropped_and_counted(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    with Chips(mosquitto.port) as chips:
        request_id = new_id()
        payload = msgspec.json.encode(a_request("P0001", request_id))
        chips.publish(f"{ROOT}/HJ-0001/request", payload, retain=True)
        gateway = start_gateway(mosquitto.url).until_ready()
        assert chips.ask("HJ-0002", "P0002").outcome == "allow"
        assert chips.answers("HJ-0001", request_id) == []
        assert gateway.sessions("HJ-0001") == []
        assert gateway.metric('weldgate_rejected_total{kind="request"}') == 1


def test_5_an_answer_to_a_chip_that_is_away_is_not_taken_for_delivered(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    """The answer goes out while the chip is off air, and the gateway restarts; the chip asks again and has it."""
    gateway = start_gateway(mosquitto.url).until_ready()
    payload = msgspec.json.encode(a_request("P0001", request_id := new_id()))
    with RawClient(mosquitto.port, "chip") as chip:
        chip.publish(f"{ROOT}/HJ-0001/request", payload)
    eventually(lambda: gateway.decisions(request_id), what="decided while the chip is away")
    gateway.kill()
    gateway.start().until_ready()
    with RawClient(mosquitto.port, "chip") as chip:
        chip.subscribe(f"{ROOT}/HJ-0001/decision")
        chip.publish(f"{ROOT}/HJ-0001/request", payload)
        answer = msgspec.json.decode(chip.receive().payload)
    (session,) = gateway.sessions("HJ-0001")
    assert (answer["outcome"], answer["session_id"]) == ("allow", session["session_id"])


def test_6_a_session_of_which_nothing_is_heard_any_more_ends_by_time(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url, policy=SHORT).until_ready()
    with Chips(mosquitto.port) as chips:
        assert chips.ask("HJ-0001", "P0001").outcome == "allow"
        gateway.kill()  # the reset may be the gateway's own
        gateway.start().until_ready()
        over_within_s = 80.0  # 30 s to take the grant, lease, deadline
        eventually(lambda: gateway.sessions("HJ-0001")[0]["ended_at"], over_within_s, "ended")
        assert gateway.sessions("HJ-0001")[0]["end_reason"] == "unused"
        assert len(gateway.rows("SELECT 1 FROM ledger WHERE kind = 'session_end'")) == 1
        assert chips.ask("HJ-0001", "P0002").outcome == "allow"


def test_7_while_the_server_is_down_nobody_passes(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips:
        gateway.kill()
        asked = chips.request("HJ-0001", "P0001")
        assert chips.is_quiet_for(1.0)
        gateway.start()
        assert chips.answer("HJ-0001", asked).content["outcome"] == "allow", "late by its start, with a fresh grant"


def test_7_while_the_database_is_away_nobody_passes(service: Service) -> None:
    machine, welder = service.pair()
    with service.gateway.locked_database():
        asked = service.chips.request(machine, welder)
        assert service.chips.is_quiet_for(1.0)
    assert service.chips.answer(machine, asked).content["outcome"] == "allow"


def test_8_what_observe_mode_lets_pass_is_counted_and_recorded_all_the_same(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url, policy=OBSERVE).until_ready()
    with Chips(mosquitto.port) as chips:
        decision = chips.ask("HJ-0001", "P-EXPIRED")
        assert decision.outcome == "allow"
        (record,) = gateway.decisions(decision.request_id)
        assert msgspec.json.decode(record["record"])["body"]["decision"]["warnings"] == ["certificate_expired"]
        counted = f'weldgate_warnings_total{{code="certificate_expired",division="{county.DIVISION}"}}'
        assert gateway.metric(counted) == 1


def test_9_a_refusal_is_answered_recorded_counted_and_told_to_others(service: Service) -> None:
    machine, _ = service.pair()
    counter = f'weldgate_decisions_total{{division="{county.DIVISION}",outcome="deny"}}'
    before = service.gateway.metric(counter)
    decision = service.chips.ask(machine, "P-REVOKED")
    assert [reason.code for reason in decision.reasons] == ["certificate_revoked"]
    (record,) = service.gateway.decisions(decision.request_id)
    assert record["outcome"] == "deny"
    assert service.gateway.metric(counter) == before + 1
    feed = f"{ROOT}/feed/{county.DIVISION}/decision"
    told = service.chips.wait_on(feed, lambda content: content["request_id"] == decision.request_id)
    assert told.content["reasons"] == ["certificate_revoked"]
    assert "certificate_revoked" in service.gateway.audit("show", decision.request_id).stdout


def test_10_a_session_that_cannot_be_recorded_does_not_come_to_be(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    """The state must not change first and the audit write fail later: here the ledger refuses every new row."""
    gateway = start_gateway(mosquitto.url).until_ready()
    with Chips(mosquitto.port) as chips:
        gateway.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON ledger WHEN NEW.kind = 'decision' "
            "BEGIN SELECT RAISE(FAIL, 'the ledger is broken'); END"
        )
        asked = chips.request("HJ-0001", "P0001")
        assert chips.is_quiet_for(1.5)
        assert gateway.sessions("HJ-0001") == []
        gateway.execute("DROP TRIGGER broken")
        chips.request("HJ-0001", "P0001", asked)
        chips.answer("HJ-0001", asked)
        assert gateway.alive


FAILING_TASK = """
import sys
from gateway import app, upkeep
from gateway.cli import app as command

async def fail(self, *_):
    raise RuntimeError("this task has died")

{task} = fail
command(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "task",
    [
        "app.Gateway._keep_time",
        "app.Gateway._watch_database",
        "upkeep.Upkeep.watch_registry",
        "upkeep.Upkeep.watch_policy",
    ],
)
def test_14_a_task_that_dies_ends_the_process(
    mosquitto: Mosquitto, start_gateway: StartGateway, tmp_path: Path, task: str
) -> None:
    ended = run_changed(start_gateway, mosquitto.url, FAILING_TASK.format(task=task))
    assert ended.returncode == 1
    assert "this task has died" in ended.stderr


def test_14_the_task_that_talks_mqtt_dies_and_the_process_ends(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    program = FAILING_TASK.replace("{task} = ", "Link.run = ").replace(
        "from gateway import app, upkeep", "from gateway.mqtt.link import Link"
    )
    ended = run_changed(start_gateway, mosquitto.url, program)
    assert ended.returncode == 1
    assert "this task has died" in ended.stderr


FAILING_OBSERVER = """
import sys
from gateway.observe.metrics import Metrics
from gateway.cli import app as command

sound = Metrics.__call__

def fail(self, event):
    sound(self, event)
    raise RuntimeError("this observer always fails")

Metrics.__call__ = fail
command(sys.argv[1:])
"""


def test_14_an_observer_that_fails_changes_no_outcome(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url, program=FAILING_OBSERVER).until_ready()
    with Chips(mosquitto.port) as chips:
        assert chips.ask("HJ-0001", "P0001").outcome == "allow"
        assert chips.codes("HJ-0002", "P-EXPIRED") == ["certificate_expired"]
    assert gateway.metric("weldgate_observer_failures") > 0
    assert gateway.drain() == 0


def run_changed(start_gateway: StartGateway, broker: str, program: str) -> subprocess.CompletedProcess[str]:
    """A gateway with something broken inside, to its end."""
    gateway = start_gateway(broker, program=program)
    return subprocess.CompletedProcess([sys.executable], gateway.ended(), "", gateway.log)


def test_16_no_acknowledgement_before_the_message_is_durable(start_gateway: StartGateway) -> None:
    with FakeBroker() as broker:
        gateway = start_gateway(broker.url)
        with broker.client() as connection:
            gateway.until_ready()
            payload = msgspec.json.encode(a_request("P0001", request_id := new_id()))
            with gateway.locked_database():
                connection.publish(f"{ROOT}/HJ-0001/request", payload, 5)
                assert connection.is_silent(0.5)
                gateway.kill()
        assert gateway.decisions(request_id) == [], "never durable, never acknowledged: the broker still has it"
        gateway.start()
        with broker.client() as connection:
            connection.publish(f"{ROOT}/HJ-0001/request", payload, 1, dup=True)
            assert connection.next_about_chips().kind == packets.PUBACK
            assert request_id.encode() in connection.next_about_chips().payload


def test_18_a_wrong_file_among_the_right_ones_revokes_nobody(service: Service, tmp_path: Path) -> None:
    """See also the tests of the import: all rows or, with one bad row, none."""
    machine, welder = service.pair()
    files = county.write(tmp_path / "files", {"certificates": [county.certificate(welder, 2, status="gone")]})
    gateway = service.gateway
    done = weldgate("registry", "import", str(files), "--database", gateway.url, "--keys", str(gateway.keys))
    assert done.returncode == 1
    assert service.chips.ask(machine, welder).outcome == "allow"
    assert gateway.metric("weldgate_registry_version") == 1
