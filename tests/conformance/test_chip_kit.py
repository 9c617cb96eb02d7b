"""The chip kit's own test: the reference chip passes every case, and each case notices the chip made to break it."""

import asyncio

import pytest
from msgspec import Struct

from simulator.conformance.cases import Result
from simulator.conformance.chip.all import CHIP
from tests.conformance.because import OF_CHIPS, fails_because
from tests.conformance.benches import results
from tests.conformance.broken_chips import BROKEN
from tests.conformance.matrix import CHIP_SHARE, chip_strays

CASES = [case.about.id for case in CHIP.chosen(())]
AT_ONCE, MATRIX_AT_ONCE = 12, 24
"""Benches of each kind that run beside each other."""


def test_there_is_a_broken_chip_for_every_case_and_a_reason_why_it_fails() -> None:
    assert set(BROKEN) == set(OF_CHIPS) == set(CASES)


class Runs(Struct):
    """Of the reference chip, of each broken one in its own case, and the others that each of these fails."""

    sound: dict[str, Result]
    broken: dict[str, Result]
    strays: dict[str, set[str]]


@pytest.fixture(scope="module")
def runs() -> Runs:
    """All of them beside each other: they mostly wait."""

    async def one(case_id: str, slots: asyncio.Semaphore) -> tuple[str, Result]:
        async with slots:
            return case_id, (await results(case_id, make=BROKEN[case_id]))[case_id]

    async def every() -> Runs:
        slots = asyncio.Semaphore(AT_ONCE)
        sound, strays, broken = await asyncio.gather(
            results(),
            chip_strays(MATRIX_AT_ONCE, share=CHIP_SHARE),
            asyncio.gather(*(one(case_id, slots) for case_id in BROKEN)),
        )
        return Runs(sound, dict(broken), strays)

    return asyncio.run(every())


def test_the_reference_chip_passes_every_case(runs: Runs) -> None:
    assert [result for result in runs.sound.values() if result.state != "passed"] == []
    assert list(runs.sound) == CASES


@pytest.mark.parametrize("case_id", CASES)
def test_a_chip_that_breaks_the_case_fails_it_for_that_reason(case_id: str, runs: Runs) -> None:
    result = runs.broken[case_id]
    assert fails_because(OF_CHIPS[case_id], result), (result.state, result.expected, result.seen)
    assert result.log, "a failure shows what went over the line"


@pytest.mark.parametrize("case_id", CASES)
def test_it_fails_no_other_case_but_what_rests_on_the_same_duty(case_id: str, runs: Runs) -> None:
    """A sixth of the matrix; ``python -m tests.conformance.matrix`` plays all of it."""
    assert runs.strays[case_id] == set()
