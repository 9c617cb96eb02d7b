"""The plot: which share of the answers came within which time, gateway beside echo."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from tests.bench.figures import SHARES, Profile

_INK = "#7d8590"
"""Readable on white and on black."""
_COLOURS = {"gateway": "#e8762d", "echo": "#3f8cff"}
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "weldgate"} | dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
)
_SIZE_INCHES = (10.0, 4.2)


def draw(profile: Profile, path: Path) -> None:
    """One panel for each number of devices, as SVG with a transparent ground."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        panels = figure.subplots(1, len(profile.device_counts), sharey=True, squeeze=False)[0]
        for axes, devices in zip(panels, profile.device_counts, strict=True):
            _panel(axes, profile, devices)
        panels[0].set_ylabel("share of answers, %")
        figure.savefig(path, transparent=True, metadata={"Date": None})


def _panel(axes: Axes, profile: Profile, devices: int) -> None:
    for responder, colour in _COLOURS.items():
        leg = profile.leg(responder, devices)
        if leg is not None:
            label = f"{responder}, {leg.median('rate'):,.0f}/s"
            middle = sorted(leg.rounds, key=lambda one: one.p50_ms)[len(leg.rounds) // 2]
            axes.plot(middle.curve_ms, [share * 100 for share in SHARES], color=colour, linewidth=2, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"{devices} device{'s' if devices > 1 else ''}")
    axes.set_xlabel("latency, ms")
    axes.grid(visible=True, color=_INK, alpha=0.25)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), labelcolor=_INK)
