"""What ingest adds to an enrolment that names no number of lessons: the count from the course document."""

from collections.abc import Iterable, Mapping
from typing import Any

from bson import ObjectId

from worker.ingest.record import Candidate
from worker.storage import reading
from worker.storage.database import Database

# It becomes part of the event: what somebody wrote there must not make the event too large to be stored.
_LONGEST_VERSION = 200


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
    fields = {"publication.version": 1, "curriculum.lessons._id": 1}
    found = await reading.find(database.courses, {"_id": {"$in": list(wanted)}}, fields)
    counted = found.through(lambda course: (course["_id"], count_lessons(course))).values
    return {course_id: curriculum for course_id, curriculum in counted if curriculum}


def count_lessons(course: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{version, total_lessons}` of a course document, or None where it has no lesson."""
    modules = course.get("curriculum")
    if not isinstance(modules, list):
        return None
    total = sum(len(module.get("lessons") or []) for module in modules if isinstance(module, dict))
    if total == 0:
        return None
    publication = course.get("publication")
    version = publication.get("version") if isinstance(publication, dict) else None
    usual = isinstance(version, int | float | ObjectId) or (
        isinstance(version, str) and len(version) <= _LONGEST_VERSION
    )
    return {"version": version if usual else None, "total_lessons": total}
