"""The wall clock and the monotonic clock in the units that the rest of the code uses."""

import time


def now_ms() -> int:
    """Wall clock, Unix milliseconds UTC."""
    return time.time_ns() // 1_000_000


monotonic_ns = time.monotonic_ns
"""Monotonic nanoseconds, for waiting times only."""
