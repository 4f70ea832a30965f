"""Which alerts an operator is told, by the inhibitions in `deploy/prometheus/alertmanager.yml`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from tests.unit.deploy.rules import FOLDER

Labels = Mapping[str, str]
_MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert of the one kind fires, those of the other kind are not told."""

    source: Callable[[Labels], bool]
    target: Callable[[Labels], bool]


def inhibitions() -> list[Inhibition]:
    """As the example says."""
    rules = yaml.safe_load((FOLDER / "alertmanager.yml").read_text(encoding="utf-8"))["inhibit_rules"]
    return [Inhibition(_all_of(rule["source_matchers"]), _all_of(rule["target_matchers"])) for rule in rules]


def told(firing: Iterable[Labels], rules: Iterable[Inhibition]) -> list[Labels]:
    """What is left of the firing alerts."""
    firing, rules = list(firing), list(rules)
    return [
        each
        for each in firing
        if not any(rule.target(each) and any(map(rule.source, firing)) for rule in rules)
    ]


def _all_of(matchers: Sequence[str]) -> Callable[[Labels], bool]:
    found = [_MATCHER.fullmatch(matcher) for matcher in matchers]
    parts = [(each[1], each[2], each[3]) for each in found if each is not None]
    assert len(parts) == len(matchers), matchers

    def matches(labels: Labels) -> bool:
        return all(_matches(labels.get(label, ""), kind, value) for label, kind, value in parts)

    return matches


def _matches(held: str, kind: str, value: str) -> bool:
    return held == value if kind == "=" else re.fullmatch(value, held) is not None
