"""What stands in `deploy/prometheus`: alerts with what they read, and the cases that promtool runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "prometheus"
# What a scrape adds to every series, and what a histogram's buckets have.
SCRAPED = {"instance", "job", "le"}
# What recording rules add to theirs.
RECORDED = {"slo"}
# Prometheus gives a label another name where the scrape has one like it.
RENAMED = {"exported_job": "job"}

_METRIC = re.compile(r"\bsevenp_worker_(\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|ignoring|group_left|without)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule."""

    name: str
    expression: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def metrics(self) -> set[str]:
        """The worker's metrics it reads, by their names in `Metrics`."""
        return {attribute(name) for name, _ in _METRIC.findall(self.expression)}

    @property
    def matchers(self) -> list[tuple[str, str, str]]:
        """(metric, label, value) of everything it selects by; each alternative of a pattern by itself."""
        return [
            (attribute(name), RENAMED.get(label, label), value)
            for name, selected in _METRIC.findall(self.expression)
            for label, _, values in _MATCHER.findall(selected)
            for value in values.split("|")
        ]

    @property
    def groupings(self) -> set[str]:
        """The labels that it groups or joins by, by their names in the worker."""
        listed = ",".join(_GROUPING.findall(self.expression))
        return {RENAMED.get(label, label) for label in re.findall(r"\w+", listed)} - SCRAPED

    @property
    def shown(self) -> set[str]:
        """The labels that its annotations show."""
        return set(re.findall(r"\$labels\.(\w+)", " ".join(self.annotations.values())))


def attribute(name: str) -> str:
    """The attribute of `Metrics` that exports this name: a histogram exports three."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def alerts(file: str = "*.yaml") -> list[Alert]:
    """The alerts of these files, in their order."""
    return [
        Alert(rule["alert"], rule["expr"], rule.get("labels", {}), rule.get("annotations", {}))
        for path in sorted((FOLDER / "rules").glob(file))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def cases() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every group of promtool's tests, with its file."""
    for path in sorted((FOLDER / "tests").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            yield path, group
