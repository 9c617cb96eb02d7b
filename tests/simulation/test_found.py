"""What the simulation found once, as the few acts that it took, over many ways in which messages may race."""

import msgspec
import pytest

from gateway.core.policy import Policy
from tests.simulation.broken_variants import believes_any_refusal, believes_in_its_own_drain
from tests.simulation.county import DAY_MS
from tests.simulation.network import Weather
from tests.simulation.people import Visit
from tests.simulation.plan import Act, Config, make_config
from tests.simulation.simulation import run
from tests.simulation.verdict import Broken

MINUTE_MS = 60_000
RACES = 40
WORK = ((5_000, 20_000),) * 4


def calm(seed: int, **different: object) -> Config:
    """A setting in which nothing goes wrong but what the acts say."""
    quiet = {
        "hours": 1,
        "people": 3,
        "machines": 3,
        "gateways": 1,
        "policy": msgspec.convert({"lease": {"lease_s": 60}, "offline": {"for_s": 3_600, "lease_s": 60}}, Policy),
        "weather": Weather(20, 500, 0.0, 0, 0.0),
        "persistent_broker": True,
        "events_kept": 1000,
        "wild_clocks": False,
        "real_tokens": False,
        "sqlite": False,
        "commit_ms": (1, 30),
        "later": (),
    }
    return msgspec.structs.replace(make_config(seed), **quiet | different)


def goes(at: int, person: str, machine_id: str) -> Act:
    return Act(at, "visit", int(person[1:]), visit=Visit(person, machine_id, person, WORK, "finish"))


def first_broken(config_of: object, acts: list[Act]) -> Broken | None:
    """What breaks in any of the races."""
    for seed in range(RACES):
        broken = run(config_of(seed), acts)[1]  # type: ignore[operator]
        if broken is not None:
            return broken
    return None


CLOCK_PUT_RIGHT = [
    Act(2 * MINUTE_MS, "chip clock", 0, 45_000),
    goes(3 * MINUTE_MS, "P000000", "HJ-0000"),
    Act(3 * MINUTE_MS + 3_500, "chip clock", 0, 0),
]
"""The chip refuses a grant as too late; its clock is put right; it asks again and takes the same grant."""


def test_a_grant_refused_for_a_wrong_clock_and_taken_a_moment_later_has_its_session() -> None:
    assert first_broken(calm, CLOCK_PUT_RIGHT) is None


def test_those_acts_break_a_gateway_that_believes_any_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    believes_any_refusal(monkeypatch)
    broken = first_broken(calm, CLOCK_PUT_RIGHT)
    assert broken is not None
    assert broken.invariant == "I4"


WORKED_OFFLINE = [
    goes(3 * MINUTE_MS, "P000000", "HJ-0000"),
    Act(8 * MINUTE_MS, "chip cut", 0, 8 * MINUTE_MS),
    goes(10 * MINUTE_MS, "P000000", "HJ-0000"),
    goes(15 * MINUTE_MS + 50_000, "P000001", "HJ-0000"),
]
"""Somebody works without a connection; the news of it comes when the next one is being let in."""


def test_news_of_work_without_a_connection_that_comes_late_ends_no_session_of_now() -> None:
    slow = Weather(20, 3_000, 0.0, 0, 0.0)
    assert first_broken(lambda seed: calm(seed, gateways=2, weather=slow), WORKED_OFFLINE) is None


POWER_BACK = [
    goes(3 * MINUTE_MS, "P000000", "HJ-0000"),
    Act(3 * MINUTE_MS + 20_000, "chip power", 0, 400),
    *(goes(3 * MINUTE_MS + second * 1_000, "P000000", "HJ-0000") for second in range(21, 29)),
]
"""The mains fail for a moment, and the welder scans as soon as the chip is back."""


def test_news_of_a_boot_that_comes_late_ends_no_session_of_now() -> None:
    slow = Weather(20, 3_000, 0.0, 0, 0.0)
    assert first_broken(lambda seed: calm(seed, gateways=2, weather=slow), POWER_BACK) is None


A_DAY_BEHIND = [
    goes(3 * MINUTE_MS, "P000000", "HJ-0000"),
    Act(3 * MINUTE_MS + 1_500, "chip clock", 0, -DAY_MS),
    Act(8 * MINUTE_MS, "chip cut", 0, 125_000),
    goes(10 * MINUTE_MS, "P000000", "HJ-0000"),
]
"""A chip whose clock fell back a day takes its list, lets somebody in without a connection, and is back on air."""


def test_an_unlock_without_a_connection_that_its_chip_dates_a_day_ago_is_not_taken_for_over() -> None:
    assert first_broken(calm, A_DAY_BEHIND) is None


DRAINS_LONGER = [
    Act(500, "chip clock", 0, 45_000),
    Act(100_000, "chip clock", 0, 0),
    Act(150_000, "visit", 0, visit=Visit("P000000", "HJ-0000", "P000000", ((2_000, 400_000),), "finish")),
    Act(152_000, "chip cut", 0, 500_000),
]
"""A chip refuses its setting for a wrong clock, and is cut off as soon as somebody welds, far beyond the lease."""


def short_drain(seed: int) -> Config:
    lease = {"lease_s": 60, "drain_deadline_s": 10}
    return calm(seed, policy=msgspec.convert({"lease": lease}, Policy))


def test_a_session_lasts_as_long_as_the_chip_may_drain_whatever_the_policy_says() -> None:
    assert first_broken(short_drain, DRAINS_LONGER) is None


def test_those_acts_break_a_gateway_that_reckons_with_the_policy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    believes_in_its_own_drain(monkeypatch)
    broken = first_broken(short_drain, DRAINS_LONGER)
    assert broken is not None
    assert broken.invariant == "I4"
