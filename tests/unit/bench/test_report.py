"""The result says the same as JSON, as a page and as a table."""

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from bench.comparison import OURS, Comparison, contestants_json, contestants_section, goals_of
from bench.goals import GOALS, check_goals
from bench.report import Result, Section, markdown, print_result, write_result
from tests.unit.bench.runs import run

ABSENT = {"MongoDB connector, both": "needs Java"}
COMPARISON = Comparison(
    [run(name, rate) for rate in (1_000.0, 3_000.0, 2_000.0) for name in (OURS, "limit")],
    ABSENT,
    {**dict.fromkeys((OURS, "limit"), "work"), **dict.fromkeys(ABSENT, "work")},
)


def result() -> Result:
    found, missing = goals_of(COMPARISON)
    goals = check_goals(found, dict.fromkeys([goal.key for goal in GOALS], "left out") | missing)
    section = contestants_section(COMPARISON, 3)
    return Result(
        "bench", 10_000, 3, "embedded", goals, [section], {"contestants": contestants_json(COMPARISON)}
    )


def test_a_contestant_is_shown_with_its_rounds_and_an_absent_one_with_the_reason() -> None:
    ours, *_, absent = contestants_json(COMPARISON)
    assert ours["events_per_s"] == [1_000, 3_000, 2_000]
    assert absent == {"name": "MongoDB connector, both", "work": "work", "absent": "needs Java"}


def test_the_table_begins_with_the_fastest_and_ends_with_who_was_absent() -> None:
    slow = Comparison(
        [run("slow", 10.0), run("fast", 20.0)], ABSENT, dict.fromkeys(("slow", *ABSENT, "fast"), "work")
    )
    assert [row[0] for row in contestants_section(slow, 1).rows] == ["fast", "slow", *ABSENT]


def test_json_and_page_hold_every_goal(tmp_path: Path) -> None:
    path = write_result(tmp_path, result())
    written = json.loads(path.read_text(encoding="utf-8"))
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert [row["key"] for row in written["goals"]] == [goal.key for goal in GOALS]
    assert all(goal.what in page for goal in GOALS)
    assert {"goal", "measured", "met", "reason"} <= set(written["goals"][0])


def test_every_line_of_a_table_has_as_many_cells_as_its_head() -> None:
    page = markdown(result())
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert tables
    for table in tables:
        assert len({line.count(" | ") for line in table}) == 1


def test_notes_stand_below_their_table() -> None:
    noted = Result("bench", 1, 1, "embedded", [], [Section("Costs", ("a",), [("1",)], ("A note.",))])
    assert markdown(noted).rstrip().endswith("| 1 |\n\nA note.")


def test_on_a_narrow_terminal_a_wide_table_is_a_list_with_every_cell() -> None:
    columns = tuple(f"column {number}" for number in range(12))
    row = tuple(f"cell {number}" for number in range(12))
    wide = Result("bench", 1, 1, "embedded", [], [Section("Costs", columns, [row])])
    shown = StringIO()
    print_result(Console(file=shown, width=80), wide)
    assert [cell for cell in row if cell not in shown.getvalue()] == []
    assert "column 11: cell 11" in shown.getvalue()
