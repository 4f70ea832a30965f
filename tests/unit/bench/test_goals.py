"""Every goal ends up met, missed with what limits it, or not measured with the reason."""

import pytest

from bench.comparison import AGAINST, OURS, Comparison, able, goals_of
from bench.contestants.field import CONNECT, FASTSTREAM, FIELD
from bench.figures import Figure
from bench.goals import GOALS, Goal, Measured, check_goals
from bench.parts import GOALS_OF
from tests.unit.bench.runs import run

RATES = {OURS: 4_000.0, **dict.fromkeys(AGAINST.values(), 2_000.0)}
REST = {goal: "left out" for part, goals in GOALS_OF.items() if part != "contestants" for goal in goals}


def compared(rates: dict[str, float], absent: dict[str, str] | None = None, wrong: str = "") -> Comparison:
    runs = [
        run(name, rate, wrong="one is missing" if name == wrong else "")
        for _ in range(3)
        for name, rate in rates.items()
        if name not in (absent or {})
    ]
    return Comparison(runs, absent or {}, dict.fromkeys(rates, "work"))


def test_a_goal_is_met_on_its_own_side_of_the_value() -> None:
    least, most = Goal("a", "a", "at least", 2.0), Goal("b", "b", "at most", 250, "ms")
    assert [least.met_by(each) for each in (1.9, 2.0, 2.1)] == [False, True, True]
    assert [most.met_by(each) for each in (249.0, 250.0, 251.0)] == [True, True, False]
    assert (least.wanted, most.wanted) == ("≥ 2", "≤ 250 ms")


def test_every_goal_has_one_row_in_the_order_of_the_goals() -> None:
    found, missing = goals_of(compared({**RATES, "limit": 8_000.0}))
    rows = check_goals(found, missing | REST)
    assert [row.goal for row in rows] == list(GOALS)


def test_a_missed_goal_says_what_limits_it_and_a_met_one_nothing() -> None:
    found, missing = goals_of(compared({**RATES, "limit": 8_000.0}))
    rows = {row.goal.key: row for row in check_goals(found, missing | REST)}
    assert rows["equal"].met
    assert rows["equal"].reason == ""
    assert rows["limit"].met is False
    assert rows["limit"].reason.startswith(
        "of 250 µs an event the worker computes 50, mongod 100, the broker 5; "
    )


def test_what_was_not_measured_says_why_and_is_neither_met_nor_missed() -> None:
    found, missing = goals_of(compared({**RATES, "limit": 8_000.0}, {CONNECT.name: "no Java here"}))
    row = next(row for row in check_goals(found, missing | REST) if row.goal.key == "connector")
    assert (row.measured, row.met, row.reason) == (None, None, "no Java here")
    assert row.as_cells()[3] == "not measured"
    assert row.as_json()["met"] is None


def test_a_goal_that_nobody_measured_or_excused_is_an_error() -> None:
    found, missing = goals_of(compared(RATES))
    with pytest.raises(KeyError, match="many_spec"):
        check_goals(found, missing)


@pytest.mark.parametrize("name", [OURS, FASTSTREAM.name])
def test_a_contestant_that_left_something_wrong_gives_no_ratio(name: str) -> None:
    found, missing = goals_of(compared(RATES, wrong=name))
    assert "faststream" not in found
    assert missing["faststream"] == f"{name} left something wrong: one is missing"


def test_cpu_beside_the_connector_is_that_of_contestant_and_mongod() -> None:
    found, _ = goals_of(compared(RATES))
    assert found["connector_cpu"].figure == Figure(1.0, 1.0, 1.0)


def test_every_goal_is_measured_by_exactly_one_part() -> None:
    assert sorted(goal for goals in GOALS_OF.values() for goal in goals) == sorted(g.key for g in GOALS)


def test_the_row_as_json_has_goal_measured_met_and_reason() -> None:
    rows = check_goals(
        {"limit": Measured(Figure(0.7654, 0.7, 0.81), "mongod")}, dict.fromkeys([g.key for g in GOALS], "-")
    )
    limit = next(row for row in rows if row.goal.key == "limit")
    assert limit.as_json() == {
        "key": "limit",
        "goal": "ingest against the limit ≥ 0.8",
        "measured": 0.765,
        "spread": [0.7, 0.81],
        "met": False,
        "reason": "mongod",
    }


def test_who_lacks_something_is_absent_with_what_is_missing() -> None:
    present, absent = able(FIELD, {"java": False, "peers": True})
    assert CONNECT not in present
    assert "Java" in absent[CONNECT.name]
    assert FASTSTREAM in present
    assert len(present) + len(absent) == len(FIELD)
