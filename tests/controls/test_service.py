"""Orders reach a running gateway within a second: locks at the chip, ended sessions, overrides, rolling codes."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.clock import now_ms
from gateway.core.credential import STEP_S, make_code, step_at
from gateway.keys import open_code_keys
from gateway.wire.tokens import Verifier
from tests.service import county
from tests.service.conftest import Prepared, Service, StartGateway, started_mosquitto
from tests.support.brokers import Mosquitto
from tests.support.chips import Chips
from tests.support.gateway import Gateway, weldgate
from tests.support.waiting import eventually

VISIBLE_WITHIN_S = 1.0
WANG = ("--by", "Wang An", "--reason", "an order of this test")


class Office:
    """People who give orders to the gateway of the module, by command."""

    def __init__(self, gateway: Gateway) -> None:
        self.url, self.keys = gateway.url, gateway.keys

    def does(self, *words: str) -> list[str]:
        done = weldgate(*words, "--database", self.url)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    def refuses(self, *words: str) -> str:
        done = weldgate(*words, "--database", self.url)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def override(self, operator: str, machine: str, *codes: str, minutes: int = 30) -> str:
        """One that two people made; its id."""
        named = [word for code in codes for word in ("--code", code)]
        override_id = self.does("override", "ask", operator, machine, *named, "--minutes", str(minutes), *WANG)[0]
        self.does("override", "approve", override_id, "--by", "Li Bo", "--level", "regulator")
        return override_id

    def code(self, operator: str) -> str:
        return self.does("operator", "code", operator, "--keys", str(self.keys))[0]


@pytest.fixture(scope="module")
def office(service: Service) -> Office:
    return Office(service.gateway)


@pytest.fixture(scope="module")
def verifier(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    """What a chip holds."""
    target = tmp_path_factory.mktemp("keys") / "chips.json"
    done = weldgate("keys", "public", "--out", str(target), "--keys", str(service.gateway.keys))
    assert done.returncode == 0, done.stderr
    return Verifier(msgspec.json.decode(target.read_bytes()))


def works(service: Service, machine: str, welder: str) -> str:
    """The welder is let in, the relay closes; the session."""
    decision = service.chips.ask(machine, welder)
    assert decision.session_id is not None, decision.reasons
    service.chips.event(machine, "unlocked", decision.session_id)
    eventually(lambda: service.gateway.sessions(machine)[-1]["unlocked_at"], what="unlocked")
    return decision.session_id


def comes_to(service: Service, machine: str, credential: str, codes: list[str]) -> float:
    """Seconds until a scan is decided with these codes, ``[]`` for an allow."""
    began = time.monotonic()
    eventually(lambda: service.chips.codes(machine, credential) == codes, what=f"{codes}")
    return time.monotonic() - began


def ends(service: Service, machine: str, session_id: str, reason: str) -> None:
    """The chip carries the lock out; the session ends with this reason."""
    service.chips.event(machine, "locked", session_id)
    eventually(lambda: ended(service, machine, session_id) == reason, what=f"ended: {reason}")


def ended(service: Service, machine: str, session_id: str) -> Any:
    rows = [row for row in service.gateway.sessions(machine) if row["session_id"] == session_id]
    return rows[0]["end_reason"]


def claims_of(verifier: Verifier, service: Service, machine: str, number: int = 1) -> dict[str, object]:
    return verifier.claims(service.chips.command(machine, number=number).content["command"])


# --- machines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "reason"), [("lock", "remote"), ("out-of-service", "out_of_service")], ids=["lock", "out of service"]
)
def test_a_held_machine_is_locked_by_a_signed_command_and_lets_nobody_in(
    service: Service, office: Office, verifier: Verifier, order: str, reason: str
) -> None:
    machine, welder = service.pair()
    session_id = works(service, machine, welder)
    ordered_at = time.time()
    said = office.does("machine", order, machine, *WANG)
    command = service.chips.command(machine)
    claims = verifier.claims(command.content["command"])
    assert (claims["cmd"], claims["aud"], claims["sid"]) == ("lock", machine, session_id)
    assert (claims["when"], claims["deadline_s"], claims["reason"]) == ("between_arcs", 120, reason)
    assert (claims["n"], claims["jti"]) == (1, command.content["command_id"])
    issued, expires = claims["iat"], claims["exp"]
    assert isinstance(issued, int)
    assert isinstance(expires, int)
    assert int(ordered_at) <= issued <= time.time() < expires
    assert not command.retained
    assert said[-1].endswith(session_id)
    assert service.chips.codes(machine, welder) == ["machine_out_of_service"]
    ends(service, machine, session_id, reason)
    assert service.chips.codes(machine, welder) == ["machine_out_of_service"]
    office.does("machine", "unlock", machine, *WANG)
    comes_to(service, machine, welder, [])


def test_a_lock_reaches_the_chip_and_a_release_the_gate_within_a_second(
    service: Service, office: Office, record_property: Callable[[str, object], None]
) -> None:
    took = []
    for _ in range(3):
        machine, welder = service.pair()
        session_id = works(service, machine, welder)
        office.does("machine", "lock", machine, *WANG)
        given = time.monotonic()
        locked = service.chips.command(machine).at - given
        ends(service, machine, session_id, "remote")
        office.does("machine", "unlock", machine, *WANG)
        took.append((locked, comes_to(service, machine, welder, [])))
    record_property("seconds", took)
    for seconds in zip(*took, strict=True):
        assert statistics.median(seconds) < VISIBLE_WITHIN_S, took


def test_a_lock_is_sent_again_until_the_chip_reports_it(service: Service, office: Office, verifier: Verifier) -> None:
    (silent, welder), (prompt, other) = service.pair(), service.pair()
    session_id, other_session = works(service, silent, welder), works(service, prompt, other)
    office.does("machine", "lock", prompt, *WANG)
    service.chips.command(prompt)
    ends(service, prompt, other_session, "remote")
    reported = len(service.chips.commands(prompt))
    office.does("machine", "lock", silent, *WANG)
    first, again = claims_of(verifier, service, silent, 1), claims_of(verifier, service, silent, 2)
    assert (again["jti"], again["n"], again["sid"]) == (first["jti"], first["n"], session_id)
    assert len(service.chips.commands(prompt)) == reported
    (record,) = service.gateway.rows("SELECT * FROM ledger WHERE kind = 'command' AND machine_id = ?", silent)
    assert record["message_id"] == first["jti"]
    ends(service, silent, session_id, "remote")


def test_a_held_machine_shows_who_holds_it_why_and_what_came_of_it(service: Service, office: Office) -> None:
    machine, welder = service.pair()
    session_id = works(service, machine, welder)
    service.chips.to_gateway(
        machine, "status", {"online": True, "chip": "WG-0", "firmware": "1.4.2", "relay": "closed"}
    )
    service.chips.usage(machine, session_id, 1, current_a=120.5)
    eventually(lambda: service.gateway.rows("SELECT 1 FROM usage WHERE session_id = ?", session_id), what="usage")
    before = "\n".join(office.does("machine", "show", machine))
    assert f"{session_id}  welding" in before
    assert "在线 online" in before
    assert "firmware 1.4.2  relay closed" in before
    assert welder not in before
    office.does("machine", "lock", machine, *WANG)
    service.chips.command(machine)
    comes_to(service, machine, welder, ["machine_out_of_service", "chip_mismatch"])
    after = "\n".join(office.does("machine", "show", machine))
    assert "已锁定 locked  自 since" in after
    assert "Wang An: an order of this test" in after
    assert f"{session_id}  draining  remote" in after
    assert "✗ machine_out_of_service: 这台焊机已被锁定停用。" in after


def test_an_order_that_was_given_while_no_gateway_ran_holds_from_its_start_on(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    gateway.drain()
    Office(gateway).does("machine", "lock", county.machine(1), *WANG)
    gateway.start().until_ready()
    with Chips(mosquitto.port) as chips:
        assert chips.codes(county.machine(1), county.welder(1)) == ["machine_out_of_service"]


# --- sessions ---------------------------------------------------------------------------------------------------


def test_a_session_is_ended_by_order_and_its_welder_may_scan_again(
    service: Service, office: Office, verifier: Verifier
) -> None:
    machine, welder = service.pair()
    session_id = works(service, machine, welder)
    assert any(session_id in line and welder in line for line in office.does("session", "list", "--machine", machine))
    office.does("session", "end", session_id, *WANG)
    claims = claims_of(verifier, service, machine)
    assert (claims["cmd"], claims["sid"], claims["reason"]) == ("lock", session_id, "remote")
    assert "its end is ordered already" in office.refuses("session", "end", session_id, *WANG)
    ends(service, machine, session_id, "remote")
    assert "(remote)" in office.refuses("session", "end", session_id, *WANG)
    assert len(office.does("session", "list", "--machine", machine)) == 1
    assert any("remote" in line for line in office.does("session", "list", "--ended", "--machine", machine))
    assert service.chips.codes(machine, welder) == []


# --- overrides --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stranger(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Registers somebody whom the firm does not employ."""
    serials: Iterator[int] = iter(range(800, 900))

    def register(**certificate: Any) -> str:
        serial = next(serials)
        operator_id = f"P-STRANGER-{serial}"
        rows: dict[str, list[county.Row]] = {
            "operators": [(operator_id, "样例乙", county.id_number(serial), "", "active")],
            "certificates": [county.certificate(operator_id, serial, **certificate)],
        }
        files = county.write(tmp_path_factory.mktemp("stranger"), rows)
        gateway = service.gateway
        done = weldgate("registry", "import", str(files), "--database", gateway.url, "--keys", str(gateway.keys))
        assert done.returncode == 0, done.stderr
        return operator_id

    return register


def test_an_override_lets_somebody_weld_whom_the_firm_does_not_employ(
    service: Service, office: Office, verifier: Verifier, stranger: Callable[..., str]
) -> None:
    (machine, _), (elsewhere, _) = service.pair(), service.pair()
    operator = stranger()
    comes_to(service, machine, operator, ["operator_not_employed"])
    override_id = office.override(operator, machine, "operator_not_employed", minutes=1)
    began = time.time()
    comes_to(service, machine, operator, [])
    assert service.chips.codes(elsewhere, operator) == ["operator_not_employed", "operator_in_session"]
    (session,) = service.gateway.sessions(machine)
    decision = service.chips.answer(machine, session["request_id"]).content
    claims = verifier.claims(decision["grant"])
    lease_s, start_by = claims["lease_s"], claims["exp"]
    assert isinstance(lease_s, int)
    assert isinstance(start_by, int)
    assert start_by + lease_s <= began + 60
    listed = next(line for line in office.does("override", "list", "--active") if override_id in line)
    assert "Wang An" in listed
    assert "Li Bo (regulator)" in listed
    assert listed.split()[-7:-5] == ["1", "1"]  # used, let in; then the reason's five words
    service.gateway.intact()


def test_an_override_leaves_every_other_check_as_it_is(
    service: Service, office: Office, stranger: Callable[..., str]
) -> None:
    machine, _ = service.pair()
    operator = stranger(valid_until="2026-01-01", review_due="")
    comes_to(service, machine, operator, ["operator_not_employed", "certificate_expired"])
    override_id = office.override(operator, machine, "operator_not_employed")
    comes_to(service, machine, operator, ["certificate_expired"])
    listed = next(line for line in office.does("override", "list", "--active") if override_id in line)
    assert listed.split()[-6] == "0", "nobody was let in"


def test_work_that_rests_on_an_override_is_locked_when_somebody_ends_it(
    service: Service, office: Office, verifier: Verifier, stranger: Callable[..., str]
) -> None:
    machine, _ = service.pair()
    operator = stranger()
    comes_to(service, machine, operator, ["operator_not_employed"])
    override_id = office.override(operator, machine, "operator_not_employed")
    comes_to(service, machine, operator, [])
    session_id = service.gateway.sessions(machine)[-1]["session_id"]
    service.chips.event(machine, "unlocked", session_id)
    office.does("override", "end", override_id, *WANG)
    claims = claims_of(verifier, service, machine)
    assert (claims["cmd"], claims["sid"], claims["reason"]) == ("lock", session_id, "revoked")
    ends(service, machine, session_id, "revoked")
    assert service.chips.codes(machine, operator) == ["operator_not_employed"]


def test_by_override_somebody_takes_over_a_machine_that_another_welder_left_open(
    service: Service, office: Office
) -> None:
    (machine, welder), (_, other) = service.pair(), service.pair()
    session_id = works(service, machine, welder)
    assert service.chips.codes(machine, other) == ["machine_in_session"]
    office.override(other, machine, "machine_in_session")
    comes_to(service, machine, other, [])
    assert ended(service, machine, session_id) == "replaced"
    assert service.gateway.sessions(machine)[-1]["operator_id"] == other


def test_by_override_somebody_leaves_a_machine_behind_which_is_then_locked(
    service: Service, office: Office, verifier: Verifier
) -> None:
    (left, welder), (machine, _) = service.pair(), service.pair()
    session_id = works(service, left, welder)
    assert service.chips.codes(machine, welder) == ["operator_in_session"]
    office.override(welder, machine, "operator_in_session")
    comes_to(service, machine, welder, [])
    claims = claims_of(verifier, service, left)
    assert (claims["cmd"], claims["aud"], claims["sid"]) == ("lock", left, session_id)
    assert ended(service, left, session_id) == "replaced"


def test_until_a_second_person_has_approved_nothing_changes(
    service: Service, office: Office, stranger: Callable[..., str]
) -> None:
    machine, _ = service.pair()
    operator = stranger()
    comes_to(service, machine, operator, ["operator_not_employed"])
    asked = ("override", "ask", operator, machine, "--code", "operator_not_employed", "--minutes", "5", *WANG)
    override_id = office.does(*asked)[0]
    for by in ("Wang An", " wang  an", operator, "样例乙"):
        assert f"by = {' '.join(by.split())!r}" in office.refuses("override", "approve", override_id, "--by", by)
    version = service.gateway.rows("SELECT version FROM registry_state")[0]["version"]
    eventually(lambda: service.gateway.metric("weldgate_registry_version") == version, what="taken over")
    assert service.chips.codes(machine, operator) == ["operator_not_employed"]


# --- rolling codes ----------------------------------------------------------------------------------------------


def test_a_rolling_code_opens_once(service: Service, office: Office) -> None:
    machine, welder = service.pair()
    code = office.code(welder)
    assert service.chips.codes(machine, code) == []
    assert service.gateway.sessions(machine)[-1]["operator_id"] == welder
    assert service.chips.codes(machine, code) == ["credential_replayed"]


def test_a_code_that_was_shown_is_used_up_also_after_a_restart(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url).until_ready()
    code = Office(gateway).code(county.welder(1))
    with Chips(mosquitto.port) as chips:
        assert chips.codes(county.machine(1), code) == []
        gateway.kill()
        gateway.start().until_ready()
        assert chips.codes(county.machine(1), code) == ["credential_replayed"]


def test_a_code_is_taken_one_step_early_or_late_and_no_more(service: Service) -> None:
    key = open_code_keys(service.gateway.keys)[0]
    step_ms = STEP_S * 1000
    eventually(lambda: now_ms() % step_ms < step_ms * 5 // 6, what="the step that holds goes on for five seconds")
    step = step_at(now_ms())
    for off, codes in ((-2, ["credential_expired"]), (-1, []), (1, []), (2, ["credential_expired"])):
        machine, welder = service.pair()
        assert service.chips.codes(machine, make_code(key, welder, step + off)) == codes, off


def test_a_code_that_somebody_made_up_names_nobody(service: Service, office: Office) -> None:
    (machine, welder), (_, other) = service.pair(), service.pair()
    code = office.code(welder)
    forged = code[:-1] + ("A" if code[-1] != "A" else "B")
    for wrong in (forged, code.replace(welder, other), make_code(b"x" * 32, welder, step_at(now_ms()))):
        assert service.chips.codes(machine, wrong) == ["credential_unknown"]
    assert service.chips.codes(machine, code) == [], "a forged code uses nothing up"


def test_where_the_policy_takes_codes_alone_a_badge_opens_nothing(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    policy = 'version = "codes only"\n[credentials]\nkinds = ["code"]\n'
    gateway = start_gateway(mosquitto.url, policy=policy).until_ready()
    with Chips(mosquitto.port) as chips:
        assert chips.codes(county.machine(1), county.welder(1)) == ["credential_unknown"]
        assert chips.codes(county.machine(1), Office(gateway).code(county.welder(1))) == []


def test_codes_of_a_new_secret_are_taken_from_the_next_start_on_and_those_of_the_old_one_still(
    mosquitto: Mosquitto, start_gateway: StartGateway, prepared: Prepared, tmp_path: Path
) -> None:
    keys = tmp_path / "own-keys"
    keys.mkdir(mode=0o700)
    (keys / "vault.json").write_bytes((prepared.keys / "vault.json").read_bytes())
    (keys / "vault.json").chmod(0o600)
    gateway = start_gateway(mosquitto.url, keys=keys).until_ready()
    office = Office(gateway)
    with Chips(mosquitto.port) as chips:
        old = office.code(county.welder(1))
        assert weldgate("keys", "rotate-codes", "--keys", str(keys)).returncode == 0
        new = office.code(county.welder(2))
        assert chips.codes(county.machine(2), new) == ["credential_unknown"]
        gateway.drain()
        gateway.start().until_ready()
        assert chips.codes(county.machine(1), old) == []
        assert chips.codes(county.machine(2), new) == []


@pytest.fixture
def other_mosquitto() -> Iterator[Mosquitto]:
    broker = started_mosquitto()
    yield broker
    broker.close()


def test_two_gateways_on_one_database_never_both_take_the_same_code(
    mosquitto: Mosquitto, other_mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    one = start_gateway(mosquitto.url).until_ready()
    two = start_gateway(other_mosquitto.url, database=one.database).until_ready()
    office, welders = Office(one), range(1, 9)
    with Chips(mosquitto.port) as at_one, Chips(other_mosquitto.port) as at_two:
        asked = []
        for number in welders:
            code = office.code(county.welder(number))
            machine, other = county.machine(number), county.machine(number + 20)
            asked.append((machine, at_one.request(machine, code), other, at_two.request(other, code)))
        for machine, request_id, other, other_id in asked:
            answers = at_one.answer(machine, request_id).content, at_two.answer(other, other_id).content
            assert sorted(answer["outcome"] for answer in answers) == ["allow", "deny"]
            (refused,) = [answer["reasons"] for answer in answers if answer["outcome"] == "deny"]
            assert "credential_replayed" in [reason["code"] for reason in refused]
    assert two.alive
    one.intact()


def test_a_code_that_one_gateway_refused_for_another_reason_is_used_up_for_the_other_as_well(
    mosquitto: Mosquitto, other_mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    one = start_gateway(mosquitto.url).until_ready()
    start_gateway(other_mosquitto.url, database=one.database).until_ready()
    code = Office(one).code(county.welder(1))
    with Chips(mosquitto.port) as at_one, Chips(other_mosquitto.port) as at_two:
        assert at_one.codes("HJ-PRESSURE", code) == ["certificate_wrong_item"]
        assert at_two.codes(county.machine(1), code) == ["credential_replayed"]
