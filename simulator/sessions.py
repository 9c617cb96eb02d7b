"""The oracle's own view of sessions: what it can know for certain from outside, and where it cannot.

A session is seen from two sides: it may exist from the moment its request is published, and it does for certain once
the answer arrived; it may be over once the chip's ``locked`` is published, and it is for certain when the broker has
had it and the gateway had ``SETTLE_MS`` to take it in. In between either answer to another request is right.
At the start of a run nobody is taken to be in a session; the chips' ``boot`` ends what an earlier run left at theirs.
"""

from msgspec import Struct

SETTLE_MS = 1_500
"""How long a gateway may take from the broker's acknowledgement of an event to having taken it in."""
LEASE_MARGIN_MS = 2_000
"""Around the end of a lease the gateway's clock and ours may differ by this much."""
OVER_MARGIN_MS = 180_000
"""An arc may outlast the lease up to its deadline, by a slow clock: until then the gateway holds a session open."""

FORGET_MS = 60_000


class Seen(Struct):
    """One session; times in monotonic milliseconds. ``ending_ms`` and ``gone_ms`` are None while neither is known.

    ``asked_ms`` is when its request was published, ``opened_ms`` when its allow arrived.
    """

    session_id: str
    machine_id: str
    person: str
    asked_ms: int
    opened_ms: int
    lease_end_ms: int
    ending_ms: int | None = None
    gone_ms: int | None = None
    renewed: bool = False

    def certain(self, from_ms: int, to_ms: int) -> bool:
        """Open during the whole span."""
        ending = self.ending_ms is not None and self.ending_ms <= to_ms
        return self.opened_ms <= from_ms and not ending and self.lease_end_ms - LEASE_MARGIN_MS > to_ms

    def possible(self, from_ms: int) -> bool:
        """Open at ``from_ms`` or later, for all we know."""
        leased = self.renewed or self.lease_end_ms + OVER_MARGIN_MS > from_ms
        return leased and (self.gone_ms is None or self.gone_ms > from_ms)


class Asking(Struct, frozen=True):
    """A request on its way that may open a session."""

    request_id: str
    machine_id: str
    person: str


class Codes(Struct, frozen=True):
    """``must`` are given in any case, ``may`` depending on which message the gateway saw first."""

    must: frozenset[str]
    may: frozenset[str] = frozenset()

    def allows(self, got: frozenset[str]) -> bool:
        return self.must <= got <= self.must | self.may


class Sessions:
    """All sessions that may be open, by what the fleet saw."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._at: dict[str, dict[str, Seen]] = {}
        self._asking: dict[str, Asking] = {}

    def asked(self, asking: Asking) -> None:
        """A request that the registries would let pass is on its way."""
        self._asking[asking.request_id] = asking

    def answered(self, request_id: str) -> None:
        self._asking.pop(request_id, None)

    def opened(self, session: Seen, now_ms: int) -> None:
        """An allow arrived; whatever was open at the machine or for the person is replaced."""
        for other in self._about(session.machine_id, session.person):
            other.ending_ms = other.ending_ms or session.asked_ms
            other.gone_ms = min(other.gone_ms or now_ms, now_ms)
        self._forget(now_ms)
        self._seen[session.session_id] = session
        for name in (session.machine_id, session.person):
            self._at.setdefault(name, {})[session.session_id] = session

    def ending(self, session_id: str, now_ms: int) -> None:
        """The chip published that the session is over, or that it never used the grant."""
        session = self._seen.get(session_id)
        if session is not None and session.ending_ms is None:
            session.ending_ms = now_ms

    def gone(self, session_id: str, now_ms: int) -> None:
        """The broker has the chip's word."""
        session = self._seen.get(session_id)
        if session is not None and session.gone_ms is None:
            session.gone_ms = now_ms + SETTLE_MS

    def renewed(self, session_id: str, lease_end_ms: int) -> None:
        """The gateway extended the lease; from here on only the chip's word ends it for certain."""
        session = self._seen.get(session_id)
        if session is not None:
            session.renewed = True
            session.lease_end_ms = max(session.lease_end_ms, lease_end_ms)

    def at_machine(self, machine_id: str) -> list[str]:
        """Sessions of a machine that no word has ended yet."""
        return [s.session_id for s in self._about(machine_id) if s.machine_id == machine_id and s.gone_ms is None]

    def codes(self, request_id: str, machine_id: str, person: str | None, from_ms: int, to_ms: int) -> Codes:
        """The session codes for a request published at ``from_ms`` and answered at ``to_ms``."""
        must, may = set[str](), set[str]()
        for session in self._about(machine_id, person):
            code = _conflict(session.machine_id, session.person, machine_id, person)
            if code and session.certain(from_ms, to_ms):
                must.add(code)
            elif code and session.possible(from_ms):
                may.add(code)
        for asking in self._asking.values():
            code = _conflict(asking.machine_id, asking.person, machine_id, person)
            if code and asking.request_id != request_id:
                may.add(code)
        return Codes(frozenset(must), frozenset(may - must))

    def _about(self, *names: str | None) -> list[Seen]:
        """The sessions of machines and persons of these names."""
        return [session for name in names if name is not None for session in self._at.get(name, {}).values()]

    def _forget(self, now_ms: int) -> None:
        """What ended a minute ago concerns no request any more."""
        while self._seen:
            oldest = next(iter(self._seen.values()))
            if oldest.gone_ms is None or oldest.gone_ms + FORGET_MS > now_ms:
                return
            del self._seen[oldest.session_id]
            for name in (oldest.machine_id, oldest.person):
                self._at[name].pop(oldest.session_id, None)


def _conflict(at_machine: str, of_person: str, machine_id: str, person: str | None) -> str | None:
    """The code that a session gives to a request; the same person at the same machine merely replaces it."""
    if at_machine == machine_id:
        return None if of_person == person else "machine_in_session"
    return "operator_in_session" if of_person == person else None
