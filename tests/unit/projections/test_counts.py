"""What one learner adds to the statistics, and what the sums show."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.counts import (
    COUNTS_VERSION,
    LEARNING,
    NAMES,
    Counted,
    Step,
    Taught,
    Teaching,
    count_learner,
    course_stats,
    social_proof,
    sums_in,
    teaching_in,
    user_stats,
    vector,
)
from projections.counts.document import ProgressProjection
from projections.event import StoredEvent
from projections.progress import fold
from tests.unit.projections.events import VOID, arrive, event, event_sets, moment, split, stored_document
from worker.contract.identity import stream_object_id

VECTORS = st.builds(Counted, *[st.integers(-1_000, 1_000)] * len(NAMES))


def record(*events: StoredEvent, rev: int = 1) -> dict[str, Any]:
    document = fold(None, arrive(events), "live")
    return {"_id": stream_object_id(document["stream_id"]), "rev": rev, **document}


def enrolled(at: float = 0, **details: Any) -> StoredEvent:
    return event("course_enrolled", at, details={"total_lessons": 2, **details})


def left(at: float) -> StoredEvent:
    return event("course_unenrolled", at)


def finished(at: float = 50) -> list[StoredEvent]:
    return [event("complete", at + lesson, lesson=lesson) for lesson in (1, 2)]


def rated(value: float, at: float = 5) -> StoredEvent:
    return event("course_rated", at, value=value)


@pytest.mark.parametrize(
    ("events", "counted"),
    [
        pytest.param([VOID], {}, id="nothing but voids"),
        pytest.param([enrolled()], {"enrolled": 1, "active": 1}, id="enrolled"),
        pytest.param(
            [event("question_asked")], {"enrolled": 1, "active": 1, "questions_asked": 1}, id="active"
        ),
        pytest.param([enrolled(), left(9)], {"enrolled": 1}, id="left"),
        pytest.param([enrolled(), left(9), enrolled(12)], {"enrolled": 1, "active": 1}, id="came back"),
        pytest.param(
            [enrolled(), *finished()], {"enrolled": 1, "completed": 1, "progress": 10_000}, id="finished"
        ),
        pytest.param(
            [enrolled(), *finished(), left(99)],
            {"enrolled": 1, "completed": 1, "progress": 10_000},
            id="finished and left",
        ),
    ],
)
def test_a_record_counts_as(events: list[StoredEvent], counted: dict[str, int]) -> None:
    assert vector(record(*events)) == Counted(**counted)


@pytest.mark.parametrize(
    ("value", "hundredths", "star"),
    [(1, 100, 1), (1.49, 149, 1), (1.5, 150, 2), (3.5, 350, 4), (4.99, 499, 5), (5, 500, 5)],
)
def test_a_rating_counts_exactly_and_in_the_nearest_star_half_up(
    value: float, hundredths: int, star: int
) -> None:
    counted = vector(record(rated(value)))
    assert (counted.rated, counted.rating) == (1, hundredths)
    assert [getattr(counted, f"stars_{n}") for n in range(1, 6)] == [int(n == star) for n in range(1, 6)]


@pytest.mark.parametrize("percentage", [0.01, 0.29, 33.33, 66.67, 99.99])
def test_the_percentage_counts_in_whole_hundredths(percentage: float) -> None:
    details = {"new_progress": percentage, "old_progress": 0, "time_spent": 0}
    assert vector(record(event("progress_updated", details=details))).progress == round(percentage * 100)


@given(VECTORS, VECTORS)
def test_sums_and_differences_are_taken_component_by_component(one: Counted, other: Counted) -> None:
    assert one + other - other == one
    assert not (one - one)
    assert (one + other).document() == {name: one.document()[name] + other.document()[name] for name in NAMES}


@given(VECTORS)
def test_sums_are_read_as_they_were_stored(sums: Counted) -> None:
    assert sums_in(sums.document()) == sums
    assert sums_in(sums.document(LEARNING), LEARNING) == sums.only(LEARNING)


@pytest.mark.parametrize("stored", [None, 3, [], {}, {"enrolled": 1}, dict.fromkeys(NAMES, 1.0)])
def test_sums_that_are_not_ours_are_no_sums(stored: object) -> None:
    assert sums_in(stored) is None


def test_a_course_shows_counts_averages_and_rates_of_its_sums() -> None:
    learners = [
        vector(record(enrolled(), *finished(), rated(4))),
        vector(record(enrolled(), rated(3.5), event("discussion_posted", 7))),
        vector(record(enrolled(), left(9), rated(3.5))),
    ]
    assert course_stats(sum(learners, Counted())) == {
        "enrollments": {"total": 3, "active": 1, "completed": 1},
        "ratings": {
            "average": 3.67,
            "total_reviews": 3,
            "distribution": {"1": 0, "2": 0, "3": 0, "4": 3, "5": 0},
        },
        "engagement": {
            "completion_rate": 1 / 3,
            "average_progress": 1 / 3,
            "discussion_posts": 1,
            "questions_asked": 0,
        },
        "sums": sum(learners, Counted()).document(),
    }


def test_a_course_without_learners_shows_zeros() -> None:
    stats = course_stats(Counted())
    assert stats["ratings"]["average"] == stats["engagement"]["completion_rate"] == 0.0


def test_a_user_shows_instructors_fields_only_after_teaching() -> None:
    learning = Counted(enrolled=3, completed=2, certificates=1)
    shown = {"courses_enrolled": 3, "courses_completed": 2, "certificates_earned": 1}
    sums = {"learning": {"enrolled": 3, "completed": 2, "certificates": 1}}
    assert user_stats(learning, None) == {**shown, "sums": sums}
    teaching = Teaching(
        Taught(enrolled=9, rated=2, rating=851, students=7, courses=3), {"USD": 450_000_500, "EUR": 99_900}
    )
    taught = user_stats(learning, teaching)
    assert (taught["total_students"], taught["courses_created"]) == (7, 3)
    assert taught["avg_rating"] == 4.26
    assert taught["total_revenue"] == 45_000.05
    assert taught["revenue"] == {"EUR": 9.99, "USD": 45_000.05}
    assert user_stats(learning, teaching, "EUR")["total_revenue"] == 9.99
    assert user_stats(learning, teaching, "CHF")["total_revenue"] == 0.0
    assert teaching_in(taught["sums"]["teaching"]) == teaching
    proof = {"students_taught": 7, "courses_created": 3, "average_rating": 4.26}
    assert social_proof(teaching) == proof


def steps(events: list[StoredEvent], cuts: list[int]) -> list[Step]:
    """The steps of a learner counted after each batch of arriving events."""
    document: dict[str, Any] | None = None
    projection: dict[str, Any] | None = None
    taken = []
    for rev, batch in enumerate(split(arrive(events), cuts), start=1):
        document = fold(document, batch, "live")
        progress = stored_document({"_id": stream_object_id(document["stream_id"]), "rev": rev, **document})
        step = count_learner(progress, projection)
        assert step is not None
        projection = stored_document(step.projection)
        assert count_learner(progress, projection) is None
        taken.append(step)
    return taken


@pytest.mark.slow
@given(event_sets(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_and_any_batches_add_up_to_the_same(events: list[StoredEvent], data: st.DataObject) -> None:
    at_once = steps(events, [])[-1]
    shuffled = data.draw(st.permutations(events))
    taken = steps(shuffled, data.draw(st.lists(st.integers(1, len(events)), max_size=6)))
    assert sum((step.delta for step in taken), Counted()) == at_once.delta
    assert taken[-1].projection["counted"] == at_once.projection["counted"]
    assert taken[-1].projection["enrolled_at"] == at_once.projection["enrolled_at"]
    put_out = [each.kind for step in taken for each in step.milestones]
    assert sorted(put_out) == sorted(each.kind for each in at_once.milestones)


@given(event_sets(), st.lists(st.integers(1, 25), max_size=6))
@settings(max_examples=100, deadline=None)
def test_every_projection_fits_its_model(events: list[StoredEvent], cuts: list[int]) -> None:
    for step in steps(events, cuts):
        ProgressProjection.model_validate(stored_document(step.projection))


def test_a_milestone_is_put_out_once() -> None:
    events = [enrolled(), event("question_asked", 3), enrolled(4), *finished()]
    kinds = [[each.kind for each in step.milestones] for step in steps(events, [1, 2, 3, 4, 5])]
    assert kinds == [["welcome"], [], [], [], ["completion"]]


def test_a_record_of_an_older_fold_waits_until_it_is_folded_again() -> None:
    progress = record(enrolled())
    assert count_learner({**progress, "projection_version": 1}, None) is None


def test_a_milestone_says_what_was_true_at_it_whatever_came_since() -> None:
    (step,) = steps([enrolled(), *finished()], [])
    assert {each.kind: each.percentage for each in step.milestones} == {"welcome": 0.0, "completion": 100.0}
    (grown,) = steps([enrolled(), *finished(), enrolled(99, total_lessons=9)], [])
    assert {each.kind: each.percentage for each in grown.milestones} == {"welcome": 0.0, "completion": 100.0}


def test_the_enrolment_enters_the_log_when_it_is_new_or_dated_again() -> None:
    taken = steps([enrolled(9), enrolled(12), enrolled(3)], [1, 2])
    assert [step.enrolment and step.enrolment.timestamp for step in taken] == [moment(9), None, moment(3)]


def test_a_projection_of_an_older_version_is_counted_again_and_one_of_a_newer_left_alone() -> None:
    progress = record(enrolled())
    step = count_learner(progress, None)
    assert step is not None
    older = {**step.projection, "counts_version": COUNTS_VERSION - 1, "counted": {"enrolled": 1}}
    recounted = count_learner(progress, older)
    assert recounted is not None
    assert recounted.delta == Counted(active=1)
    assert count_learner({**progress, "rev": 9}, {**older, "counts_version": COUNTS_VERSION + 1}) is None
