"""A record of the platform's own in the worker's words: pure, and strict about what makes no sense."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import Field, PlainValidator, ValidationError

from projections.progress.state import COUNTED_CAP, Social, certificate_key
from projections.quantity import hundredths, hundredths_reached, thousandths
from worker.adopt.values import (
    NOW,
    Id,
    IsList,
    LessonTotal,
    Moment,
    Number,
    Part,
    Past,
    Percent,
    Seconds,
    Stars,
    Text,
    Truth,
    Whole,
    mistake,
    number_of,
)
from worker.contract.identity import stream_id
from worker.mistakes import words_for

Document = dict[str, Any]

# The contract's form of an amount.
_DIGITS, _PLACES = 12, 4


class _Progress(Part):
    percentage: Percent = 0
    completed_lessons: Whole | None = None
    total_lessons: LessonTotal = None
    current_lesson_id: Id | None = None
    estimated_completion_date: Moment | None = None


class _Times(Part):
    total_seconds: Seconds = 0
    session_count: Whole = 0
    average_session_duration: Seconds = 0
    longest_session: Seconds = 0
    last_activity: Past | None = None


class _Quiz(Part):
    score: Percent
    total_questions: Whole | None = None
    correct_answers: Whole | None = None
    time_taken: Seconds | None = None
    attempts: Whole = 1


class _Lesson(Part):
    lesson_id: Id
    status: Literal["not_started", "in_progress", "completed"] | None = None
    progress_percentage: Percent = 0
    time_spent: Seconds = 0
    attempts: Whole = 0
    started_at: Past | None = None
    completed_at: Past | None = None
    quiz_results: _Quiz | None = None
    assignment_grade: Percent | None = None
    notes: Text | None = None

    @property
    def completed(self) -> bool:
        """What the status says; without one, that there is a date."""
        return self.status == "completed" or (self.status is None and self.completed_at is not None)

    @property
    def untouched(self) -> bool:
        """Listed by the platform, and nothing happened there: the worker has no entry for such a lesson."""
        happened = (
            self.progress_percentage,
            self.time_spent,
            self.attempts,
            self.started_at,
            self.completed_at,
        )
        return self.status != "completed" and not any(
            (*happened, self.quiz_results, self.assignment_grade, self.notes)
        )


class _Performance(Part):
    quiz_average: Percent | None = None
    assignment_average: Percent | None = None
    engagement_score: Number | None = None
    consistency_score: Number | None = None
    skills_progress: Annotated[list[Any], IsList] | None = None


class _SocialCounts(Part):
    discussion_posts: Whole = 0
    questions_asked: Whole = 0
    answers_given: Whole = 0
    peer_interactions: Whole = 0
    study_group_participations: Whole = 0


class _Certificate(Part):
    id: Any = Field(None, alias="_id")
    type: Text = "completion"
    issued_at: Past
    certificate_url: Text
    verification_code: Text
    valid_until: Moment | None = None


class _Rating(Part):
    value: Stars
    rated_at: Past | None = None


def _amount(value: Any) -> str:
    """The decimal text of an amount, whatever type of number it was stored as."""
    if isinstance(value, str) and value.replace(".", "", 1).isdecimal() and value.isascii():
        amount = Decimal(value)
    elif isinstance(value, Decimal128):
        amount = value.to_decimal()
    else:
        amount = Decimal(repr(number_of(value)))
    if not amount.is_finite() or not 0 <= amount < 10**_DIGITS or amount != round(amount, _PLACES):
        raise mistake(f"must be an amount of up to {_DIGITS} digits and {_PLACES} decimal places")
    return format(amount, "f")


class _Payment(Part):
    transaction_id: Text | None = None
    amount: Annotated[str, PlainValidator(_amount)] | None = None
    currency: Text | None = None
    method: Text | None = None


def _rating(value: Any) -> Any:
    return {"value": value} if isinstance(value, int | float | Decimal128) and value is not True else value


class PlatformRecord(Part):
    """`user_progress` as the spec shows it, full or as its enrolment transaction makes it."""

    user_id: Id
    course_id: Id
    status: Literal["active", "dropped", "completed"] = "active"
    progress: _Progress = _Progress()
    time_tracking: _Times = _Times()
    lesson_progress: Annotated[list[_Lesson], IsList] = Field(default_factory=list)
    performance: _Performance = _Performance()
    social: _SocialCounts = _SocialCounts()
    rating: _Rating | None = None
    certificates: Annotated[list[_Certificate], IsList] = Field(default_factory=list)
    payment_data: _Payment | None = None
    completion_notified: Truth = False
    enrollment_date: Past | None = None
    last_accessed: Past | None = None
    created_at: Past | None = None
    updated_at: Past | None = None


class Unfit(Exception):
    """A record that cannot be adopted: where it is wrong, and what. No value of it is in the message."""


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


def _progress(found: _Progress, percentage: float, lessons: list[Document]) -> Document:
    completed = sum(each["completed_at"] is not None for each in lessons)
    estimate = found.estimated_completion_date
    return {
        "percentage": percentage,
        "completed_lessons": completed if found.completed_lessons is None else found.completed_lessons,
        "total_lessons": found.total_lessons,
        "current_lesson_id": found.current_lesson_id,
        **({} if estimate is None else {"estimated_completion_date": estimate}),
    }


def _lesson(found: _Lesson, began: datetime, at: datetime) -> Document:
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


def _quiz(found: _Quiz) -> Document:
    return {
        "score": hundredths(found.score) / 100,
        "total_questions": found.total_questions,
        "correct_answers": found.correct_answers,
        "time_taken": None if found.time_taken is None else thousandths(found.time_taken) / 1000,
        "attempts": found.attempts,
    }


def _performance(found: _Performance) -> Document:
    averages = {name: getattr(found, name) for name in ("quiz_average", "assignment_average")}
    scores = {name: getattr(found, name) for name in ("engagement_score", "consistency_score")}
    skills = found.skills_progress
    return {
        **{name: None if value is None else hundredths(value) / 100 for name, value in averages.items()},
        **{name: float(value) for name, value in scores.items() if value is not None},
        **({} if skills is None else {"skills_progress": skills}),
    }


def _certificates(stream: str, found: list[_Certificate]) -> list[Document]:
    """Of each code the one issued last, under the `_id` that it has, or would have been given."""
    latest: dict[str, _Certificate] = {}
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


def _payment(found: _Payment | None) -> Document | None:
    """Only a payment that is whole is one: the platform's billing row stays, whatever it says."""
    if found is None or None in (found.transaction_id, found.amount, found.currency, found.method):
        return None
    return {
        "transaction_id": found.transaction_id,
        "amount": found.amount,
        "currency": found.currency,
        "method": found.method,
    }
