"""How long a lease lasts, seen from the gateway: always the longest that the chip's relay could stay closed.

A chip counts its lease from the moment at which it accepts a grant or a renewal, and the gateway does not see that
moment. Whatever it promises elsewhere (the operator is free, the session is over) rests on the latest one possible.
Times are Unix milliseconds, durations whole seconds.
"""

from math import ceil

from msgspec import Struct

from gateway.core.model import Millis

USAGE_EVERY_S = 10
"""How often a chip reports while unlocked (the protocol's table of topics)."""
USAGE_LATE_S = 1
"""How much later than that a report may arrive."""
MIN_LEASE_S = 3 * USAGE_EVERY_S
"""The first report of a shorter lease comes too close to its half, or after it, to renew it in time."""
COMMAND_TTL_S = 30
"""How long a chip with a clock may take a renewal."""
CLOCK_ERROR_S = 60
"""How far a chip's clock may be off: with more, its requests are stale (default of ``requests.max_age_s``)."""
DRIFT = 0.02
"""How much slower a chip's monotonic clock may run; a bad resonator in the cold is off by a hundredth."""


class Renewal(Struct, frozen=True):
    """A lease to be sent, and until when it may last at most."""

    lease_s: int
    lease_until: Millis


def renewal_due(begun_at: Millis, lease_s: int, now: Millis) -> bool:
    """Whether a third of the lease is gone, or half of it will be at the next report.

    So a renewal goes out before half is gone, and one that got lost can be sent again before the lease is over.
    """
    gone_ms, lease_ms = now - begun_at, lease_s * 1000
    return gone_ms * 3 >= lease_ms or (gone_ms + (USAGE_EVERY_S + USAGE_LATE_S) * 1000) * 2 >= lease_ms


def renewal(
    now: Millis, held_until: Millis, stands_until: Millis | None, longest_s: int, *, clock: bool
) -> Renewal | None:
    """The next lease of a session, None where it would gain nothing.

    ``held_until``: how long the lease so far may last. ``stands_until``: when what the session rests on ends.
    ``clock``: the chip has a wall clock, and refuses a late renewal by itself.

    INVARIANT: a lease never outlives what it rests on, whenever within its lease before the chip takes the renewal.
    """
    taken_by = min(held_until, now + (COMMAND_TTL_S + CLOCK_ERROR_S) * 1000) if clock else held_until
    lease_s = longest_s if stands_until is None else min(longest_s, (stands_until - taken_by) // 1000)
    lease_until = lasts_until(taken_by, lease_s)
    return Renewal(lease_s, lease_until) if lease_s >= 1 and lease_until > held_until else None


def lasts_until(taken_by: Millis, lease_s: int) -> Millis:
    """The latest end of a lease taken at that moment at the latest, by a slow clock.

    >>> lasts_until(0, 100)
    102000
    """
    return taken_by + ceil(lease_s * 1000 * (1 + DRIFT))


def over_at(lease_until: Millis, drain_deadline_s: int) -> Millis:
    """When the relay is open whatever happens: an arc may outlast the lease up to the deadline."""
    return lasts_until(lease_until, drain_deadline_s)
