"""The alerts as they stand in `deploy/prometheus`, with shorter times: no drill waits for a quarter of an hour."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.unit.deploy.rules import FOLDER

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"\b(\d+)([smhd])\b")
_RANGE = re.compile(r"\[([^\]]+)\]")
# How the rules write a time that a metric is compared with, or that is predicted.
_PRODUCT = re.compile(r"\b([\d.]+) \* 60( \* 60)?\b")


def scaled(
    folder: Path, factor: float, *, times: Collection[str] = (), without: Collection[str] = ()
) -> Path:
    """A copy of the alerts in `folder`, with every window and every `for` made shorter by `factor`.

    What a metric is compared with stays, but in the alerts named in `times`. Those named in `without` are left out.
    What stands in other files is about budgets of weeks, which no drill lasts for.
    """
    content = yaml.safe_load((FOLDER / "rules" / "alerts.yaml").read_text(encoding="utf-8"))
    for group in content["groups"]:
        group["rules"] = list(_rules(group["rules"], factor, times, without))
    copy = folder / "scaled.yaml"
    copy.write_text(yaml.safe_dump(content), encoding="utf-8")
    return copy


def _rules(
    rules: list[dict[str, Any]], factor: float, times: Collection[str], without: Collection[str]
) -> Iterator[dict[str, Any]]:
    for rule in rules:
        name = rule.get("alert")
        if name in without:
            continue
        expression = _RANGE.sub(lambda found: f"[{shorter(found[1], factor)}]", rule["expr"])
        if name in times:
            expression = _PRODUCT.sub(lambda found: _product(found, factor), expression)
        changed = {**rule, "expr": expression}
        yield {**changed, "for": shorter(rule["for"], factor)} if "for" in rule else changed


def shorter(durations: str, factor: float) -> str:
    """`10m`, or `10m:30s`, times the factor; nothing is shorter than a second, which is how often a drill looks."""

    def times_factor(found: re.Match[str]) -> str:
        return f"{max(1, round(int(found[1]) * _UNITS_S[found[2]] * factor))}s"

    return _DURATION.sub(times_factor, durations)


def _product(found: re.Match[str], factor: float) -> str:
    return f"{float(found[1]) * (3_600 if found[2] else 60) * factor:g}"
