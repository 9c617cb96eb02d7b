"""Messages that the broker had acknowledged to their senders and then dropped: by its own count, where it tells it."""

from gateway.observe.events import Observer, Trouble

LONGEST_FIGURE = 20
"""Digits; a broker's count is of 64 bits."""


class Drops:
    """``total`` is the broker's count since its start, None where it has told none: no right, or another broker.

    The count also covers what was dropped while this gateway was away, so the first one is news, too.
    """

    def __init__(self, observe: Observer) -> None:
        self.total: int | None = None
        self._observe = observe

    def take(self, figure: bytes) -> None:
        """A figure as the broker published it. A lower one than before is that of a broker that has started anew."""
        if not figure.isdigit() or len(figure) > LONGEST_FIGURE:
            return
        total, before = int(figure), self.total or 0
        self.total = total
        if fresh := total - before if total >= before else total:
            self._observe(Trouble("broker_queue", _lost(fresh, total)))


def _lost(fresh: int, total: int) -> str:
    return (
        f"the broker has dropped {fresh} messages for want of room in a client's queue, {total} since its start: their "
        "senders were told that they had arrived; give it room with weldgate broker config --hours"
    )
