"""The shape of a record of the platform's own: what stands in it must mean something, and all of it may be absent."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from bson.decimal128 import Decimal128
from pydantic import Field, PlainValidator

from worker.adopt.values import (
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

# The contract's form of an amount.
_DIGITS, _PLACES = 12, 4


class Progress(Part):
    percentage: Percent = 0
    completed_lessons: Whole | None = None
    total_lessons: LessonTotal = None
    current_lesson_id: Id | None = None
    estimated_completion_date: Moment | None = None


class Times(Part):
    total_seconds: Seconds = 0
    session_count: Whole = 0
    average_session_duration: Seconds = 0
    longest_session: Seconds = 0
    last_activity: Past | None = None


class Quiz(Part):
    score: Percent
    total_questions: Whole | None = None
    correct_answers: Whole | None = None
    time_taken: Seconds | None = None
    attempts: Whole = 1


class Lesson(Part):
    lesson_id: Id
    status: Literal["not_started", "in_progress", "completed"] | None = None
    progress_percentage: Percent = 0
    time_spent: Seconds = 0
    attempts: Whole = 0
    started_at: Past | None = None
    completed_at: Past | None = None
    quiz_results: Quiz | None = None
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


class Performance(Part):
    quiz_average: Percent | None = None
    assignment_average: Percent | None = None
    engagement_score: Number | None = None
    consistency_score: Number | None = None
    skills_progress: Annotated[list[Any], IsList] | None = None


class SocialCounts(Part):
    discussion_posts: Whole = 0
    questions_asked: Whole = 0
    answers_given: Whole = 0
    peer_interactions: Whole = 0
    study_group_participations: Whole = 0


class Certificate(Part):
    id: Any = Field(None, alias="_id")
    type: Text = "completion"
    issued_at: Past
    certificate_url: Text
    verification_code: Text
    valid_until: Moment | None = None


class Rating(Part):
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


class Payment(Part):
    transaction_id: Text | None = None
    amount: Annotated[str, PlainValidator(_amount)] | None = None
    currency: Text | None = None
    method: Text | None = None


class PlatformRecord(Part):
    """`user_progress` as the spec shows it, full or as its enrolment transaction makes it."""

    user_id: Id
    course_id: Id
    status: Literal["active", "dropped", "completed"] = "active"
    progress: Progress = Progress()
    time_tracking: Times = Times()
    lesson_progress: Annotated[list[Lesson], IsList] = Field(default_factory=list)
    performance: Performance = Performance()
    social: SocialCounts = SocialCounts()
    rating: Rating | None = None
    certificates: Annotated[list[Certificate], IsList] = Field(default_factory=list)
    payment_data: Payment | None = None
    completion_notified: Truth = False
    enrollment_date: Past | None = None
    last_accessed: Past | None = None
    created_at: Past | None = None
    updated_at: Past | None = None
