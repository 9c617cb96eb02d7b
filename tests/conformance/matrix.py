"""``python -m tests.conformance.matrix [chip|gateway]``: every broken variant against every case; takes some minutes.

A variant has to fail its own case, and beside it only what rests on the same duty (``ALSO``). Exit code 1 otherwise.
Cases of a gateway that wait for leases, or stop it, are left out, and so are the variants made for them.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from simulator.conformance.cases import Result
from simulator.conformance.chip.all import CHIP
from simulator.conformance.gateway.all import GATEWAY
from tests.conformance import benches, broken_chips, broken_gateways
from tests.conformance.broken_runs import ALONE, REVOKING, SHARED, SLOW, broken
from tests.conformance.gateways import LossyTap, Under, under_test
from tests.support.brokers import Mosquitto

CHIP_SHARE, GATEWAY_SHARE = 6, 12
"""The tests play one of so many parts: each variant against every sixth case, each case against every sixth variant."""
CHIP_ROWS = [case.about.id for case in CHIP.chosen(())]
ROW_WITHIN_S = 600.0
"""One variant against every case, twice where it fails them all."""
LEFT_OUT = (*REVOKING, *SLOW, *ALONE, *SHARED)
GATEWAY_ROWS = [case.about.id for case in GATEWAY.chosen(()) if case.about.id not in LEFT_OUT]
CHIPS_AT_ONCE, GATEWAYS_AT_ONCE = 24, 12
"""They mostly wait."""
Play = Callable[[str, Collection[str]], Awaitable[dict[str, Result]]]
"""Plays these cases against the variant of a case."""
Strays = dict[str, set[str]]
"""By the case of a variant: others that it fails without a reason in ``ALSO``."""


async def chip_strays(at_once: int, *, share: int) -> Strays:
    """Of every broken chip in a part of the cases; ``share`` 1 is all of them."""

    async def play(variant: str, cases: Collection[str]) -> dict[str, Result]:
        return await benches.results(*cases, make=broken_chips.BROKEN[variant])

    return await _strays({one: _part(one, CHIP_ROWS, share) for one in CHIP_ROWS}, play, broken_chips.ALSO, at_once)


async def gateway_strays(under: Under, tap: LossyTap, at_once: int, *, share: int) -> Strays:
    """Of every broken gateway in a part of the cases."""

    async def play(variant: str, cases: Collection[str]) -> dict[str, Result]:
        return await broken(under, tap, variant, *cases)

    rows = {one: _part(one, GATEWAY_ROWS, share) for one in GATEWAY_ROWS}
    return await _strays(rows, play, broken_gateways.ALSO, at_once)


def _part(variant: str, cases: Sequence[str], share: int) -> list[str]:
    at = cases.index(variant)
    return [case_id for place, case_id in enumerate(cases) if case_id != variant and (place + at) % share == 0]


async def _strays(
    rows: Mapping[str, Sequence[str]], play: Play, also: Mapping[str, Sequence[str]], at_once: int
) -> Strays:
    """A case that fails once and not again was short of time on a busy machine."""
    slots, found = asyncio.Semaphore(at_once), Strays()

    async def one(variant: str, cases: Sequence[str]) -> None:
        async with slots, asyncio.timeout(ROW_WITHIN_S):
            strays = _unknown(await play(variant, cases), also[variant])
            found[variant] = _unknown(await play(variant, strays), also[variant]) if strays else set()

    await asyncio.gather(*(one(variant, cases) for variant, cases in rows.items()))
    return found


def _unknown(seen: Mapping[str, Result], also: Sequence[str]) -> set[str]:
    return {case_id for case_id, result in seen.items() if result.state != "passed" and not _known(case_id, also)}


def _known(case_id: str, also: Iterable[str]) -> bool:
    return any(part in ("*", case_id) or case_id.startswith(f"{part}.") for part in also)


async def _gateways() -> Strays:
    with TemporaryDirectory(prefix="weldgate-matrix-") as folder:
        broker = Mosquitto().start()
        try:
            async with under_test(Path(folder), broker, LossyTap) as (under, tap):
                assert isinstance(tap, LossyTap)
                return await gateway_strays(under, tap, GATEWAYS_AT_ONCE, share=1)
        finally:
            broker.close()


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.matrix", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("chip", "gateway", "all"), default="all")
    chosen, wrong = parser.parse_args().what, Strays()
    if chosen != "gateway":
        wrong |= await chip_strays(CHIPS_AT_ONCE, share=1)
    if chosen != "chip":
        wrong |= await _gateways()
    for variant, strays in wrong.items():
        if strays:
            print(f"the variant for {variant} fails {', '.join(sorted(strays))}, too", flush=True)
    print(f"{len(wrong)} broken variants, {sum(map(bool, wrong.values()))} that fail more than they should")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
