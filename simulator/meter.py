"""What a chip measures in one session: enabled and arc time, arcs, energy. Pure; times in monotonic milliseconds."""

from gateway.core.model import Relay, Usage


class Meter:
    """Cumulative figures since the session began; seconds are whole and rounded down, idle is what is not arc."""

    def __init__(self, session_id: str, opened_ms: int) -> None:
        self._session_id = session_id
        self._opened_ms = opened_ms
        self._arc_ms = 0
        self._watt_ms = 0.0
        self._arcs = 0
        self._seq = 0
        self._arc_since: int | None = None
        self._current_a = 0.0
        self._voltage_v = 0.0

    def strike(self, now_ms: int, current_a: float, voltage_v: float) -> None:
        """An arc starts."""
        self._arc_since = now_ms
        self._arcs += 1
        self._current_a, self._voltage_v = current_a, voltage_v

    def rest(self, now_ms: int) -> None:
        """The arc is over."""
        self._add_arc(now_ms)
        self._arc_since = None

    def usage(self, now_ms: int, wall_ms: int | None, relay: Relay, *, final: bool) -> Usage:
        """The next report, with everything up to now."""
        if self._arc_since is not None:
            self._add_arc(now_ms)
        self._seq += 1
        enabled_s, arc_s = (now_ms - self._opened_ms) // 1000, self._arc_ms // 1000
        return Usage(
            self._session_id,
            self._seq,
            wall_ms,
            relay,
            enabled_s,
            arc_s,
            enabled_s - arc_s,
            self._arcs,
            round(self._watt_ms / 3_600_000, 3),
            self._current_a if self._arc_since is not None else 0.0,
            self._voltage_v if self._arc_since is not None else 0.0,
            final,
        )

    def _add_arc(self, now_ms: int) -> None:
        if self._arc_since is not None:
            burned_ms = now_ms - self._arc_since
            self._arc_ms += burned_ms
            self._watt_ms += burned_ms * self._current_a * self._voltage_v
            self._arc_since = now_ms
