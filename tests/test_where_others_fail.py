"""Faults of other systems that do a similar job, by number; those that need a running service are in tests/service.

The numbers are those of the list that the project keeps of such faults.
"""

import ast
import json
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from gateway.core.decide import decide
from gateway.core.model import Employment, Facts, Presence, Request
from gateway.core.policy import Policy, Rulebook
from gateway.core.rules import CERTIFICATE_RULES, RULES
from gateway.gate.entry import DecisionBody, Entry
from gateway.registry.snapshot import Snapshot
from gateway.store.engine import open_engine
from gateway.store.journal import Batch, Journal
from gateway.wire.tokens import Signer
from tests.core.matrix import ALL_GOOD, asked, certificate, employment, facts, millis, operator
from tests.core.test_decide import broken_rule
from tests.gate.gates import Gate, decision_of, facts_of, make_gate
from tests.store.databases import book, open_ids, session

GATEWAY = Path(__file__).parents[1] / "gateway"
DEFAULT = Rulebook(Policy())
DAY_MS = 86_400_000


# --- 1. A denied start still opens a session ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("welder", "machine_id"), [("nobody", "HJ-0001"), ("", "HJ-0001"), ("P000123", "HJ-9999"), ("P" * 300, "HJ-0001")]
)
def test_1_a_denied_start_opens_no_session_in_memory_or_database(tmp_path: Path, welder: str, machine_id: str) -> None:
    gate = make_gate()
    entry = gate.request(welder, machine_id)
    assert decision_of(entry).outcome == "deny"
    assert written(tmp_path, gate, entry) == []


def test_1_an_allowed_one_does(tmp_path: Path) -> None:
    gate = make_gate()
    entry = gate.request()
    assert decision_of(entry).outcome == "allow"
    assert written(tmp_path, gate, entry) == ["HJ-0001"]


def written(folder: Path, gate: Gate, entry: Entry) -> list[str]:
    """The machines with an open session once everything is in the database."""
    engine = open_engine(f"sqlite:///{folder}/gate.db")
    assert entry.draft is not None
    changed, opened = gate.sessions.take_changes()
    with engine.connect() as connection:
        journal = Journal(engine.dialect, Signer(ECKey.generate_key("P-256")))
        journal.commit(connection, Batch([entry.draft], changed, opened))
        machines = [str(row[1]) for row in book(connection).sessions]
    engine.dispose()
    return machines


# --- 2. Concurrency check and session insert are two steps, so two machines win the race --------------------------


@pytest.mark.parametrize("second", [session("s-2", "HJ-0001", "P000999"), session("s-2", "HJ-0002", "P000123")])
def test_2_the_insert_itself_is_the_check(tmp_path: Path, second: tuple[object, ...]) -> None:
    """Two gateways that both found the machine and the welder free: the database refuses whoever comes second."""
    engine = open_engine(f"sqlite:///{tmp_path}/gate.db")
    journal = Journal(engine.dialect, Signer(ECKey.generate_key("P-256")))
    with engine.connect() as one, engine.connect() as other:
        assert open_ids(one) == open_ids(other) == []
        journal.commit(one, Batch(opened=[session("s-1", "HJ-0001", "P000123")]))
        with pytest.raises(sqlite3.IntegrityError):
            journal.commit(other, Batch(opened=[second]))
    engine.dispose()


# --- 3. A cache entry's lifetime slides with each use: a daily user is never re-checked ---------------------------


def test_3_the_registries_age_however_often_they_are_used() -> None:
    gate = make_gate()
    for day in range(9):
        gate.clock.now = gate.state.snapshot.confirmed_at + day * DAY_MS
        entry = gate.request(request_id=f"request-{day:04}")
        assert facts_of(entry).registry_age_s == day * 86_400
        assert ("registry_stale" in decision_of(entry).reasons) == (day > 7)


def test_3_looking_somebody_up_changes_no_snapshot() -> None:
    gate = make_gate()
    before = _content(gate.state.snapshot)
    for _ in range(5):
        gate.request()
    assert _content(gate.state.snapshot) == before


def _content(snapshot: Snapshot) -> bytes:
    held = (snapshot.version, snapshot.confirmed_at, snapshot.machines, snapshot.operators, snapshot.certificates)
    return msgspec.json.encode(held)


# --- 11. Results of face or certificate checks are taken from the client ------------------------------------------

CLAIMS: dict[str, object] = {
    "outcome": "allow",
    "allow": True,
    "verified": True,
    "face_match": 0.999,
    "operator_id": "P000456",
    "operator": {"operator_id": "P000123", "status": "active"},
    "certificates": [{"item": "fusion", "valid_until": "2099-12-31", "status": "valid", "verification": "verified"}],
    "machine_id": "HJ-0002",
    "registry_age_s": 0,
    "now": 0,
    "waited_ms": 0,
    "lease_s": 86_400,
    "start_by_s": 86_400,
    "policy": "none",
    "session_id": "session-of-my-own",
    "override": "supervisor",
}


@pytest.mark.parametrize("good", [True, False], ids=["somebody in order", "somebody without a valid certificate"])
@pytest.mark.parametrize("claim", [*CLAIMS, "all of them"])
def test_11_nothing_that_a_chip_claims_changes_a_decision_or_its_facts(claim: str, good: bool) -> None:
    held = (certificate() if good else certificate(valid_until=date(2020, 1, 1)),)
    claims: dict[str, object] = CLAIMS if claim == "all of them" else {claim: CLAIMS[claim]}
    fields = {"request_id": "request-0001", "credential": "P000123", "challenge": "c-1", "method": "scan"}
    with_claims = make_gate(certificates=held).send("request", json.dumps(fields | claims).encode())
    without = make_gate(certificates=held).send("request", json.dumps(fields).encode())
    assert decision_of(with_claims) == decision_of(without)
    assert facts_of(with_claims) == facts_of(without)
    assert decision_of(without).outcome == ("allow" if good else "deny")


def test_11_a_request_holds_nothing_but_what_was_scanned_where_and_when() -> None:
    assert set(Request.__struct_fields__) == {"request_id", "credential", "challenge", "method", "at"}


def test_11_of_all_facts_only_the_chip_s_number_comes_from_the_chip() -> None:
    """And that one can only refuse: it has to be the registered one."""
    assert decide(asked(), facts(chip_reported=None), DEFAULT).outcome == "allow"
    assert decide(asked(), facts(chip_reported="another"), DEFAULT).reasons == ("chip_mismatch",)
    blocked = facts(operator=operator(status="blocked"))
    assert decide(asked(at=0), blocked, DEFAULT).outcome == decide(asked(at=None), blocked, DEFAULT).outcome == "deny"


# --- 12. A person's latest-expiring certificate is used, though it is for another item ----------------------------


@given(st.integers(1, 3000), st.integers(1, 3000), st.permutations([0, 1, 2]))
def test_12_a_longer_valid_certificate_for_another_item_never_helps(over: int, left: int, order: list[int]) -> None:
    today = ALL_GOOD.now.date()
    held = [
        certificate(ref="fusion", item="fusion", valid_until=today - timedelta(days=over)),
        certificate(ref="pressure", item="pressure", valid_until=today + timedelta(days=left)),
        certificate(ref="brazing", item="brazing", valid_until=today + timedelta(days=left + 1)),
    ]
    decision = decide(asked(), facts(certificates=tuple(held[place] for place in order)), DEFAULT)
    assert (decision.reasons, decision.certificate) == (("certificate_expired",), "fusion")


@given(st.integers(0, 3000), st.permutations([0, 1]))
def test_12_and_it_bounds_no_lease(left: int, order: list[int]) -> None:
    today = ALL_GOOD.now.date()
    now = millis(ALL_GOOD.now) + 14 * 3_600_000 - 60_000
    held = [
        certificate(ref="fusion", item="fusion", valid_until=today),
        certificate(ref="pressure", item="pressure", valid_until=today + timedelta(days=left)),
    ]
    decision = decide(asked(at=now), facts(now=now, certificates=tuple(held[place] for place in order)), DEFAULT)
    assert (decision.outcome, decision.certificate, decision.start_by_s + decision.lease_s) == ("allow", "fusion", 60)


# --- 13. Two code paths decide, and have drifted apart ------------------------------------------------------------


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(GATEWAY.rglob("*.py")):
        yield path.relative_to(GATEWAY).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def names_in(tree: ast.AST) -> set[str]:
    """Every name and attribute that is used or imported."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return found | {alias.name.rpartition(".")[2] for node in imports for alias in node.names}


def test_13_one_function_decides_for_requests_reviews_offline_unlocks_and_the_audit_alike() -> None:
    gateway = Path(__file__).parents[1] / "gateway"
    deciding = {path for path in gateway.rglob("*.py") if "from gateway.core.decide import" in path.read_text("utf-8")}
    assert {path.relative_to(gateway).as_posix() for path in deciding} == {
        "cli/townspeople.py",
        "gate/prospects.py",
        "gate/requests.py",
        "gate/leases.py",
        "gate/offline.py",
        "gate/explain.py",
    }


def test_13_only_the_decision_runs_the_rules() -> None:
    using = {path for path, tree in sources() if names_in(tree) & {"RULES", "CERTIFICATE_RULES"}}
    assert using == {"core/rules.py", "core/decide.py", "core/trace.py"}, "the trace explains a decision that was made"


def test_13_colours_look_at_certificates_by_the_checks_of_the_rules() -> None:
    using = {path for path, tree in sources() if "CERTIFICATE_CHECKS" in names_in(tree)}
    assert using == {"core/rules.py", "core/colour.py", "core/right.py"}


def test_13_only_the_decision_says_allow_or_deny_to_others() -> None:
    making = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Decision"
    }
    assert making == {"core/decide.py"}


def test_13_only_an_allow_of_the_decision_makes_a_grant() -> None:
    making = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Grant"
    }
    assert making == {"gate/requests.py"}


def test_13_what_was_recorded_is_what_was_answered() -> None:
    gate = make_gate()
    for welder in ("P000123", "nobody"):
        entry = gate.request(welder)
        assert entry.draft is not None
        assert entry.draft.answer is not None
        decision = msgspec.json.decode(entry.draft.body, type=DecisionBody).decision
        assert entry.draft.outcome == decision.outcome
        assert entry.draft.answer.reasons == decision.reasons
        assert (entry.draft.answer.grant is not None) == (decision.outcome == "allow")
        assert json.loads(entry.feed.payload if entry.feed else b"{}")["outcome"] == decision.outcome


# --- 17. A rule that raises is skipped, so its veto is lost -------------------------------------------------------


@pytest.mark.parametrize(
    "code", [rule.code for group in RULES for rule in group.rules] + [r.code for r in CERTIFICATE_RULES]
)
def test_17_a_rule_that_raises_denies(code: str) -> None:
    with broken_rule(code):
        by_phone = code in ("machine_offline", "machine_without_clock", "machine_unlocked")
        how = {"method": "phone", "credential_kind": "account"} if by_phone else {}
        known = facts(presence=Presence(online=True, clock_off_ms=0)) if by_phone else facts()
        decision = decide(asked(**how), known, Rulebook(Policy(rules={code: "enforce"})))
    assert (decision.outcome, decision.reasons) == ("deny", ("internal_error",))


def test_17_and_so_it_does_on_the_way_from_the_wire_to_the_record() -> None:
    gate = make_gate()
    with broken_rule("certificate_revoked"):
        entry = gate.request()
    assert decision_of(entry).faults == ("certificate_revoked: LookupError",)
    assert entry.draft is not None
    assert entry.draft.outcome == "deny"
    assert len(gate.sessions) == 0


# --- 19. Days to expiry are computed from a calendar difference's day part ----------------------------------------


def on(day: date, hour: int = 12) -> int:
    """Noon in the county, Unix milliseconds."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_MS + (hour - 8) * 3_600_000


@given(st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.integers(-2000, 2000))
def test_19_expired_means_after_the_last_day_whatever_the_days_of_the_months(last_day: date, days: int) -> None:
    now = on(last_day + timedelta(days=days))
    held = certificate(valid_from="unknown", valid_until=last_day, review_due="unknown")
    world = facts(now=now, certificates=(held,), operator=operator(born_on="unknown"), employments=_always())
    assert ("certificate_expired" in decide(asked(at=now), world, DEFAULT).reasons) == (days > 0)


@given(st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.integers(0, 366), st.integers(-10, 400))
def test_19_days_of_grace_are_counted_as_days(last_day: date, grace: int, days: int) -> None:
    now = on(last_day + timedelta(days=days))
    held = certificate(valid_from="unknown", valid_until=last_day, review_due="unknown")
    world = facts(now=now, certificates=(held,), operator=operator(born_on="unknown"), employments=_always())
    decision = decide(asked(at=now), world, Rulebook(Policy(grace={"certificate_expired": grace})))
    assert ("certificate_expired" in decision.reasons) == (days > grace)
    assert ("certificate_expired" in decision.warnings) == (0 < days <= grace)


def _always() -> tuple[Employment, ...]:
    return (employment(since="unknown"),)


@pytest.mark.parametrize(
    ("last_day", "today"),
    [
        (date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 1, 31), date(2026, 3, 1)),
        (date(2025, 12, 31), date(2026, 1, 1)),
        (date(2024, 2, 29), date(2024, 3, 1)),
        (date(2023, 6, 30), date(2026, 6, 15)),
    ],
)
def test_19_a_later_day_of_the_month_makes_nobody_valid_again(last_day: date, today: date) -> None:
    world: Facts = facts(now=on(today), certificates=(certificate(valid_until=last_day, review_due="unknown"),))
    assert decide(asked(at=on(today)), world, DEFAULT).reasons == ("certificate_expired",)


def test_19_the_whole_last_day_counts_and_not_an_hour_more() -> None:
    last_day = ALL_GOOD.now.date()
    held = (certificate(valid_until=last_day),)
    outcomes = [
        decide(asked(at=None), facts(now=on(last_day, hour), certificates=held), DEFAULT).outcome for hour in range(48)
    ]
    assert outcomes == ["allow"] * 24 + ["deny"] * 24
