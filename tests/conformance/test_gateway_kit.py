"""The gateway kit's own test: this gateway passes every case, and each case notices the line made to break it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.keys import open_keys
from simulator.conformance.cases import Result
from simulator.conformance.gateway.all import GATEWAY
from tests.conformance.bent import Bent
from tests.conformance.between import Between
from tests.conformance.broken_gateways import BROKEN
from tests.conformance.gateways import OPTIONS, JointImport, LossyTap, Under, results, under_test
from tests.support.brokers import Mosquitto

CASES = [case.about.id for case in GATEWAY.chosen(())]
LONG = "OTHERS-06-GW"
REVOKING = ("GW-4.3", "GW-4.4", "GW-4.5", "GW-4.6")
ALONE = (
    *("GW-2.6", "GW-2.7", "OTHERS-03", "OTHERS-05", "OTHERS-07-GW", "OTHERS-10", "OTHERS-14-GW", "OTHERS-15-GW"),
    *("OTHERS-16-GW", "OTHERS-18", "OTHERS-20"),
)
"""Their cases stop, feed or disturb the one gateway that all variants stand before."""
AT_ONCE = 8
IMPATIENT = replace(OPTIONS, answer_s=1.5, ready_s=3.0, longest_s=7.0)
PATIENT = replace(OPTIONS, longest_s=20.0)

Runs = tuple[dict[str, Result], dict[str, Result]]


def test_there_is_a_broken_gateway_for_every_case() -> None:
    assert set(BROKEN) == set(CASES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What the kit says of this gateway, and of each that is broken."""
    broker = Mosquitto().start()
    try:
        return asyncio.run(_play(tmp_path_factory.mktemp("conformance"), broker))
    finally:
        broker.close()


async def _play(folder: Path, broker: Mosquitto) -> Runs:
    async with under_test(folder, broker, LossyTap) as (under, tap):
        assert isinstance(tap, LossyTap)
        sound = await results(under, tap, leaving_out=(LONG,))
        long, broken = await asyncio.gather(results(under, tap, LONG, options=PATIENT), _side_by_side(under, tap))
        for case_id in ALONE:
            broken |= await _broken(under, tap, case_id)
        return sound | long, broken


async def _side_by_side(under: Under, tap: LossyTap) -> dict[str, Result]:
    slots, joint = asyncio.Semaphore(AT_ONCE), JointImport(under, len(REVOKING))

    async def one(case_id: str) -> dict[str, Result]:
        if case_id in REVOKING:
            return await _broken(under, tap, case_id, import_files=joint)
        async with slots:
            return await _broken(under, tap, case_id)

    found = await asyncio.gather(*(one(case_id) for case_id in BROKEN if case_id not in ALONE))
    return {case_id: result for part in found for case_id, result in part.items()}


async def _broken(under: Under, tap: LossyTap, case_id: str, **hooks: Any) -> dict[str, Result]:
    """The case, with its broken variant on the line."""
    (key,) = open_keys(under.keys)._keys
    bent = BROKEN[case_id](key)
    hooks = _told(bent, under, tap) | hooks
    async with Between(under.broker.port, bent) as between:
        found = await results(under, tap, case_id, port=between.port, options=IMPATIENT, **hooks)
    tap.forgets = False
    return found


def _told(bent: Bent, under: Under, tap: LossyTap) -> dict[str, Any]:
    """The hooks of this gateway; the variant hears of them, and some of what it does is done here."""
    name = type(bent).__name__
    tap.forgets = name in ("AcknowledgesFirst", "LosesWhatItNeverHeard")

    async def stop() -> None:
        bent.is_down = True
        await under.stop()

    async def start() -> None:
        tap.forgets = False
        await under.again()
        bent.is_down, bent.restarts = False, bent.restarts + 1

    async def break_storage() -> None:
        bent.is_broken = True
        await under.break_storage()

    async def import_files(files: Path) -> bool:
        return await under.import_files(files) or name == "TakesHalfAnImport"

    return {"stop": stop, "start": start, "break_storage": break_storage, "import_files": import_files}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("case_id", CASES)
def test_this_gateway_passes_the_case(case_id: str, runs: Runs) -> None:
    result = runs[0][case_id]
    assert (result.state, result.expected, result.seen) == ("passed", "", "")


@pytest.mark.parametrize("case_id", CASES)
def test_a_gateway_that_breaks_the_case_fails_it(case_id: str, runs: Runs) -> None:
    result = runs[1][case_id]
    assert result.state == "failed", result.seen
    assert result.expected
    assert result.seen
    assert result.log, "a failure shows what went over the line"
