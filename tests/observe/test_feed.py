"""Usage for everybody else: folded per session, once at its end, and bounded whatever chips invent."""

import json

from gateway.core.model import Usage
from gateway.observe.events import Observed, SessionEnded, UsageFolded, UsageTaken
from gateway.observe.feed import AWAIT_FINAL_MS, FOLD_EVERY_MS, SILENT_MS, UsageFold

NOW = 1_790_000_000_000


def taken(
    session_id: str = "session-0001", seq: int = 1, machine_id: str = "HJ-0001", *, final: bool = False
) -> Observed:
    usage = Usage(session_id, seq, None, "closed", 10 * seq, 5 * seq, 5 * seq, seq, 1.5 * seq, final=final)
    return UsageTaken(machine_id, "330521", usage)


class Fold:
    """A fold with what it observed."""

    def __init__(self) -> None:
        self.observed: list[Observed] = []
        self.fold = UsageFold(self.observed.append)
        self.due(NOW)

    def due(self, now: int) -> list[tuple[str, int, bool]]:
        messages = [json.loads(message.payload) for message in self.fold.due(now)]
        return [(message["session_id"], message["enabled_s"], message["final"]) for message in messages]

    def arc_s(self) -> int:
        return sum(event.arc_s for event in self.observed if isinstance(event, UsageFolded))


def test_a_running_session_is_published_at_least_once_a_minute_with_its_latest_figures() -> None:
    fold = Fold()
    for seq in (1, 2, 3):
        fold.fold(taken(seq=seq))
    assert fold.due(NOW + 1000) == []
    assert fold.due(NOW + FOLD_EVERY_MS) == [("session-0001", 30, False)]
    assert fold.due(NOW + 2 * FOLD_EVERY_MS) == []  # nothing new
    fold.fold(taken(seq=4))
    assert fold.due(NOW + 3 * FOLD_EVERY_MS) == [("session-0001", 40, False)]


def test_a_final_report_is_published_once_and_a_copy_of_it_never() -> None:
    fold = Fold()
    fold.fold(taken(seq=2, final=True))
    fold.fold(taken(seq=2, final=True))
    assert fold.due(NOW + 1000) == [("session-0001", 20, True)]
    fold.fold(taken(seq=2, final=True))
    assert fold.due(NOW + 2000) == []
    assert fold.arc_s() == 10


def test_a_later_report_of_an_ended_session_counts_by_what_it_adds() -> None:
    fold = Fold()
    fold.fold(taken(seq=2, final=True))
    fold.due(NOW + 1000)
    fold.fold(taken(seq=5, final=True))
    assert fold.due(NOW + 2000) == [("session-0001", 50, True)]
    assert fold.arc_s() == 25


def test_a_session_that_ended_without_a_final_report_is_published_as_final_after_a_while() -> None:
    fold = Fold()
    fold.fold(taken())
    fold.fold(SessionEnded("session-0001", "HJ-0001", "330521", "power"))
    assert fold.due(NOW + AWAIT_FINAL_MS + FOLD_EVERY_MS) == [("session-0001", 10, True)]


def test_a_session_of_which_nothing_is_heard_any_more_is_over() -> None:
    fold = Fold()
    fold.fold(taken())
    assert fold.due(NOW + FOLD_EVERY_MS) == [("session-0001", 10, False)]
    assert fold.due(NOW + SILENT_MS + FOLD_EVERY_MS) == [("session-0001", 10, True)]


def test_a_chip_that_invents_sessions_only_ends_its_own() -> None:
    fold = Fold()
    for number in range(500):
        fold.fold(taken(f"invented-{number:05}"))
    fold.fold(taken("session-0002", machine_id="HJ-0002"))
    published = fold.due(NOW + 1000)
    assert len(published) == 499
    assert all(final for _, _, final in published)
    assert fold.due(NOW + FOLD_EVERY_MS) == [("invented-00499", 10, False), ("session-0002", 10, False)]
