"""Waiting for something to become true, with a deadline instead of a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
WITHIN_S = 15.0
_POLL_S = 0.02


def eventually(look: Callable[[], T], within_s: float = WITHIN_S, what: str = "") -> T:
    """The first true value of ``look``; fails the test when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what or look.__name__}; last seen {found!r}"
        time.sleep(_POLL_S)
    return found
