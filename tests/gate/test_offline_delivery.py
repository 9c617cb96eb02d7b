"""Offline lists on their way: refused by chips, in batches that fail, after a restart, and never too large."""

from typing import Any

import msgspec
import pytest
from joserfc.jwk import ECKey
from msgspec import UNSET

from gateway.core.policy import Lease, Offline, Policy
from gateway.gate.lists import OfflineList
from gateway.wire.answer import order, sign_order
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from gateway.wire.tokens import Command, Signer, Verifier
from tests.core.matrix import machine
from tests.gate.gates import NOW, Gate, make_gate
from tests.gate.offline_chip import FOR_S, POLICY, Chip, chip_with_a_list, listed, only


@pytest.fixture
def gate() -> Gate:
    return make_gate(POLICY)


# --- refused ----------------------------------------------------------------------------------------------------


def refused(gate: Gate, command: Command, **detail: Any) -> None:
    gate.event("grant_rejected", None, command.aud, reason="replayed", detail={"command_id": command.jti} | detail)


def test_a_list_that_the_chip_refused_goes_out_again_whole(gate: Gate) -> None:
    """Though it showed a fresh challenge meanwhile."""
    chip = Chip(gate)
    chip.works("P000123", "P000456")
    first = only(chip.gets())
    chip.fresh()
    refused(gate, first)
    again = only(chip.gets(5))
    assert (again.list_version, again.base_version, set(listed(again))) == (1, UNSET, {"P000123", "P000456"})


def test_a_chip_that_holds_a_later_list_than_ours_gets_one_above_it(gate: Gate) -> None:
    """As after a restore from a backup."""
    chip = Chip(gate)
    chip.works("P000123")
    refused(gate, only(chip.gets()), list_version=41)
    again = only(chip.gets(5))
    assert (again.list_version, again.base_version, set(listed(again))) == (42, UNSET, {"P000123"})


def test_another_command_that_was_refused_sends_no_list(gate: Gate) -> None:
    chip = Chip(gate)
    chip.works("P000123")
    chip.gets()
    gate.event("grant_rejected", None, detail={"command_id": "another", "list_version": 41})
    gate.event("grant_rejected", None)
    assert chip.gets(20) == []


@pytest.mark.parametrize("held", [2**31 - 1, 2**53, 2**63 - 1, 2**64, 10**30, True, -1, "9", 1.5, None, [1]])
def test_a_version_that_no_gateway_ever_gave_raises_no_number_beyond_what_the_database_holds(
    gate: Gate, held: object
) -> None:
    chip = Chip(gate)
    chip.works("P000123")
    refused(gate, only(chip.gets()), list_version=held)
    version = only(chip.gets(5)).list_version
    assert version is not UNSET
    assert 1 <= version < 2**31 - 1


# --- durable or not ---------------------------------------------------------------------------------------------


def test_after_a_restart_numbers_go_on_and_the_chip_gets_the_whole_list(gate: Gate) -> None:
    chip = chip_with_a_list(gate, "P000123")
    held = gate.state.offline.sent["HJ-0001"]
    row = ("HJ-0001", held.version, held.at, held.for_s, held.lease_s, msgspec.json.encode(held.welders))
    restarted = make_gate(POLICY)
    restarted.read_back(whole=True, lists=[row], recent=[("HJ-0001", "P000456", NOW), ("HJ-0001", "P000123", NOW)])
    assert restarted.state.offline.sent["HJ-0001"] == OfflineList(1, held.at, FOR_S, 600, held.welders)
    after = Chip(restarted)
    command = only(after.gets())
    assert (command.list_version, command.base_version, len(listed(command))) == (2, UNSET, 2)
    assert chip.challenges > 0


def test_a_list_whose_batch_failed_is_sent_all_the_same(gate: Gate) -> None:
    """Nothing of that batch reached the database or the chip."""
    chip = Chip(gate)
    chip.works("P000123")
    rows = [entry.offline_list for entry in chip.gets()]
    assert len(rows) == 1
    gate.read_back()
    [again] = chip.gets()
    assert again.offline_list is not None


# --- size -------------------------------------------------------------------------------------------------------


def test_the_longest_list_fits_into_4_kib(signer: Signer, key: ECKey) -> None:
    many = [f"{'x' * 250}{number:06}" for number in range(40)]
    machine_id = "H" * 32
    longest = Policy(
        offline=Offline(for_s=604_800, operators=40, recent_days=366, lease_s=2_592_000), lease=Lease(lease_s=2_592_000)
    )
    gate = make_gate(longest, welders=many, machines=(machine(machine_id=machine_id),))
    for welder in many:
        gate.state.offline.let_in(machine_id, welder, NOW)
    gate.status(machine_id, challenge="证" * 128)
    command = only(gate.ticks(3))
    assert command.entries is not UNSET
    assert len(command.entries) == 40
    payload = sign_order(order(command), signer)
    assert len(payload) <= MAX_PAYLOAD_BYTES
    token = msgspec.json.decode(payload)["command"]
    claims = Verifier({"keys": [key.as_dict(private=False)]}).claims(token)
    assert claims["entries"] == [list(entry) for entry in command.entries]
