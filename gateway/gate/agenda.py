"""Which sessions have to be looked at again, and which have to be locked: filled by whatever changes, worked off in
the pipeline a slice at a time."""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from gateway.core.session import DrainReason
from gateway.gate.sessions import Session

Kept = TypeVar("Kept")


class Agenda:
    """Sessions by id, first come first served."""

    def __init__(self) -> None:
        self._reviews: dict[str, Session] = {}
        self._locks: dict[str, tuple[Session, DrainReason]] = {}

    def __len__(self) -> int:
        return len(self._reviews) + len(self._locks)

    def restart(self, sessions: Iterable[Session]) -> None:
        """Memory has been read anew: what was due for sessions of before is found again by looking at all."""
        self._reviews.clear()
        self._locks.clear()
        self.review(sessions)

    def review(self, sessions: Iterable[Session]) -> None:
        """Look again whether they may go on."""
        self._reviews |= {session.session_id: session for session in sessions}

    def lock(self, session: Session, reason: DrainReason) -> None:
        """Lock a session; a tampered lock is the most urgent reason, else the first one stays."""
        if reason == "tamper" or session.session_id not in self._locks:
            self._locks[session.session_id] = (session, reason)

    def take_reviews(self, most: int) -> list[Session]:
        return _take(self._reviews, most)

    def take_locks(self) -> list[tuple[Session, DrainReason]]:
        return _take(self._locks, len(self._locks))


def _take(waiting: dict[str, Kept], most: int) -> list[Kept]:
    return [waiting.pop(key) for key in list(islice(waiting, most))]
