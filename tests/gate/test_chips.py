"""What is known of chips: their presence and challenge, the numbers of their events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import Status
from gateway.gate.chips import CHALLENGES_REMEMBERED, Chip, Chips
from gateway.observe.events import EvidenceLost
from tests.gate.gates import Gate, alerts, event_of, make_gate

# --- presence and challenge -------------------------------------------------------------------------------------


def test_a_machine_whose_chip_never_spoke_is_online_as_far_as_anybody_knows() -> None:
    chip = Chips()["HJ-0001"]
    assert (chip.online, chip.serial, chip.challenge, chip.clock) == (True, None, None, False)


def test_a_challenge_is_news_once() -> None:
    chip = Chip()
    challenges = ["c-1", "c-1", "c-2", "c-1", "c-2", "c-3", "c-2"]
    assert [chip.takes(Status(True, one), 0) for one in challenges] == [True, False, True, False, False, True, False]


def test_its_present_challenge_is_what_it_said_last_news_or_not() -> None:
    chip = Chip()
    for challenge in ("c-1", "c-2", "c-1"):
        chip.takes(Status(True, challenge), 0)
        assert chip.challenge == challenge


def test_challenges_of_before_are_no_news_for_a_while() -> None:
    chip = Chip()
    for number in range(CHALLENGES_REMEMBERED):
        chip.takes(Status(True, f"c-{number}"), 0)
    assert not chip.takes(Status(True, "c-0"), 0)


def test_chips_are_counted_by_their_last_word() -> None:
    chips = Chips()
    assert chips.online() == (0, 0)
    for machine_id, online in (("HJ-0001", True), ("HJ-0002", True), ("HJ-0003", True), ("HJ-0002", False)):
        chips.take(machine_id, Status(online), 0)
    assert chips.online() == (2, 1)


def test_a_last_will_says_that_it_is_gone_and_leaves_all_else() -> None:
    chip = Chip()
    chip.takes(Status(True, "c-1", "CHIP-0001", at=1), 0)
    assert not chip.takes(Status(False), 0)
    assert (chip.online, chip.challenge, chip.serial, chip.clock) == (False, "c-1", "CHIP-0001", True)


@pytest.mark.parametrize("at", [None, 1_781_488_800_000])
def test_whether_it_has_a_clock_shows_in_its_status(at: int | None) -> None:
    chip = Chip()
    chip.takes(Status(True, "c-1", at=at), 0)
    assert chip.clock == (at is not None)


# --- numbers of events ------------------------------------------------------------------------------------------


def counted(*numbers: int) -> list[tuple[int, int | None] | None]:
    """What is missing before each event, of events that are not on record."""
    chips = Chips()
    return [chips.count("HJ-0001", seq) for seq in numbers]


def test_numbers_that_follow_one_another_miss_nothing() -> None:
    assert counted(7, 8, 9, 10) == [None] * 4


def test_a_gap_is_told_by_its_first_and_last_number() -> None:
    assert counted(7, 9, 20) == [None, (8, 8), (10, 19)]


def test_numbers_that_were_missed_and_come_late_are_no_gap_and_take_nothing_back() -> None:
    assert counted(7, 9, 8, 10, 20, 15, 12, 21) == [None, (8, 8), None, None, (11, 19), None, None, None]


def test_numbers_that_begin_anew_are_lost_evidence_of_unknown_extent() -> None:
    assert counted(7, 1, 2, 4) == [None, (8, None), None, (3, 3)]


def test_a_number_that_another_event_had_before_begins_anew() -> None:
    assert counted(700, 2, 5, 9, 300) == [None, (701, None), (3, 4), (6, 8), (10, 299)]
    assert counted(7, 8, 8) == [None, None, (9, None)]


def test_what_the_database_knows_to_be_missing_may_come_late() -> None:
    chips = Chips()
    chips.count("HJ-0001", 12)
    chips.refresh_seqs(["HJ-0001"], {"HJ-0001": 20}, [("HJ-0001", 4, 6), ("HJ-0001", 15, 15)])
    assert [chips.count("HJ-0001", seq) for seq in (5, 15, 21)] == [None, None, None]
    assert chips.count("HJ-0001", 14) == (22, None)


def test_each_chip_counts_for_itself() -> None:
    chips = Chips()
    chips.count("HJ-0001", 7)
    assert chips.count("HJ-0002", 9) is None
    assert chips.count("HJ-0001", 9) == (8, 8)


@given(st.lists(st.integers(0, 50), max_size=30, unique=True))
def test_what_is_missing_is_told_once_and_is_all_that_never_came(numbers: list[int]) -> None:
    """Of events that come in their order with losses."""
    kept = sorted(numbers)
    told = [gap for gap in counted(*kept) if gap is not None]
    missing = {number for first, last in told for number in range(first, (last or 0) + 1)}
    assert missing == (set(range(kept[0], kept[-1] + 1)) - set(kept) if kept else set())


# --- on the way from the wire to record, alert and rows -----------------------------------------------------------


def test_a_gap_is_on_record_in_a_row_and_an_alert(gate: Gate) -> None:
    gate.event("boot", seq=7)
    entry = gate.event("clock_reset", seq=10)
    assert event_of(entry).lost == (8, 9)
    assert entry.lost == ("HJ-0001", gate.clock.now, 8, 9)
    assert entry.seq == ("HJ-0001", 10, 7)
    assert EvidenceLost("HJ-0001", 2) in entry.observed
    assert alerts([entry]) == [("lost_evidence", "HJ-0001", None)]


def test_numbers_that_began_anew_are_on_record_without_an_end(gate: Gate) -> None:
    gate.event("boot", seq=7)
    entry = gate.event("boot", seq=1)
    assert event_of(entry).lost == (8, None)
    assert entry.lost == ("HJ-0001", gate.clock.now, 8, None)
    assert EvidenceLost("HJ-0001", None) in entry.observed


def test_an_event_without_a_gap_says_nothing_of_one(gate: Gate) -> None:
    gate.event("boot", seq=7)
    entry = gate.event("clock_reset", seq=8)
    assert (event_of(entry).lost, entry.lost, entry.feed) == (None, None, None)


def test_an_alarm_with_a_gap_before_it_is_told_as_the_alarm(gate: Gate) -> None:
    gate.event("boot", seq=7)
    entry = gate.event("relay_stuck", seq=9)
    assert alerts([entry]) == [("relay_stuck", "HJ-0001", None)]
    assert entry.lost is not None


def test_after_a_restart_counting_goes_on_where_the_database_stands(gate: Gate) -> None:
    restarted = make_gate()
    restarted.read_back(whole=True, seqs={"HJ-0001": 7})
    assert event_of(restarted.event("clock_reset", seq=9)).lost == (8, 8)


def test_a_chip_of_which_no_event_is_on_record_begins_with_any_number(gate: Gate) -> None:
    assert event_of(gate.event("boot", seq=5000)).lost is None
