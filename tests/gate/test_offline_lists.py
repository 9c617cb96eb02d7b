"""Who may unlock without a connection: lists of recent welders who would be let in, for chips that can take them."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from gateway.core.credential import offline_digest
from gateway.core.policy import Credentials, Observe, Offline, Policy
from tests.core.matrix import certificate, enterprise, machine, operator
from tests.gate.gates import NOW, TODAY, Gate, commands, make_gate
from tests.gate.offline_chip import FOR_S, POLICY, Chip, chip_with_a_list, listed, only

MIDNIGHT_S = (NOW + 14 * 3_600_000) // 1000


@pytest.fixture
def gate() -> Gate:
    return make_gate(POLICY)


# --- who is on it -----------------------------------------------------------------------------------------------


def test_a_list_holds_those_let_in_here_lately_by_their_badges_digest_until_their_ground_ends(gate: Gate) -> None:
    gate.change(("P000123", certificate(ref="ref-P000123", valid_until=TODAY)))
    chip = Chip(gate)
    chip.works("P000123", "P000456")
    [entry] = chip.gets()
    command = only([entry])
    assert (command.aud, command.cmd, command.list_version, command.base_version) == (
        "HJ-0001",
        "offline_list",
        1,
        UNSET,
    )
    assert (command.offline_for_s, command.lease_s, command.gone) == (FOR_S, 600, UNSET)
    assert (command.cha, command.sid, command.n) == (f"c-{chip.challenges}", UNSET, 0)
    assert command.exp == command.iat + 30
    assert set(listed(command)) == {"P000123", "P000456"}
    assert listed(command)["P000123"] == MIDNIGHT_S
    assert b"P000123" not in msgspec.json.encode(command)
    assert entry.offline_list is not None
    assert entry.offline_list[:5] == ("HJ-0001", 1, command.iat * 1000, FOR_S, 600)
    assert entry.draft is None


def test_who_was_let_in_elsewhere_or_refused_here_is_not_on_it(gate: Gate) -> None:
    Chip(gate, "HJ-0002").works("P000456")
    gate.change(operator(operator_id="P000789", status="blocked"))
    gate.request("P000789")
    chip = Chip(gate)
    chip.works("P000123")
    assert set(listed(only(chip.gets()))) == {"P000123"}


def test_who_was_here_too_long_ago_is_not_on_it(gate: Gate) -> None:
    chip = Chip(gate)
    gate.state.offline.let_in("HJ-0001", "P000456", NOW - 31 * 86_400_000)
    gate.state.offline.let_in("HJ-0001", "P000123", NOW - 29 * 86_400_000)
    chip.tell()
    assert set(listed(only(chip.gets()))) == {"P000123"}


def test_of_many_the_latest_are_on_it() -> None:
    gate = make_gate(Policy(offline=Offline(for_s=FOR_S, operators=2)))
    chip = Chip(gate)
    chip.works("P000123", "P000456", "P000789", "P000456")
    assert set(listed(only(chip.gets()))) == {"P000456", "P000789"}


def test_an_override_puts_nobody_on_it() -> None:
    gate = make_gate(POLICY, employments=())
    about = {"operator_id": "P000123", "override_id": "override-1", "codes": ("operator_not_employed",)}
    gate.control("override_approved", level="supervisor", until=NOW + 3_600_000, **about)
    chip = Chip(gate)
    chip.works("P000123")
    assert chip.gets() == []


def test_who_was_let_in_before_a_restart_is_on_it(gate: Gate) -> None:
    restarted = make_gate(POLICY)
    restarted.read_back(whole=True, recent=[("HJ-0001", "P000123", NOW - 86_400_000)])
    assert set(listed(only(Chip(restarted).gets()))) == {"P000123"}


# --- what changes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        (operator(operator_id="P000456", status="blocked"),),
        (("P000456", certificate(ref="ref-P000456", status="revoked")),),
    ],
    ids=["blocked", "revoked"],
)
def test_who_may_no_longer_work_is_taken_off_by_a_difference_to_the_list_that_the_chip_has(
    gate: Gate, rows: tuple[Any, ...]
) -> None:
    chip = chip_with_a_list(gate, "P000123", "P000456", "P000789")
    gate.change(*rows)
    command = only(chip.gets())
    assert (command.list_version, command.base_version) == (2, 1)
    assert (command.entries, command.gone) == ((), (offline_digest("HJ-0001", "P000456"),))


def test_somebody_new_is_put_on_it_by_a_difference(gate: Gate) -> None:
    chip = chip_with_a_list(gate, "P000123", "P000456")
    chip.works("P000789")
    command = only(chip.gets())
    assert (command.list_version, command.base_version, command.gone) == (2, 1, ())
    assert set(listed(command)) == {"P000789"}


def test_somebody_whose_ground_ends_sooner_stands_in_the_difference_with_the_new_end(gate: Gate) -> None:
    chip = chip_with_a_list(gate, "P000123", "P000456", "P000789")
    gate.change(("P000456", certificate(ref="ref-P000456", valid_until=TODAY)))
    command = only(chip.gets())
    assert (command.base_version, command.gone, listed(command)) == (1, (), {"P000456": MIDNIGHT_S})


def test_a_difference_that_says_as_much_as_the_whole_list_is_the_whole_list(gate: Gate) -> None:
    chip = chip_with_a_list(gate, "P000123")
    chip.works("P000456")
    gate.change(operator(operator_id="P000123", status="blocked"))
    command = only(chip.gets())
    assert (command.list_version, command.base_version, set(listed(command))) == (2, UNSET, {"P000456"})


def test_a_chip_that_has_not_shown_to_have_the_list_before_gets_the_whole_one(gate: Gate) -> None:
    chip = Chip(gate)
    chip.works("P000123", "P000456", "P000789")
    chip.gets()
    gate.change(operator(operator_id="P000456", status="blocked"))
    command = only(chip.gets())
    assert (command.list_version, command.base_version, len(listed(command))) == (2, UNSET, 2)


@pytest.mark.parametrize(
    "rows", [(machine(status="suspended"),), (enterprise(status="closed"),)], ids=["machine", "firm"]
)
def test_a_machine_or_firm_that_has_to_stop_gets_an_empty_list(gate: Gate, rows: tuple[Any, ...]) -> None:
    chip = chip_with_a_list(gate, "P000123", "P000456")
    gate.change(*rows)
    command = only(chip.gets())
    assert (command.entries, command.list_version) == ((), 2)


def test_a_machine_that_somebody_locked_from_afar_gets_an_empty_list(gate: Gate) -> None:
    chip = chip_with_a_list(gate, "P000123", "P000456")
    gate.control("lock")
    assert only(chip.gets()).entries == ()


def test_what_concerns_somebody_else_sends_nothing(gate: Gate) -> None:
    chip = chip_with_a_list(gate, "P000123")
    gate.change(operator(operator_id="P000456", status="blocked"), machine(machine_id="HJ-0002", status="suspended"))
    assert chip.gets() == []


# --- when -------------------------------------------------------------------------------------------------------


def test_a_list_that_the_chip_has_is_sent_again_after_half_of_the_time_for_which_it_holds(gate: Gate) -> None:
    chip = chip_with_a_list(gate, "P000123")
    sent_at = gate.state.offline.sent["HJ-0001"].at
    while gate.clock.now < sent_at + FOR_S * 500 - 1000:
        assert chip.gets(1) == []
    command = only(chip.gets(2))
    assert (command.list_version, command.base_version, set(listed(command))) == (1, UNSET, {"P000123"})
    chip.fresh()
    assert chip.gets(FOR_S // 2 - 10) == []


def test_a_list_that_has_not_changed_has_no_second_row(gate: Gate) -> None:
    chip = Chip(gate)
    chip.works("P000123")
    [first] = chip.gets()
    chip.tell()  # back without having taken it
    [again] = chip.gets()
    assert (first.offline_list is None, again.offline_list is None) == (False, True)


@pytest.mark.parametrize("different", [{"challenge": None}, {}], ids=["none", "the same"])
def test_a_status_without_a_fresh_challenge_shows_no_list_to_be_taken(gate: Gate, different: dict[str, Any]) -> None:
    chip = Chip(gate)
    chip.works("P000123")
    chip.gets()
    chip.tell(**different)
    assert gate.state.offline.taken == {}
    assert len(chip.gets()) == 1


def test_a_challenge_that_a_grant_used_up_shows_no_list_to_be_taken(gate: Gate) -> None:
    """The list was for the same challenge: it came too late, or never."""
    chip = Chip(gate)
    chip.works("P000123")
    assert len(chip.gets()) == 1
    session = gate.running(challenge=f"c-{chip.challenges}")
    chip.fresh(session_id=session.session_id)
    assert gate.state.offline.taken == {}
    assert len(chip.gets()) == 1


def test_a_fresh_challenge_after_a_while_without_a_connection_shows_no_list_to_be_taken(gate: Gate) -> None:
    """A chip also makes one when it gives up a request."""
    chip = Chip(gate)
    chip.works("P000123")
    assert len(chip.gets()) == 1
    gate.status(online=False)
    gate.clock.pass_s(600)
    chip.fresh()
    assert gate.state.offline.taken == {}
    assert len(chip.gets()) == 1


def test_a_chip_that_just_came_back_is_left_in_peace_for_a_moment(gate: Gate) -> None:
    """It may repeat a request, whose grant would not fit a challenge that the list used up."""
    gate.state.offline.let_in("HJ-0001", "P000123", NOW)
    Chip(gate)
    gate.clock.now += 1999
    assert gate.tick() == []
    gate.clock.now += 1
    assert [command.cmd for command in commands(gate.tick())] == ["offline_list"]


def test_while_a_grant_is_on_its_way_no_list_takes_its_challenge(gate: Gate) -> None:
    gate.state.offline.let_in("HJ-0001", "P000123", NOW)
    chip = Chip(gate)
    session = gate.opened(challenge="c-1")
    assert chip.gets(20) == []
    gate.event("unlocked", session.session_id)
    chip.fresh(session_id=session.session_id)
    assert len(chip.gets()) == 1


@pytest.mark.parametrize(
    "different", [{"at": None}, {"online": False}, {"challenge": None}], ids=["no clock", "gone", "no challenge"]
)
def test_a_chip_that_cannot_take_a_list_gets_none(gate: Gate, different: dict[str, Any]) -> None:
    gate.state.offline.let_in("HJ-0001", "P000123", NOW)
    gate.status(**{"challenge": "c-1"} | different)
    assert gate.ticks(10) == []


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(offline=Offline(for_s=FOR_S), credentials=Credentials(("code",)))],
    ids=["never", "codes alone"],
)
def test_where_the_policy_has_no_offline_unlocking_there_are_no_lists(policy: Policy) -> None:
    gate = make_gate(policy)
    gate.state.offline.let_in("HJ-0001", "P000123", NOW)
    assert Chip(gate).gets(10) == []


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(offline=Offline(for_s=FOR_S), credentials=Credentials(("code",)))],
    ids=["never", "codes alone"],
)
def test_a_policy_that_ends_offline_unlocking_takes_the_lists_away(gate: Gate, policy: Policy) -> None:
    chip = chip_with_a_list(gate, "P000123")
    gate.adopt(policy)
    command = only(chip.gets())
    assert (command.entries, command.offline_for_s, command.list_version) == ((), 0, 2)
    chip.fresh()
    assert chip.gets(20) == []


def test_where_nothing_bounds_an_allow_a_list_that_was_taken_is_not_sent_over_and_over() -> None:
    gate = make_gate(Policy(offline=Offline(for_s=FOR_S), observe=Observe(True)))
    chip = Chip(gate)
    chip.works("P000123")
    assert len(chip.gets()) == 1
    chip.fresh()
    assert chip.gets(60) == []
