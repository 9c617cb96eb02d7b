"""Reports: JSON for programs, JUnit for CI, lines for people; and what the audit puts into them."""

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from gateway.core.model import Request
from gateway.wire import topics
from gateway.wire.codec import encode, wire_reasons
from gateway.wire.messages import DecisionMessage
from simulator import report as reports
from simulator.audit import FORM, READABLE, SAME_BYTES, UNDER, Audit, Rule, Sent
from simulator.registry import Registry
from simulator.report import Check, Mismatch, Report
from tests.simulator.bench import VERIFY

WALL_MS = 1_800_000_000_000
KEYS = {
    "decisions", "allowed", "denied", "by_reason", "mismatches", "mismatch_details", "latency_ms", "undetermined",
    "requests", "unanswered", "faults_injected", "sessions", "duration_s", "seed",
}  # fmt: skip


def sample() -> Report:
    wrong = Mismatch("it holds", "r-1", "HJ-0001", "P\x001", "nothing against it", "deny: operator_blocked")
    return Report(
        scenario="shift",
        seed=7,
        machines=3,
        duration_s=1.5,
        mismatches=1,
        mismatch_details=[wrong],
        checks=[Check("it holds", 4, [wrong]), Check("another holds", 2)],
    )


def test_the_json_report_has_what_programs_look_for() -> None:
    plain = msgspec.json.decode(reports.to_json(sample()))
    assert plain.keys() >= KEYS
    assert plain["mismatch_details"][0].keys() >= {"request_id", "machine_id", "operator", "expected", "got"}
    assert plain["latency_ms"].keys() == {"p50", "p95", "p99", "max"}
    assert plain["checks"][0] == {"name": "it holds", "passed": 4, "failed": 1}


def test_junit_has_one_testcase_per_check_and_is_well_formed() -> None:
    suite = ET.fromstring(reports.to_junit(sample()))[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("weldsim.shift", "2", "1")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["it holds", "another holds"]
    failure = cases[0].find("failure")
    assert failure is not None
    assert failure.get("message") == "1 of 5 not as expected"
    assert "expected nothing against it, got deny: operator_blocked" in (failure.text or "")


@pytest.mark.parametrize(
    ("values", "p50", "p99", "most"), [([], 0, 0, 0), ([5.0], 5, 5, 5), (list(range(1, 101)), 50, 99, 100)]
)
def test_percentiles(values: list[float], p50: float, p99: float, most: float) -> None:
    spread = reports.latency(values)
    assert (spread.p50, spread.p99, spread.max) == (p50, p99, most)


def test_a_report_makes_its_folder(tmp_path: Path) -> None:
    reports.write(tmp_path / "a" / "b.json", b"{}")
    assert (tmp_path / "a" / "b.json").read_bytes() == b"{}"


# --- the audit --------------------------------------------------------------------------------------------------


def audited(payload: bytes, rule: Rule = "oracle", *, times: int = 1, retained: bool = False) -> Report:
    """One request at an unknown machine, answered with ``payload``."""
    audit = Audit(Registry(), VERIFY)
    request = Request("request-1", "P1", "challenge", "scan", WALL_MS)
    sent = Sent(request.request_id, "HJ-0001", "P1", "challenge", "work", None, WALL_MS, 0.0, WALL_MS, rule)
    assert audit.asked(sent)
    assert not audit.asked(sent)
    for number in range(times):
        answer = payload + b" " * number
        audit.arrived("HJ-0001", topics.decision("HJ-0001"), answer, retained=retained, now_ms=12.0)
    return audit.close(Report(scenario="shift", seed=1, machines=1, duration_s=1))


def denied(*codes: str) -> bytes:
    return encode(DecisionMessage(WALL_MS, None, "deny", wire_reasons(codes), "request-1", None))


def test_the_right_answer_is_no_mismatch() -> None:
    report = audited(denied("machine_unknown"))
    assert (report.mismatches, report.decisions, report.denied) == (0, 1, 1)
    assert report.by_reason == {"machine_unknown": 1}
    assert report.latency_ms.max == 12.0


WRONG = (
    # what is wrong            the answer                                        the check that fails
    ("another reason", denied("operator_blocked"), UNDER + "work"),
    ("a reason too many", denied("machine_unknown", "operator_blocked"), UNDER + "work"),
    ("an empty deny", denied(), FORM),
    ("not a decision", b"{}", READABLE),
    ("oversize", denied("machine_unknown") + b" " * 4096, READABLE),
)


@pytest.mark.parametrize(("what", "payload", "check"), WRONG, ids=[case[0] for case in WRONG])
def test_a_wrong_answer_is_a_mismatch(what: str, payload: bytes, check: str) -> None:
    assert check in {mismatch.check for mismatch in audited(payload).mismatch_details}, what


def test_other_bytes_for_a_repeat_a_retained_and_a_missing_answer_are_mismatches() -> None:
    assert [m.check for m in audited(denied("machine_unknown"), times=2).mismatch_details] == [SAME_BYTES]
    assert READABLE in [m.check for m in audited(denied("machine_unknown"), retained=True).mismatch_details]
    silent = audited(b"", times=0)
    assert (silent.unanswered, silent.mismatches) == (1, 1)


def test_an_allow_against_the_files_or_with_a_forged_grant_is_a_mismatch() -> None:
    allow = encode(DecisionMessage(WALL_MS, "a.b.c", "allow", (), "request-1", "session-1"))
    assert len(audited(allow).mismatch_details) == 2


def test_malformed_and_retained_requests_have_their_own_expectation() -> None:
    assert audited(denied("request_malformed", "credential_malformed"), "malformed").mismatches == 0
    assert audited(denied("machine_unknown"), "malformed").mismatches == 1
    assert audited(denied("request_retained"), "retained").mismatches == 0
    assert audited(b"", "retained", times=0).mismatches == 0
