"""How templates show times, numbers and texts."""

from datetime import date
from typing import Any

import jinja2
from markupsafe import Markup

from gateway.core.model import Millis
from gateway.core.rules import local_time
from gateway.site.visit import Visit


@jinja2.pass_context
def _text(context: jinja2.runtime.Context, chinese: str, **values: object) -> str:
    return _visit(context).text(chinese, **values)


@jinja2.pass_context
def _ago(context: jinja2.runtime.Context, at: Millis | None) -> str:
    """How long ago, in the one unit that says most."""
    if at is None:
        return "–"
    visit = _visit(context)
    seconds = max(0, visit.now() - at) // 1000
    if seconds < 5:
        return visit.text("刚刚")
    for size, chinese in ((86_400, "%(n)s 天前"), (3_600, "%(n)s 小时前"), (60, "%(n)s 分钟前"), (1, "%(n)s 秒前")):
        if seconds >= size:
            return visit.text(chinese, n=seconds // size)
    return ""


def _visit(context: jinja2.runtime.Context) -> Visit:
    visit: Visit = context["visit"]
    return visit


def when(at: Millis | None) -> Markup:
    """A moment in the county's time, exact for machines."""
    if at is None:
        return Markup("–")
    local = local_time(at)
    return Markup('<time datetime="{}">{}</time>').format(
        local.isoformat(timespec="seconds"), f"{local:%Y-%m-%d %H:%M:%S}"
    )


def clock(at: Millis | None) -> Markup:
    """The time of day alone."""
    if at is None:
        return Markup("–")
    local = local_time(at)
    return Markup('<time datetime="{}">{}</time>').format(local.isoformat(timespec="seconds"), f"{local:%H:%M:%S}")


def day(value: date | None) -> str:
    return "–" if value is None else value.isoformat()


def number(value: float | None, digits: int = 0) -> str:
    """With separators: 1,360."""
    return "–" if value is None else f"{value:,.{digits}f}"


def hours(seconds: float | None) -> str:
    """Seconds as hours with one digit."""
    return "–" if seconds is None else f"{seconds / 3600:,.1f}"


def percent(part: float | None, whole: float | None) -> str:
    """A share with one digit; a dash where there is nothing to share."""
    return "–" if not whole or part is None else f"{100 * part / whole:.1f}%"


def add_to(environment: jinja2.Environment) -> None:
    environment.globals.update(_=_text)
    shown: dict[str, Any] = {
        "when": when, "clock": clock, "day": day, "number": number, "hours": hours, "percent": percent, "ago": _ago,
    }  # fmt: skip
    environment.filters.update(shown)
