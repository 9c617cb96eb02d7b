"""From a scanned code to a signed grant or a refusal that a welder understands, on both brokers."""

import time
from pathlib import Path

import msgspec
import pytest

from gateway.core.reasons import REASONS
from gateway.wire.messages import DecisionMessage
from gateway.wire.tokens import Verifier
from tests.service import county
from tests.service.conftest import Service
from tests.support.chips import ROOT
from tests.support.gateway import weldgate
from tests.support.waiting import eventually

FEED = f"{ROOT}/feed/{county.DIVISION}"


@pytest.fixture(scope="module")
def service(service_on_either: Service) -> Service:
    return service_on_either


@pytest.fixture(scope="module")
def verifier(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    """What a chip holds: the public keys as ``weldgate keys public`` writes them."""
    target = tmp_path_factory.mktemp("keys") / "chips.json"
    done = weldgate("keys", "public", "--out", str(target), "--keys", str(service.gateway.keys))
    assert done.returncode == 0, done.stderr
    assert b'"d"' not in target.read_bytes(), "the private part stays where it is"
    return Verifier(msgspec.json.decode(target.read_bytes()))


def of_feed(service: Service, what: str, **fields: str) -> list[dict[str, object]]:
    found = [seen.content for seen in service.chips.on(f"{FEED}/{what}")]
    return [content for content in found if all(content[name] == value for name, value in fields.items())]


def test_an_allow_is_a_signed_grant_for_this_machine_request_and_challenge(
    service: Service, verifier: Verifier
) -> None:
    machine, welder = service.pair()
    before = time.time()
    decision = service.chips.ask(machine, welder, challenge="the-chips-own-challenge")
    assert (decision.outcome, decision.reasons) == ("allow", ())
    assert decision.grant is not None
    claims = verifier.claims(decision.grant)
    assert claims["iss"] == "weldgate"
    assert claims["aud"] == machine
    assert claims["cha"] == "the-chips-own-challenge"
    assert claims["jti"] == decision.request_id
    assert claims["sid"] == decision.session_id
    assert (claims["lease_s"], claims["n"]) == (900, 0)
    issued, start_by = claims["iat"], claims["exp"]
    assert isinstance(issued, int)
    assert isinstance(start_by, int)
    assert 0 < start_by - issued <= 30
    assert before - 1 <= issued <= time.time()


def test_an_allow_is_a_session_and_a_record_in_the_database(service: Service) -> None:
    machine, welder = service.pair()
    decision = service.chips.ask(machine, welder)
    (session,) = service.gateway.sessions(machine)
    assert session["session_id"] == decision.session_id
    assert (session["operator_id"], session["request_id"]) == (welder, decision.request_id)
    assert (session["division"], session["ended_at"]) == (county.DIVISION, None)
    (record,) = service.gateway.decisions(decision.request_id)
    assert (record["outcome"], record["machine_id"], record["operator_id"]) == ("allow", machine, welder)


def test_the_feed_tells_others_of_an_allow_without_credential_grant_or_whole_operator(service: Service) -> None:
    machine, welder = service.pair()
    decision = service.chips.ask(machine, welder)
    seen = service.chips.wait_on(f"{FEED}/decision", lambda content: content["request_id"] == decision.request_id)
    content = seen.content
    assert (content["machine_id"], content["outcome"], content["enterprise"]) == (machine, "allow", county.FIRM)
    assert not {"credential", "grant", "challenge"} & set(content)
    assert welder.encode() not in seen.payload
    assert "*" in content["operator"]
    assert str(decision.grant).encode() not in seen.payload


@pytest.mark.parametrize(
    ("machine", "credential", "codes"),
    [
        ("HJ-9999", "P0001", ["machine_unknown"]),
        ("HJ-SUSPENDED", "P0001", ["machine_suspended"]),
        ("HJ-SCRAP", "P0001", ["machine_decommissioned"]),
        ("HJ-NO-FIRM", "P0001", ["enterprise_unknown"]),
        ("HJ-STOPPED", "P0001", ["enterprise_production_suspended", "operator_not_employed"]),
        ("HJ-UNLICENSED", "P0001", ["enterprise_licence_suspended", "operator_not_employed"]),
        ("HJ-CLOSED", "P0001", ["enterprise_closed", "operator_not_employed"]),
        ("HJ-0064", "nobody at all", ["credential_unknown"]),
        ("HJ-0064", "", ["credential_malformed"]),
        ("HJ-0064", "x" * 257, ["credential_malformed"]),
        ("HJ-0064", "tab\there", ["credential_malformed"]),
        ("HJ-0064", "P-UNLISTED", ["operator_unknown"]),
        ("HJ-0064", "P-BLOCKED", ["operator_blocked"]),
        ("HJ-0064", "P-OLD", ["operator_age"]),
        ("HJ-0064", "P-NEVER", ["operator_not_employed"]),
        ("HJ-0064", "P-LEFT", ["employment_ended"]),
        ("HJ-0064", "P-NONE", ["certificate_missing"]),
        ("HJ-0064", "P-PRESSURE", ["certificate_wrong_item"]),
        ("HJ-PRESSURE", "P0001", ["certificate_wrong_item"]),
        ("HJ-0064", "P-NOT-YET", ["certificate_not_yet_valid"]),
        ("HJ-0064", "P-EXPIRED", ["certificate_expired"]),
        ("HJ-0064", "P-OVERDUE", ["certificate_review_overdue"]),
        ("HJ-0064", "P-SUSPENDED", ["certificate_suspended"]),
        ("HJ-0064", "P-REVOKED", ["certificate_revoked"]),
        ("HJ-0064", "P-FORGED", ["certificate_counterfeit"]),
        ("HJ-0064", "P-UNVERIFIED", ["certificate_unverified"]),
        (
            "HJ-0064",
            "P-EVERYTHING",
            ["operator_blocked", "certificate_expired", "certificate_review_overdue", "certificate_revoked"],
        ),
    ],
)
def test_a_refusal_lists_every_reason_in_chinese_and_english(
    service: Service, machine: str, credential: str, codes: list[str]
) -> None:
    decision = service.chips.ask(machine, credential)
    assert decision.outcome == "deny"
    assert (decision.grant, decision.session_id) == (None, None)
    assert [reason.code for reason in decision.reasons] == codes
    for reason in decision.reasons:
        known = REASONS[reason.code]
        assert reason.message == f"{known.message_zh} {known.message_en}"
        assert reason.remedy == f"{known.remedy_zh} {known.remedy_en}"
        assert reason.resolver == known.resolvers[0]
    assert service.gateway.rows("SELECT 1 FROM sessions WHERE request_id = ?", decision.request_id) == []


def test_an_old_request_is_stale_and_one_from_a_chip_without_clock_is_not(service: Service) -> None:
    machine, welder = service.pair()
    assert service.chips.codes(machine, welder, at=1_700_000_000_000) == ["request_stale"]
    assert service.chips.codes(machine, welder, at=None) == []


def test_a_chip_that_is_not_the_registered_one_is_refused(service: Service) -> None:
    machine, welder = service.pair()
    service.chips.to_gateway(machine, "status", {"online": True, "chip": "another chip"})
    assert service.chips.codes(machine, welder) == ["chip_mismatch"]


def test_one_session_per_machine_and_per_welder(service: Service) -> None:
    (machine, welder), (other_machine, other_welder) = service.pair(), service.pair()
    first = service.chips.ask(machine, welder)
    assert service.chips.codes(machine, other_welder) == ["machine_in_session"]
    assert service.chips.codes(other_machine, welder) == ["operator_in_session"]
    again = service.chips.ask(machine, welder)
    assert again.outcome == "allow", "the same welder at the same machine starts anew"
    before, after = service.gateway.sessions(machine)
    assert (before["session_id"], before["end_reason"]) == (first.session_id, "replaced")
    assert (after["session_id"], after["end_reason"]) == (again.session_id, None)


@pytest.mark.parametrize(
    ("kind", "names_session", "says", "reason"),
    [
        ("locked", True, "operator", "operator"),
        ("locked", True, None, "locked"),
        ("boot", True, None, "power"),
    ],
)
def test_a_session_runs_from_unlocked_until_the_chip_says_it_is_over(
    service: Service, kind: str, names_session: bool, says: str | None, reason: str
) -> None:
    machine, welder = service.pair()
    session_id = service.chips.ask(machine, welder).session_id
    service.chips.event(machine, "unlocked", session_id)
    eventually(lambda: service.gateway.sessions(machine)[0]["unlocked_at"], what="unlocked")
    assert service.gateway.sessions(machine)[0]["ended_at"] is None
    service.chips.event(machine, kind, session_id if names_session else None, reason=says)
    eventually(lambda: service.gateway.sessions(machine)[0]["ended_at"], what="ended")
    assert service.gateway.sessions(machine)[0]["end_reason"] == reason
    assert service.chips.ask(machine, welder).outcome == "allow"


def test_an_event_of_an_earlier_session_does_not_end_the_present_one(service: Service) -> None:
    machine, welder = service.pair()
    first, second = service.chips.ask(machine, welder), service.chips.ask(machine, welder)
    late = service.chips.event(machine, "locked", first.session_id)
    eventually(lambda: service.gateway.rows("SELECT 1 FROM ledger WHERE message_id = ?", late), what="recorded")
    assert service.gateway.sessions(machine)[1]["session_id"] == second.session_id
    assert service.gateway.sessions(machine)[1]["ended_at"] is None


def test_usage_reaches_the_feed_folded_and_its_end_once(service: Service) -> None:
    machine, welder = service.pair()
    session_id = service.chips.ask(machine, welder).session_id
    assert session_id is not None
    for seq in range(1, 6):
        service.chips.usage(machine, session_id, seq)
    service.chips.usage(machine, session_id, 6, relay="open", final=True)
    seen = service.chips.wait_on(f"{FEED}/usage", lambda content: content["session_id"] == session_id)
    assert seen.content["final"]
    assert (seen.content["enabled_s"], seen.content["arc_s"], seen.content["arcs"]) == (60, 36, 6)
    assert (seen.content["machine_id"], seen.content["energy_wh"]) == (machine, 75.0)
    service.chips.usage(machine, session_id, 6, relay="open", final=True)  # QoS 1 may bring it twice
    other_machine, other_welder = service.pair()
    other = service.chips.ask(other_machine, other_welder).session_id
    assert other is not None
    service.chips.usage(other_machine, other, 1, relay="open", final=True)
    service.chips.wait_on(f"{FEED}/usage", lambda content: content["session_id"] == other)
    assert len(of_feed(service, "usage", session_id=session_id)) == 1
    (row,) = service.gateway.rows("SELECT seq, final, enabled_s FROM usage WHERE session_id = ?", session_id)
    assert (row["seq"], row["final"], row["enabled_s"]) == (6, 1, 60)


def test_metrics_count_decisions_reasons_sessions_and_answers(service: Service) -> None:
    machine, welder = service.pair()
    allowed = f'weldgate_decisions_total{{division="{county.DIVISION}",outcome="allow"}}'
    expired = f'weldgate_reasons_total{{code="certificate_expired",division="{county.DIVISION}"}}'
    opened, ended = 'weldgate_sessions_open{state="granted"}', 'weldgate_sessions_ended_total{reason="locked"}'
    before = service.gateway.metrics()
    session_id = service.chips.ask(machine, welder).session_id
    service.chips.ask(machine, "P-EXPIRED")
    during = service.gateway.metrics()
    assert during[allowed] == before[allowed] + 1
    assert during[expired] == before[expired] + 1
    assert during[opened] == before[opened] + 1
    assert during["weldgate_answer_seconds_count"] >= before["weldgate_answer_seconds_count"] + 2
    assert during["weldgate_ledger_records"] >= before["weldgate_ledger_records"] + 2
    service.chips.event(machine, "locked", session_id)
    eventually(lambda: service.gateway.metric(ended) == before[ended] + 1, what="counted")
    assert service.gateway.metric(opened) == before[opened]


def test_metrics_name_no_machine_and_no_person(service: Service) -> None:
    text = service.gateway.get("/metrics")[1]
    assert "HJ-" not in text
    assert "P0001" not in text


def test_no_decision_is_ever_retained(service: Service) -> None:
    assert [seen.topic for seen in service.chips.seen if seen.retained and "/gateway/" not in seen.topic] == []


def test_the_ledger_explains_every_decision_in_words(service: Service, tmp_path: Path) -> None:
    decision = service.chips.ask("HJ-0064", "P-EXPIRED")
    shown = service.gateway.audit("show", decision.request_id)
    assert shown.returncode == 0
    assert "certificate_expired" in shown.stdout
    assert REASONS["certificate_expired"].message_zh in shown.stdout
    assert REASONS["certificate_expired"].message_en in shown.stdout
    exported = tmp_path / "decisions.jsonl"
    assert service.gateway.audit("export", "--out", str(exported)).returncode == 0
    lines = [msgspec.json.decode(line) for line in exported.read_bytes().splitlines()]
    (line,) = [line for line in lines if line["request_id"] == decision.request_id]
    assert (line["outcome"], line["reasons"]) == ("deny", ["certificate_expired"])
    service.gateway.intact()


def test_presence_is_retained_true_and_after_a_power_failure_false(service: Service) -> None:
    """The last test on this gateway: it dies here."""
    topic = f"{ROOT}/gateway/{service.gateway.instance}/status"
    online = service.chips.wait_on(topic, lambda content: content["online"])
    assert online.content["registry_version"] == 1
    service.gateway.kill()
    service.chips.wait_on(topic, lambda content: not content["online"], within_s=5)


def test_a_decision_is_at_most_4_kib_with_all_its_reasons() -> None:
    """Every code at once would not fit in two languages; then Chinese alone is sent."""
    from gateway.wire.codec import MAX_PAYLOAD_BYTES, encode, wire_reasons

    message = DecisionMessage(0, None, "deny", wire_reasons(tuple(REASONS)[:20]), "r" * 64, None)
    assert len(encode(message)) <= MAX_PAYLOAD_BYTES
