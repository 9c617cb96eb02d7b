"""How often one account may press: each press is a record for ever, and a script must not fill the ledger."""

from collections import Counter

from gateway.core.model import Millis

MOST_A_MINUTE = 20
"""Far more than anybody needs who reads the answers."""
MINUTE_MS = 60_000


class Pace:
    """Presses by account in windows of a minute."""

    def __init__(self) -> None:
        self._window = 0
        self._counts: Counter[str] = Counter()

    def too_fast(self, account_id: str, now: Millis) -> bool:
        """Count one more of an account."""
        if now // MINUTE_MS != self._window:
            self._window = now // MINUTE_MS
            self._counts.clear()
        self._counts[account_id] += 1
        return self._counts[account_id] > MOST_A_MINUTE
