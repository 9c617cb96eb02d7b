"""The chip kit's own test: the reference chip passes every case, and each case notices the chip made to break it."""

import asyncio

import pytest

from simulator.conformance.cases import Result
from simulator.conformance.chip.all import CHIP
from tests.conformance.benches import results
from tests.conformance.broken_chips import BROKEN

CASES = [case.about.id for case in CHIP.chosen(())]
AT_ONCE = 12
"""Benches that run beside each other: they mostly wait."""


async def test_the_reference_chip_passes_every_case() -> None:
    found = await results()
    assert [result for result in found.values() if result.state != "passed"] == []
    assert list(found) == CASES


def test_there_is_a_broken_chip_for_every_case() -> None:
    assert set(BROKEN) == set(CASES)


@pytest.fixture(scope="module")
def of_broken_chips() -> dict[str, Result]:
    """What each case says of the chip that breaks it."""

    async def one(case_id: str, slots: asyncio.Semaphore) -> tuple[str, Result]:
        async with slots:
            return case_id, (await results(case_id, make=BROKEN[case_id]))[case_id]

    async def every() -> dict[str, Result]:
        slots = asyncio.Semaphore(AT_ONCE)
        return dict(await asyncio.gather(*(one(case_id, slots) for case_id in BROKEN)))

    return asyncio.run(every())


@pytest.mark.parametrize("case_id", CASES)
def test_a_chip_that_breaks_the_case_fails_it(case_id: str, of_broken_chips: dict[str, Result]) -> None:
    result = of_broken_chips[case_id]
    assert result.state == "failed"
    assert result.expected
    assert result.seen
    assert result.log, "a failure shows what went over the line"
