"""Course and user documents as the platform's own services would write them: some late, some never.

What the worker adds to them later (statistics, activity log) is not in here. Fixed turns decide when a document
is written, so that small runs have every case.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from bson import ObjectId

from worker.devstack.simulator.ledger import CURRENCY, Course
from worker.devstack.simulator.names import email_of, person_name, slug_of, title_of, username_of
from worker.storage.database import Document

LAUNCH = datetime(2025, 8, 1, 9, tzinfo=UTC)  # a month before the simulated term
PROFILE_VIEWS = 1_250  # a figure of the platform's that nobody else may touch


class Timing(StrEnum):
    """When the platform writes a document, seen from the events."""

    BEFORE = "before"
    AFTER = "after"
    NEVER = "never"


_COURSES = (*3 * (Timing.BEFORE,), Timing.AFTER, *3 * (Timing.BEFORE,), Timing.NEVER)
_INSTRUCTORS = (Timing.BEFORE, Timing.AFTER, Timing.BEFORE, Timing.NEVER)
_LEARNERS = (Timing.BEFORE, Timing.AFTER, Timing.BEFORE, Timing.NEVER, Timing.BEFORE)


@dataclass(frozen=True, slots=True)
class PlatformDocument:
    """One document and when it is written."""

    collection: Literal["courses", "users"]
    timing: Timing
    document: Document


def courses_shown(courses: Iterable[Course]) -> list[Course]:
    """Those that have a document, sooner or later."""
    return [course for course in courses if timing_of_course(course) is not Timing.NEVER]


def instructors_of(courses: Iterable[Course]) -> dict[str, int]:
    """Who teaches them, each with a number to take turns by."""
    return {course.instructor_id: course.number for course in courses}


def timing_of_course(course: Course) -> Timing:
    """When what the platform says of a course is there."""
    return _COURSES[course.number % len(_COURSES)]


def timing_of_instructor(number: int) -> Timing:
    """When an instructor's account is there."""
    return _INSTRUCTORS[number % len(_INSTRUCTORS)]


def timing_of_learner(number: int) -> Timing:
    """When a learner's account is there."""
    return _LEARNERS[number % len(_LEARNERS)]


def wants_messages(number: int) -> bool:
    """Every seventh person wants none."""
    return number % 7 != 6


def platform_documents(courses: Sequence[Course], learner_ids: Iterable[str]) -> Iterator[PlatformDocument]:
    """The documents of these courses, their instructors and these learners (named once or more often)."""
    for course in courses:
        yield PlatformDocument("courses", timing_of_course(course), course_document(course))
    for user_id, number in instructors_of(courses).items():
        timing = timing_of_instructor(number)
        yield PlatformDocument("users", timing, instructor_document(user_id, number))
    for number, user_id in enumerate(dict.fromkeys(learner_ids)):
        yield PlatformDocument("users", timing_of_learner(number), learner_document(user_id, number))


def course_document(course: Course) -> Document:
    """A published course in one module; every second one is created with statistics that stand at zero."""
    title = title_of(course)
    instructor_id = ObjectId(course.instructor_id)
    document: Document = {
        "_id": ObjectId(course.course_id),
        "title": title,
        "slug": slug_of(course),
        "instructor_id": instructor_id,
        "instructor": {"user_id": instructor_id, "credentials": []},
        "status": "published",
        "metadata": {"category": "Skills", "tags": title.lower().split(), "language": "en"},
        "pricing": {"type": "paid", "price": {"amount": 199.0, "currency": CURRENCY}},
        "curriculum": [_module(course)],
        "publication": {"status": "published", "version": "1.0", "published_at": LAUNCH},
        "created_at": LAUNCH - timedelta(days=14),
        "updated_at": LAUNCH,
    }
    if course.number % 2:
        document["stats"] = {"enrollments": {"total": 0, "active": 0, "completed": 0}}
    return document


def learner_document(user_id: str, number: int) -> Document:
    """A learner, with what they want to be told."""
    wanted = wants_messages(number)
    document = _user(user_id, number, ["student"])
    document["preferences"] = {
        "language": "en",
        "notifications": {"email_course_updates": wanted, "push_notifications": wanted},
    }
    return document


def instructor_document(user_id: str, number: int) -> Document:
    """An instructor, with figures of the platform's own."""
    document = _user(user_id, number, ["instructor"])
    document["stats"] = {"courses_created": 2, "profile_views": PROFILE_VIEWS}
    return document


def _module(course: Course) -> Document:
    lessons = [
        {"_id": ObjectId(lesson_id), "title": f"Lesson {number}", "type": "video", "order": number}
        for number, lesson_id in enumerate(course.lessons, start=1)
    ]
    return {"title": "The whole course", "type": "module", "order": 1, "lessons": lessons}


def _user(user_id: str, number: int, roles: list[str]) -> Document:
    return {
        "_id": ObjectId(user_id),
        "email": email_of(user_id),
        "username": username_of(user_id, number),
        "profile": person_name(number).profile(),
        "account": {"status": "active", "roles": roles},
        "metadata": {"created_at": LAUNCH, "updated_at": LAUNCH},
    }
