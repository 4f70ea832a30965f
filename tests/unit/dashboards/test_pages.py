"""The pages about dashboards and objectives say what the files say."""

import re
from typing import Any

import yaml

from dashboards.catalogue import BOARDS, ROOT

PAGE = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
OBJECTIVES = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
_PNG = b"\x89PNG\r\n\x1a\n"


def _rules() -> list[dict[str, Any]]:
    path = ROOT / "deploy" / "prometheus" / "rules" / "slo.yaml"
    return [
        rule
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def test_each_dashboard_has_its_line_and_its_picture_which_is_called_drawn() -> None:
    assert re.findall(r"^!\[(\w+)\]\(dashboards/\1\.png\)$", PAGE, flags=re.MULTILINE) == [
        b.name for b in BOARDS
    ]
    for board in BOARDS:
        assert re.search(rf"^\| {board.name}\b", PAGE, flags=re.MULTILINE)
        assert (ROOT / "docs" / "dashboards" / f"{board.name}.png").read_bytes().startswith(_PNG)
    assert "**drawn from the queries, not by Grafana**" in PAGE


def test_the_page_about_objectives_names_every_series_and_alert() -> None:
    records = {rule["record"] for rule in _rules() if "record" in rule}
    assert records
    for name in records:
        assert f"`{name}`" in OBJECTIVES or f"`{name.rpartition(':')[2]}`" in OBJECTIVES
    for rule in _rules():
        if "alert" in rule:
            assert f"`{rule['alert']}`" in OBJECTIVES
            assert str(rule["for"]).removesuffix("m") + " min" in OBJECTIVES


def test_the_numbers_of_the_objectives_are_those_of_the_rules() -> None:
    [objective] = {
        rule["expr"].split(" * ")[0] for rule in _rules() if rule.get("record", "").endswith("objective")
    }
    assert f"{100 * float(objective):g} %" in OBJECTIVES
    bad_s = (1 - float(objective)) * 30 * 24 * 3600
    assert f"{bad_s // 3600:.0f} h {round(bad_s % 3600 / 60)} min" in OBJECTIVES
    for alert in (rule for rule in _rules() if "alert" in rule):
        [factor] = set(re.findall(r"> ([\d.]+) \*", alert["expr"]))
        assert f"more than {factor} times too fast" in OBJECTIVES
