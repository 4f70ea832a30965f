"""A board as the JSON that Grafana provisions, made by Grafana's own builders: same value in, same bytes out."""

from collections.abc import Callable, Mapping
from itertools import count

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from dashboards.panel import Board, Kind, Panel, Query

TAG = "sevenp-worker"
# Where the entries of alerts are read, wherever docs/runbook.md is published: a text box of each board.
RUNBOOK = "/public/sevenp-worker/runbook.md"
_SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
_EVERY_PART_OF = ".+"

_AnyPanel = timeseries.Panel | stat.Panel | statetimeline.Panel


def to_json(board: Board) -> str:
    """The file of this board."""
    made = _dashboard(board).build()
    for link in [*(made.links or []), *(link for panel in made.panels or [] for link in _links_of(panel))]:
        link.placement = None  # type: ignore[assignment]  # else a menu hides it
    return JSONEncoder(sort_keys=True, indent=2).encode(made) + "\n"


def _links_of(panel: models.Panel | models.RowPanel) -> list[models.DashboardLink]:
    return [] if isinstance(panel, models.RowPanel) else panel.links or []


def _dashboard(board: Board) -> builders.Dashboard:
    """The whole: where time, data source, job and instance are chosen, the way to its neighbours, and the panels."""
    made = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG, "generated"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .link(_link_to_boards())
        .link(builders.DashboardLink("Runbook").type(models.DashboardLinkType.LINK).url("${runbook}"))
        .with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_chosen("job", "Job", "label_values(sevenp_worker_build_info, job)"))
        .with_variable(
            _chosen("instance", "Instance", 'label_values(sevenp_worker_build_info{job=~"$job"}, instance)')
        )
        .with_variable(builders.TextBoxVariable("runbook").label("Runbook lies at").default_value(RUNBOOK))
    )
    ids = count(1)
    for row in board.rows:
        made.with_row(builders.Row(row.title).id(next(ids)))
        for panel in row.panels:
            made.with_panel(_panel(panel).id(next(ids)))
    return made


def _link_to_boards() -> builders.DashboardLink:
    link = builders.DashboardLink("Dashboards of the worker").type(models.DashboardLinkType.DASHBOARDS)
    return link.tags([TAG]).as_dropdown(False).include_vars(True).keep_time(True)


def _chosen(name: str, label: str, query: str) -> builders.QueryVariable:
    """A choice among what Prometheus knows: all of them, unless somebody chooses."""
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return (
        builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(_SOURCE)
        .current(everything)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(_EVERY_PART_OF)
    )


def _panel(panel: Panel) -> _AnyPanel:
    """What all kinds have: words, unit, queries, limits, states, and the way to the runbook."""
    made = _MAKERS[panel.kind](panel)
    made.title(panel.title).description(panel.description).datasource(_SOURCE)
    made.span(panel.width).height(panel.height).unit(panel.unit.value).no_value(panel.empty)
    made.thresholds(_thresholds(panel))
    if panel.states:
        texts = {
            str(value): models.ValueMappingResult(text=state.text, color=state.colour.value)
            for value, state in panel.states.items()
        }
        made.mappings([models.ValueMap(options=texts)])
    for series, colour in panel.colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour.value}
        made.override_by_name(series, [models.DynamicConfigValue(id_val="color", value=fixed)])
    if panel.alert is not None:
        url = f"${{runbook}}#{panel.alert.lower()}"
        link = builders.DashboardLink(f"Runbook: {panel.alert}").type(models.DashboardLinkType.LINK)
        made.links([link.url(url).target_blank(True)])
    for letter, query in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", panel.queries, strict=False):
        made.with_target(_target(letter, query, instant=panel.kind is Kind.NUMBER))
    return made


def _target(letter: str, query: Query, *, instant: bool) -> prometheus.Dataquery:
    """A number shows what holds at the end of the time that is looked at; all else its course."""
    asked = prometheus.Dataquery().ref_id(letter).expr(query.expression).legend_format(query.legend)
    asked.datasource(_SOURCE)
    return asked.instant() if instant else asked.range()


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    base = models.Threshold(value=None, color=panel.limits.base.value)
    steps = [models.Threshold(value=value, color=colour.value) for value, colour in panel.limits.steps]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([base, *steps])


def _graph(panel: Panel) -> timeseries.Panel:
    """Lines; each with its last and its highest value in the legend, and the limits as dashes."""
    style = (
        common.GraphThresholdsStyleMode.DASHED if panel.limits.steps else common.GraphThresholdsStyleMode.OFF
    )
    made = (
        timeseries.Panel()
        .min(0)
        .line_width(1)
        .fill_opacity(60 if panel.stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(style))
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
            .sort_by("Max")
            .sort_desc(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if panel.stacked:
        made.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if panel.most is not None:
        made.max(panel.most)
    return made


def _number(_: Panel) -> stat.Panel:
    """The value at the end, as large as it fits, on the colour of its limit."""
    return (
        stat.Panel()
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.AUTO)
    )


def _timeline(_: Panel) -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(80)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


_MAKERS: Mapping[Kind, Callable[[Panel], _AnyPanel]] = {
    Kind.GRAPH: _graph,
    Kind.NUMBER: _number,
    Kind.STATES: _timeline,
}
