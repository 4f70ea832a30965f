"""The specification's own loop writes the specification's documents, by updates that the server takes."""

from itertools import permutations
from typing import Any

import orjson

from bench.contestants.shapes import record_update
from bench.contestants.spec_loop import counters
from bench.records import ManyLearners, Workload

# Of `user_progress` in the platform's specification, and what its other examples write into it.
SPEC_FIELDS = {
    "user_id",
    "course_id",
    "progress",
    "time_tracking",
    "lesson_progress",
    "performance",
    "achievements",
    "learning_analytics",
    "social",
    "certificates",
    "enrollment_date",
    "last_accessed",
    "created_at",
    "updated_at",
    "status",
    "completion_notified",
    "stats",
}


def published(workload: Workload | ManyLearners) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in workload.records()]


FEW, MANY = published(Workload(3_000, learners=60)), published(ManyLearners(1_200))


def test_no_two_paths_of_an_update_meet() -> None:
    """The server refuses an update in which one path is another's, or lies within it."""
    for fields in (*FEW, *MANY):
        _, update = record_update(fields)
        paths = [path for part in update.values() for path in part]
        assert len(set(paths)) == len(paths)
        assert not any(one.startswith(f"{other}.") for one, other in permutations(paths, 2))


def test_a_first_event_makes_a_whole_document_of_the_specification() -> None:
    made = set()
    for fields in (*FEW, *MANY):
        key, update = record_update(fields)
        tops = {path.partition(".")[0] for part in update.values() for path in part} | set(key)
        assert tops == SPEC_FIELDS
        made.add(fields["event_type"])
    assert {"course_enrolled", "quiz_submitted", "course_unenrolled", "complete", "progress_updated"} <= made


def test_an_update_counts_one_event() -> None:
    assert all(record_update(fields)[1]["$inc"]["stats.update_count"] == 1 for fields in (*FEW, *MANY))


def test_counters_of_courses_add_up_to_the_enrolments() -> None:
    grown = counters(MANY)
    kinds = [fields["event_type"] for fields in MANY]
    total = sum(grows["stats.enrollments.total"] for grows in grown.values())
    active = sum(grows["stats.enrollments.active"] for grows in grown.values())
    assert total == kinds.count("course_enrolled")
    assert active == total - kinds.count("course_unenrolled")


def test_a_course_of_which_nothing_is_counted_is_not_written() -> None:
    quizzes = [fields for fields in MANY if fields["event_type"] == "quiz_submitted"]
    assert counters(quizzes) == {}
