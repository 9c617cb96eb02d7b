"""Clocks that may run faster than real ones, so that a kit's own tests need not wait. The scale of a device is 1."""

import time

SCALE_ORIGIN_MS = 1_767_225_600_000
"""2026-01-01, 00:00 UTC: where a faster wall clock and the real one showed the same."""


def wall_ms(scale: float) -> int:
    """Unix milliseconds now on a wall clock that runs ``scale`` times as fast; every process gets the same."""
    real_ms = time.time_ns() / 1e6
    return round(SCALE_ORIGIN_MS + (real_ms - SCALE_ORIGIN_MS) * scale)


def mono_ms(scale: float) -> int:
    """Milliseconds now on a monotonic clock that runs ``scale`` times as fast."""
    return round(time.monotonic_ns() / 1e6 * scale)
