"""A record of the platform's own in the worker's words: pure, and strict about what makes no sense."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import ValidationError

from projections.progress.state import COUNTED_CAP, Social, certificate_key
from projections.quantity import hundredths, hundredths_reached, thousandths
from projections.unfit import Unfit
from worker.adopt.platform_record import (
    Certificate,
    Lesson,
    Payment,
    Performance,
    PlatformRecord,
    Progress,
    Quiz,
)
from worker.adopt.values import NOW
from worker.contract.identity import stream_id
from worker.mistakes import words_for

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adoptable:
    """A record in the worker's words (`OpeningRecord`), with its notes by lesson, and the moment it stands for."""

    user_id: ObjectId
    course_id: ObjectId
    record: Document
    texts: Mapping[str, str]
    at: datetime

    @property
    def stream(self) -> str:
        return stream_id(self.course_id, self.user_id)


def read_record(fields: Mapping[str, Any], identity: object, now: datetime) -> Adoptable:
    """The record in these fields of a document with this `_id`. Raises `Unfit`.

    The record stands for the latest moment that it names, `now` at most; one that names none, for that of its `_id`.
    """
    rating = {} if "rating" not in fields else {"rating": _rating(fields["rating"])}
    try:
        found = PlatformRecord.model_validate({**fields, **rating}, context={NOW: now})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Unfit(f"{place or 'the record'} {words_for(first, otherwise=first['msg'])}") from None
    return _Reading(found, identity, now).adoptable()


@dataclass(frozen=True, slots=True)
class _Reading:
    """One record on its way into the worker's words."""

    found: PlatformRecord
    identity: object
    now: datetime

    def adoptable(self) -> Adoptable:
        """1. when it was made, and for which moment it stands  2. lessons  3. all fields."""
        found = self.found
        created = self._created()  # 1
        at = max([created, *(each for each in self._moments() if each <= self.now)])
        lessons, texts = self._lessons(created, at)  # 2
        stream = stream_id(found.course_id, found.user_id)
        return Adoptable(
            found.user_id, found.course_id, self._record(stream, lessons, created, at), texts, at
        )  # 3

    def _created(self) -> datetime:
        known = self.found.created_at or self.found.enrollment_date
        if known is not None:
            return known
        made = self.identity.generation_time if isinstance(self.identity, ObjectId) else self.now
        return min([*self._moments(), made if made <= self.now else self.now])

    def _moments(self) -> list[datetime]:
        """All that happened, as far as the record says when."""
        found = self.found
        own = (found.created_at, found.enrollment_date, found.updated_at, found.last_accessed)
        lessons = (
            moment for each in found.lesson_progress for moment in (each.started_at, each.completed_at)
        )
        issued = (each.issued_at for each in found.certificates)
        rated = None if found.rating is None else found.rating.rated_at
        all_of_them = (*own, found.time_tracking.last_activity, *lessons, *issued, rated)
        return [moment for moment in all_of_them if moment is not None]

    def _lessons(self, created: datetime, at: datetime) -> tuple[list[Document], dict[str, str]]:
        """The lessons that were touched, and what was noted there."""
        touched = [each for each in self.found.lesson_progress if not each.untouched]
        if len({each.lesson_id for each in touched}) < len(touched):
            raise Unfit("lesson_progress names a lesson twice")
        if len(touched) > COUNTED_CAP:
            raise Unfit(f"lesson_progress has more than {COUNTED_CAP} lessons")
        began = self.found.enrollment_date or created
        texts = {str(each.lesson_id): each.notes for each in touched if each.notes is not None}
        return [_lesson(each, began, at) for each in touched], texts

    def _record(self, stream: str, lessons: list[Document], created: datetime, at: datetime) -> Document:
        found, times = self.found, self.found.time_tracking
        percentage = hundredths_reached(found.progress.percentage) / 100
        return {
            "status": "dropped" if found.status == "dropped" else "active",
            "progress": _progress(found.progress, percentage, lessons),
            "time_tracking": {
                "total_seconds": thousandths(times.total_seconds) / 1000,
                "session_count": times.session_count,
                "average_session_duration": thousandths(times.average_session_duration) / 1000,
                "longest_session": thousandths(times.longest_session) / 1000,
                "last_activity": times.last_activity or at,
            },
            "lesson_progress": lessons,
            "performance": _performance(found.performance),
            "social": {name: getattr(found.social, name) for name in Social.__annotations__},
            "rating": None
            if found.rating is None
            else {"value": hundredths(found.rating.value) / 100, "rated_at": found.rating.rated_at or at},
            "certificates": _certificates(stream, found.certificates),
            "payment_data": _payment(found.payment_data),
            "completed_at": self._completed_at(percentage, at),
            "enrollment_date": found.enrollment_date,
            "last_accessed": found.last_accessed or at,
            "created_at": created,
            "updated_at": found.updated_at or at,
        }

    def _completed_at(self, percentage: float, at: datetime) -> datetime | None:
        """A record says that the course was completed, hardly ever when: a certificate was issued no earlier."""
        found = self.found
        if percentage < 100 and not found.completion_notified and found.status != "completed":
            return None
        return min([at, *(each.issued_at for each in found.certificates if each.type == "completion")])


def _progress(found: Progress, percentage: float, lessons: list[Document]) -> Document:
    completed = sum(each["completed_at"] is not None for each in lessons)
    estimate = found.estimated_completion_date
    return {
        "percentage": percentage,
        "completed_lessons": completed if found.completed_lessons is None else found.completed_lessons,
        "total_lessons": found.total_lessons,
        "current_lesson_id": found.current_lesson_id,
        **({} if estimate is None else {"estimated_completion_date": estimate}),
    }


def _lesson(found: Lesson, began: datetime, at: datetime) -> Document:
    completed_at = (found.completed_at or found.started_at or at) if found.completed else None
    quiz, grade = found.quiz_results, found.assignment_grade
    return {
        "lesson_id": found.lesson_id,
        "status": "completed" if found.completed else "in_progress",
        "progress_percentage": 100.0
        if found.completed
        else hundredths_reached(found.progress_percentage) / 100,
        "time_spent": thousandths(found.time_spent) / 1000,
        "attempts": found.attempts,
        "started_at": found.started_at or completed_at or began,
        "completed_at": completed_at,
        "quiz_results": None if quiz is None else _quiz(quiz),
        "assignment_grade": None if grade is None else hundredths(grade) / 100,
        "notes": None,
    }


def _quiz(found: Quiz) -> Document:
    return {
        "score": hundredths(found.score) / 100,
        "total_questions": found.total_questions,
        "correct_answers": found.correct_answers,
        "time_taken": None if found.time_taken is None else thousandths(found.time_taken) / 1000,
        "attempts": found.attempts,
    }


def _performance(found: Performance) -> Document:
    averages = {name: getattr(found, name) for name in ("quiz_average", "assignment_average")}
    scores = {name: getattr(found, name) for name in ("engagement_score", "consistency_score")}
    skills = found.skills_progress
    return {
        **{name: None if value is None else hundredths(value) / 100 for name, value in averages.items()},
        **{name: float(value) for name, value in scores.items() if value is not None},
        **({} if skills is None else {"skills_progress": skills}),
    }


def _certificates(stream: str, found: list[Certificate]) -> list[Document]:
    """Of each code the one issued last, under the `_id` that it has, or would have been given."""
    latest: dict[str, Certificate] = {}
    for each in sorted(found, key=lambda each: each.issued_at):
        latest[each.verification_code] = each
    return [
        {
            "_id": each.id if isinstance(each.id, ObjectId) else ObjectId(certificate_key(stream, code)),
            "type": each.type,
            "issued_at": each.issued_at,
            "certificate_url": each.certificate_url,
            "verification_code": code,
            "valid_until": each.valid_until,
        }
        for code, each in latest.items()
    ]


def _payment(found: Payment | None) -> Document | None:
    """Only a payment that is whole is one: the platform's billing row stays, whatever it says."""
    if found is None or None in (found.transaction_id, found.amount, found.currency, found.method):
        return None
    return {
        "transaction_id": found.transaction_id,
        "amount": found.amount,
        "currency": found.currency,
        "method": found.method,
    }


def _rating(value: Any) -> Any:
    """The platform has it as a number alone, too."""
    return {"value": value} if isinstance(value, int | float | Decimal128) and value is not True else value
