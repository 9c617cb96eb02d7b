"""What a chip waits for: each cue at most once, by the monotonic clock in milliseconds. Pure."""

from simulator.arms import Cue


class Timers:
    """``next_ms`` is when the first one is due, None while nothing runs."""

    def __init__(self) -> None:
        self._due_ms: dict[Cue, int] = {}

    @property
    def next_ms(self) -> int | None:
        return min(self._due_ms.values(), default=None)

    def set(self, cue: Cue, at_ms: int) -> None:
        """Start, or start anew."""
        self._due_ms[cue] = at_ms

    def set_if_sooner(self, cue: Cue, at_ms: int) -> None:
        """Start, but let one that runs already run out no later than it would."""
        self._due_ms[cue] = min(self._due_ms.get(cue, at_ms), at_ms)

    def runs(self, cue: Cue) -> bool:
        return cue in self._due_ms

    def stop(self, *cues: Cue) -> None:
        """Those named, or all of them."""
        for cue in cues or tuple(self._due_ms):
            self._due_ms.pop(cue, None)

    def take_due(self, now_ms: int) -> Cue | None:
        """The one that is due and has waited longest; it no longer runs."""
        due = [(at_ms, cue.value, cue) for cue, at_ms in self._due_ms.items() if at_ms <= now_ms]
        if not due:
            return None
        cue = min(due)[2]
        self.stop(cue)
        return cue
