"""Rolling codes at the gate: who it is, once, and never on record as text."""

import msgspec
import pytest

from gateway.core.credential import make_code, step_at
from gateway.core.model import CodeUse
from gateway.gate.entry import Entry
from gateway.gate.state import GateState
from gateway.store.journal import CODES_KEPT_STEPS
from tests.gate.gates import (
    CODE_KEY,
    CODE_KEY_BEFORE,
    MACHINES,
    NOW,
    Gate,
    asked_of,
    decision_of,
    facts_of,
    make_gate,
)

STEP = step_at(NOW)


def code(operator_id: str = "P000123", steps_off: int = 0, key: bytes = CODE_KEY) -> str:
    return make_code(key, operator_id, STEP + steps_off)


def reasons(entry: Entry) -> tuple[str, ...]:
    return decision_of(entry).reasons


@pytest.mark.parametrize("steps_off", [-1, 0, 1])
@pytest.mark.parametrize("key", [CODE_KEY, CODE_KEY_BEFORE], ids=["present key", "key before"])
def test_a_genuine_code_of_about_now_lets_its_operator_in(gate: Gate, steps_off: int, key: bytes) -> None:
    entry = gate.request(code(steps_off=steps_off, key=key))
    assert decision_of(entry).outcome == "allow"
    assert facts_of(entry).operator_id == "P000123"
    assert facts_of(entry).code == CodeUse(STEP + steps_off, steps_off, False)
    assert asked_of(entry).credential_kind == "code"
    assert gate.session().operator_id == "P000123"


@pytest.mark.parametrize("steps_off", [-1000, -2, 2, 1000])
def test_a_genuine_code_of_another_time_tells_who_it_was_and_that_it_has_expired(gate: Gate, steps_off: int) -> None:
    entry = gate.request(code(steps_off=steps_off))
    assert reasons(entry) == ("credential_expired",)
    assert facts_of(entry).operator_id == "P000123"
    assert gate.state.codes.take_fresh() == []


@pytest.mark.parametrize(
    "text",
    [code(key=b"x" * 32), code().replace("P000123", "P000456"), code().replace(str(STEP), str(STEP + 1))],
    ids=["another key", "another operator", "another step"],
)
def test_a_forged_code_names_nobody(gate: Gate, text: str) -> None:
    entry = gate.request(text)
    assert reasons(entry) == ("credential_unknown",)
    assert (facts_of(entry).operator_id, facts_of(entry).code) == (None, None)
    assert gate.state.codes.take_fresh() == []


def test_a_code_of_somebody_who_is_not_registered_names_nobody(gate: Gate) -> None:
    assert reasons(gate.request(code("nobody"))) == ("credential_unknown",)


def test_without_keys_no_code_is_genuine() -> None:
    made = make_gate()
    gate = Gate(made.clock, GateState(made.state.snapshot, made.state.rulebook, made.clock))
    assert reasons(gate.request(code())) == ("credential_unknown",)


# --- once -------------------------------------------------------------------------------------------------------


def test_a_code_is_good_once_whatever_was_decided(gate: Gate) -> None:
    gate.control("lock")
    assert reasons(gate.request(code())) == ("machine_out_of_service",)
    assert reasons(gate.request(code(), "HJ-0002")) == ("credential_replayed",)
    assert gate.state.codes.take_fresh() == [(STEP, "P000123")]
    assert gate.state.codes.take_fresh() == []


def test_the_code_of_the_next_half_minute_is_another_one(gate: Gate) -> None:
    gate.request(code())
    gate.clock.pass_s(30)
    assert decision_of(gate.request(code(steps_off=1))).outcome == "allow"


def test_codes_of_two_people_in_one_half_minute_are_two(gate: Gate) -> None:
    for welder, machine_id in (("P000123", "HJ-0001"), ("P000456", "HJ-0002")):
        assert decision_of(gate.request(code(welder), machine_id)).outcome == "allow"


def test_the_same_code_of_either_key_is_used_up_by_the_other(gate: Gate) -> None:
    gate.request(code())
    assert reasons(gate.request(code(key=CODE_KEY_BEFORE))) == ("credential_replayed",)


def test_a_request_that_comes_again_with_its_code_is_a_repeat_and_not_a_replay(gate: Gate) -> None:
    first = gate.request(code(), request_id="request-again")
    again = gate.request(code(), request_id="request-again")
    assert (again.key, again.draft) == (first.key, None)


def test_after_a_restart_a_code_is_still_used_up(gate: Gate) -> None:
    gate.request(code())
    rows = gate.state.codes.take_fresh()
    restarted = make_gate()
    restarted.read_back(whole=True, codes=rows)
    assert reasons(restarted.request(code())) == ("credential_replayed",)


def test_a_code_whose_batch_failed_was_never_shown(gate: Gate) -> None:
    gate.request(code(), request_id="request-fails")
    gate.recorded.clear()
    gate.read_back()
    assert decision_of(gate.request(code(), request_id="request-fails")).outcome == "allow"


def test_used_codes_are_forgotten_once_they_have_long_expired(gate: Gate) -> None:
    gate.request(code())
    gate.clock.pass_s(30 * (CODES_KEPT_STEPS + 1))
    gate.request(make_code(CODE_KEY, "P000456", step_at(gate.clock.now)))
    assert reasons(gate.request(code())) == ("credential_expired",)
    assert facts_of(gate.request(code())).code == CodeUse(STEP, -CODES_KEPT_STEPS - 1, False)


# --- never as text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [code(), code(steps_off=-5), code("P000456", key=b"x" * 32)])
def test_a_code_is_written_nowhere_but_masked(gate: Gate, text: str) -> None:
    entries = [gate.request(text, machine_id) for machine_id in MACHINES]
    written = msgspec.json.encode([[entry.draft, entry.feed] for entry in entries]).decode() + repr(
        [entry.observed for entry in entries]
    )
    assert text not in written
    assert text.rpartition("/")[2] not in written
    assert asked_of(entries[0]).credential == f"WG***{text[-2:]}"


def test_a_code_too_long_for_a_scan_is_malformed_and_so_never_shown(gate: Gate) -> None:
    text = make_code(CODE_KEY, "x" * 227, STEP)
    assert reasons(gate.request(text)) == ("credential_malformed",)
    assert gate.state.codes.take_fresh() == []
