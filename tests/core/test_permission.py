"""Permits and permitted hours: an allow needs them now, and no lease outlives them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.decide import decide, standing
from gateway.core.hours import run_of
from gateway.core.model import Facts, Permit, WorkHours
from gateway.core.permits import AHEAD_MS, MOST, of_concern
from gateway.core.policy import OFF_BY_DEFAULT, Hours, Lease, Policy, Rulebook
from gateway.core.rules import local_time
from gateway.core.spans import first_run
from tests.core.matrix import asked, facts, permit, work_hours
from tests.core.permission import HOUR_MS, moments_that_matter, outside_hours, permit_expired
from tests.core.worlds import NOW, permits, policies, whole_minutes, working_hours

STRICT = dict.fromkeys(OFF_BY_DEFAULT, "enforce")
WELDER = "P000123"
SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def strict(policy: Policy) -> Policy:
    """The policy's numbers with the rules of permits and hours enforced, and nothing else in the way."""
    return Policy(rules=STRICT, lease=policy.lease, permits=policy.permits, hours=policy.hours)


# --- INVARIANT: a lease never outlives the permit, its level's longest duration, or the permitted hours ------------


@settings(max_examples=300)
@given(whole_minutes, permits, working_hours, policies, st.booleans())
def test_invariant_whatever_is_allowed_is_permitted_from_the_first_to_the_last_second(
    now: int, held: tuple[Permit, ...], hours: tuple[WorkHours, ...], policy: Policy, running: bool
) -> None:
    policy = strict(policy)
    world = facts(now=now, permits=held, hours=hours)
    request = asked(at=None, credential_kind="session") if running else asked(at=now)
    decision, stands_until = standing(request, world, Rulebook(policy))
    if decision.outcome == "deny":
        return
    over = now + (decision.start_by_s + decision.lease_s) * 1000
    assert stands_until is not None
    assert over <= stands_until
    assert min(one.starts_at for one in held) <= now
    for at in moments_that_matter(world, now, over):
        assert not outside_hours(world, policy, at)
        assert not permit_expired(world, policy, at)


@settings(max_examples=300)
@given(whole_minutes, permits, working_hours, policies)
def test_who_is_refused_for_permit_or_hours_alone_is_not_permitted_now(
    now: int, held: tuple[Permit, ...], hours: tuple[WorkHours, ...], policy: Policy
) -> None:
    policy = strict(policy)
    world = facts(now=now, permits=held, hours=hours)
    reasons = decide(asked(at=now), world, Rulebook(policy)).reasons
    assert ("outside_permitted_hours" in reasons) == outside_hours(world, policy, now)
    assert ("permit_expired" in reasons) == permit_expired(world, policy, now)
    assert not {"permit_missing", "permit_expired"} <= set(reasons)


@given(whole_minutes, permits, working_hours, policies)
def test_a_permit_more_takes_no_allow_away(
    now: int, held: tuple[Permit, ...], hours: tuple[WorkHours, ...], policy: Policy
) -> None:
    rulebook = Rulebook(strict(policy))
    fewer, more = (facts(now=now, permits=some, hours=hours) for some in (held[1:], held))
    before, after = decide(asked(at=now), fewer, rulebook), decide(asked(at=now), more, rulebook)
    assert (before.outcome, after.outcome) != ("allow", "deny")
    assert after.lease_s >= before.lease_s


@given(whole_minutes, permits)
def test_nobody_welds_by_a_permit_that_he_guards(now: int, held: tuple[Permit, ...]) -> None:
    alone = tuple(replace(one, guardian=WELDER) for one in held)
    assert decide(asked(at=now), facts(now=now, permits=alone), Rulebook(Policy(rules=STRICT))).outcome == "deny"


# --- hours --------------------------------------------------------------------------------------------------------


@given(whole_minutes, st.integers(0, 59_999), working_hours)
def test_a_run_of_hours_begins_and_ends_as_they_are_written(
    now: int, within_minute: int, hours: tuple[WorkHours, ...]
) -> None:
    local = local_time(now + within_minute)
    run = run_of(hours, local)
    assert (run is None) == (hours == ())
    if run is not None:
        begin, end = run
        assert local < end
        assert any(f"{begin:%H:%M}" == one.starts and str(begin.isoweekday()) in one.days for one in hours)
        assert f"{end:%H:%M}" in {one.ends.replace("24:00", "00:00") for one in hours}


@pytest.mark.parametrize(
    ("hours", "lease_h"),
    [
        ([work_hours(days="1234567", starts="00:00", ends="24:00")], 300),
        ([work_hours(ends="12:00"), work_hours(starts="12:00")], 8),
        ([work_hours(starts="22:00", ends="10:30"), work_hours(ends="22:00")], 120.5),
        ([work_hours(days="1234567", starts="00:00", ends="23:59")], 14 - 1 / 60),
    ],
    ids=["around the clock", "two spans", "night and day, until Saturday morning", "but for a minute"],
)
def test_a_lease_may_be_as_long_as_hours_are_unbroken(hours: list[WorkHours], lease_h: float) -> None:
    policy = Policy(rules={"outside_permitted_hours": "enforce"}, lease=Lease(lease_s=300 * 3600))
    session = asked(at=None, credential_kind="session")
    decision = decide(session, facts(hours=tuple(hours)), Rulebook(policy))
    assert decision.lease_s == lease_h * 3600


@pytest.mark.parametrize(
    ("starts", "ends"), [("00:00", "24:00"), ("08:00", "08:00"), ("24:00", "24:00"), ("00:00", "00:00")]
)
def test_a_policy_s_hours_that_end_as_they_begin_are_the_whole_day(starts: str, ends: str) -> None:
    rulebook = Rulebook(Policy(rules={"outside_permitted_hours": "enforce"}, hours=Hours(starts, ends)))
    for hour in range(24):
        now = NOW + hour * HOUR_MS
        assert decide(asked(at=now), facts(now=now), rulebook).lease_s == 900


# --- runs of spans ------------------------------------------------------------------------------------------------


@given(SPANS, st.integers(0, 30))
def test_a_run_is_unbroken_and_as_long_as_it_can_be(spans: list[tuple[int, int]], now: int) -> None:
    def covered(at: int) -> bool:
        return any(begin <= at < end for begin, end in spans)

    run = first_run(spans, now)
    if run is None:
        assert not any(covered(at) for at in range(now, 31))
        return
    begin, end = run
    assert all(covered(at) for at in range(begin, end))
    assert not covered(end)
    assert not any(covered(at) for at in range(now, begin))
    assert end > now


# --- what a decision has to know ----------------------------------------------------------------------------------


@settings(max_examples=200)
@given(whole_minutes, st.lists(permits, max_size=8), policies)
def test_permits_that_are_left_out_of_the_record_change_no_decision(
    now: int, held: list[tuple[Permit, ...]], policy: Policy
) -> None:
    """But for a lease that would reach more than a day ahead, and which permit told that one is over."""
    policy = strict(replace(policy, lease=replace(policy.lease, lease_s=min(policy.lease.lease_s, AHEAD_MS // 2000))))
    every = tuple(one for some in held for one in some if _names(one, WELDER, "HJ-0001"))
    known = of_concern(every, WELDER, now)
    with_all, with_known = (
        decide(asked(at=now), facts(now=now, permits=some), Rulebook(policy)) for some in (every, known)
    )
    assert (with_all.outcome, with_all.lease_s) == (with_known.outcome, with_known.lease_s)
    assert len(known) <= MOST + 1


def _names(one: Permit, operator_id: str, machine_id: str) -> bool:
    return one.operator_id in (None, operator_id) and one.machine_id in (None, machine_id)


def test_of_many_permits_the_record_holds_those_that_may_count() -> None:
    withdrawn = [permit(permit_id=f"W-{n}", status="withdrawn") for n in range(30)]
    guarded = [permit(permit_id=f"G-{n}", operator_id="", guardian=WELDER) for n in range(30)]
    tonight = [permit(permit_id=f"T-{n}", starts_at=NOW + HOUR_MS, ends_at=NOW + 2 * HOUR_MS) for n in range(30)]
    known = of_concern([permit(), *withdrawn, *guarded, *tonight], WELDER, NOW)
    assert len(known) == MOST
    assert permit() in known


def test_of_the_permits_that_are_over_the_latest_tells_so() -> None:
    over = [permit(permit_id=f"DH-{n}", ends_at=NOW - n * 60_000) for n in range(1, 9)]
    world: Facts = facts(permits=of_concern(over, WELDER, NOW))
    assert world.permits == (over[0],)
    assert decide(asked(), world, Rulebook(Policy(rules=STRICT))).reasons == ("permit_expired",)
