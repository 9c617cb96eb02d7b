"""How fast a source is asked, and when it is left alone: rate limit, waits between tries, circuit breaker.

Nothing here waits or reads a clock by itself: the clock is passed in, and waits are returned in seconds.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

BACKOFF_S = 0.5
"""Before the first repetition; doubled each time."""
LONGEST_BACKOFF_S = 30.0
LONGEST_RETRY_AFTER_S = 60.0
"""A source that asks to be left alone for longer is asked again in a later pass."""

Clock = Callable[[], float]
"""Monotonic seconds."""
State = Literal["closed", "open", "half_open"]
Cue = Literal["success", "failure", "limit", "cooled"]

TABLE: dict[tuple[State, Cue], tuple[State, str]] = {
    ("closed", "success"): ("closed", "Failures are counted from zero again."),
    ("closed", "failure"): ("closed", "One more failure, fewer than the limit."),
    ("closed", "limit"): ("open", "As many failures in a row as the limit: leave the source alone."),
    ("open", "success"): ("open", "An answer to a request from before: no proof that the source is well now."),
    ("open", "failure"): ("open", "A failure of a request from before."),
    ("open", "cooled"): ("half_open", "The time is over: one request may try."),
    ("half_open", "success"): ("closed", "The one request was answered."),
    ("half_open", "failure"): ("open", "The one request failed: leave it alone for as long again."),
}
"""The circuit breaker. ``limit``: the failure that reaches the limit; ``cooled``: a request when the time is over."""


class CircuitBreaker:
    """Refuses requests to a source that fails. Who was admitted says how it went."""

    def __init__(self, failures: int, open_s: float, clock: Clock) -> None:
        self._limit, self._open_s, self._clock = failures, open_s, clock
        self.state: State = "closed"
        self._failures = 0
        self._opened_at = 0.0
        self._trying = False

    def admit(self) -> bool:
        """Whether a request may go out now; of a half-open breaker, one at a time."""
        if self.state == "open" and self.opens_in() <= 0:
            self._step("cooled")
        if self.state == "open" or (self.state == "half_open" and self._trying):
            return False
        self._trying = self.state == "half_open"
        return True

    def opens_in(self) -> float:
        """Seconds until a request may try; 0 for a breaker that is not open."""
        return max(0.0, self._opened_at + self._open_s - self._clock()) if self.state == "open" else 0.0

    def succeeded(self) -> None:
        self._failures = 0
        self._step("success")

    def failed(self) -> None:
        self._failures += 1
        self._step("limit" if self.state == "closed" and self._failures >= self._limit else "failure")

    def _step(self, cue: Cue) -> None:
        before, (self.state, _) = self.state, TABLE[self.state, cue]
        self._trying = False
        if self.state == "open" and before != "open":
            self._opened_at = self._clock()


class TokenBucket:
    """At most ``rate`` requests a second on average, and one second's worth at once."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._most = max(1.0, rate)
        self._tokens, self._at = self._most, clock()

    def take(self) -> float:
        """Reserve a token; how many seconds to wait before using it."""
        self._refill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def try_take(self) -> bool:
        """Take a token if there is one now."""
        self._refill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self._clock()
        self._tokens, self._at = min(self._most, self._tokens + (now - self._at) * self._rate), now


def backoff_s(tries: int, chance: random.Random) -> float:
    """How long to wait after the ``tries``-th failed try: exponential, with half of it left to chance."""
    full: float = min(LONGEST_BACKOFF_S, BACKOFF_S * 2 ** (tries - 1))
    return full * chance.uniform(0.5, 1)


def retry_after_s(header: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), at ``now`` in Unix seconds; None where it says nothing.

    >>> retry_after_s("7", 0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 45), retry_after_s("soon", 0)
    (7.0, 15.0, None)
    """
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now)


def moment_ms(value: object) -> int | None:
    """A moment as sources write it, Unix milliseconds or ISO 8601 with its zone, in Unix milliseconds.

    >>> moment_ms(1000), moment_ms("1970-01-01T08:00:01+08:00"), moment_ms("1970-01-01")
    (1000, 1000, None)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return round(read.timestamp() * 1000) if read and read.tzinfo else None
