"""What was published and not acknowledged yet: in order, and never more under way than the broker takes. No I/O."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from gateway.wire.inbound import Outbound

MOST_PACKET_IDS = 65_535
"""Packet ids have 16 bits, and 0 is none (MQTT 3.1.1, section 2.3.1)."""
_NS = 1_000_000_000


class Kept(Struct, gc=False):
    """One message until its acknowledgement. ``mid`` is its packet id, 0 until it was first sent."""

    message: Outbound
    expires_ns: int
    mid: int = 0

    def expires_s(self, now_ns: int) -> int | None:
        """What is left of its time, at least 1: brokers read 0 as never, and an answer on record is sent all the same.

        None where it keeps for ever.
        """
        if self.message.expires_s is None:
            return None
        return max(1, -((now_ns - self.expires_ns) // _NS))


class Outbox:
    """``at_most`` is how many messages may be under way; what is beyond it waits its turn."""

    def __init__(self, next_mid: Callable[[], int]) -> None:
        self.at_most = MOST_PACKET_IDS
        self._next_mid = next_mid
        self._under_way: dict[int, Kept] = {}
        self._waiting: deque[Kept] = deque()

    def __len__(self) -> int:
        """All that are not acknowledged, under way or waiting."""
        return len(self._under_way) + len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether what is added now goes out at once."""
        return not self._waiting and len(self._under_way) < self.at_most

    @property
    def is_waiting(self) -> bool:
        """Whether something is not under way."""
        return bool(self._waiting)

    @property
    def is_due(self) -> bool:
        """Whether something waits that may be sent now."""
        return bool(self._waiting) and len(self._under_way) < self.at_most

    def add(self, messages: Iterable[Outbound], now_ns: int) -> None:
        """Behind all others. Nothing is refused, for what it answers is done: who publishes looks for room before."""
        for message in messages:
            self._waiting.append(Kept(message, now_ns + (message.expires_s or 0) * _NS))

    def take(self) -> Iterator[tuple[Kept, bool]]:
        """Those that are to be sent now, each with whether it was sent before; from here on they are under way."""
        waiting, under_way = self._waiting, self._under_way
        while waiting and len(under_way) < self.at_most:
            kept = waiting.popleft()
            again = kept.mid != 0
            while not kept.mid or kept.mid in under_way:
                kept.mid = self._next_mid()
            under_way[kept.mid] = kept
            yield kept, again

    def settled(self, mid: int) -> Outbound | None:
        """The message is done with; None where none of that id is under way."""
        kept = self._under_way.pop(mid, None)
        return kept.message if kept else None

    def start_again(self, at_most: int) -> None:
        """On a new connection nothing is under way: everything once more, in its first order (section 4.4)."""
        self.at_most = at_most
        self._waiting.extendleft(reversed(self._under_way.values()))
        self._under_way.clear()
