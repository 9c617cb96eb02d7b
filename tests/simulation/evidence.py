"""What chips told and is on record has its effect, whichever gateway took it: held against each commit.

A gateway can know only what was on record when the event reached it, so each event counts from that moment.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec import Struct

from gateway.core.model import Event
from gateway.gate.entry import EventBody
from gateway.store.journal import Batch
from gateway.store.ledger import Draft
from tests.simulation.timeline import Timeline

_decode_event = msgspec.json.Decoder(Event).decode
_decode_body = msgspec.json.Decoder(EventBody).decode


class Opened(Protocol):
    """A session in the database."""

    opened_at: int | None
    lock_now: bool


class Top(Struct, frozen=True):
    """The highest number of a chip's events on record, since it last began anew, and since when."""

    seq: int
    since: int


class Evidence:
    """Knows when each event reached each gateway, and which numbers are on record."""

    def __init__(self, timeline: Timeline, breaks: Callable[[str, str], None]) -> None:
        self._timeline = timeline
        self._breaks = breaks
        self._reached: dict[tuple[str, str, str], int] = {}
        self._tops: dict[str, Top] = {}
        self._gaps: dict[str, list[tuple[int, int]]] = {}

    def reached(self, gateway: str, machine_id: str, payload: bytes) -> None:
        """An event has come to a gateway."""
        event = _decode_event(payload)
        self._reached[gateway, machine_id, event.event_id] = self._timeline.now

    def committed(self, gateway: str, batch: Batch, sessions: Mapping[str, Opened], open_at: Mapping[str, str]) -> None:
        """A batch is durable; ``sessions`` and ``open_at`` are as after it."""
        for machine_id, _, first, last in batch.lost:
            if last is not None:
                self._gaps.setdefault(machine_id, []).append((first, last))
        for draft in batch.drafts:
            if draft.kind == "event":
                body, machine_id = _decode_body(draft.body), draft.machine_id or ""
                event = _decode_event(body.payload)
                since = self._reached.get((gateway, machine_id, event.event_id), 0)
                self._number(draft, event, body, since)
                self._effect(machine_id, event, since, sessions, open_at)

    def _number(self, draft: Draft, event: Event, body: EventBody, since: int) -> None:
        machine_id, now = draft.machine_id or "", self._timeline.now
        top = self._tops.get(machine_id)
        anew = body.lost is not None and body.lost[1] is None
        if top is None or event.seq > top.seq or anew:
            self._tops[machine_id] = Top(event.seq, now)
        elif top.since < since and not any(
            first <= event.seq <= last for first, last in self._gaps.get(machine_id, ())
        ):
            self._breaks("L", f"{machine_id} counts anew with {event.seq} after {top.seq}, and no loss is on record")

    def _effect(
        self, machine_id: str, event: Event, since: int, sessions: Mapping[str, Opened], open_at: Mapping[str, str]
    ) -> None:
        session_id = open_at.get(machine_id)
        opened_at = sessions[session_id].opened_at if session_id is not None else None
        if session_id is None or opened_at is None or opened_at >= since:
            return
        if event.kind == "locked" and event.session_id == session_id:
            self._breaks("E", f"{machine_id} has locked, and its session {session_id} goes on")
        if event.kind == "tamper" and not sessions[session_id].lock_now:
            self._breaks("E", f"{machine_id} was tampered with, and its session {session_id} is not locked at once")
