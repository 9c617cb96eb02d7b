"""Usage by day, as profiles show it."""

from collections.abc import Sequence
from datetime import date, timedelta

from markupsafe import Markup
from msgspec import Struct

from gateway.core.days import Days, up_to
from gateway.site import plots
from gateway.site.visit import Visit
from gateway.store.figures.counts import RATED_DAYS, Usage, UsageOfDay

_FIGURES = Usage.__struct_fields__


class OfDay(Struct, frozen=True):
    """A day's usage; a day without any has sums of nothing."""

    day: date
    sums: Usage


class Used(Struct, frozen=True):
    """The last days with today as the last one."""

    days: Sequence[OfDay]
    sums: Usage
    plot: Markup


def used(visit: Visit, found: Sequence[UsageOfDay]) -> Used:
    """What was counted on the last days."""
    told = every_day(up_to(visit.today(), RATED_DAYS), found)
    return Used(told, summed([one.sums for one in told]), plotted(visit, told))


def every_day(days: Days, found: Sequence[UsageOfDay]) -> list[OfDay]:
    """A row for each day, also for those on which nothing was used."""
    known = {one.day: one for one in found}
    count = (days.last - days.first).days + 1
    each = (days.first + timedelta(days=after) for after in range(count))
    return [OfDay(day, known.get(day, Usage())) for day in each]


def summed(usages: Sequence[Usage]) -> Usage:
    return Usage(*(sum(getattr(one, name) for one in usages) for name in _FIGURES))


def plotted(visit: Visit, days: Sequence[OfDay]) -> Markup:
    """Hours with and without an arc, by day."""
    labels = [f"{one.day:%m-%d}" for one in days]
    arc = plots.Series(visit.text("起弧小时"), [one.sums.arc_s / 3600 for one in days])
    rest = [max(0, one.sums.enabled_s - one.sums.arc_s) / 3600 for one in days]
    return plots.columns(
        visit.text("每天的使用，小时"), labels, (arc, plots.Series(visit.text("解锁未起弧小时"), rest))
    )
