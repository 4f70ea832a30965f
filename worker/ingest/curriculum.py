"""What ingest adds to an enrolment that names no number of lessons: the count from the course document."""

from collections.abc import Iterable
from typing import Any

from bson import ObjectId

from worker.ingest.record import Candidate
from worker.storage import reading
from worker.storage.curriculum import CURRICULUM_PATHS, count_lessons
from worker.storage.database import Database


def courses_to_count(candidates: Iterable[Candidate]) -> set[ObjectId]:
    """Courses of the enrolments that came without `total_lessons`."""
    return {
        candidate.event.course_id
        for candidate in candidates
        if candidate.event.event_type == "course_enrolled"
        and candidate.event.course_id is not None
        and "total_lessons" not in candidate.event.details
    }


async def read_curricula(
    database: Database, candidates: Iterable[Candidate]
) -> dict[ObjectId, dict[str, Any]]:
    """Version and number of lessons of the courses that enrolments say nothing about; the rest stays unknown.

    So does what cannot be read: an enrolment never waits for the document of its course.
    """
    wanted = courses_to_count(candidates)
    if not wanted:
        return {}
    found = await reading.find(database.courses, {"_id": {"$in": list(wanted)}}, CURRICULUM_PATHS)
    counted = found.through(lambda course: (course["_id"], count_lessons(course))).values
    return {course_id: curriculum for course_id, curriculum in counted if curriculum}
