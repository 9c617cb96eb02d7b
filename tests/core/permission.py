"""What permits and permitted hours let pass, reckoned anew moment by moment, without a time zone table."""

from collections.abc import Iterator

from gateway.core.model import Facts, Permit, WorkHours
from gateway.core.policy import Policy

SHANGHAI_MS = 8 * 3_600_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
MONDAY = 4
"""Days from 1970-01-01, a Thursday, to the first Monday."""


def outside_hours(world: Facts, policy: Policy, at: int) -> bool:
    """Whether no span of the hours that hold has begun, today or yesterday, and goes on."""
    assert world.machine is not None
    registered = [one for one in world.hours if one.uscc == world.machine.uscc]
    of_machine = [one for one in registered if one.machine_id == world.machine.machine_id]
    of_firm = [one for one in registered if one.machine_id is None]
    by_policy = [WorkHours(world.machine.uscc, None, "1234567", policy.hours.start, policy.hours.until)]
    day, in_day = divmod(at + SHANGHAI_MS, DAY_MS)
    return not any(_goes_on(one, day, in_day) for one in of_machine or of_firm or by_policy)


def _goes_on(one: WorkHours, day: int, in_day: int) -> bool:
    begin, end = (int(clock[:2]) * HOUR_MS + int(clock[3:]) * MINUTE_MS for clock in (one.starts, one.ends))
    begin, next_day = begin % DAY_MS, begin // DAY_MS
    end = end if end > begin else end + DAY_MS
    return any(
        str((day - MONDAY - ago - next_day) % 7 + 1) in one.days and begin <= in_day + ago * DAY_MS < end
        for ago in (0, 1)
    )


def permit_expired(world: Facts, policy: Policy, at: int) -> bool:
    """Whether none of the permits that count covers the moment, though one had begun by then."""
    spans = [_span(one, policy) for one in world.permits if _counts(one, world, policy)]
    return not any(begin <= at < end for begin, end in spans) and any(begin <= at for begin, _ in spans)


def _span(one: Permit, policy: Policy) -> tuple[int, int]:
    hours = getattr(policy.permits, f"{one.level}_hours")
    return one.starts_at, min(one.ends_at, one.starts_at + hours * HOUR_MS)


def _counts(one: Permit, world: Facts, policy: Policy) -> bool:
    assert world.machine is not None
    if one.guardian is None and policy.permits.guardian_required:
        return False
    return (
        one.status == "approved"
        and one.guardian != world.operator_id
        and one.uscc == world.machine.uscc
        and (one.machine_id is None or one.machine_id == world.machine.machine_id)
        and (one.operator_id is None or one.operator_id == world.operator_id)
    )


def moments_that_matter(world: Facts, first: int, over: int) -> Iterator[int]:
    """The first moment and every whole minute before ``over``, for a week; and the ends of permits."""
    if first < over:
        yield first
        yield over - 1
    yield from range(first - first % MINUTE_MS + MINUTE_MS, min(over, first + 8 * DAY_MS), MINUTE_MS)
    for one in world.permits:
        for level_hours in (0, *range(1, 101)):
            at = one.starts_at + level_hours * HOUR_MS
            if first <= at < over:
                yield at
        if first <= one.ends_at < over:
            yield one.ends_at
