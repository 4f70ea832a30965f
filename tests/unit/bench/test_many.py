"""The table of few and many learners: a row a scene and contestant, ratios of medians, and the goals they decide."""

import pytest

from bench.contestants.field import EVERYTHING, INGEST, SPEC, Contestant
from bench.many import FIELD, GOALS, ManyRuns, many_goals, many_json, many_section, scenes
from tests.unit.bench.runs import run

SCENES = scenes(few=1_000, many=2_400)
RATES = {
    "few": {EVERYTHING: 4_000.0, SPEC: 2_000.0, INGEST: 8_000.0},
    "many": {EVERYTHING: 1_500.0, SPEC: 2_500.0, INGEST: 6_000.0},
    "many_present": {EVERYTHING: 3_000.0, SPEC: 2_500.0, INGEST: 6_000.0},
}


def runs(wrong: tuple[str, Contestant] | None = None, rounds: int = 3) -> ManyRuns:
    made = [
        (
            scene,
            run(
                contestant.name,
                RATES[scene.name][contestant] * (1 + number / 10),
                wrong="one is missing" if (scene.name, contestant) == wrong else "",
                cpu_us=130 if contestant == EVERYTHING else 50,
                peak_mib=200 if scene.name == "many" else 100,
                stages=contestant.stages,
            ),
        )
        for number in range(rounds)
        for scene in SCENES
        for contestant in FIELD
    ]
    return ManyRuns(SCENES, made)


def test_scenes_are_few_and_many_learners_and_the_many_with_their_documents() -> None:
    assert [scene.title for scene in SCENES] == [
        "2,000 learners, documents present",
        "1,000 learners, no documents",
        "1,000 learners, documents present",
    ]
    few, many, present = SCENES
    assert many.topic == present.topic != few.topic


def test_ratios_are_of_the_medians_of_one_scene() -> None:
    found, missing = many_goals(runs())
    assert not missing
    assert {
        key: round(found[key].figure.median, 3) for key in GOALS if key.startswith(("many", "every"))
    } == {
        "many_spec": 0.6,
        "many_present_spec": 1.2,
        "many_ingest": 0.25,
        "many_present_ingest": 0.5,
        "everything": 0.5,
    }


def test_cpu_is_that_of_few_learners_and_memory_the_highest_of_all() -> None:
    found, _ = many_goals(runs())
    assert found["ingest_cpu"].figure.median == pytest.approx(50)
    assert found["projected_cpu"].figure.median == pytest.approx(80)
    assert found["memory"].figure.median == pytest.approx(200)


def test_what_limits_says_who_computes_and_which_stage_was_last() -> None:
    found, _ = many_goals(runs(rounds=1))
    assert found["many_spec"].limits.startswith("of 667 µs an event the worker computes 130, mongod 260")
    assert found["many_spec"].limits.endswith("outbox done 6.7 s after the first fetch, events 3.3 s")


@pytest.mark.parametrize("contestant", [EVERYTHING, SPEC])
def test_work_that_was_not_done_gives_no_ratio_and_shows_in_the_table(contestant: Contestant) -> None:
    wrong = runs(wrong=("many", contestant))
    found, missing = many_goals(wrong)
    assert "many_spec" not in found
    assert missing["many_spec"] == f"{contestant.name} left something wrong: one is missing"
    assert "many_present_spec" in found
    rows = [row for row in many_section(wrong, 3).rows if row[-1] != "yes"]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("1,000 learners, no documents", contestant.name, "NO: one is missing")
    ]


def test_cpu_of_work_that_was_not_done_says_nothing() -> None:
    found, missing = many_goals(runs(wrong=("few", EVERYTHING)))
    assert found.keys().isdisjoint({"ingest_cpu", "projected_cpu", "everything"})
    assert {"ingest_cpu", "projected_cpu", "everything"} <= missing.keys()
    assert "memory" in found


def test_the_table_has_a_row_for_every_scene_and_contestant() -> None:
    section = many_section(runs(), 3)
    assert [(row[0], row[1]) for row in section.rows] == [
        (scene.title, contestant.name) for scene in SCENES for contestant in FIELD
    ]
    assert all(len(row) == len(section.columns) for row in section.rows)


def test_a_row_has_the_rate_of_each_stage_and_shares_of_the_others() -> None:
    section = many_section(runs(rounds=1), 1)
    everything = dict(zip(section.columns, section.rows[0], strict=True))
    assert (everything["events"], everything["records"], everything["outbox"]) == ("8,000", "8,000", "4,000")
    assert (everything["of the spec's loop"], everything["of ingest"]) == ("2.00", "0.500")
    ingest = dict(zip(section.columns, section.rows[2], strict=True))
    assert (ingest["records"], ingest["of ingest"]) == ("", "")


def test_json_has_a_value_a_round() -> None:
    first, *_ = many_json(runs())
    assert (first["scene"], first["learners"], first["documents_present"]) == ("few", 2_000, True)
    assert first["events_per_s"] == [4_000, 4_400, 4_800]
    assert first["seconds_by_stage"][0]["outbox"] == 2.5
    assert all(len(values) == 3 for key, values in first.items() if key.endswith("_us_per_event"))
