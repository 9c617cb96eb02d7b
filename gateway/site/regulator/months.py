"""Months as pages name them: YYYY-MM."""

import re
from datetime import date

from aiohttp import web

from gateway.core.days import Days, month_of
from gateway.site.visit import Visit

MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
KEPT_MONTHS = 24
"""How many are offered."""


def month_named(visit: Visit, text: str) -> Days:
    """The month, "" for the present one. Raises HTTPNotFound for what is none, or not yet."""
    if not text:
        return month_of(visit.today())
    if not MONTH.fullmatch(text):
        raise web.HTTPNotFound
    month = month_of(date.fromisoformat(f"{text}-01"))
    if month.first > visit.today():
        raise web.HTTPNotFound
    return month


def named(month: Days) -> str:
    return f"{month.first:%Y-%m}"


def latest(visit: Visit) -> list[str]:
    """The present month and those before it."""
    found, day = [], visit.today()
    for _ in range(KEPT_MONTHS):
        month = month_of(day)
        found.append(named(month))
        day = date.fromordinal(month.first.toordinal() - 1)
    return found
