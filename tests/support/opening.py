"""Opening events for tests: an adopted record in the worker's words, and the event that holds it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from worker.storage.documents import Opening, opening_document

Document = dict[str, Any]

ADOPTED_AT = datetime(2024, 3, 1, 10, tzinfo=UTC)
ENROLLED_AT = datetime(2024, 2, 1, tzinfo=UTC)
LESSON, OTHER_LESSON = ObjectId("000000000000000000000001"), ObjectId("000000000000000000000063")


def opening_lesson(lesson_id: ObjectId = LESSON, **fields: Any) -> Document:
    """One entry of the record's lessons, completed unless said otherwise."""
    return {
        "lesson_id": lesson_id,
        "status": "completed",
        "progress_percentage": 100.0,
        "time_spent": 900.0,
        "attempts": 1,
        "started_at": ENROLLED_AT,
        "completed_at": ENROLLED_AT,
        "quiz_results": None,
        "assignment_grade": None,
        "notes": None,
        **fields,
    }


def opening_record(**fields: Any) -> Document:
    """`OpeningRecord` of a learner who did some; `progress` and `time_tracking` are added to, all else replaced."""
    progress = {"percentage": 68.5, "completed_lessons": 1, "total_lessons": 4, "current_lesson_id": LESSON}
    times = {
        "total_seconds": 25200.0,
        "session_count": 15,
        "average_session_duration": 1680.0,
        "longest_session": 3600.0,
        "last_activity": ADOPTED_AT,
    }
    social = (
        "discussion_posts",
        "questions_asked",
        "answers_given",
        "peer_interactions",
        "study_group_participations",
    )
    return {
        "status": "active",
        "lesson_progress": [opening_lesson()],
        "performance": {"quiz_average": 87.5, "assignment_average": 92.0},
        "social": {name: place for place, name in enumerate(social, 1)},
        "rating": None,
        "certificates": [],
        "payment_data": None,
        "completed_at": None,
        "enrollment_date": ENROLLED_AT,
        "last_accessed": ADOPTED_AT,
        "created_at": ENROLLED_AT,
        "updated_at": ADOPTED_AT,
        **fields,
        "progress": progress | fields.get("progress", {}),
        "time_tracking": times | fields.get("time_tracking", {}),
    }


def opening_event(
    stream: str,
    version: int,
    recorded_at: datetime,
    record: Mapping[str, Any] | None = None,
    *,
    at: datetime = ADOPTED_AT,
    **opening: Any,
) -> Document:
    """The `course_events` document of an opening."""
    return opening_document(stream, version, Opening(record or opening_record(), at, **opening), recorded_at)
