"""Plots as SVG that the server draws: they need no script, and print as they are.

Colours stand twice: as attributes for paper, and as classes that the site's style overrides for each scheme.
"""

import math
from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 24
"""Margins for the numbers at the axes."""
GRID_LINES = 4
MOST_LABELS = 13
PAPER = ("#0b4f94", "#b93d04", "#5c6066")
"""Colours of series where no style applies; told apart without colour by their order and the legend."""


class Series(Struct, frozen=True):
    """``values`` for each place of the axis; ``label`` as it is shown."""

    label: str
    values: Sequence[float]


def columns(title: str, labels: Sequence[str], series: Sequence[Series], first_colour: int = 0) -> Markup:
    """Stacked columns. ``title`` says what is shown, for whoever does not see it."""
    highest = max((sum(column) for column in zip(*(one.values for one in series), strict=True)), default=0)
    top = _round_up(highest, whole=all(isinstance(value, int) for one in series for value in one.values))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    parts = [*_grid(top), *_labels(labels, step)]
    for place in range(len(labels)):
        base = 0.0
        for kind, one in enumerate(series, first_colour):
            value = one.values[place]
            if value > 0:
                x, y = LEFT + place * step + step * 0.12, _y(base + value, top)
                height = _y(base, top) - y
                parts.append(_rect(kind, x, y, step * 0.76, height))
            base += value
    return _svg(title, parts) + (_legend(series) if len(series) > 1 else Markup())


def spark(values: Sequence[float]) -> Markup:
    """Small columns beside a number that says the same: nothing is told by them alone."""
    top, width = max(values, default=0) or 1, max(1, len(values))
    rects = (
        Markup('<rect class="f1" fill="{}" x="{}" y="{}" width="0.8" height="{}"/>').format(
            PAPER[1], place, f"{20 - 20 * value / top:.1f}", f"{20 * value / top:.1f}"
        )
        for place, value in enumerate(values)
        if value > 0
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} 20" preserveAspectRatio="none" width="120" height="20" '
        'aria-hidden="true">{}</svg>'
    ).format(width, Markup().join(rects))


def _svg(title: str, parts: Sequence[Markup]) -> Markup:
    """On a narrow screen it scrolls: its numbers stay large enough to be read."""
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}">'
        '<svg class="plot" role="img" viewBox="0 0 {} {}" xmlns="http://www.w3.org/2000/svg" font-size="12" '
        'font-family="sans-serif"><title>{}</title>{}</svg></div>'
    ).format(title, WIDTH, HEIGHT, title, Markup().join(parts))


def _legend(series: Sequence[Series]) -> Markup:
    """What the columns stand for, from the lowest up."""
    items = (
        Markup(
            '<li><svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
            '<rect class="f{}" fill="{}" width="12" height="12"/></svg> {}</li>'
        ).format(kind, PAPER[kind % len(PAPER)], one.label)
        for kind, one in enumerate(series)
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup().join(items))


def _rect(kind: int, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="f{}" fill="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind, PAPER[kind % len(PAPER)], *(f"{number:.1f}" for number in (x, y, width, height))
    )


def _grid(top: float) -> list[Markup]:
    """Lines across, with their numbers."""
    found = []
    for part in range(GRID_LINES + 1):
        value = top * part / GRID_LINES
        y = f"{_y(value, top):.1f}"
        found.append(
            Markup('<line class="grid" stroke="#cfccc4" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                LEFT, WIDTH - RIGHT, y, y
            )
        )
        found.append(
            Markup('<text class="axis" fill="#52565c" x="{}" y="{}" dy="4" text-anchor="end">{}</text>').format(
                LEFT - 6, y, f"{value:,.0f}" if top >= GRID_LINES else f"{value:g}"
            )
        )
    return found


def _labels(labels: Sequence[str], step: float) -> list[Markup]:
    """Below the axis, as many as there is room for."""
    every = max(1, math.ceil(len(labels) / MOST_LABELS))
    return [
        Markup('<text class="axis" fill="#52565c" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            f"{LEFT + (place + 0.5) * step:.1f}", HEIGHT - 6, label
        )
        for place, label in enumerate(labels)
        if place % every == 0
    ]


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _round_up(value: float, *, whole: bool = True) -> float:
    """The least round number that ``GRID_LINES`` divide evenly and that is not below the value.

    >>> [_round_up(value) for value in (0, 3, 9, 37, 950)], _round_up(0.3, whole=False)
    ([4.0, 4.0, 12.0, 40.0, 1200.0], 0.4)
    """
    if value <= (GRID_LINES if whole else 0):
        return float(GRID_LINES)
    power = 10 ** math.floor(math.log10(value))
    return float(next(power * times for times in (1.2, 1.6, 2, 4, 8, 12) if power * times >= value))
