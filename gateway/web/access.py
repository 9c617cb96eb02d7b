"""Who is let in to the HTTP API: tokens as the database has them, and a limit on failed attempts."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from gateway.clock import monotonic_ns
from gateway.store.api_tokens import ApiToken

TOKENS_LAST_S = 1.0
"""Tokens that were read longer ago are read again: one that was revoked holds no longer than this."""
FAILURES_AT_MOST = 20
"""Failed attempts of one address in a window; further ones are refused unread by whoever could learn from them."""
WINDOW_S = 60
ADDRESSES_AT_MOST = 1000
"""Addresses counted apart in a window; further ones are counted as one."""
_NS = 1_000_000_000


class Tokens:
    """Tokens by id, read at use. INVARIANT: their age is counted from before they were read, and never begins anew by
    being used."""

    def __init__(self, read: Callable[[], Mapping[str, ApiToken]], monotonic: Callable[[], int] = monotonic_ns) -> None:
        self._read = read
        self._monotonic = monotonic
        self._known: Mapping[str, ApiToken] = {}
        self._read_at: int | None = None
        self._one_reads = asyncio.Lock()

    async def known(self) -> Mapping[str, ApiToken]:
        """Raises DatabaseUnavailable: what can no longer be known lets nobody in."""
        async with self._one_reads:
            began = self._monotonic()
            if self._read_at is None or began - self._read_at >= TOKENS_LAST_S * _NS:
                self._known = await asyncio.to_thread(self._read)
                self._read_at = began
            return self._known


class Failures:
    """Failed attempts by address in windows of a minute."""

    def __init__(self, monotonic: Callable[[], int] = monotonic_ns) -> None:
        self._monotonic = monotonic
        self._counts: Counter[str] = Counter()
        self._began = monotonic()

    def too_many(self, address: str) -> int | None:
        """Count one more of an address; seconds until it may fail again where these are too many."""
        passed_s = (self._monotonic() - self._began) // _NS
        if passed_s >= WINDOW_S:
            self._counts.clear()
            self._began, passed_s = self._monotonic(), 0
        counted = address if address in self._counts or len(self._counts) < ADDRESSES_AT_MOST else ""
        self._counts[counted] += 1
        return WINDOW_S - passed_s if self._counts[counted] > FAILURES_AT_MOST else None
