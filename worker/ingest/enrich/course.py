"""What a course document says of its curriculum, as stamps for events; it raises nothing, whatever is in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bson import ObjectId

from worker.storage.curriculum import count_lessons
from worker.storage.database import Document
from worker.storage.lesson_lists import lesson_list_id

COURSE_PATHS: Mapping[str, int] = MappingProxyType(
    {
        "publication.version": 1,
        "curriculum._id": 1,
        **{f"curriculum.lessons.{name}": 1 for name in ("_id", "type", "topic", "skills")},
    }
)
"""What is read of a course."""

# The stamp becomes part of every event of the lesson: what somebody wrote there must not swell all of them.
_LONGEST_TEXT = 100
_MOST_SKILLS = 10
# Of a larger course the further lessons are not told apart: the contract takes no larger one.
_MOST_LESSONS = 5_000
# About what a lesson takes here besides its texts: its id, its place in a dict, its share of a stamp.
_LESSON_BYTES = 250
_COURSE_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class KnownCourse:
    """A course that has lessons: `plain` is the stamp of an event of none of them.

    `lessons` has the stamps by lesson, `total` is their number, `ids` their list (`listed_lessons`), if there is one,
    and `list_id` what that is stored under (`lesson_lists`). Events share the stamps: nobody changes them.
    `size_bytes` is about what all this takes in memory.
    """

    plain: Document
    total: int
    ids: bytes | None = None
    list_id: bytes | None = None
    lessons: Mapping[ObjectId, Document] = field(default_factory=dict)
    size_bytes: int = _COURSE_BYTES


def known_course(course: Mapping[str, Any]) -> KnownCourse | None:
    """What is stamped on the events of a course, None where its document names no lesson."""
    counted = count_lessons(course)
    if counted is None:
        return None
    plain = {} if counted["version"] is None else {"version": counted["version"]}
    lessons: dict[ObjectId, Document] = {}
    texts = 0
    for module in course["curriculum"]:
        if isinstance(module, dict):
            texts += _stamp_lessons(lessons, plain, module)
    # As `listed_lessons`: of ids that are equal, or too many, there are fewer here than were counted.
    ids = b"".join(each.binary for each in lessons) if len(lessons) == counted["total_lessons"] else None
    return KnownCourse(
        plain=plain or {"version": None},
        total=counted["total_lessons"],
        ids=ids,
        list_id=None if ids is None else lesson_list_id(ids),
        lessons=lessons,
        size_bytes=_COURSE_BYTES + texts + _LESSON_BYTES * len(lessons),
    )


def _stamp_lessons(lessons: dict[ObjectId, Document], plain: Document, module: Mapping[str, Any]) -> int:
    """Add the stamp of each lesson of the module that has an id; those that say the same share one.

    Returns about how many bytes their texts take.
    """
    of_module = module.get("lessons")
    module_id = module.get("_id")
    shared: dict[tuple[Any, ...], Document] = {}
    texts = 0
    for lesson in of_module if isinstance(of_module, list) else ():
        lesson_id = lesson.get("_id") if isinstance(lesson, dict) else None
        if not isinstance(lesson_id, ObjectId) or len(lessons) >= _MOST_LESSONS:
            continue
        said = (_text(lesson.get("type")), _text(lesson.get("topic")), _skills(lesson.get("skills")))
        stamp = shared.get(said)
        if stamp is None:
            stamp = _stamp(plain, module_id if isinstance(module_id, ObjectId) else None, *said)
            shared[said] = stamp
            texts += sum(map(len, said[2])) + len(said[0] or "") + len(said[1] or "")
        lessons[lesson_id] = stamp
    return texts


def _stamp(
    plain: Document, module_id: ObjectId | None, kind: str | None, topic: str | None, skills: tuple[str, ...]
) -> Document:
    """What is not known is left out: it would take room in every event."""
    stamp = {**plain, "module_id": module_id, "lesson_type": kind, "topic": topic}
    if skills:
        stamp["skills"] = list(skills)
    return {name: value for name, value in stamp.items() if value is not None} or {"version": None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT else None


def _skills(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    texts = map(_text, value)
    return tuple(text for text in texts if text is not None)[:_MOST_SKILLS]
