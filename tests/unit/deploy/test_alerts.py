"""Alerts, their cases and the runbook belong together, and read only what the worker exports."""

import re
from collections import defaultdict
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from tests.unit.deploy.rules import FOLDER, RECORDED, RENAMED, SCRAPED, Alert, alerts, attribute, cases
from worker.operate.canary import NAME as CANARY
from worker.settings import RoleName
from worker.telemetry.metrics import Metrics

ALERTS = alerts()
# Shown only while a rebuild is under way.
_WITHOUT_REBUILD = {"replay_remaining_streams"}


def _metrics() -> dict[str, MetricWrapperBase]:
    """By their names without the prefix, with the series that exist from the start."""
    metrics = Metrics()
    metrics.prepare_topic("events")
    return {name: each for name, each in vars(metrics).items() if isinstance(each, MetricWrapperBase)}


METRICS = _metrics()


def _labels(metric: str) -> set[str]:
    return set(METRICS[metric]._labelnames)  # noqa: SLF001 - the library has no public way to ask


def _values(metric: str, label: str) -> set[str]:
    """The values that exist from the start; those of a component are its roles."""
    if label == "component" and metric.startswith("component_"):
        return {CANARY, *(role.value for role in RoleName)}
    return {sample.labels.get(label, "") for family in METRICS[metric].collect() for sample in family.samples}


def _ids(alert: Alert) -> str:
    return alert.name


def test_no_two_alerts_have_one_name() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(names) == len(set(names)) > 40


@pytest.mark.parametrize("alert", ALERTS, ids=_ids)
def test_an_alert_has_a_severity_a_sentence_and_its_entry_in_the_runbook(alert: Alert) -> None:
    assert alert.labels["service"] == "sevenp-worker"
    assert alert.labels["severity"] in ("page", "ticket")
    assert alert.annotations["summary"].endswith(".")
    base = '{{ or $externalLabels.runbook "docs/runbook.md" }}'
    assert alert.annotations["runbook_url"] == f"{base}#{alert.name.lower()}"


@pytest.mark.parametrize("alert", ALERTS, ids=_ids)
def test_an_alert_reads_metrics_labels_and_values_that_the_worker_exports(alert: Alert) -> None:
    assert alert.metrics <= METRICS.keys()
    for metric, label, value in alert.matchers:
        assert label in _labels(metric), f"{metric} has no label {label}"
        known = _values(metric, label)
        assert not known - {""} or value in known, f"{metric}: {label} is never {value}"
    having = set[str]().union(*map(_labels, alert.metrics))
    assert alert.groupings <= having | SCRAPED
    assert {RENAMED.get(label, label) for label in alert.shown} <= having | SCRAPED | RECORDED


def _rule_tests() -> dict[str, list[tuple[str, bool]]]:
    """By alert: for each moment that promtool looks at it, the case, and whether it must fire."""
    looked = defaultdict(list)
    for path, group in cases():
        for each in group.get("alert_rule_test", ()):
            looked[each["alertname"]].append((f"{path.name}: {group['name']}", bool(each["exp_alerts"])))
    return looked


@pytest.mark.parametrize("alert", ALERTS, ids=_ids)
def test_promtool_sees_an_alert_silent_then_firing_then_silent_in_one_case(alert: Alert) -> None:
    by_case = defaultdict[str, list[bool]](list)
    for case, fires in _rule_tests()[alert.name]:
        by_case[case].append(fires)
    assert [False, True, False] in by_case.values()


def test_promtool_looks_at_no_alert_that_does_not_exist() -> None:
    assert set(_rule_tests()) == {alert.name for alert in ALERTS}


def test_what_is_no_news_shows_every_metric_that_an_alert_reads() -> None:
    read = set[str]().union(*(alert.metrics for alert in alerts("alerts.yaml")))
    stories = {group["name"]: group for path, group in cases() if path.name == "no_news.yaml"}
    assert len(stories) == 3
    for name, group in stories.items():
        shown = {_named(each) for each in group["input_series"]} - {"up"}
        assert shown - read == set(), name
        assert read - shown <= (set() if name.startswith("rebuild") else _WITHOUT_REBUILD), name


def _named(series: dict[str, Any]) -> str:
    return attribute(re.sub(r"\{.*", "", series["series"]).removeprefix("sevenp_worker_"))


def test_a_time_in_a_rule_is_a_product_so_that_the_drill_can_scale_it() -> None:
    plain = re.compile(r"_seconds\b(?!\[)[^\n<>]*[<>] (\d[\d.]*)(?![\d. ]*\*)")
    for alert in ALERTS:
        assert set(plain.findall(alert.expression)) <= {"0"}, f"{alert.name}: a product of 60, please"


def test_inhibitions_name_alerts_that_exist() -> None:
    rules = yaml.safe_load((FOLDER / "alertmanager.yml").read_text(encoding="utf-8"))["inhibit_rules"]
    matchers = [m for rule in rules for side in ("source_matchers", "target_matchers") for m in rule[side]]
    named = [each for each in matchers if each.startswith("alertname")]
    names = {alert.name for alert in ALERTS}
    for each in named:
        pattern = re.compile(each.partition('"')[2].rstrip('"'))
        assert any(pattern.fullmatch(name) for name in names), each
        # A pattern must not name one that is gone: each alternative fits by itself.
        for alternative in re.findall(r"\w+", re.sub(r"(\w+)\((.*?)\)", _spelt_out, pattern.pattern)):
            assert alternative in names, each
    assert len(named) >= 8


def _spelt_out(found: re.Match[str]) -> str:
    """`KafkaLag(High|Growing)` as the two names it stands for."""
    return "|".join(found[1] + ending for ending in found[2].split("|"))
