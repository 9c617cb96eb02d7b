"""Plays cases one after the other against a stand and gathers the results."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from simulator.conformance.cases import About, Case, Failed, NotRun, Result

LOG_LINES = 40
"""Of the packet log, with a failure."""


class Stand(Protocol):
    """What a case is played on: brought into its first state before each case, and asked for its log after."""

    async def begin(self, about: About) -> None: ...

    def excerpt(self, lines: int) -> tuple[str, ...]: ...


StandT = TypeVar("StandT", bound=Stand)
Watch = Callable[[About, Result | None], None]
"""Hears of each case before (None) and after it."""


async def play(
    cases: Sequence[Case[StandT]], stand: StandT, watch: Watch = lambda _about, _result: None
) -> list[Result]:
    """The result of every case, in order."""
    results: list[Result] = []
    for case in cases:
        watch(case.about, None)
        results.append(await _one(case, stand))
        watch(case.about, results[-1])
    return results


async def _one(case: Case[StandT], stand: StandT) -> Result:
    began = time.monotonic()
    try:
        await stand.begin(case.about)
        await case.run(stand)
    except Failed as failed:
        log, took_s = stand.excerpt(LOG_LINES), time.monotonic() - began
        return Result(case.about, "failed", failed.expected, failed.seen, log, took_s)
    except NotRun as missing:
        return Result(case.about, "not run", seen=str(missing), declared=missing.declared)
    return Result(case.about, "passed", took_s=time.monotonic() - began)
