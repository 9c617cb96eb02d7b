"""What a chip keeps until the broker has it: events and usage, in order, across broken connections. Pure."""

from collections.abc import Iterator

from msgspec import Struct

from gateway.core.model import Event, Usage
from gateway.wire.codec import encode

IN_FLIGHT = 20
"""Unacknowledged publications at a time: what a broker takes from one client without complaint."""
EVENTS_KEPT = 1000
"""A chip's flash is finite. The oldest events are the evidence; what no longer fits is counted and told."""
USAGE_KEPT = 30


class Kept(Struct):
    """One message that waits; ``sent`` on the present connection."""

    key: int
    message: Event | Usage
    sent: bool = False

    @property
    def payload(self) -> bytes:
        return encode(self.message)


class Outbox:
    """First in, first out. Usage is cumulative, so the oldest of a session merges into the next one.

    ``usage_kept``: so many reports are kept at most.
    """

    def __init__(self, usage_kept: int = USAGE_KEPT) -> None:
        self.lost = 0
        self._usage_kept = usage_kept
        self._kept: list[Kept] = []
        self._next_key = 1

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def has_room(self) -> bool:
        """Whether another event can be kept."""
        return sum(isinstance(kept.message, Event) for kept in self._kept) < EVENTS_KEPT

    def add_event(self, event: Event) -> bool:
        """Keep an event; False if there is no room for it (then it counts in ``lost``)."""
        if not self.has_room:
            self.lost += 1
            return False
        self._add(event)
        return True

    def add_usage(self, usage: Usage) -> None:
        """Keep a report; too many of one session merge, the oldest first."""
        self._add(usage)
        reports = [kept for kept in self._kept if isinstance(kept.message, Usage)]
        if len(reports) > self._usage_kept:
            self._merge_oldest(reports)

    def due(self) -> Iterator[Kept]:
        """What to publish now, in order; marks it as sent."""
        for kept in self._kept[:IN_FLIGHT]:
            if not kept.sent:
                kept.sent = True
                yield kept

    def delivered(self, key: int) -> None:
        """The broker has it."""
        self._kept = [kept for kept in self._kept if kept.key != key]

    def connection_lost(self) -> None:
        """Everything without an acknowledgement goes out again, in order."""
        for kept in self._kept:
            kept.sent = False

    def _add(self, message: Event | Usage) -> None:
        self._kept.append(Kept(self._next_key, message))
        self._next_key += 1

    def _merge_oldest(self, reports: list[Kept]) -> None:
        """Drop the oldest report that a later one of the same session covers."""
        for index, kept in enumerate(reports):
            later = {other.message.session_id for other in reports[index + 1 :]}
            if not kept.sent and kept.message.session_id in later:
                self._kept.remove(kept)
                return
