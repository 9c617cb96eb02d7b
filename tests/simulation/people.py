"""People: they scan or ask by phone, weld in arcs, finish or forget to, and walk to the next machine."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from gateway.core.model import PhoneAsk
from gateway.wire.messages import DecisionMessage
from tests.simulation.chip_host import ChipHost
from tests.simulation.phones import Phones
from tests.simulation.timeline import Timeline

BY_PHONE = ("phone", "phone twice")
TO_THE_MACHINE_MS = 3_000
Leave = Literal["finish", "forget"]


class Visit(Struct, frozen=True):
    """One person at one machine: ``bursts`` are pairs of rest and arc, milliseconds.

    ``shows`` is what is scanned: ``badge``, ``code`` for the rolling code of the moment, ``old code`` for one that was
    scanned before, or the text itself; ``phone`` is asked by phone instead, ``phone twice`` by two taps at once.
    """

    person: str
    machine_id: str
    shows: str
    bursts: tuple[tuple[int, int], ...]
    leave: Leave
    tries: int = 2


class Person:
    """Is at one machine at a time; whoever walks away in the midst of work leaves the machine as it is.

    ``credential`` makes the text to scan of a person and what is shown.
    """

    def __init__(self, timeline: Timeline, credential: Callable[[str, str], str], phones: Phones) -> None:
        self._timeline = timeline
        self._credential = credential
        self._phones = phones
        self._taps = 0
        self._visit: Visit | None = None
        self._stage = 0
        self._tries = 0
        self._number = 0

    def go(self, visit: Visit, host: ChipHost) -> None:
        """Begin a visit; what was begun before is left."""
        self._number += 1
        self._visit, self._stage, self._tries = visit, 0, visit.tries
        if host.powered or visit.shows in BY_PHONE:
            self._scan(self._number, host)

    def go_home(self) -> None:
        """Leave everything as it is."""
        self._number += 1
        self._visit = None

    def _scan(self, number: int, host: ChipHost) -> None:
        visit = self._visit
        by_phone = visit is not None and visit.shows in BY_PHONE
        if visit is None or number != self._number or self._tries <= 0 or not (host.powered or by_phone):
            return
        self._tries -= 1
        if by_phone:
            for _ in range(1 + (visit.shows == "phone twice")):
                self._taps += 1
                self._tap(number, host, f"by-phone-{visit.person}-{self._taps}")
            return
        host.scan(self._credential(visit.person, visit.shows), self)

    def _tap(self, number: int, host: ChipHost, request_id: str) -> None:
        """Ask by phone; without an answer the phone asks the same again."""
        visit = self._visit
        if visit is None or number != self._number:
            return
        ask = PhoneAsk(host.machine_id, visit.person, request_id, f"account-{visit.person}")
        self._phones.ask(ask, lambda answer: self._told(number, host, ask, answer))

    def _told(self, number: int, host: ChipHost, ask: PhoneAsk, answer: DecisionMessage | None) -> None:
        if self._visit is None or number != self._number:
            return
        if answer is None:
            self._tries -= 1
            if self._tries > 0:
                self._tap(number, host, ask.request_id)
        elif answer.outcome == "allow":
            self._timeline.after(TO_THE_MACHINE_MS, self._next, number, host)
        elif not any(reason.code == "machine_unlocked" for reason in answer.reasons):
            self._timeline.after(20_000, self._scan, number, host)

    def shown(self, host: ChipHost, outcome: str | None, codes: tuple[str, ...]) -> None:
        """What the chip says after the scan."""
        visit = self._visit
        if visit is None or visit.machine_id != host.machine_id:
            return
        if outcome == "allow":
            self._next(self._number, host)
        else:
            self._timeline.after(20_000, self._scan, self._number, host)

    def dark(self, host: ChipHost) -> None:
        """The machine lost its mains."""
        if self._visit is not None and self._visit.machine_id == host.machine_id:
            self._visit = None

    def _next(self, number: int, host: ChipHost) -> None:
        visit = self._visit
        if visit is None or number != self._number:
            return
        if self._stage >= len(visit.bursts):
            self._leave(visit, host)
            return
        rest_ms, arc_ms = visit.bursts[self._stage]
        self._stage += 1
        self._timeline.after(rest_ms, self._strike, number, host, arc_ms)

    def _strike(self, number: int, host: ChipHost, arc_ms: int) -> None:
        if number != self._number or self._visit is None:
            return
        if host.strike():
            self._timeline.after(arc_ms, self._rest, number, host)
        elif host.relay == "open":
            self._scan(number, host)  # it locked meanwhile

    def _rest(self, number: int, host: ChipHost) -> None:
        host.rest()
        self._next(number, host)

    def _leave(self, visit: Visit, host: ChipHost) -> None:
        self._visit = None
        if visit.leave == "finish" and host.powered:
            host.finish()
