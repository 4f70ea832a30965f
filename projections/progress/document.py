"""The stored shape of one `user_progress` document: every field the fold owns, with its exact type.

Units: percentages, scores and grades are 0-100 floats with at most two decimals; times are seconds as floats
with at most three; dates are aware UTC, whole milliseconds. Formulas: docs/projections.md.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.kinds import By
from projections.progress.state import EnrolmentPayment, Social, State

Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


def absent() -> Any:
    """Default of a field that documents of one of the versions named above it lack; it is never null."""
    return None


class _Shape(BaseModel):
    """A sub-document that belongs to the fold alone: exact types, no further fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class CourseProgress(_Shape):
    """Overall progress; `basis` says whether the course's number of lessons was known or only observed.

    The estimate is of an adopted record: it stays as it was.
    """

    percentage: Percent
    completed_lessons: Count
    total_lessons: Count | None
    current_lesson_id: ObjectId | None
    basis: Literal["curriculum", "observed"]
    estimated_completion_date: datetime = Field(default_factory=absent)


class TimeTracking(_Shape):
    """Time from `details.time_spent`; sessions from the first and last event of each `session_id`."""

    total_seconds: Seconds
    session_count: Count
    average_session_duration: Seconds
    longest_session: Seconds
    last_activity: datetime | None


class QuizResults(_Shape):
    """The latest attempt of one lesson's quiz, and how many there were."""

    score: Percent
    total_questions: Count | None
    correct_answers: Count | None
    time_taken: Seconds | None
    attempts: Count


class UntouchedLesson(_Shape):
    """A lesson of the learner's curriculum that was never touched: all else of it would be null or 0.

    Records of version 4 have its percentage, which is 0; workers of before may still write them.
    """

    lesson_id: ObjectId
    status: Literal["not_started"]
    progress_percentage: Percent = Field(default_factory=absent)


class LessonProgress(_Shape):
    """One lesson the learner touched."""

    lesson_id: ObjectId
    status: Literal["in_progress", "completed"]
    progress_percentage: Percent
    time_spent: Seconds
    attempts: Count
    started_at: datetime
    completed_at: datetime | None
    quiz_results: QuizResults | None
    assignment_grade: Percent | None
    notes: str | None


class Performance(_Shape):
    """Averages; null while there is nothing to average. The rest is of an adopted record: it stays as it was."""

    quiz_average: Percent | None
    assignment_average: Percent | None
    engagement_score: float = Field(default_factory=absent)
    consistency_score: float = Field(default_factory=absent)
    skills_progress: list[Any] = Field(default_factory=absent)


class Rating(_Shape):
    """The learner's latest rating of the course, 1-5."""

    value: float
    rated_at: datetime


class Certificate(_Shape):
    """One issued certificate; `_id` derives from the stream and the verification code."""

    id: ObjectId = Field(alias="_id")
    type: str
    issued_at: datetime
    certificate_url: str
    verification_code: str
    valid_until: datetime | None


class Milestone(_Shape):
    """When a milestone was reached (event time), the percentage at it, and which mode met it first: `by` is kept."""

    at: datetime
    percentage: Percent = Field(default_factory=absent)
    by: By


class Milestones(_Shape):
    """Null until reached; once reached, never taken back."""

    welcome: Milestone | None
    completed: Milestone | None


class ProgressDocument(BaseModel):
    """One learner's record in one course. Top-level fields not named here belong to the platform."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    user_id: ObjectId
    course_id: ObjectId
    slot: Annotated[int, Field(ge=0, le=255)]
    version: Count
    projection_version: int
    recorded_at: datetime
    state: State

    status: Literal["active", "dropped"]
    progress: CourseProgress
    time_tracking: TimeTracking
    lesson_progress: list[LessonProgress | UntouchedLesson]
    performance: Performance
    social: Social
    rating: Rating | None
    certificates: list[Certificate]
    payment_data: EnrolmentPayment | None
    milestones: Milestones
    completion_notified: bool

    enrollment_date: datetime | None
    last_accessed: datetime | None
    created_at: datetime | None
    updated_at: datetime | None


FOLDED_PATHS: tuple[str, ...] = tuple(
    name for name in ProgressDocument.model_fields if name not in ("id", "rev")
)
"""Top-level paths the fold owns and a writer sets; `_id` and `rev` are the writer's own."""
