"""What follows from the ledger for whole courses and people: integers, and each formula a second time.

Averages are in hundredths, progress sums in hundredths of a percent. Nothing is imported from what they check.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bson import json_util
from bson.binary import UuidRepresentation

from worker.devstack.simulator.ledger import Course, ExpectedDocument, LedgerEntry, Paid, mean_half_up

STARS = (1, 2, 3, 4, 5)
_JSON = json_util.RELAXED_JSON_OPTIONS.with_options(uuid_representation=UuidRepresentation.STANDARD)


@dataclass(frozen=True, slots=True)
class CourseTotal:
    """What one course must show; `distribution` counts ratings of one to five stars."""

    course_id: str
    total: int
    active: int
    completed: int
    progress: int
    reviews: int
    rating_average: int
    distribution: tuple[int, ...]
    discussion_posts: int
    questions_asked: int


@dataclass(frozen=True, slots=True)
class LearnerTotal:
    """What one learner's user document must show; `course_ids` are the enrolments in the activity log."""

    user_id: str
    courses_enrolled: int
    courses_completed: int
    certificates_earned: int
    course_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstructorTotal:
    """What an instructor's user document must show, over the courses that have a document."""

    user_id: str
    courses_created: int
    total_students: int
    rating_average: int
    revenue: str
    """What learners paid and did not get back, in the one currency that the simulated platform takes."""


@dataclass(frozen=True, slots=True)
class Totals:
    """All that follows from a ledger: one total per course and person in it."""

    courses: tuple[CourseTotal, ...]
    learners: tuple[LearnerTotal, ...]
    instructors: tuple[InstructorTotal, ...]


def totals(
    ledger: Iterable[LedgerEntry], taught: Iterable[Course], paid: Iterable[Paid] | None = None
) -> Totals:
    """`taught` are the courses that have a document: only there does the platform say who teaches.

    `paid` is what was paid for courses in the end; None: what enrolments say, and nothing else.
    """
    by_course: dict[str, list[LedgerEntry]] = defaultdict(list)
    by_learner: dict[str, list[LedgerEntry]] = defaultdict(list)
    for entry in ledger:
        by_course[entry.course_id].append(entry)
        by_learner[entry.user_id].append(entry)
    revenue: dict[str, Decimal] = defaultdict(Decimal)
    for payment in _payments_of(ledger) if paid is None else paid:
        revenue[payment.course_id] += payment.amount
    by_instructor: dict[str, list[str]] = defaultdict(list)
    for course in taught:
        by_instructor[course.instructor_id].append(course.course_id)
    return Totals(
        tuple(_course(course_id, entries) for course_id, entries in by_course.items() if entries),
        tuple(_learner(user_id, entries) for user_id, entries in by_learner.items()),
        tuple(
            _instructor(
                user_id,
                [by_course[each] for each in courses],
                sum((revenue[each] for each in courses), Decimal(0)),
            )
            for user_id, courses in by_instructor.items()
        ),
    )


def _payments_of(ledger: Iterable[LedgerEntry]) -> list[Paid]:
    """The payments that enrolments name, each once, whoever names it again."""
    payments = {
        entry.transaction_id: Paid(entry.course_id, Decimal(entry.amount))
        for entry in ledger
        if entry.amount is not None
    }
    return [*payments.values()]


def write_ledger(
    path: Path,
    ledger: Iterable[LedgerEntry],
    expected: Totals,
    documents: Iterable[ExpectedDocument] = (),
) -> None:
    """One JSON object a line, in the units of the entries; `kind` says of what. Documents are in Extended JSON."""
    kinds: dict[str, Iterable[Any]] = {
        "learner in course": ledger,
        "course": expected.courses,
        "learner": expected.learners,
        "instructor": expected.instructors,
    }
    with path.open("w", encoding="utf-8") as file:
        for kind, entries in kinds.items():
            for entry in entries:
                fields = {name: getattr(entry, name) for name in entry.__slots__}
                file.write(json.dumps({"kind": kind, **fields}) + "\n")
        for document in documents:
            named = {"kind": "document", "collection": document.collection, "_id": document.key}
            file.write(json_util.dumps({**named, "fields": document.fields}, json_options=_JSON) + "\n")


def _course(course_id: str, entries: Sequence[LedgerEntry]) -> CourseTotal:
    stars = _stars(entries)
    return CourseTotal(
        course_id=course_id,
        total=len(entries),
        active=sum(not entry.dropped and not entry.finished for entry in entries),
        completed=sum(entry.finished for entry in entries),
        progress=sum(entry.percentage for entry in entries),
        reviews=len(stars),
        rating_average=_average(stars),
        distribution=tuple(stars.count(star) for star in STARS),
        discussion_posts=sum(entry.discussion_posts for entry in entries),
        questions_asked=sum(entry.questions_asked for entry in entries),
    )


def _learner(user_id: str, entries: Sequence[LedgerEntry]) -> LearnerTotal:
    return LearnerTotal(
        user_id=user_id,
        courses_enrolled=len(entries),
        courses_completed=sum(entry.finished for entry in entries),
        certificates_earned=sum(entry.certificates for entry in entries),
        course_ids=tuple(sorted(entry.course_id for entry in entries)),
    )


def _instructor(user_id: str, courses: Sequence[Sequence[LedgerEntry]], revenue: Decimal) -> InstructorTotal:
    entries = [entry for course in courses for entry in course]
    return InstructorTotal(
        user_id=user_id,
        courses_created=len(courses),
        total_students=len({entry.user_id for entry in entries}),
        rating_average=_average(_stars(entries)),
        revenue=f"{revenue:.2f}",
    )


def _stars(entries: Iterable[LedgerEntry]) -> list[int]:
    return [entry.stars for entry in entries if entry.stars is not None]


def _average(stars: Sequence[int]) -> int:
    return mean_half_up([star * 100 for star in stars]) if stars else 0
