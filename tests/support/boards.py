"""The dashboards as Grafana reads them, from their files: panels, queries, and what its variables stand for."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.catalogue import FOLDER

Dashboard = Mapping[str, Any]
_LABEL = re.compile(r"\{\{ *(\w+) *\}\}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a panel; an `instant` one is shown as a number."""

    board: str
    panel: str
    panel_id: int
    expression: str
    legend: str
    instant: bool

    @property
    def legend_labels(self) -> frozenset[str]:
        """The labels that the names of its series are made of."""
        return frozenset(_LABEL.findall(self.legend))

    def named(self, labels: Mapping[str, str]) -> str:
        """What the series with these labels is called."""
        return _LABEL.sub(lambda found: labels.get(found[1], ""), self.legend)

    def spelt(self, *, rate_s: int, range_s: int) -> str:
        """The query with every variable replaced, everything chosen: what Grafana would send."""
        replaced = {
            "$__rate_interval": f"{rate_s}s",
            "$__range": f"{range_s}s",
            "$job": ".+",
            "$instance": ".+",
        }
        expression = self.expression
        for variable, value in replaced.items():
            expression = expression.replace(variable, value)
        return expression


def dashboards() -> dict[str, Dashboard]:
    """Every file of the folder, by its name without extension."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Dashboard) -> list[Dashboard]:
    """What shows data: all but the headings."""
    return [each for each in dashboard["panels"] if each["type"] != "row"]


def queries() -> Iterator[Asked]:
    """Every query of every panel."""
    for board, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Asked(
                    board,
                    panel["title"],
                    panel["id"],
                    target["expr"],
                    target["legendFormat"],
                    bool(target["instant"]),
                )
