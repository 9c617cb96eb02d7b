"""Usage folded per session for everybody else: at least once a minute while it runs, and once at its end."""

from collections import OrderedDict

from msgspec import Struct

from gateway.core.model import Millis, Usage
from gateway.observe.events import Observed, Observer, SessionEnded, UsageFolded, UsageTaken
from gateway.wire import topics
from gateway.wire.codec import encode
from gateway.wire.inbound import Outbound
from gateway.wire.messages import FeedUsage

FOLD_EVERY_MS = 30_000
"""Half of the protocol's minute: a report every ten seconds then always makes it."""
AWAIT_FINAL_MS = 15_000
"""How long an ended session waits for its chip's final report."""
SILENT_MS = 1_800_000
"""After half an hour without a report a session is over: that is twice the default lease."""
FOLDED_AT_ONCE = 10_000
"""Messages in one go; a province needs 5,000 a second, and MQTT allows 65,535 unacknowledged. The rest comes next."""
REMEMBERED_ENDS = 10_000
"""Ended sessions whose last report may come once more (QoS 1), or whose chip was offline and has a later one."""


class _Running(Struct):
    machine_id: str
    division: str | None
    latest: Usage
    heard_at: Millis
    folded_at: Millis
    folded: Usage | None = None
    end_by: Millis | None = None


class UsageFold:
    """Keeps the latest usage of the session at each machine; ``due`` yields what has to be published by now.

    A chip that invents session ids only ends its own fold each time: there is one a machine.
    """

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._running: OrderedDict[str, _Running] = OrderedDict()
        """By machine, the one folded longest ago first."""
        self._over: dict[str, _Running] = {}
        self._ended: OrderedDict[str, _Running] = OrderedDict()
        self._now: Millis = 0

    def __call__(self, event: Observed) -> None:
        if isinstance(event, UsageTaken):
            self._take(event)
        elif isinstance(event, SessionEnded):
            running = self._running.get(event.machine_id)
            if running is not None and running.latest.session_id == event.session_id:
                running.end_by = self._now + AWAIT_FINAL_MS

    def _take(self, event: UsageTaken) -> None:
        session_id = event.usage.session_id
        over = self._over.get(session_id) or self._ended.get(session_id)
        if over is not None:
            self._take_late(over, event)
            return
        running = self._running.get(event.machine_id)
        if running is None or running.latest.session_id != session_id:
            self._begin(event)
        elif event.usage.seq > running.latest.seq:
            running.latest, running.heard_at = event.usage, self._now
        if event.usage.final:
            self._over[session_id] = self._running.pop(event.machine_id)

    def _begin(self, event: UsageTaken) -> None:
        before = self._running.pop(event.machine_id, None)
        if before is not None:
            self._over[before.latest.session_id] = before
        self._running[event.machine_id] = _Running(event.machine_id, event.division, event.usage, self._now, self._now)

    def _take_late(self, over: _Running, event: UsageTaken) -> None:
        """A report after the last one: news from a chip that was offline counts, a copy does not."""
        if event.usage.seq > over.latest.seq and event.machine_id == over.machine_id:
            over.latest = event.usage
            self._ended.pop(event.usage.session_id, None)
            self._over[event.usage.session_id] = over

    def due(self, now: Millis) -> list[Outbound]:
        """Messages for the feed; ``now`` is the wall clock."""
        self._now = now
        over = list(self._over)[:FOLDED_AT_ONCE]
        out = [self._fold(self._over.pop(session_id), now, final=True) for session_id in over]
        while len(out) < FOLDED_AT_ONCE and self._running:
            running = next(iter(self._running.values()))
            if running.folded_at + FOLD_EVERY_MS > now:
                break
            out += self._look_at(running, now)
        return out

    def _look_at(self, running: _Running, now: Millis) -> list[Outbound]:
        """What is due of the one folded longest ago; it goes to the end of the row, or out of it."""
        ended = running.end_by is not None and running.end_by <= now
        if ended or running.heard_at + SILENT_MS <= now:
            del self._running[running.machine_id]
            return [self._fold(running, now, final=True)]
        self._running.move_to_end(running.machine_id)
        running.folded_at = now
        return [self._fold(running, now, final=False)] if running.latest is not running.folded else []

    def _fold(self, running: _Running, now: Millis, *, final: bool) -> Outbound:
        latest, before = running.latest, running.folded
        self._observe(
            UsageFolded(
                running.division,
                max(0, latest.enabled_s - (before.enabled_s if before else 0)),
                max(0, latest.arc_s - (before.arc_s if before else 0)),
                max(0, latest.idle_s - (before.idle_s if before else 0)),
            )
        )
        running.folded = latest
        if final:
            self._ended[latest.session_id] = running
            if len(self._ended) > REMEMBERED_ENDS:
                self._ended.popitem(last=False)
        message = FeedUsage(
            arc_s=latest.arc_s,
            arcs=latest.arcs,
            at=now,
            division=running.division or topics.UNKNOWN_DIVISION,
            enabled_s=latest.enabled_s,
            energy_wh=latest.energy_wh,
            final=final,
            idle_s=latest.idle_s,
            machine_id=running.machine_id,
            session_id=latest.session_id,
        )
        return Outbound(topics.feed(running.division, "usage"), encode(message))
