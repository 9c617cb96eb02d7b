"""From a failing run to a small one: acts are left out as long as the same invariant still breaks."""

import time
from collections.abc import Callable

from tests.simulation.plan import Act, Config
from tests.simulation.simulation import run

WITHIN_S = 120.0
"""Smaller is kinder to the reader, but not at any price."""


def shrink(config: Config, acts: list[Act], invariant: str) -> list[Act]:
    """Fewer acts that break the same invariant."""
    give_up = time.monotonic() + WITHIN_S

    def fails(fewer: list[Act]) -> bool:
        broken = run(config, fewer)[1]
        return broken is not None and broken.invariant == invariant

    parts = 2
    while len(acts) >= 2 and time.monotonic() < give_up:
        fewer = _without_a_part(acts, parts, fails, give_up)
        if fewer is not None:
            acts, parts = fewer, max(parts - 1, 2)
        elif parts < len(acts):
            parts = min(parts * 2, len(acts))
        else:
            break
    return acts


def _without_a_part(
    acts: list[Act], parts: int, fails: Callable[[list[Act]], bool], give_up: float
) -> list[Act] | None:
    """``acts`` without one of ``parts`` equal pieces, the later ones first; None where each is needed."""
    size = -(-len(acts) // parts)
    for begin in reversed(range(0, len(acts), size)):
        fewer = acts[:begin] + acts[begin + size :]
        if time.monotonic() > give_up:
            return None
        if fewer and fails(fewer):
            return fewer
    return None
