"""``python -m tests.conformance.matrix [CASE …]``: every broken chip against every case; takes some minutes.

A variant has to fail its own case, and beside it only what rests on the same duty (``ALSO``). Exit code 1 otherwise.
"""

import asyncio
import sys

from tests.conformance.benches import results
from tests.conformance.broken_chips import ALSO, BROKEN

AT_ONCE = 10


async def failing(case_id: str, slots: asyncio.Semaphore) -> tuple[str, set[str]]:
    """The cases that the variant fails."""
    async with slots:
        found = await results(make=BROKEN[case_id])
        return case_id, {name for name, result in found.items() if result.state != "passed"}


def unexpected(case_id: str, failed: set[str]) -> set[str]:
    """What should not have failed, or should have."""
    if "*" in ALSO[case_id]:
        return {case_id} - failed
    known = {name for name in failed if any(name == part or name.startswith(f"{part}.") for part in ALSO[case_id])}
    return (failed - known) ^ {case_id}


async def main() -> int:
    slots, wrong = asyncio.Semaphore(AT_ONCE), 0
    for finished in asyncio.as_completed([failing(case_id, slots) for case_id in sys.argv[1:] or list(BROKEN)]):
        case_id, failed = await finished
        differs = unexpected(case_id, failed)
        wrong += bool(differs)
        print(f"{'!!' if differs else 'ok'} {case_id}: {', '.join(sorted(failed - {case_id}))}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
