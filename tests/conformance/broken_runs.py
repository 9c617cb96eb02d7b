"""Cases of the gateway kit played against the broken variants, all of which stand before one sound gateway."""

import asyncio
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gateway.keys import open_keys
from simulator.conformance.cases import Result
from tests.conformance.bent import Bent
from tests.conformance.between import Between
from tests.conformance.broken_gateways import BROKEN
from tests.conformance.gateways import OPTIONS, LossyTap, Under, results

REVOKING = ("GW-4.3", "GW-4.4", "GW-4.5", "GW-4.6")
"""Their cases import: those that are played at the same time share one import."""
SLOW = ("OTHERS-06-GW", "GW-4.1", "GW-4.2")
"""Their cases wait for a lease, or half of one."""
ALONE = (
    *("GW-2.6", "GW-2.7", "OTHERS-03", "OTHERS-05", "OTHERS-07-GW", "OTHERS-10", "OTHERS-14-GW", "OTHERS-15-GW"),
    *("OTHERS-16-GW", "OTHERS-18", "OTHERS-20"),
)
"""Their cases stop, feed or disturb the one gateway that all others stand before."""
SHARED = ("OTHERS-19",)
"""Its welder is one and the same wherever it is played, so that two at once get into each other's way."""
IMPATIENT = replace(OPTIONS, answer_s=1.5, ready_s=3.0)


async def broken(under: Under, tap: LossyTap, variant: str, *cases: str, **hooks: Any) -> dict[str, Result]:
    """What these cases say with a case's broken variant on the line."""
    (key,) = open_keys(under.keys)._keys
    bent = BROKEN[variant](key)
    hooks = _told(bent, under, tap) | hooks
    async with Between(under.broker.port, bent) as between:
        found = await results(under, tap, *cases, port=between.port, options=IMPATIENT, **hooks)
    if variant in ALONE:
        tap.be_sound()
        await hooks["start"]() if bent.is_down else await asyncio.to_thread(under.gateway.until_ready)
    return found


def _told(bent: Bent, under: Under, tap: LossyTap) -> dict[str, Any]:
    """The hooks of this gateway; the variant hears of them, and some of what it does is done here."""
    name = type(bent).__name__
    tap.forgets = name in ("AcknowledgesFirst", "LosesWhatItNeverHeard")
    tap.gives_up = name == "LivesOnWithoutItsConnection"

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
