"""Time and chance of a run for the gateway's modules."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

from tests.simulation.timeline import Timeline


@contextmanager
def virtual_time(timeline: Timeline, random: Random) -> Iterator[None]:
    """Inside it the gateway's modules take time and chance from the run; the collector is left in peace."""
    tokens = SimpleNamespace(
        token_bytes=random.randbytes,
        token_hex=lambda size=16: random.randbytes(size).hex(),
        token_urlsafe=lambda size=16: random.randbytes(size).hex(),
    )
    instead: dict[str, Any] = {
        "monotonic_ns": lambda: timeline.now * 1_000_000,
        "secrets": tokens,
        "random": random,
        "gc": SimpleNamespace(collect=lambda: 0, freeze=lambda: None),
    }
    changed: list[tuple[Any, str, Any]] = []
    for name, module in list(sys.modules.items()):
        if name.startswith("gateway.") and name != "gateway.clock":
            for attribute, stand_in in instead.items():
                if hasattr(module, attribute):
                    changed.append((module, attribute, getattr(module, attribute)))
                    setattr(module, attribute, stand_in)
    try:
        yield
    finally:
        for module, attribute, original in changed:
            setattr(module, attribute, original)
