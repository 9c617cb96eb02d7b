"""A recorded decision in words, and made again from its record alone."""

import msgspec
import pytest
from hypothesis import given, settings

from gateway.core.decide import decide
from gateway.core.model import Asked, Facts
from gateway.core.policy import Policy, Rulebook, document, from_document
from gateway.core.reasons import REASONS
from gateway.gate.entry import DecisionBody, Entry
from gateway.gate.explain import decide_again, decision_of, in_words, judgement_in
from gateway.store.journal import Batch, Journal
from gateway.store.ledger import Draft, Record, decode_record, rows_in_order
from gateway.wire.codec import encode
from gateway.wire.tokens import Signer
from tests.core.matrix import Row, asked_of, facts_of, load, operator, rulebook_of
from tests.core.worlds import policies, requests, worlds
from tests.gate.gates import make_gate
from tests.store.databases import Databases

CASES = load().case


def record_of(body: DecisionBody) -> Record:
    """The record as it stands in the ledger."""
    facts = body.facts
    named = ("decision", "HJ-0001", "request-0001", facts.operator_id, body.decision.outcome)
    record = Record(min(facts.now, 2**45), msgspec.Raw(encode(body)), *named, "0" * 64, 1)  # type: ignore[arg-type]
    return decode_record(msgspec.json.encode(record))


def body_of(request: Asked, world: Facts, policy: Policy) -> DecisionBody:
    rulebook = Rulebook(policy)
    return DecisionBody(request, decide(request, world, rulebook), world, rulebook.hash, 7, ())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_invariant_every_case_of_the_matrix_is_decided_again_from_its_record(case: Row) -> None:
    body = body_of(asked_of(case), facts_of(case), rulebook_of(case).policy)
    read = decision_of(record_of(body))
    assert read == body
    assert decide_again(read, rulebook_of(case)) == body.decision


@settings(max_examples=200)
@given(requests, worlds(), policies)
def test_invariant_any_decision_is_made_again_from_its_record_and_the_policy_of_its_hash(
    request: Asked, world: Facts, policy: Policy
) -> None:
    body = body_of(request, world, policy)
    kept = from_document(document(policy))
    assert Rulebook(kept).hash == body.policy
    assert decide_again(decision_of(record_of(body)), Rulebook(kept)) == body.decision


def test_invariant_a_decision_from_a_real_ledger_is_made_again_after_a_restart(
    databases: Databases, signer: Signer
) -> None:
    gate, path = make_gate(), databases.file()
    drafts: list[Draft] = []
    for welder, machine_id in (
        ("P000123", "HJ-0001"),
        ("P000123", "HJ-0002"),
        ("nobody", "HJ-0001"),
        ("P000456", "HJ-9999"),
    ):
        entry = gate.request(welder, machine_id)
        assert entry.draft is not None
        drafts.append(entry.draft)
    engine = databases.engine(path)
    with engine.connect() as connection:
        Journal(engine.dialect, signer).commit(connection, Batch(drafts))
    with databases.engine(path).connect() as connection:
        bodies = [decision_of(decode_record(row.record)) for row in rows_in_order(connection)]
    assert [body.decision.outcome for body in bodies] == ["allow", "deny", "deny", "deny"]
    assert [decide_again(body, Rulebook(Policy())) for body in bodies] == [body.decision for body in bodies]


def stored(databases: Databases, signer: Signer, entries: list[Entry]) -> list[Record]:
    """The records of what was handled, read from a real ledger."""
    engine = databases.engine()
    with engine.connect() as connection:
        Journal(engine.dialect, signer).commit(connection, Batch([entry.draft for entry in entries if entry.draft]))
        return [decode_record(row.record) for row in rows_in_order(connection)]


def test_invariant_whatever_was_decided_is_made_again_whether_asked_looked_at_or_judged_afterwards(
    databases: Databases, signer: Signer
) -> None:
    gate = make_gate()
    entries = [gate.request(), gate.request("P000456", "HJ-0002"), gate.event("tamper"), *gate.work_off()]
    gate.change(operator(operator_id="P000456", status="blocked"))
    entries += [*gate.work_off(), gate.event("offline_unlock", "session-offline", "HJ-0003"), gate.event("boot")]
    records = stored(databases, signer, entries)
    assert [record.kind for record in records] == [
        *("decision", "decision", "event", "command", "command", "event", "event")
    ]
    bodies = [judgement_in(record) for record in records]
    assert [body and body.decision.outcome for body in bodies] == ["allow", "allow", None, None, "deny", "deny", None]
    for body in bodies:
        if body is not None:
            assert decide_again(body, gate.state.rulebook) == body.decision


def test_another_policy_can_be_tried_on_the_past() -> None:
    gate = make_gate()
    gate.request("P000123", "HJ-0001")
    entry = gate.request("P000456", "HJ-0001")
    assert entry.draft is not None
    body = msgspec.json.decode(entry.draft.body, type=DecisionBody)
    assert body.decision.reasons == ("machine_in_session",)
    milder = decide_again(body, Rulebook(Policy(rules={"machine_in_session": "warn"})))
    assert (milder.outcome, milder.warnings) == ("allow", ("machine_in_session",))


# --- in words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if case.now_ms is None], ids=lambda case: case.what)
def test_every_reason_and_warning_is_told_with_its_remedy_in_both_languages(case: Row) -> None:
    body = body_of(asked_of(case), facts_of(case), rulebook_of(case).policy)
    words = "\n".join(in_words(record_of(body)))
    assert ("允许解锁 allowed" in words) == (case.outcome == "allow")
    assert ("拒绝解锁 refused" in words) == (case.outcome == "deny")
    for code in (*case.reasons, *case.warnings, *case.overridden):
        reason = REASONS[code]
        for text in (code, reason.message_zh, reason.message_en, reason.remedy_zh, reason.remedy_en, reason.law or ""):
            assert text in words


@settings(max_examples=100)
@given(requests, worlds(), policies)
def test_every_decision_can_be_told_in_words(request: Asked, world: Facts, policy: Policy) -> None:
    lines = list(in_words(record_of(body_of(request, world, policy))))
    assert len(lines) >= 4
    assert all(line and "\n" not in line for line in lines)


def test_the_county_s_time_is_told_and_the_certificate_that_decided_is_marked() -> None:
    gate = make_gate()
    entry = gate.request()
    assert entry.draft is not None
    words = "\n".join(in_words(record_of(msgspec.json.decode(entry.draft.body, type=DecisionBody))))
    assert "2026-06-15 10:00:00 (Asia/Shanghai)" in words
    assert "→ ***************0001" in words
    assert "lease 900 s" in words
