"""The one clock of a simulation: what is to happen, in the order of its time. Milliseconds since the run began."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol


class Timeline:
    """Virtual time; two things of the same millisecond happen in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        self._order = 0
        self._due: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []

    def at(self, when: int, do: Callable[..., object], *arguments: Any) -> None:
        """Do something at ``when``; what is past happens next."""
        self._order += 1
        heappush(self._due, (max(when, self.now), self._order, do, arguments))

    def after(self, wait: int, do: Callable[..., object], *arguments: Any) -> None:
        self._order += 1
        heappush(self._due, (self.now + wait, self._order, do, arguments))

    def run(self, until: int, judge: "Judge") -> None:
        """Let everything happen up to and including ``until``, or until something is broken."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, do, arguments = heappop(due)
            self.steps += 1
            do(*arguments)
            if judge.broken is not None:
                return
        self.now = max(self.now, until)


class Judge(Protocol):
    """Who says after each step whether all is well."""

    @property
    def broken(self) -> Exception | None: ...
