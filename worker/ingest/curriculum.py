"""What ingest adds to an enrolment that names no number of lessons: the count from the course document."""

from collections.abc import Iterable, Mapping
from typing import Any

from bson import ObjectId

from worker.ingest.record import Candidate
from worker.storage.database import Database
from worker.storage.errors import translated


def courses_to_count(candidates: Iterable[Candidate]) -> set[ObjectId]:
    """Courses of the enrolments that came without `total_lessons`."""
    return {
        candidate.event.course_id
        for candidate in candidates
        if candidate.event.event_type == "course_enrolled" and "total_lessons" not in candidate.event.details
    }


async def read_curricula(
    database: Database, course_ids: Iterable[ObjectId]
) -> dict[ObjectId, dict[str, Any]]:
    """Version and number of lessons of those courses whose document has a curriculum; the rest stays unknown."""
    wanted = list(course_ids)
    if not wanted:
        return {}
    fields = {"publication.version": 1, "curriculum.lessons._id": 1}
    with translated():
        courses = await database.courses.find({"_id": {"$in": wanted}}, fields).to_list(None)
    counted = {course["_id"]: count_lessons(course) for course in courses}
    return {course_id: curriculum for course_id, curriculum in counted.items() if curriculum}


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
    return {"version": version, "total_lessons": total}
