"""Which event did what, and by which rule: the progress fold taken event by event."""

from typing import Any

import pytest

from projections.counts.projection import COUNTS
from projections.event import StoredEvent
from projections.progress.apply import EFFECTS
from projections.progress.projection import PROGRESS
from tests.unit.projections.events import arrive, event, lesson_id
from worker.queries.stepwise import Step, StepwiseFold, as_void, counted_row, first_sentence

HISTORY = [
    event("course_enrolled", 0, details={"total_lessons": 2}),
    event("view", 10, lesson=1, value=3, session_id="s", details={"time_spent": 20, "progress": 0.5}),
    event("complete", 20, lesson=1),
    event("discussion_posted", 30),
    event("complete", 40, lesson=2),
]


def steps(events: list[StoredEvent]) -> list[Step]:
    fold = StepwiseFold(PROGRESS)
    return [fold.take(each) for each in arrive(events)]


def told(step: Step, path: str = "", **view: Any) -> dict[str, tuple[Any, str]]:
    """Each changed field with its value and the name of its rule."""
    return {name: (value, step.rule(name, **view).name) for name, value in step.changes(path, **view)}


def test_each_step_ends_where_the_fold_of_all_events_ends() -> None:
    last = steps(HISTORY)[-1]
    assert last.after == PROGRESS.refold(arrive(HISTORY), None, "replay")


def test_a_field_is_told_with_its_value_and_with_the_rule_that_changed_it() -> None:
    enrolled, view, complete, posted, last = steps(HISTORY)
    first = lesson_id(1)
    assert told(enrolled, "progress") == {
        "progress.total_lessons": (2, "enrolled"),
        "progress.basis": ("curriculum", "enrolled"),
    }
    assert told(enrolled, "status") == {}
    seen = told(view)
    assert seen["progress.percentage"] == (25.0, "media")
    assert seen[f"lesson_progress.{first}.time_spent"] == (20.0, "media")
    assert seen["time_tracking.total_seconds"] == (20.0, "activity")
    assert seen["time_tracking.session_count"] == (1, "activity")
    assert told(complete, f"lesson_progress.{first}.status") == {
        f"lesson_progress.{first}.status": ("completed", "complete")
    }
    assert told(posted, "social") == {"social.discussion_posts": (1, "discussion_posts")}
    assert told(last, "milestones.completed.percentage") == {
        "milestones.completed.percentage": (100.0, "complete")
    }


def test_the_row_that_counts_is_told_the_same_way() -> None:
    enrolled, *_, last = steps(HISTORY)
    view = {"view": lambda record: counted_row(COUNTS, record)}
    assert told(enrolled, "counted", **view) == {
        "counted.enrolled": (1, "activity"),
        "counted.active": (1, "activity"),
    }
    assert told(last, "counted.completed", **view) == {"counted.completed": (1, "complete")}
    assert "source_rev" not in counted_row(COUNTS, last.after)


def test_a_void_changes_nothing_but_the_version() -> None:
    fold = StepwiseFold(PROGRESS)
    first, second = arrive(HISTORY[:2])
    fold.take(first)
    assert told(fold.take(as_void(second))) == {"version": (2, "void")}


def test_what_is_passed_over_is_folded_all_the_same() -> None:
    fold, events = StepwiseFold(PROGRESS), arrive(HISTORY)
    fold.pass_over(events[:2])
    fold.pass_over(events[2:4])
    assert fold.take(events[4]).after == steps(HISTORY)[-1].after


@pytest.mark.parametrize("event_type", sorted(EFFECTS))
def test_every_rule_says_what_it_does(event_type: str) -> None:
    effect = EFFECTS[event_type]
    assert len(first_sentence(effect.__doc__)) > len(effect.__name__)
