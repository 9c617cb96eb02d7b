"""Permitted hours: whose hold at a machine, and how long they permit work without a break. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from gateway.core.model import WorkHours
from gateway.core.policy import Hours
from gateway.core.spans import first_run

EVERY_DAY = "1234567"
WEEK = timedelta(days=7)
"""Hours repeat after a week: what is unbroken for so long never ends."""
_DAY_MINUTES = 1440


def that_hold(registered: Iterable[WorkHours], uscc: str, machine_id: str, otherwise: Hours) -> list[WorkHours]:
    """The hours registered for the machine, else those of its firm, else the policy's."""
    of_firm = [one for one in registered if one.uscc == uscc]
    for whose in (machine_id, None):
        if held := [one for one in of_firm if one.machine_id == whose]:
            return held
    return [WorkHours(uscc, None, EVERY_DAY, otherwise.start, otherwise.until)]


def run_of(hours: Iterable[WorkHours], local: datetime) -> tuple[datetime, datetime] | None:
    """From when to when the hours permit work without a break: the run that covers ``local``, else the next one.

    One that would go on for longer than a week may be cut behind it.
    """
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    run = first_run(_spans(hours, local.isoweekday()), local.hour * 60 + local.minute)
    return run and (midnight + timedelta(minutes=run[0]), midnight + timedelta(minutes=run[1]))


def _spans(hours: Iterable[WorkHours], today: int) -> Iterator[tuple[int, int]]:
    """The spans that begin from yesterday to a week and a day from ``today``, an ISO weekday, by the weekday of their
    beginning; in minutes from today's midnight. An end at or before its beginning lies on the next day."""
    for one in hours:
        start = _minutes(one.starts)
        length = (_minutes(one.ends) - start) % _DAY_MINUTES or _DAY_MINUTES
        for day in range(-1, WEEK.days + 2):
            if str((today + day - 1) % 7 + 1) in one.days:
                begin = day * _DAY_MINUTES + start
                yield begin, begin + length


def _minutes(clock: str) -> int:
    """Minutes since midnight.

    >>> _minutes("06:30"), _minutes("24:00")
    (390, 1440)
    """
    return int(clock[:2]) * 60 + int(clock[3:])
