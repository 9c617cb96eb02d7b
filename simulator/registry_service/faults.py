"""What can be wrong with a registry on the network, each by a switch: how often, and how."""

from collections.abc import Iterable
from random import Random
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0, le=1)]
Cut = Literal["fewer rows", "half a document", "half an answer"]
CUTS: tuple[Cut, ...] = ("fewer rows", "half a document", "half an answer")
STATUSES = (500, 502, 503)
RETRY_AFTER_S = 1


class FaultError(Exception):
    """A fault that there is not, or a share that is none; the message names the remedy."""


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of requests: answered ``slow`` (after ``slow_s`` seconds), with an ``error``, ``truncated``, or with a
    ``contradictory`` row. ``stale``: what had changed when this was switched on is all that is told."""

    slow: Share = 0
    slow_s: Annotated[float, Meta(ge=0, le=600)] = 2
    error: Share = 0
    truncated: Share = 0
    contradictory: Share = 0
    stale: bool = False


class Mishap(Struct, frozen=True):
    """What befalls one request."""

    wait_s: float = 0
    status: int | None = None
    cut: Cut | None = None
    contradictory: bool = False


def draw(faults: Faults, chance: Random) -> Mishap:
    """Always as many draws, so that one fault does not shift the others."""
    slow, error, truncated, contradictory = (chance.random() for _ in range(4))
    status, cut = chance.choice(STATUSES), chance.choice(CUTS)
    return Mishap(
        faults.slow_s if slow < faults.slow else 0,
        status if error < faults.error else None,
        cut if truncated < faults.truncated else None,
        contradictory < faults.contradictory,
    )


def parse(texts: Iterable[str]) -> Faults:
    """``slow=0.3``, ``stale``, …; raises FaultError.

    >>> parse(["slow=0.3", "stale"])
    Faults(slow=0.3, slow_s=2, error=0, truncated=0, contradictory=0, stale=True)
    """
    given: dict[str, bool | float] = {}
    for text in texts:
        name, equals, share = text.partition("=")
        try:
            given[name] = float(share) if equals else True
        except ValueError:
            raise FaultError(f"{text}: {share!r} is no number; write for example {name}=0.3") from None
    return from_fields(given)


def from_fields(given: object) -> Faults:
    try:
        return msgspec.convert(given, Faults)
    except msgspec.ValidationError as error:
        known = ", ".join(Faults.__struct_fields__)
        raise FaultError(f"{error}; faults are {known}: shares from 0 to 1, slow_s seconds, stale yes or no") from None
