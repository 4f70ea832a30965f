"""The dashboards' files are what the code makes, ask only for what there is, and can be read at night."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import promql_parser
import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from dashboards.catalogue import BOARDS, FOLDER, ROOT
from dashboards.grafana import to_json
from dashboards.panel import WIDTH, Colour, Unit
from dashboards.promql import PREFIX
from tests.support.boards import Asked, dashboards, panels, queries
from worker.telemetry.metrics import Metrics

RULES = ROOT / "deploy" / "prometheus" / "rules"
RUNBOOK = ROOT / "docs" / "runbook.md"
# What Prometheus adds to every series of ours, and what it calls a label of ours that it has itself.
TARGET = {"job", "instance"}
RENAMED = {"job": "exported_job"}
# Series that are not ours: of Prometheus itself, and of the Python client.
OTHERS: Mapping[str, set[str]] = {
    "ALERTS": {"alertname", "alertstate", "severity", "service"},
    "process_cpu_seconds_total": TARGET,
    "process_resident_memory_bytes": TARGET,
}
ALL_QUERIES = list(queries())
ALL_PANELS = [(board, panel) for board, dashboard in dashboards().items() for panel in panels(dashboard)]
_SHORTEST_DESCRIPTION = 25


def test_the_files_are_what_the_code_makes() -> None:
    made = {f"{board.name}.json": to_json(board) for board in BOARDS}
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == made, (
        "run `make dashboards`"
    )


def test_there_are_five_boards_which_grafana_can_tell_apart() -> None:
    found = dashboards()
    assert sorted(found) == ["failures", "ingest", "jobs", "overview", "watchers"]
    assert (
        len({each["uid"] for each in found.values()}) == len({each["title"] for each in found.values()}) == 5
    )
    assert all(len(each["uid"]) <= 40 for each in found.values())
    for dashboard in found.values():
        identities = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(identities)) == len(identities)
        names = [panel["title"] for panel in panels(dashboard)]
        assert len(set(names)) == len(names), "two panels of a board have one title"


def test_each_row_is_filled_and_no_two_panels_overlap() -> None:
    for name, dashboard in dashboards().items():
        taken = [
            (x, y)
            for place in (panel["gridPos"] for panel in dashboard["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(set(taken)) == len(taken), name
        assert {x for x, _ in taken} == set(range(WIDTH)), name
        assert max(y for _, y in taken) + 1 == len(taken) / WIDTH, f"{name} has holes"


def test_each_panel_says_what_it_shows() -> None:
    for board, panel in ALL_PANELS:
        name = f"{board}: {panel['title']}"
        description = panel["description"]
        assert len(description) >= _SHORTEST_DESCRIPTION, name
        assert description.endswith("."), name
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in list(Unit), name
        assert defaults["noValue"], name
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, name
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert all(legends), name
        assert len(set(legends)) == len(legends), name


def test_limits_rise_and_have_colours_that_mean_something() -> None:
    for board, panel in ALL_PANELS:
        base, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert base["value"] is None
        values = [step["value"] for step in steps]
        assert values == sorted(set(values)), f"{board}: {panel['title']}"
        assert {step["color"] for step in [base, *steps]} <= set(Colour)


def test_the_first_row_of_the_overview_is_what_learners_feel_and_fits_one_screen() -> None:
    heading, alerts, *_ = dashboards()["overview"]["panels"]
    assert heading["title"] == "Are learners served?"
    assert alerts["title"] == "Alerts that fire"
    answers = [panel for panel in panels(dashboards()["overview"]) if panel["gridPos"]["y"] < 12]
    assert {panel["type"] for panel in answers} == {"stat", "state-timeline"}


# ---- links ----


def _alerts() -> set[str]:
    return {rule["alert"] for rule in _rules() if "alert" in rule}


@cache
def _rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yaml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def test_links_lead_to_entries_of_the_runbook() -> None:
    named = {
        panel["links"][0]["title"].removeprefix("Runbook: ") for _, panel in ALL_PANELS if panel.get("links")
    }
    assert named <= _alerts()
    headings = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named <= headings
    for _, panel in ALL_PANELS:
        for link in panel.get("links") or []:
            name = link["title"].removeprefix("Runbook: ")
            assert link["url"] == f"${{runbook}}#{name.lower()}"


def test_most_panels_lead_to_the_runbook() -> None:
    without = [panel["title"] for _, panel in ALL_PANELS if not panel.get("links")]
    assert len(without) < len(ALL_PANELS) / 4, without


# ---- queries ----


@cache
def _known() -> Mapping[str, set[str]]:
    """Every series there can be, with its labels."""
    known: dict[str, set[str]] = {name: set(labels) for name, labels in OTHERS.items()}
    metrics = {name: each for name, each in vars(Metrics()).items() if isinstance(each, MetricWrapperBase)}
    for name, metric in metrics.items():
        labels = {RENAMED.get(label, label) for label in metric._labelnames} | TARGET  # noqa: SLF001
        if isinstance(metric, Histogram):
            known |= {f"{PREFIX}{name}_{part}": labels for part in ("sum", "count")}
            known[f"{PREFIX}{name}_bucket"] = labels | {"le"}
        else:
            known[PREFIX + name] = labels
    return known | {rule["record"]: {"job", "slo"} for rule in _rules() if "record" in rule}


def _selectors(expression: Any) -> Iterator[Any]:
    """Every vector selector below this node of a query."""
    match expression:
        case promql_parser.VectorSelector():
            yield expression
        case promql_parser.MatrixSelector():
            yield expression.vector_selector
        case promql_parser.Call():
            for argument in expression.args:
                yield from _selectors(argument)
        case promql_parser.BinaryExpr():
            yield from _selectors(expression.lhs)
            yield from _selectors(expression.rhs)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case _:
            yield from _selectors(expression.expr)


def _groupings(expression: Any) -> Iterator[tuple[Any, list[str]]]:
    """Every aggregation below this node, with the labels that it keeps."""
    match expression:
        case promql_parser.AggregateExpr():
            yield expression, list(expression.modifier.labels) if expression.modifier else []
            yield from _groupings(expression.expr)
        case promql_parser.Call():
            for argument in expression.args:
                yield from _groupings(argument)
        case promql_parser.BinaryExpr():
            yield from _groupings(expression.lhs)
            yield from _groupings(expression.rhs)
        case promql_parser.ParenExpr() | promql_parser.SubqueryExpr() | promql_parser.UnaryExpr():
            yield from _groupings(expression.expr)


def _parsed(asked: Asked) -> Any:
    return promql_parser.parse(asked.spelt(rate_s=60, range_s=3600))


def test_queries_ask_for_metrics_and_labels_that_exist() -> None:
    assert {asked: wrong for asked in ALL_QUERIES if (wrong := _unknown(asked))} == {}


def _unknown(asked: Asked) -> list[str]:
    """What the query names and nobody exports."""
    expression, known = _parsed(asked), _known()
    selectors = list(_selectors(expression))
    assert selectors
    if unknown := [each.name for each in selectors if each.name not in known]:
        return unknown
    made = set(re.findall(r'label_replace\(.*?, "(\w+)", "\$1"', asked.expression))
    wrong = [
        f"{each.name}: {matcher.name}"
        for each in selectors
        for matcher in each.matchers.matchers
        if matcher.name not in known[each.name]
    ]
    for aggregation, labels in _groupings(expression):
        below = set().union(*(known[each.name] for each in _selectors(aggregation)))
        wrong += sorted(set(labels) - below - made)
    offered = set().union(*(known[each.name] for each in selectors))
    return wrong + sorted(asked.legend_labels - offered - made)


def test_queries_compare_labels_with_values_that_there_are() -> None:
    values = _values()
    for asked in ALL_QUERIES:
        for selector in _selectors(_parsed(asked)):
            for matcher in selector.matchers.matchers:
                known = values.get((selector.name, matcher.name))
                if known and matcher.op == promql_parser.MatchOp.Equal:
                    assert matcher.value in known, asked
                if known and matcher.op == promql_parser.MatchOp.Re:
                    assert any(re.fullmatch(matcher.value, value) for value in known), asked


def _values() -> Mapping[tuple[str, str], set[str]]:
    """By series and label, the values that exist from the start."""
    metrics = Metrics()
    metrics.prepare_topic("events")
    metrics.prepare_leases(["progress:00", "counts:00"])
    values: dict[tuple[str, str], set[str]] = {}
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            for label, value in sample.labels.items():
                values.setdefault((sample.name, label), set()).add(value)
    return values


def test_a_counter_is_shown_as_what_it_gained() -> None:
    """A counter's own value says how long its process has lived; sums since the start say so in words."""
    counters = {PREFIX + name for name, each in vars(Metrics()).items() if isinstance(each, Counter)}
    for asked in ALL_QUERIES:
        bare = {each.name for each in _selectors(_parsed(asked))} & counters
        if bare and not re.search(r"\b(rate|increase)\(", asked.expression):
            [panel] = [p for b, p in ALL_PANELS if b == asked.board and p["title"] == asked.panel]
            assert re.search(r"since|in hand", panel["description"], flags=re.IGNORECASE), asked
