"""What a chip keeps an eye on: its clock, current without a lease, a relay that does not follow. Pure (duty 5)."""

from collections.abc import Iterator

from gateway.core.model import EventKind, Relay
from simulator.signals import Moment

FOLLOWS_MS = 500
"""A relay contact, and the arc behind it, get this long to follow before it is an alarm."""
ALARM_EVERY_MS = 10_000
CLOCK_JUMP_MS = 5_000


class Watch:
    """Remembers what was raised when. ``next_ms`` is when (monotonic) to look again, None while all is well."""

    def __init__(self) -> None:
        self.next_ms: int | None = None
        self._sensed: Relay | None = None
        self._switched_ms = 0
        self._raised: dict[EventKind, int] = {}
        self._skew: int | None = None

    def reset(self) -> None:
        """Power was lost, and with it the monotonic clock."""
        self.next_ms = self._sensed = self._skew = None
        self._switched_ms = 0
        self._raised.clear()

    def clock_jump_ms(self, now: Moment) -> int:
        """By how much the wall clock left the monotonic one since it was seen last; 0 for up to five seconds."""
        if now.wall_ms is None:
            return 0
        before, self._skew = self._skew, now.wall_ms - now.mono_ms
        jump_ms = 0 if before is None else self._skew - before
        return jump_ms if abs(jump_ms) > CLOCK_JUMP_MS else 0

    def sense(self, relay: Relay) -> None:
        """Where the auxiliary contact sees the relay."""
        self._sensed = relay

    def switched(self, now_ms: int) -> None:
        """The relay was told to move."""
        self._switched_ms = now_ms

    def alarms(self, now_ms: int, relay: Relay, *, stray_arc: bool) -> Iterator[tuple[EventKind, str]]:
        """What to report now, and what was seen: at once (when the relay had time to follow), and as long as it lasts.

        ``stray_arc``: current without a lease.
        """
        stuck = self._sensed if self._sensed != relay else None
        seen: dict[EventKind, str | None] = {
            "arc_without_lease": "current" if stray_arc else None,
            "relay_stuck": stuck,
        }
        due: list[int] = []
        for kind, what in seen.items():
            if what is None:
                self._raised.pop(kind, None)
                continue
            if now_ms >= self._due(kind):
                self._raised[kind] = now_ms
                yield kind, what
            due.append(self._due(kind))
        self.next_ms = min(due, default=None)

    def _due(self, kind: EventKind) -> int:
        return self._raised[kind] + ALARM_EVERY_MS if kind in self._raised else self._switched_ms + FOLLOWS_MS
