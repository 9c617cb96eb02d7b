"""The gateway kit's own test: this gateway passes every case, and each case notices the line made to break it."""

import asyncio
from pathlib import Path

import pytest
from msgspec import Struct

from simulator.conformance.cases import Result
from simulator.conformance.gateway.all import GATEWAY
from tests.conformance.because import OF_GATEWAYS, fails_because
from tests.conformance.broken_gateways import BROKEN
from tests.conformance.broken_runs import ALONE, REVOKING, SLOW, broken
from tests.conformance.gateways import JointImport, LossyTap, Under, results, under_test
from tests.conformance.matrix import GATEWAY_ROWS, GATEWAY_SHARE, gateway_strays
from tests.support.brokers import Mosquitto

CASES = [case.about.id for case in GATEWAY.chosen(())]
AT_ONCE = 8
MATRIX_AT_ONCE = 8


class Runs(Struct):
    """Of the sound gateway, of each broken one in its own case, and the others that each of these fails."""

    sound: dict[str, Result]
    broken: dict[str, Result]
    strays: dict[str, set[str]]


def test_there_is_a_broken_gateway_for_every_case_and_a_reason_why_it_fails() -> None:
    assert set(BROKEN) == set(OF_GATEWAYS) == set(CASES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What the kit says of this gateway, and of each that is broken."""
    broker = Mosquitto().start()
    try:
        return asyncio.run(_play(tmp_path_factory.mktemp("conformance"), broker))
    finally:
        broker.close()


async def _play(folder: Path, broker: Mosquitto) -> Runs:
    """What waits, waits together; what disturbs the gateway comes afterwards, one after the other."""
    async with under_test(folder, broker, LossyTap) as (under, tap):
        assert isinstance(tap, LossyTap)
        joint = JointImport(under, 1 + len(REVOKING))
        parts, of_broken, strays = await asyncio.gather(
            asyncio.gather(
                results(under, tap, leaving_out=(*REVOKING, *SLOW, *ALONE)),
                results(under, tap, *REVOKING, import_files=joint),
                *(results(under, tap, *together) for together in (SLOW[:1], SLOW[1:])),
            ),
            _side_by_side(under, tap, joint),
            gateway_strays(under, tap, MATRIX_AT_ONCE, share=GATEWAY_SHARE),
        )
        parts.append(await results(under, tap, *ALONE))
        for case_id in ALONE:
            of_broken |= await broken(under, tap, case_id, case_id)
        return Runs({case_id: result for part in parts for case_id, result in part.items()}, of_broken, strays)


async def _side_by_side(under: Under, tap: LossyTap, joint: JointImport) -> dict[str, Result]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case_id: str) -> dict[str, Result]:
        if case_id in REVOKING:
            return await broken(under, tap, case_id, case_id, import_files=joint)
        if case_id in SLOW:
            return await broken(under, tap, case_id, case_id)
        async with slots:
            return await broken(under, tap, case_id, case_id)

    found = await asyncio.gather(*(one(case_id) for case_id in BROKEN if case_id not in ALONE))
    return {case_id: result for part in found for case_id, result in part.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case_id", CASES)
def test_this_gateway_passes_the_case(case_id: str, runs: Runs) -> None:
    result = runs.sound[case_id]
    assert (result.state, result.expected, result.seen) == ("passed", "", "")


@pytest.mark.parametrize("case_id", CASES)
def test_a_gateway_that_breaks_the_case_fails_it_for_that_reason(case_id: str, runs: Runs) -> None:
    result = runs.broken[case_id]
    assert fails_because(OF_GATEWAYS[case_id], result), (result.state, result.expected, result.seen)
    assert result.log, "a failure shows what went over the line"


@pytest.mark.parametrize("case_id", [case_id for case_id in CASES if case_id in GATEWAY_ROWS])
def test_it_fails_no_other_case_but_what_rests_on_the_same_duty(case_id: str, runs: Runs) -> None:
    """A twelfth of the matrix; ``python -m tests.conformance.matrix`` plays all of it."""
    assert runs.strays[case_id] == set()
