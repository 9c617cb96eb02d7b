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
MOST_SESSIONS = 200_000
"""A bound for chips that invent session ids; the least recent is folded out first."""
FOLDED_AT_ONCE = 10_000
"""Messages in one go; a province needs 5,000 a second, and MQTT allows 65,535 unacknowledged. The rest comes next."""
REMEMBERED_ENDS = 10_000
"""Ended sessions whose last report may come once more (QoS 1), or whose chip was offline and has a later one."""


class _Running(Struct):
    machine_id: str
    division: str | None
    latest: Usage
    folded_at: Millis
    folded: Usage | None = None
    end_by: Millis | None = None


class UsageFold:
    """Keeps the latest usage per session; ``due`` yields what has to be published by now."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._running: OrderedDict[str, _Running] = OrderedDict()
        self._ended: OrderedDict[str, _Running] = OrderedDict()
        self._now: Millis = 0

    def __call__(self, event: Observed) -> None:
        if isinstance(event, UsageTaken):
            self._take(event)
        elif isinstance(event, SessionEnded) and event.session_id in self._running:
            self._running[event.session_id].end_by = self._now + AWAIT_FINAL_MS

    def _take(self, event: UsageTaken) -> None:
        session_id = event.usage.session_id
        running = self._running.get(session_id) or self._ended.get(session_id)
        if running is None:
            self._running[session_id] = _Running(event.machine_id, event.division, event.usage, self._now)
        elif event.usage.seq > running.latest.seq and event.machine_id == running.machine_id:
            running.latest = event.usage
            self._ended.pop(session_id, None)
            self._running[session_id] = running
            self._running.move_to_end(session_id)

    def due(self, now: Millis) -> list[Outbound]:
        """Messages for the feed; ``now`` is the wall clock."""
        self._now = now
        out = []
        excess = len(self._running) - MOST_SESSIONS
        for position, (session_id, running) in enumerate(list(self._running.items())):
            final = running.latest.final or position < excess or (running.end_by is not None and running.end_by <= now)
            grown = running.latest is not running.folded and now - running.folded_at >= FOLD_EVERY_MS
            if final or grown:
                out.append(self._fold(session_id, running, now, final=final))
            if len(out) == FOLDED_AT_ONCE:
                break
        return out

    def _fold(self, session_id: str, running: _Running, now: Millis, *, final: bool) -> Outbound:
        latest, before = running.latest, running.folded
        self._observe(
            UsageFolded(
                running.division,
                max(0, latest.enabled_s - (before.enabled_s if before else 0)),
                max(0, latest.arc_s - (before.arc_s if before else 0)),
                max(0, latest.idle_s - (before.idle_s if before else 0)),
            )
        )
        running.folded, running.folded_at = latest, now
        if final:
            self._ended[session_id] = self._running.pop(session_id)
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
            session_id=session_id,
        )
        return Outbound(topics.feed(running.division, "usage"), encode(message))
