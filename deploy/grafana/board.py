"""What dashboards are put together from: panels with titles, units and limits, and the frame around them.

Titles and descriptions are Chinese first, then English. A panel's ``queries`` are pairs of PromQL and legend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as made
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = made.DataSourceRef("prometheus", "weldgate-prometheus")
"""The one in provisioning/datasources."""
TAG = "weldgate"
GREEN, YELLOW, RED = "green", "yellow", "red"
INSTANCE = 'instance=~"$instance"'
BOTH = f'{INSTANCE},division=~"$division"'
ALERTS = 'ALERTS{alertname=~"WeldGate.+",alertstate="firing"}'

Panel = Builder[made.Panel]
Query = tuple[str, str]
Steps = Sequence[tuple[float, str]]
"""From which value on which colour; below the first, green."""
ANY_IS_BAD: Steps = ((1, RED),)
ZERO_IS_BAD: Steps = ((float("-inf"), RED), (1, GREEN))


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """One dashboard; ``uid`` is part of its address and never changes."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]


# --- panels -----------------------------------------------------------------------------------------------------


def number(title: str, about: str, unit: str, query: Query, steps: Steps = ()) -> stat.Panel:
    """The latest value of each series, large, in the colour of its limits."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .no_value("–")
        .height(4)
        .span(4)
        .thresholds(_limits(steps))
        .color_scheme(build.FieldColor().mode(made.FieldColorModeId.THRESHOLDS))
        .graph_mode(looks.BigValueGraphMode.AREA)
        .with_target(_asked(query).range())
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def total(title: str, about: str, unit: str, query: Query, steps: Steps = ()) -> stat.Panel:
    """One figure for the whole time shown: the query has to reckon over $__range."""
    return (
        number(title, about, unit, query, steps)
        .targets([_asked(query).instant()])
        .graph_mode(looks.BigValueGraphMode.NONE)
    )


def lines(title: str, about: str, unit: str, queries: Sequence[Query], steps: Steps = ()) -> timeseries.Panel:
    """Series over time; limits are dashed lines."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .height(8)
        .span(12)
        .thresholds(_limits(steps))
        .color_scheme(build.FieldColor().mode(made.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .fill_opacity(10)
        .show_points(looks.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    )
    if steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED))
    return panel.targets(
        [_asked(query).range().ref_id(name) for name, query in zip(ascii_uppercase, queries, strict=False)]
    )


def stacked(title: str, about: str, unit: str, queries: Sequence[Query]) -> timeseries.Panel:
    """Series that make up a whole."""
    return (
        lines(title, about, unit, queries)
        .stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
        .fill_opacity(60)
    )


def ranked(title: str, about: str, unit: str, query: Query) -> bargauge.Panel:
    """One bar for each series over the whole time shown: the query has to reckon over $__range."""
    return (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .height(8)
        .span(12)
        .no_value("–")
        .thresholds(_limits(()))
        .orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC)
        .with_target(_asked(query).instant())
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def heat(title: str, about: str, unit: str, query: Query) -> heatmap.Panel:
    """How the buckets of a histogram fill over time; the legend has to be ``{{le}}``."""
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .height(8)
        .span(12)
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .with_target(_asked(query).format(PromQueryFormat.HEATMAP).range())
    )


def spans(title: str, about: str, query: Query, steps: Steps) -> statetimeline.Panel:
    """From when until when each series had which value."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit("none")
        .height(8)
        .span(24)
        .no_value("无 none")
        .thresholds(_limits(steps))
        .color_scheme(build.FieldColor().mode(made.FieldColorModeId.THRESHOLDS))
        .show_value(looks.VisibilityMode.NEVER)
        .merge_values(True)
        .with_target(_asked(query).range())
    )


def _asked(query: Query) -> prometheus.Dataquery:
    expr, legend = query
    return prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).ref_id("A")


def _limits(steps: Steps) -> build.ThresholdsConfig:
    """Grafana's first step has no value: it reaches down without end."""
    below = [] if steps and steps[0][0] == float("-inf") else [made.Threshold(None, GREEN)]
    above = [made.Threshold(None if value == float("-inf") else value, colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(made.ThresholdsMode.ABSOLUTE).steps(below + above)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(looks.LegendDisplayMode.TABLE)
        .placement(looks.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )


# --- the frame --------------------------------------------------------------------------------------------------


@dataclass
class _Numbered(Builder[made.Panel]):
    """A panel with its number in the dashboard."""

    panel: Panel
    number: int

    def build(self) -> made.Panel:
        panel = self.panel.build()
        panel.id_val = self.number
        return panel


def dashboard(board: Board) -> made.Dashboard:
    """The dashboard as Grafana reads it: rows, numbered panels, the variables ``instance`` and ``division``."""
    frame = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([TAG])
        .readonly()
        .timezone("Asia/Shanghai")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(made.DashboardCursorSync.CROSSHAIR)
        .link(build.DashboardLink("WeldGate").type(made.DashboardLinkType.DASHBOARDS).tags([TAG]).include_vars(True))
        .with_variable(_variable("instance", "网关 Gateway", "label_values(weldgate_build_info, instance)"))
        .with_variable(_variable("division", "区划 Division", "label_values(weldgate_decisions_total, division)"))
        .annotation(
            build.AnnotationQuery().name("告警 Alerts").datasource(SOURCE).enable(True).icon_color(RED).expr(ALERTS)
        )
    )
    count = 0
    for row in board.rows:
        count += 1
        frame.with_row(build.Row(row.title).id(count))
        for panel in row.panels:
            count += 1
            frame.with_panel(_Numbered(panel, count))
    return frame.build()


def _variable(name: str, label: str, query: str) -> build.QueryVariable:
    everything = made.VariableOption(text=["All"], value=["$__all"], selected=True)
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(made.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(made.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )
