"""Which sessions have to be looked at again, held against the clock, or locked: filled by whatever changes, worked off
in the pipeline a slice at a time."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeVar

from gateway.core.session import DrainReason
from gateway.gate.sessions import Session

Kept = TypeVar("Kept")


class Agenda:
    """Sessions by id, first come first served."""

    def __init__(self) -> None:
        self._reviews: dict[str, Session] = {}
        self._clocked: dict[str, Session] = {}
        self._locks: dict[str, tuple[Session, DrainReason]] = {}
        self._at_once: dict[str, tuple[Session, DrainReason]] = {}

        self._all: tuple[dict[str, Any], ...] = (self._reviews, self._clocked, self._locks, self._at_once)

    def __len__(self) -> int:
        return sum(map(len, self._all))

    def restart(self, sessions: Iterable[Session]) -> None:
        """Memory has been read anew: what was due for sessions of before is found again by looking at all."""
        for waiting in self._all:
            waiting.clear()
        self.review(sessions)

    def forget(self, session_id: str) -> None:
        """The session has been read anew."""
        for waiting in self._all:
            waiting.pop(session_id, None)

    def review(self, sessions: Iterable[Session]) -> None:
        """Look again whether they may go on."""
        self._reviews |= {session.session_id: session for session in sessions}

    def hold_against_clock(self, sessions: Iterable[Session]) -> None:
        """See what is due by now."""
        self._clocked |= {session.session_id: session for session in sessions}

    def lock(self, session: Session, reason: DrainReason) -> None:
        """Lock a session; a tampered lock comes before all others, else the first reason stays."""
        if reason == "tamper":
            self._at_once[session.session_id] = (session, reason)
        else:
            self._locks.setdefault(session.session_id, (session, reason))

    def take_reviews(self, most: int) -> list[Session]:
        return _take(self._reviews, most)

    def take_clocked(self, most: int) -> list[Session]:
        return _take(self._clocked, most)

    def take_locks(self, most: int) -> list[tuple[Session, DrainReason]]:
        at_once = _take(self._at_once, most)
        return at_once + _take(self._locks, most - len(at_once))


def _take(waiting: dict[str, Kept], most: int) -> list[Kept]:
    return [waiting.pop(key) for key in list(islice(waiting, most))]
