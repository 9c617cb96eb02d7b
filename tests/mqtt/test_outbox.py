"""What awaits its acknowledgement: the order, and how many are under way."""

from itertools import count, cycle

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import data, integers

from gateway.mqtt.outbox import MOST_PACKET_IDS, Kept, Outbox
from gateway.wire.inbound import Outbound

SECOND = 1_000_000_000


def outbox(at_most: int = MOST_PACKET_IDS) -> Outbox:
    made = Outbox(count(1).__next__)
    made.start_again(at_most)
    return made


def message(name: str, expires_s: int | None = None) -> Outbound:
    return Outbound(name, b"", expires_s=expires_s)


def taken(box: Outbox) -> list[tuple[str, int, bool]]:
    """Topic, packet id and whether it was sent before, of what is to be sent now."""
    return [(kept.message.topic, kept.mid, again) for kept, again in box.take()]


def test_no_more_than_allowed_are_under_way_and_an_acknowledgement_lets_the_next_out() -> None:
    box = outbox(2)
    box.add(map(message, "abcd"), 0)
    assert taken(box) == [("a", 1, False), ("b", 2, False)]
    assert taken(box) == []
    assert not box.has_room
    assert box.settled(2) == message("b")
    assert taken(box) == [("c", 3, False)]
    assert len(box) == 3


def test_after_a_reconnect_all_go_out_again_in_their_first_order_under_their_old_ids() -> None:
    box = outbox(3)
    box.add(map(message, "abcd"), 0)
    taken(box)
    box.settled(2)
    box.start_again(2)
    box.add([message("e")], 0)
    assert taken(box) == [("a", 1, True), ("c", 3, True)]
    box.settled(1)
    box.settled(3)
    assert taken(box) == [("d", 4, False), ("e", 5, False)]


def test_an_acknowledgement_of_what_only_waits_settles_nothing() -> None:
    box = outbox(1)
    box.add(map(message, "ab"), 0)
    taken(box)
    box.start_again(1)
    assert box.settled(1) is None
    assert len(box) == 2


def test_packet_ids_in_use_are_not_given_twice() -> None:
    given = cycle([1, 1, 2, 3])
    box = Outbox(given.__next__)
    box.add(map(message, "abc"), 0)
    assert [mid for _, mid, _ in taken(box)] == [1, 2, 3]


def test_what_is_beyond_the_packet_ids_waits_and_nothing_is_lost() -> None:
    """What is answered here is acknowledged already: it must go out in any case."""
    box = outbox()
    box.add([message("a")] * MOST_PACKET_IDS, 0)
    box.add([message("one more"), message("and another")], 0)
    assert len(list(box.take())) == MOST_PACKET_IDS
    assert taken(box) == []
    box.settled(7)
    assert [topic for topic, _, _ in taken(box)] == ["one more"]
    assert len(box) == MOST_PACKET_IDS + 1


@pytest.mark.parametrize(
    ("waited_ns", "left_s"),
    [
        (0, 30),
        (1, 30),
        (SECOND, 29),
        (SECOND + 1, 29),
        (29 * SECOND + 1, 1),
        (30 * SECOND, 1),
        (3_600 * SECOND, 1),
    ],
)
def test_what_has_waited_expires_sooner_and_never_not_at_all(waited_ns: int, left_s: int) -> None:
    """0 would be read as never by some brokers."""
    kept = Kept(message("a", expires_s=30), 30 * SECOND)
    assert kept.expires_s(waited_ns) == left_s


def test_what_keeps_for_ever_does_so() -> None:
    assert Kept(message("a"), 0).expires_s(SECOND) is None


class AnyCourse(RuleBasedStateMachine):
    """Messages, acknowledgements and reconnects in any order: each arrives, the first time in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.box = outbox(3)
        self.added = 0
        self.first_sent: list[int] = []
        self.under_way: list[tuple[int, int]] = []

    @rule(number=integers(1, 5))
    def add(self, number: int) -> None:
        self.box.add([message(str(self.added + at)) for at in range(number)], 0)
        self.added += number

    @rule()
    def send(self) -> None:
        for kept, again in self.box.take():
            number = int(kept.message.topic)
            assert again == (number in self.first_sent)
            if not again:
                self.first_sent.append(number)
            self.under_way.append((number, kept.mid))

    @rule(data=data())
    def acknowledge(self, data: data) -> None:  # type: ignore[valid-type]
        if self.under_way:
            at = data.draw(integers(0, len(self.under_way) - 1))  # type: ignore[attr-defined]
            number, mid = self.under_way.pop(at)
            assert self.box.settled(mid) == message(str(number))

    @rule(at_most=integers(1, 5))
    def reconnect(self, at_most: int) -> None:
        self.box.start_again(at_most)
        self.under_way = []

    @invariant()
    def holds(self) -> None:
        assert len(self.under_way) <= self.box.at_most
        assert self.first_sent == list(range(len(self.first_sent)))
        assert [number for number, _ in self.under_way] == sorted(number for number, _ in self.under_way)
        assert len({mid for _, mid in self.under_way}) == len(self.under_way)


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=100, stateful_step_count=40)
