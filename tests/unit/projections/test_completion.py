"""How far a learner is, and when the welcome and the completion are reached."""

from dataclasses import replace
from typing import Any

import pytest

from projections.event import StoredEvent
from projections.progress import fold, refold
from tests.unit.projections.events import VOID, arrive, event, moment


def record(*events: StoredEvent) -> dict[str, Any]:
    return fold(None, arrive(events), "live")


def enrolled(total: int, at: float = 0) -> StoredEvent:
    return event("course_enrolled", at, details={"total_lessons": total})


def seen(lesson: int, share: float, at: float = 1) -> StoredEvent:
    return event("view", at, lesson=lesson, value=1, details={"progress": share})


def done(lesson: int, at: float = 1) -> StoredEvent:
    return event("complete", at, lesson=lesson)


def reported(percent: float, at: float = 1) -> StoredEvent:
    details = {"new_progress": percent, "old_progress": 0, "time_spent": 0}
    return event("progress_updated", at, details=details)


@pytest.mark.parametrize(
    ("events", "percentage"),
    [
        pytest.param([enrolled(3)], 0.0, id="nothing seen"),
        pytest.param([enrolled(3), done(1)], 33.33, id="a third, rounded down"),
        pytest.param([enrolled(4), done(1), seen(2, 0.5)], 37.5, id="parts of lessons count"),
        pytest.param([enrolled(2), done(1), done(2)], 100.0, id="all lessons"),
        pytest.param([enrolled(1), done(1), done(2)], 100.0, id="more lessons than there are"),
        pytest.param([enrolled(1), seen(1, 0.9), seen(2, 0.9)], 99.99, id="never 100 by adding parts"),
        pytest.param([enrolled(1), seen(1, 0.99999)], 99.99, id="never 100 by rounding"),
        pytest.param([enrolled(4), done(1), reported(60)], 60.0, id="a higher report"),
        pytest.param([enrolled(4), done(1), reported(20)], 25.0, id="a lower report"),
        pytest.param([enrolled(4), reported(100)], 100.0, id="all reported"),
        pytest.param([enrolled(4), reported(99.999)], 99.99, id="nearly all reported"),
        pytest.param([done(1), seen(2, 0.5)], 75.0, id="unknown total: mean over lessons seen"),
        pytest.param([done(1)], 99.99, id="unknown total: never 100 by itself"),
        pytest.param([done(1), reported(100)], 100.0, id="unknown total: 100 by report"),
        pytest.param([event("discussion_posted")], 0.0, id="unknown total, no lesson"),
    ],
)
def test_the_percentage_follows_its_formula(events: list[StoredEvent], percentage: float) -> None:
    assert record(*events)["progress"]["percentage"] == percentage


def test_the_basis_says_whether_the_total_is_known() -> None:
    assert record(done(1))["progress"]["basis"] == "observed"
    assert record(done(1), enrolled(3))["progress"]["basis"] == "curriculum"


def test_the_course_is_completed_when_the_last_needed_lesson_was() -> None:
    document = record(enrolled(2), done(1, at=50), done(2, at=30), done(3, at=90), done(2, at=99))
    assert document["milestones"]["completed"] == {"at": moment(50), "percentage": 100.0, "by": "live"}
    assert document["completion_notified"] is True


def test_a_report_of_a_hundred_completes_the_course_at_its_moment() -> None:
    document = record(reported(100, at=70), reported(100, at=60), reported(99, at=10))
    assert document["milestones"]["completed"] == {"at": moment(60), "percentage": 100.0, "by": "live"}


def test_the_earlier_way_of_completing_counts() -> None:
    document = record(enrolled(1), reported(100, at=70), done(1, at=20))
    assert document["milestones"]["completed"]["at"] == moment(20)


def test_without_a_total_lessons_alone_complete_nothing() -> None:
    document = record(done(1), done(2))
    assert document["milestones"]["completed"] is None
    assert document["completion_notified"] is False


def test_a_course_that_grows_does_not_take_the_completion_back() -> None:
    document = record(enrolled(1, at=0), done(1, at=5), enrolled(4, at=9))
    assert document["progress"]["percentage"] == 25.0
    assert document["milestones"]["completed"]["at"] == moment(5)


def test_the_welcome_waits_for_the_enrolment_and_takes_the_earliest() -> None:
    assert record(done(1))["milestones"]["welcome"] is None
    document = record(enrolled(4, at=9), enrolled(4, at=3))
    assert document["milestones"]["welcome"] == {"at": moment(3), "percentage": 0.0, "by": "live"}


@pytest.mark.parametrize(
    ("before", "percentage"),
    [
        pytest.param([], 0.0, id="nothing before"),
        pytest.param([done(1, at=2)], 25.0, id="a lesson before"),
        pytest.param([seen(1, 0.9, at=2), reported(60, at=2)], 0.0, id="parts are not known any more"),
        pytest.param([done(n, at=2) for n in range(4)], 100.0, id="completed before"),
        pytest.param([reported(100, at=2)], 100.0, id="reported before"),
    ],
)
def test_the_welcome_says_what_was_done_before_it(before: list[StoredEvent], percentage: float) -> None:
    """A learner who enrols and finishes within one batch is not welcomed with 100 %."""
    everything = [enrolled(4, at=9), *before, *(done(n, at=10) for n in range(4)), reported(100, at=20)]
    for events in (everything, everything[::-1]):
        assert record(*events)["milestones"]["welcome"] == {
            "at": moment(9),
            "percentage": percentage,
            "by": "live",
        }


def test_the_mode_that_first_met_a_milestone_is_kept() -> None:
    first = fold(None, arrive([enrolled(1)]), "replay")
    second = fold(first, arrive([done(1, at=9)], after=1), "live")
    third = fold(second, arrive([enrolled(1, at=-5), done(1, at=2)], after=2), "retry")
    assert third["milestones"] == {
        "welcome": {"at": moment(-5), "percentage": 0.0, "by": "replay"},
        "completed": {"at": moment(2), "percentage": 100.0, "by": "live"},
    }


def test_folding_again_keeps_who_met_a_milestone_and_names_itself_for_new_ones() -> None:
    kept = {
        "projection_version": 0,
        "milestones": {"welcome": {"at": moment(7), "by": "live"}, "completed": None},
    }
    document = refold(arrive([enrolled(1), VOID, done(1)]), kept, "replay")
    assert document["milestones"] == {
        "welcome": {"at": moment(0), "percentage": 0.0, "by": "live"},
        "completed": {"at": moment(1), "percentage": 100.0, "by": "replay"},
    }


def test_folding_again_without_an_old_document_names_itself() -> None:
    document = refold(arrive([enrolled(1)]), None, "replay")
    assert document["milestones"]["welcome"]["by"] == "replay"


def brought(event: StoredEvent) -> StoredEvent:
    return replace(event, origin="reingest")


HISTORIES = [
    pytest.param([brought(enrolled(1)), brought(done(1))], ("replay", "replay"), id="all of it brought"),
    pytest.param([enrolled(1), brought(done(1))], ("live", "replay"), id="the last lesson brought"),
    pytest.param([brought(enrolled(1)), done(1)], ("replay", "live"), id="finished since"),
    pytest.param([done(1), brought(enrolled(1))], ("replay", "replay"), id="brought later than it was met"),
    pytest.param([enrolled(1), done(1), brought(done(1, at=0.5))], ("live", "live"), id="met before"),
]


@pytest.mark.parametrize(("history", "by"), HISTORIES)
def test_a_milestone_that_a_brought_event_met_first_is_history_whoever_folds_it_in_whatever_batches(
    history: list[StoredEvent], by: tuple[str, str]
) -> None:
    events = arrive(history)
    in_one = fold(None, events, "live")
    one_by_one = None
    for each in events:
        one_by_one = fold(one_by_one, [each], "live")
    again = refold(events, None, "live")
    kept = refold(events, in_one, "retry")
    for document in (in_one, one_by_one, again, kept):
        assert document is not None
        milestones = document["milestones"]
        assert (milestones["welcome"]["by"], milestones["completed"]["by"]) == by


def test_folding_brought_events_again_keeps_who_met_a_milestone_in_a_later_part() -> None:
    kept = {"milestones": {"welcome": None, "completed": {"at": moment(1), "by": "live"}}}
    document = refold(arrive([brought(enrolled(1)), done(1)]), kept, "retry")
    assert document["milestones"]["completed"]["by"] == "live"
