"""A short shift of the whole county, and the locks that a change leads to; `make soak` runs longer."""

import pytest

from tests.soak import registries, revocation, shift

SHIFT_S = 75.0
DAY_S, WITHIN_S = 25.0, 3.0
"""Of registries; how fast a change counts is for `python -m tests.soak registries`."""


@pytest.mark.timeout(400)
def test_a_county_works_through_a_broker_restart_and_a_kill_9_without_a_mismatch() -> None:
    result = shift.work(SHIFT_S)
    assert result.report.mismatch_details == []
    assert result.report.unanswered == 0
    assert result.still_open == 0
    assert set(result.ended) <= {"operator", "replaced"}, "no lease ran out meanwhile"
    assert result.renewals > result.report.allowed, "sessions live on renewals"


def test_every_concerned_session_is_locked_after_a_change_and_no_other() -> None:
    """The counts are asserted; how fast it goes is for a benchmark (docs/performance.md)."""
    one, firms, everybody = revocation.measure(machines=300)
    assert one.sessions == 1
    assert firms.sessions == 66 - 1
    assert everybody.sessions == 300 - 66


@pytest.mark.timeout(200)
def test_registries_change_and_fail_for_a_while_and_no_decision_is_wrong() -> None:
    day = registries.live(DAY_S, machines=20, within_s=WITHIN_S)
    assert day.wrong == []
    assert min(day.changes.total(), day.faults.total(), day.passes, day.decisions["allowed"], day.locks) > 0
