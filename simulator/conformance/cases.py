"""A requirement as a named case, and what came of it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

Kind = Literal["must", "should"]
State = Literal["passed", "failed", "not run"]
StandT = TypeVar("StandT")
T = TypeVar("T")
_number = re.compile(r"\d+")


class Failed(Exception):
    """The requirement does not hold: what was expected, what was seen."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected = expected
        self.seen = seen


class NotRun(Exception):
    """The case could not take place; the message says what to pass or to do. ``declared``: left out on request."""

    def __init__(self, remedy: str, *, declared: bool = False) -> None:
        super().__init__(remedy)
        self.declared = declared


def expect(holds: bool, expected: str, seen: object) -> None:
    """Raise Failed unless it holds."""
    if not holds:
        raise Failed(expected, str(seen))


class About(Struct, frozen=True):
    """``clause`` is where the requirement is written; ``takes_s`` is how long the case waits, in a device's seconds.

    ``needs`` are capabilities that a device or gateway may lack.
    """

    id: str
    title: str
    title_zh: str
    clause: str
    kind: Kind = "must"
    takes_s: float = 0
    needs: tuple[str, ...] = ()


class Observations:
    """What was played once, however many cases rest on it; a failure is remembered like anything else."""

    def __init__(self) -> None:
        self._made: dict[Callable[..., Any], Any] = {}

    def __contains__(self, watch: object) -> bool:
        return watch in self._made

    async def of(self, watch: Callable[[Any], Awaitable[T]], stand: Any) -> T:
        """What ``watch`` sees on the stand; raises Failed and NotRun as it did."""
        if watch not in self._made:
            try:
                self._made[watch] = await watch(stand)
            except (Failed, NotRun) as outcome:
                self._made[watch] = outcome
        seen = self._made[watch]
        if isinstance(seen, Failed):
            raise Failed(seen.expected, seen.seen)
        if isinstance(seen, NotRun):
            raise NotRun(str(seen), declared=seen.declared)
        found: T = seen
        return found


class Case(Struct, Generic[StandT], frozen=True):
    about: About
    run: Callable[[StandT], Awaitable[None]]


class Result(Struct, frozen=True):
    """``log`` is the end of the packet log of a case that failed."""

    about: About
    state: State
    expected: str = ""
    seen: str = ""
    log: tuple[str, ...] = ()
    took_s: float = 0.0
    declared: bool = False


class Kit(Generic[StandT]):
    """The cases of one end, in the order in which they run."""

    def __init__(self) -> None:
        self.cases: list[Case[StandT]] = []

    def case(
        self,
        case_id: str,
        title: str,
        title_zh: str,
        clause: str,
        *,
        kind: Kind = "must",
        takes_s: float = 0,
        needs: tuple[str, ...] = (),
    ) -> Callable[[Callable[[StandT], Awaitable[None]]], Callable[[StandT], Awaitable[None]]]:
        """Decorator: the function below is the case."""
        about = About(case_id, title, title_zh, clause, kind, takes_s, needs)

        def add(run: Callable[[StandT], Awaitable[None]]) -> Callable[[StandT], Awaitable[None]]:
            if any(known.about.id == case_id for known in self.cases):
                raise ValueError(f"{case_id} is there twice")
            self.cases.append(Case(about, run))
            return run

        return add

    def chosen(self, only: tuple[str, ...]) -> list[Case[StandT]]:
        """Every case in the order of the ids, or those whose id is one of ``only`` or continues it (``CHIP-1``)."""
        chosen = [case for case in self.cases if not only or any(_within(case.about.id, part) for part in only)]
        return sorted(chosen, key=lambda case: _numbers(case.about.id))


def _within(case_id: str, part: str) -> bool:
    return case_id == part or case_id.startswith((f"{part}.", f"{part}-"))


def _numbers(case_id: str) -> tuple[str, list[int]]:
    """Sorts CHIP-1.10 behind CHIP-1.9."""
    return case_id.partition("-")[0], [int(number) for number in _number.findall(case_id)]


def counts_against(result: Result, *, allow_not_run: bool) -> bool:
    """Whether a result keeps the verdict from being "conforms": advice (``should``) and what was declared do not."""
    if result.about.kind == "should" or result.declared:
        return False
    return result.state == "failed" or (result.state == "not run" and not allow_not_run)
