"""What a chip keeps an eye on: its clock, current without a lease, a relay that does not follow. Pure (duty 5)."""

from collections.abc import Iterator

from gateway.core.model import EventKind
from simulator.signals import Moment

FOLLOWS_MS = 500
"""A relay contact, and the arc behind it, get this long to follow before it is an alarm."""
ALARM_EVERY_MS = 10_000
CLOCK_JUMP_MS = 5_000


class Watch:
    """Remembers what was raised when. ``next_ms`` is when (monotonic) to look again, None while all is well."""

    def __init__(self) -> None:
        self.next_ms: int | None = None
        self._raised: dict[EventKind, int] = {}
        self._skew: int | None = None

    def reset(self) -> None:
        """Power was lost."""
        self.next_ms = self._skew = None
        self._raised.clear()

    def clock_jump_ms(self, now: Moment) -> int:
        """By how much the wall clock left the monotonic one since the last look; 0 for less than five seconds."""
        before = self._skew
        self._skew = None if now.wall_ms is None else now.wall_ms - now.mono_ms
        if before is None or self._skew is None or abs(self._skew - before) <= CLOCK_JUMP_MS:
            return 0
        return self._skew - before

    def alarms(self, now_ms: int, switched_ms: int, wrong: dict[EventKind, bool]) -> Iterator[EventKind]:
        """What to report now: at once (once the relay had time to follow), and again as long as it lasts."""
        due: list[int] = []
        for kind, is_wrong in wrong.items():
            if not is_wrong:
                self._raised.pop(kind, None)
                continue
            if now_ms >= self._due(kind, switched_ms):
                self._raised[kind] = now_ms
                yield kind
            due.append(self._due(kind, switched_ms))
        self.next_ms = min(due, default=None)

    def _due(self, kind: EventKind, switched_ms: int) -> int:
        return self._raised[kind] + ALARM_EVERY_MS if kind in self._raised else switched_ms + FOLLOWS_MS
