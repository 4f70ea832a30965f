"""What known courses cost: pairs of runs on the same records, ratios of their medians, and the goals these decide."""

import pytest

from bench.contestants.field import EVERYTHING_UNSTAMPED, Contestant
from bench.curricula import GOALS, PairRuns, pair_goals, pairs, pairs_json, pairs_section
from bench.goals import GOALS as ALL_GOALS
from bench.race import Run
from tests.unit.bench.runs import run

PAIRS = pairs(ingest_events=1_000, many_events=2_400, before=EVERYTHING_UNSTAMPED)
RATES = {
    "stamping": (4_900.0, 5_000.0),
    "curricula": (1_200.0, 1_500.0),
    "before": (1_440.0, 1_500.0),
}


def ran(contestant: Contestant, rate: float, wrong: str) -> list[Run]:
    return [
        run(
            contestant.name,
            rate * (1 + number / 10),
            cpu_us=50 if contestant.stamps else 40,
            wrong="one is missing" if contestant.name == wrong else "",
            stages=contestant.stages,
        )
        for number in range(3)
    ]


def found(wrong: str = "") -> PairRuns:
    return {
        pair.goal: (
            ran(pair.known, RATES[pair.goal][0], wrong),
            ran(pair.without, RATES[pair.goal][1], wrong),
        )
        for pair in PAIRS
    }


def test_a_pair_is_the_same_work_with_stamps_and_without() -> None:
    assert [pair.goal for pair in PAIRS] == list(GOALS)
    for pair in PAIRS:
        assert (pair.known.stamps, pair.without.stamps) == (True, False)
        assert pair.known.stages == pair.without.stages
        assert pair.workload.present


def test_courses_have_so_many_lessons_and_learners_open_lessons_of_theirs() -> None:
    for pair, courses, lessons in zip(PAIRS, (200, 22, 22), (300, 66, 66), strict=True):
        documents, _ = pair.workload.platform()
        numbers = {len(module["lessons"]) for course in documents for module in course["curriculum"]}
        ids = {each["_id"] for course in documents for each in course["curriculum"][0]["lessons"]}
        assert (len(documents), numbers, len(ids)) == (courses, {lessons}, courses * lessons)


def test_ratios_are_of_the_medians_and_decide_the_goals() -> None:
    measured, missing = pair_goals(PAIRS, found())
    assert not missing
    ratios = {key: round(each.figure.median, 3) for key, each in measured.items()}
    assert ratios == {"stamping": 0.98, "curricula": 0.8, "before": 0.96}
    met = {goal.key: goal.met_by(ratios[goal.key]) for goal in ALL_GOALS if goal.key in ratios}
    assert met == {"stamping": True, "curricula": False, "before": True}
    assert "no stamps of" in measured["curricula"].limits


@pytest.mark.parametrize("side", [0, 1])
def test_work_that_was_not_done_gives_no_ratio_and_shows_in_the_table(side: int) -> None:
    contestant = (PAIRS[0].known, PAIRS[0].without)[side]
    runs = found(wrong=contestant.name)
    measured, missing = pair_goals(PAIRS, runs)
    assert measured.keys() == {"curricula", "before"}
    assert missing["stamping"] == f"{contestant.name} left something wrong: one is missing"
    rows = [row for row in pairs_section(PAIRS, runs, 3).rows if row[-1] != "yes"]
    assert [(row[1], row[-1]) for row in rows] == [(contestant.name, "NO: one is missing")]


def test_the_table_has_a_row_for_each_side_with_what_the_first_has_of_the_second() -> None:
    section = pairs_section(PAIRS, found(), 3)
    assert [row[1] for row in section.rows] == [
        contestant.name for pair in PAIRS for contestant in (pair.known, pair.without)
    ]
    known, without = (dict(zip(section.columns, row, strict=True)) for row in section.rows[:2])
    assert known["rate of the other's"] == "0.980 (0.980-0.980)"
    assert known["CPU of the other's"] == "1.250 (1.250-1.250)"
    assert without["rate of the other's"] == ""
    assert all(len(row) == len(section.columns) for row in section.rows)


def test_a_clone_without_the_commit_before_says_so() -> None:
    taken = pairs(ingest_events=1_000, many_events=2_400)
    measured, missing = pair_goals(taken, found())
    assert measured.keys() == {"stamping", "curricula"}
    assert missing == {"before": "git does not give that commit here"}


def test_json_has_a_value_a_round() -> None:
    first, *_ = pairs_json(PAIRS, found())
    assert (first["goal"], first["events"]) == ("stamping", 1_000)
    assert first["events_per_s"] == [4_900, 5_390, 5_880]
