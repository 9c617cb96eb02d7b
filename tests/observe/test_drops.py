"""The broker's count of what it dropped: told once for each rise, also over its restarts and ours."""

import pytest

from gateway.observe.drops import Drops
from gateway.observe.events import Observed, Trouble


def told(*figures: bytes) -> tuple[int | None, list[str]]:
    """The count afterwards, and what was said."""
    heard: list[Observed] = []
    drops = Drops(heard.append)
    for figure in figures:
        drops.take(figure)
    assert all(isinstance(event, Trouble) and event.where == "broker_queue" for event in heard)
    return drops.total, [event.problem.split(" for want")[0] for event in heard if isinstance(event, Trouble)]


@pytest.mark.parametrize(
    ("figures", "total", "said"),
    [
        ((), None, []),
        ((b"0",), 0, []),
        ((b"0", b"0"), 0, []),
        ((b"0", b"7", b"7", b"9"), 9, [7, 2]),
        ((b"12",), 12, [12]),  # dropped while this gateway was away
        ((b"12", b"0"), 0, [12]),  # the broker started anew
        ((b"12", b"3"), 3, [12, 3]),
    ],
)
def test_each_rise_is_told_once(figures: tuple[bytes, ...], total: int | None, said: list[int]) -> None:
    assert told(*figures) == (total, [f"the broker has dropped {count} messages" for count in said])


@pytest.mark.parametrize("figure", [b"", b"-1", b"1.5", b"many", b"\xd9\xa1", b"9" * 21, b"9" * 5000])
def test_what_is_no_count_is_passed_over(figure: bytes) -> None:
    assert told(b"3", figure) == (3, ["the broker has dropped 3 messages"])
