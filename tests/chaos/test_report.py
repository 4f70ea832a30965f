"""A run that proves nothing does not hold, and every fault is in the report."""

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from tests.chaos.history import Fault
from tests.chaos.report import HistoryResult, Report

FAULTS = (
    Fault("worker killed", "a", 1.0, 12, 0.5),
    Fault("worker killed", "b", 2.0, 3, 1.5),
    Fault("worker killed at ingest: events", "before:insert:course_events/event:1", 3.0, 7),
)


def report(*wrong: str, faults: tuple[Fault, ...] = FAULTS) -> Report:
    return Report(7, "again", [HistoryResult("one", 7, "embedded", 100, 12.34, faults, wrong)], ["no broker"])


def test_nothing_wrong_in_any_history_holds_and_no_history_does_not() -> None:
    assert report().holds
    assert not report("3: a hole").holds
    assert not Report(7, "again").holds


def test_each_fault_is_counted_with_its_recovery() -> None:
    [killed, dead] = report().rows()
    assert (killed.fired, killed.least_in_flight, killed.recovered, killed.median_s, killed.max_s) == (
        2,
        3,
        2,
        1.0,
        1.5,
    )
    assert (dead.fired, dead.recovered, dead.median_s, dead.max_s) == (1, 0, None, None)


def test_the_json_says_all_of_it(tmp_path: Path) -> None:
    report("3: a hole").write(tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["seed"], found["repeat"], found["holds"], found["left_out"]) == (
        7,
        "again",
        False,
        ["no broker"],
    )
    assert found["points"] == {"before:insert:course_events/event:1": 1}
    assert found["histories"][0]["wrong"] == ["3: a hole"]
    assert [row["fired"] for row in found["faults"]] == [2, 1]


def test_the_table_shows_the_same() -> None:
    shown = StringIO()
    report("3: a hole").show(Console(file=shown, width=140))
    text = shown.getvalue()
    assert all(
        part in text for part in ("worker killed", "1.5", "3: a hole", "left out: no broker", "1 wrong")
    )
