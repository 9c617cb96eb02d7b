"""Days and hours as whole numbers, by which figures are counted. Pure.

A day is the number of days from 1970-01-01 to the calendar day in the county's time zone; an hour is the number of
hours since the epoch. The zone is a whole number of hours off UTC, so an hour is one in both.
"""

from datetime import date, datetime, time, timedelta

from msgspec import Struct

from gateway.core.model import Millis
from gateway.core.rules import COUNTY_ZONE, local_time

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()


def day_of(at: Millis) -> int:
    """The county's day at a time.

    >>> day_of(1781488800000), day_of(1781488800000 + 14 * HOUR_MS)
    (20619, 20620)
    """
    return number_of(local_time(at).date())


def hour_of(at: Millis) -> int:
    return at // HOUR_MS


def number_of(day: date) -> int:
    return day.toordinal() - _EPOCH


def date_of(day: int) -> date:
    """The calendar day of a number.

    >>> date_of(20619)
    datetime.date(2026, 6, 15)
    """
    return date.fromordinal(day + _EPOCH)


def begins(day: int) -> Millis:
    """The first moment of a day."""
    return round(datetime.combine(date_of(day), time(), COUNTY_ZONE).timestamp() * 1000)


class Days(Struct, frozen=True):
    """Calendar days from ``first`` to ``last``, both counted."""

    first: date
    last: date

    @property
    def numbers(self) -> tuple[int, int]:
        return number_of(self.first), number_of(self.last)

    @property
    def hours(self) -> tuple[int, int]:
        """Their first and last hour."""
        first, last = self.numbers
        return hour_of(begins(first)), hour_of(begins(last + 1)) - 1

    @property
    def moments(self) -> tuple[Millis, Millis]:
        """Their first moment, and the first one after them."""
        first, last = self.numbers
        return begins(first), begins(last + 1)


def up_to(day: date, count: int) -> Days:
    """The last ``count`` days up to and with this one.

    >>> up_to(date(2026, 6, 15), 7).first
    datetime.date(2026, 6, 9)
    """
    return Days(day - timedelta(days=count - 1), day)


def month_of(day: date) -> Days:
    """The whole month that a day lies in.

    >>> month_of(date(2026, 2, 9)).last
    datetime.date(2026, 2, 28)
    """
    first = day.replace(day=1)
    return Days(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))
