"""What learners do in courses: the model of each event type, with what it needs."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from worker.contract.card_numbers import holds_card_number
from worker.contract.fields import (
    Count,
    Currency,
    DecimalText,
    Id,
    Key,
    LessonTotal,
    Maybe,
    Name,
    Note,
    Percent,
    Seconds,
    Share,
    Stars,
    Time,
    Url,
)
from worker.contract.models import Details, Envelope, by_type
from worker.contract.rejection import RejectReason


class LearnerEvent(Envelope):
    """Something that a learner did in a course."""

    user_id: Id
    course_id: Id


class Payment(Details):
    """How an enrolment was paid. A card number has no place here: it is refused wherever it stands."""

    transaction_id: Key
    amount: DecimalText
    currency: Currency
    method: Name


class EnrolmentDetails(Details):
    """`total_lessons` may be left out: the worker may count the course's curriculum instead."""

    total_lessons: Maybe[LessonTotal] = None
    payment: Maybe[Payment] = None

    @field_validator("payment", mode="before")
    @classmethod
    def _no_card_number(cls, payment: Any) -> Any:
        if holds_card_number(payment):
            raise PydanticCustomError(
                RejectReason.CARD_NUMBER.value, "must hold nothing that looks like a card number"
            )
        return payment


class MediaDetails(Details):
    """`time_spent` is the seconds since the last report; `progress` the share of the lesson seen, 0-1."""

    time_spent: Maybe[Seconds] = None
    progress: Maybe[Share] = None


class ProgressDetails(Details):
    """Percentages 0-100 of the whole course; `time_spent` in seconds."""

    new_progress: Percent
    old_progress: Percent
    time_spent: Seconds


class QuizDetails(Details):
    """`score` in percent; `time_taken` in seconds."""

    score: Percent
    total_questions: Maybe[Count] = None
    correct_answers: Maybe[Count] = None
    time_taken: Maybe[Seconds] = None


class CertificateDetails(Details):
    """`valid_until` left out: the certificate does not expire."""

    certificate_url: Url
    verification_code: Name
    type: Maybe[Name] = None
    valid_until: Maybe[Time] = None


class NoteDetails(Details):
    """`text` is personal: it is stored apart from the rest."""

    text: Note


class CourseEnrolled(LearnerEvent):
    """The learner enrolled in the course."""

    event_type: Literal["course_enrolled"]
    details: Maybe[EnrolmentDetails] = None


class CourseUnenrolled(LearnerEvent):
    """The learner left the course."""

    event_type: Literal["course_unenrolled"]


class LessonVisit(LearnerEvent):
    """A lesson was opened, shown or finished."""

    event_type: Literal["lesson_started", "lesson_view", "complete"]
    lesson_id: Id


class MediaInteraction(LearnerEvent):
    """The player moved: `value` is its position in seconds."""

    event_type: Literal["view", "pause", "seek"]
    lesson_id: Id
    value: Seconds
    details: Maybe[MediaDetails] = None


class ProgressUpdated(LearnerEvent):
    """The player reports the learner's progress through the whole course."""

    event_type: Literal["progress_updated"]
    details: ProgressDetails


class QuizSubmitted(LearnerEvent):
    """One attempt at a lesson's quiz."""

    event_type: Literal["quiz_submitted"]
    lesson_id: Id
    details: QuizDetails


class AssignmentGraded(LearnerEvent):
    """`value` is the grade in percent."""

    event_type: Literal["assignment_graded"]
    lesson_id: Id
    value: Percent


class SocialActivity(LearnerEvent):
    """The learner did something with others."""

    event_type: Literal[
        "discussion_posted", "question_asked", "answer_given", "peer_interaction", "study_group_joined"
    ]


class CourseRated(LearnerEvent):
    """`value` is the rating, 1-5."""

    event_type: Literal["course_rated"]
    value: Stars


class CertificateIssued(LearnerEvent):
    """The learner received a certificate."""

    event_type: Literal["certificate_issued"]
    details: CertificateDetails


class LessonNoteSaved(LearnerEvent):
    """The learner's own note on a lesson; the latest one counts."""

    event_type: Literal["lesson_note_saved"]
    lesson_id: Id
    details: NoteDetails


AnyEvent = Annotated[
    CourseEnrolled
    | CourseUnenrolled
    | LessonVisit
    | MediaInteraction
    | ProgressUpdated
    | QuizSubmitted
    | AssignmentGraded
    | SocialActivity
    | CourseRated
    | CertificateIssued
    | LessonNoteSaved,
    Field(discriminator="event_type"),
]


MODELS = by_type(*get_args(get_args(AnyEvent)[0]))

EVENT_TYPES: tuple[str, ...] = tuple(MODELS)
