"""A short shift of the whole county, and the locks that a change leads to; `make soak` runs longer."""

import pytest

from tests.soak import registries, revocation, shift

pytestmark = pytest.mark.alone
SHIFT_S = 60.0
DAY_S, WITHIN_S = 25.0, 3.0
"""Of registries; how fast a change counts is for `python -m tests.soak registries`."""


@pytest.mark.timeout(400)
def test_a_county_works_through_a_broker_restart_and_a_kill_9_without_a_mismatch() -> None:
    result = shift.work(SHIFT_S)
    assert result.report.mismatch_details == []
    assert result.report.unanswered == 0
    assert result.still_open == 0
    assert set(result.ended) <= {"operator", "replaced", "grant_rejected"}, "no lease ran out meanwhile"
    assert result.renewals > result.report.allowed, "sessions live on renewals"


BUSY = 3
"""So many times the limit is granted to a machine on which other things run; ``make soak`` grants nothing."""


def test_every_concerned_session_is_locked_soon_after_a_change_and_no_other() -> None:
    """With 300 sessions at work; ``make soak`` does it with the county's 1,603, and fails above a second."""
    *lone, firms, everybody = revocation.measure(machines=300)
    assert [delay.sessions for delay in lone] == [1] * 5
    assert firms.sessions == 66
    assert everybody.sessions == 300 - 66 - 5
    assert [one for one in (*lone, firms, everybody) if one.last_ms > BUSY * revocation.LIMIT_MS] == []


def test_a_lock_that_is_later_than_a_second_is_late() -> None:
    assert not revocation.Delay("in time", 1, 10, 10, 1_000).late
    assert revocation.Delay("late", 1, 10, 10, 1_001).late


@pytest.mark.timeout(200)
def test_registries_change_and_fail_for_a_while_and_no_decision_is_wrong() -> None:
    day = registries.live(DAY_S, machines=20, within_s=WITHIN_S)
    assert day.wrong == []
    assert min(day.changes.total(), day.faults.total(), day.passes, day.decisions["allowed"], day.locks) > 0
