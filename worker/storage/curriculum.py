"""What a course document says of its lessons; whatever somebody wrote there, it raises nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from bson import ObjectId

CURRICULUM_PATHS: Mapping[str, int] = {"publication.version": 1, "curriculum.lessons._id": 1}
"""What is read of a course."""

# It becomes part of an event: what somebody wrote there must not make the event too large to be stored.
_LONGEST_VERSION = 200


def count_lessons(course: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{version, total_lessons}` of a course document, or None where it has no lesson."""
    modules = course.get("curriculum")
    if not isinstance(modules, list):
        return None
    lessons = (module.get("lessons") for module in modules if isinstance(module, dict))
    total = sum(len(each) for each in lessons if isinstance(each, list))
    if total == 0:
        return None
    publication = course.get("publication")
    version = publication.get("version") if isinstance(publication, dict) else None
    usual = isinstance(version, int | float | ObjectId) or (
        isinstance(version, str) and len(version) <= _LONGEST_VERSION
    )
    return {"version": version if usual else None, "total_lessons": total}


def lesson_ids(course: Mapping[str, Any]) -> frozenset[ObjectId]:
    """The lessons that the course's curriculum names."""
    return frozenset(_lesson_ids(course.get("curriculum")))


# The contract takes no larger course.
_MOST_LISTED = 5_000


def listed_lessons(course: Mapping[str, Any]) -> bytes | None:
    """The list of the course's lessons, their ids one behind another in its order; None where it is not certain.

    That is where it has none, or more than 5,000, where a lesson has no ObjectId, or two have the same one.
    """
    counted, known = count_lessons(course), [*_lesson_ids(course.get("curriculum"))]
    if counted is None or not len(set(known)) == len(known) == counted["total_lessons"] <= _MOST_LISTED:
        return None
    return b"".join(lesson.binary for lesson in known)


def _lesson_ids(modules: Any) -> Iterator[ObjectId]:
    for module in modules if isinstance(modules, list) else ():
        lessons = module.get("lessons") if isinstance(module, dict) else None
        for lesson in lessons if isinstance(lessons, list) else ():
            if isinstance(lesson, dict) and isinstance(lesson.get("_id"), ObjectId):
                yield lesson["_id"]
