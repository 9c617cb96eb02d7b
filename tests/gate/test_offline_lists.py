"""Who may unlock without a connection: lists of recent welders who would be let in, for chips that can take them."""

from typing import Any

import msgspec
import pytest
from joserfc.jwk import ECKey
from msgspec import UNSET

from gateway.core.credential import offline_digest
from gateway.core.policy import Credentials, Lease, Observe, Offline, Policy
from gateway.gate.entry import Entry
from gateway.gate.lists import OfflineList
from gateway.store.journal import Batch
from gateway.wire.answer import order, sign_order
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from gateway.wire.tokens import Command, Signer, Verifier
from tests.core.matrix import certificate, enterprise, machine, operator
from tests.gate.gates import NOW, TODAY, WELDERS, Gate, commands, make_gate

FOR_S = 7200
POLICY = Policy(offline=Offline(for_s=FOR_S, operators=20, recent_days=30, lease_s=600))
MIDNIGHT_S = (NOW + 14 * 3_600_000) // 1000


class Chip:
    """The chip of one machine as far as lists go: a challenge, and what it has taken."""

    def __init__(self, gate: Gate, machine_id: str = "HJ-0001") -> None:
        self.gate, self.machine_id = gate, machine_id
        self.challenges = 0
        self.fresh()

    def fresh(self, **different: Any) -> None:
        """A new challenge, told."""
        self.challenges += 1
        self.tell(**different)

    def tell(self, **different: Any) -> None:
        self.gate.status(self.machine_id, **{"challenge": f"c-{self.challenges}"} | different)

    def gets(self, seconds: int = 3) -> list[Entry]:
        """What it is sent within a while."""
        mine = [entry for entry in self.gate.ticks(seconds) if entry.command and entry.command.aud == self.machine_id]
        return [entry for entry in mine if entry.command and entry.command.cmd == "offline_list"]

    def works(self, *welders: str) -> None:
        """People begin and end work here."""
        for welder in welders:
            session = self.gate.running(welder, self.machine_id, challenge=f"c-{self.challenges}")
            self.fresh(session_id=session.session_id)
            self.gate.event("locked", session.session_id, self.machine_id)
            self.tell()


def chip_with_a_list(gate: Gate, *welders: str) -> Chip:
    """It has taken the list of these welders."""
    chip = Chip(gate)
    chip.works(*welders)
    [entry] = chip.gets()
    chip.fresh()
    assert chip.gets() == []
    assert gate.state.offline.taken["HJ-0001"] == (entry.command.list_version if entry.command else None)
    return chip


def only(entries: list[Entry]) -> Command:
    [command] = commands(entries)
    return command


def listed(command: Command) -> dict[str, int]:
    """Until when each of the three welders is on it."""
    digests = {offline_digest(command.aud, welder): welder for welder in WELDERS}
    assert command.entries is not UNSET
    return {digests[digest]: until for digest, until in command.entries}


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


# --- refused ----------------------------------------------------------------------------------------------------


def refused(gate: Gate, command: Command, **detail: Any) -> None:
    gate.event("grant_rejected", None, command.aud, reason="late", detail={"command_id": command.jti} | detail)


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
    payload = sign_order(Batch(orders=[order(command)]).orders[0], signer)
    assert len(payload) <= MAX_PAYLOAD_BYTES
    token = msgspec.json.decode(payload)["command"]
    claims = Verifier({"keys": [key.as_dict(private=False)]}).claims(token)
    assert claims["entries"] == [list(entry) for entry in command.entries]
