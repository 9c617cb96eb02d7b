"""INVARIANT 6 from outside: how long a relay may stay closed once what its session rests on is gone.

By the calendar: at most the drain deadline longer, for every lease was cut to it in time. By a change of the
registries or an order: a chip that can be reached is locked at once, any other when its lease is over.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from tests.simulation.chip_host import ChipHost
from tests.simulation.county import County
from tests.simulation.network import Weather
from tests.simulation.timeline import Timeline

SETTLED_MS = 90_000
"""After a disturbance lines come back, outboxes empty, and gateways read back."""
PROMPT_MS = 1_000
"""How soon a gateway that is well sees a change (docs/operations.md)."""
STRAY_MS = 60_000
"""For so long reports of a session that its chip says is over may be of before."""
STRAY_REPORTS = {1: 3, 2: 20}
"""So many more show a gateway that it is not over; several share them at random, and one may take it for open still."""
LATE_BY_CLOCK_MS = 1_000
"""Leases are whole seconds."""


class Held(Struct, frozen=True):
    """Whose session keeps a relay closed. ``over``: somebody else was let in by an override; ``known_at``: since when
    the gateway can know of it; ``denied``: the chip said that it had locked, and its reports show that it has not."""

    session_id: str
    operator_id: str
    over: bool = False
    known_at: int = 0
    denied: bool = False


class Limits(Struct, frozen=True):
    """What a run allows. ``lease_s``: the longest lease of its policies. ``clock_error_ms`` is None where gateways'
    clocks are wrong by hours."""

    lease_s: int
    gateways: int
    usage_every_s: int
    weather: Weather
    slowest_commit_ms: int
    clock_error_ms: int | None


class Ground(Struct):
    """Watches every closed relay. ``lost`` holds since when one lacks its ground."""

    timeline: Timeline
    county: County
    limits: Limits
    held: Callable[[str], Held | None]
    breaks: Callable[[str, str], None]
    chips: Mapping[str, ChipHost] = {}
    lost: dict[str, tuple[str, int]] = field(default_factory=dict)
    quiet_since: int = 0
    quiet_since_at: dict[str, int] = field(default_factory=dict)
    blind_until: int = 0
    known: dict[int, int] = field(default_factory=dict)

    # --- what disturbs ---

    def disturbed(self, until: int, machine_id: str | None = None) -> None:
        """Until then something is wrong with one chip or its line, or with what all share."""
        until += SETTLED_MS
        if machine_id is None:
            self.quiet_since = max(self.quiet_since, until)
        else:
            self.quiet_since_at[machine_id] = max(self.quiet_since_at.get(machine_id, 0), until)

    def blind(self, until: int) -> None:
        """Until then gateways may go by what they knew before."""
        self.blind_until = max(self.blind_until, until)
        self.disturbed(until)
        for change, known in self.known.items():
            if known > self.timeline.now:
                self.known[change] = max(known, until + self._to_know_ms())

    # --- looking ---

    def changed(self) -> None:
        """The registries changed, or somebody ordered something. ``known``: by when every gateway goes by it."""
        now = self.timeline.now
        self.known[now] = max(now, self.blind_until) + self._to_know_ms()
        for host in self.chips.values():
            self.look(host)

    def _to_know_ms(self) -> int:
        return PROMPT_MS + 4 * self.limits.slowest_commit_ms

    def look(self, host: ChipHost) -> None:
        """See whether a closed relay has its ground, and when to look again."""
        held = self.held(host.session_id) if host.relay == "closed" and host.session_id else None
        if held is None:
            self.lost.pop(host.machine_id, None)
            return
        now = self.timeline.now
        over = held.over or held.denied
        ends = None if over else self._ends(host, held)
        if ends is not None and ends > now:
            self.lost.pop(host.machine_id, None)
            self.timeline.at(ends, self.look, host)
        elif not over and self._begins_soon(host, held, now):
            self.timeline.at(now + (self.limits.clock_error_ms or 0), self.look, host)
        elif self.lost.get(host.machine_id, ("", 0))[0] != held.session_id:
            self.lost[host.machine_id] = (held.session_id, now)
            self._set_alarms(host, held, now)

    def _begins_soon(self, host: ChipHost, held: Held, now: int) -> bool:
        """Whether permitted hours or a day begin within what a gateway's clock may be ahead."""
        soon = now + (self.limits.clock_error_ms or 0)
        ends = self._ends(host, held, soon)
        return ends is not None and ends > soon

    def _ends(self, host: ChipHost, held: Held, at: int | None = None) -> int | None:
        """When the ground ends, in the run's milliseconds, seen from now or from ``at``; None if there is none then."""
        if held.session_id in self.county.ended_sessions:
            return None
        wall_ms = self.county.base_ms + (self.timeline.now if at is None else at)
        ends = self.county.ground_ends(held.operator_id, host.machine_id, wall_ms)
        return None if ends is None else ends - self.county.base_ms

    def _set_alarms(self, host: ChipHost, held: Held, now: int) -> None:
        touched = (
            now if held.over or held.denied else self.county.touched(held.operator_id, host.machine_id, held.session_id)
        )
        touched = max(touched, held.known_at)
        lost = (held.session_id, now)
        hops = 2 * (self.limits.weather.base_ms + self.limits.weather.jitter_ms)
        prompt_ms = PROMPT_MS + hops + 4 * self.limits.slowest_commit_ms + 2_000
        if held.denied:
            prompt_ms += STRAY_MS + STRAY_REPORTS[self.limits.gateways] * self.limits.usage_every_s * 1000
        self.timeline.at(now + prompt_ms, self._prompt, host, lost, touched, False)
        self.timeline.at(now + prompt_ms + self._drain_ms(host), self._prompt, host, lost, touched, True)
        self.timeline.at(self._last_moment(host, now, touched), self._in_any_case, host, lost, touched)

    def _drain_ms(self, host: ChipHost) -> int:
        return int(host.longest_drain_s * 1000 / host.clocks.rate) + 100

    def _last_moment(self, host: ChipHost, lost: int, touched: int) -> int:
        """When the relay is open even if nothing reaches the chip any more: by the calendar, or by its leases. A
        renewal that was on its way may still be taken while the lease before it lasts."""
        lease_ms = self.limits.lease_s * 1000 / host.clocks.rate
        error_ms = self.limits.clock_error_ms
        by_lease = self.known.get(touched, touched) + int(2 * lease_ms) + 30_000
        if error_ms is None:
            by_calendar = lost + int(2 * lease_ms)
        else:
            slow_ms = int(max(0.0, lease_ms * (1 - host.clocks.rate)))
            by_calendar = lost + slow_ms + error_ms + LATE_BY_CLOCK_MS
        return max(by_lease, by_calendar) + self._drain_ms(host)

    # --- judging ---

    def _still(self, host: ChipHost, lost: tuple[str, int]) -> bool:
        return host.relay == "closed" and host.session_id == lost[0] and self.lost.get(host.machine_id) == lost

    def _prompt(self, host: ChipHost, lost: tuple[str, int], touched: int, drained: bool) -> None:
        """A chip that can be reached is locked: at once between arcs, at the drain deadline in any case."""
        if not self._still(host, lost) or (host.arc and not drained):
            return
        calm_since = max(self.quiet_since, self.quiet_since_at.get(host.machine_id, 0))
        weather = self.limits.weather
        if (
            calm_since > min(touched, lost[1])
            or weather.hostile
            or weather.spikes
            or self.limits.clock_error_ms is None
        ):
            return
        self.breaks("I6", f"{host.machine_id} was not locked although it could be reached; ground lost at {lost[1]} ms")

    def _in_any_case(self, host: ChipHost, lost: tuple[str, int], touched: int) -> None:
        if not self._still(host, lost):
            return
        when = self._last_moment(host, lost[1], touched)
        if when > self.timeline.now:
            self.timeline.at(when, self._in_any_case, host, lost, touched)
        else:
            self.breaks("I6", f"the relay of {host.machine_id} is closed, its ground was lost at {lost[1]} ms")
