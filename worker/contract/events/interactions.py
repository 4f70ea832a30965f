"""What learners do in courses: the model of each event type, with what it needs."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from worker.contract.card_numbers import holds_card_number
from worker.contract.data_class import IDENTIFIER, PERSONAL, PUBLIC, SENSITIVE
from worker.contract.family import LEARNER, Family, Inlet
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


MODELS = by_type(
    CourseEnrolled,
    CourseUnenrolled,
    LessonVisit,
    MediaInteraction,
    ProgressUpdated,
    QuizSubmitted,
    AssignmentGraded,
    SocialActivity,
    CourseRated,
    CertificateIssued,
    LessonNoteSaved,
)

EVENT_TYPES: tuple[str, ...] = tuple(MODELS)

_ABOUT: Mapping[str, Any] = {
    "user_id": "65a4f0c2e13b7a0001c0ffee",
    "course_id": "65a4f0c2e13b7a0001aaaaaa",
    "session_id": "sess_789",
    "device_type": "desktop",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "ip_address": "192.0.2.10",
}
_LESSON: Mapping[str, Any] = {"lesson_id": "65a4f0c2e13b7a0001bbbbbb"}
_PLAYER: Mapping[str, Any] = {**_LESSON, "value": 182.5, "details": {"time_spent": 60, "progress": 0.35}}
# Of the types that need more than that.
_NEEDED: Mapping[str, Mapping[str, Any]] = {
    "course_enrolled": {
        "details": {
            "total_lessons": 65,
            "payment": {
                "transaction_id": "txn_5f1c",
                "amount": "199.99",
                "currency": "USD",
                "method": "card",
            },
        }
    },
    **dict.fromkeys(("lesson_started", "lesson_view", "complete"), _LESSON),
    **dict.fromkeys(("view", "pause", "seek"), _PLAYER),
    "progress_updated": {"details": {"old_progress": 65.5, "new_progress": 68.2, "time_spent": 180}},
    "quiz_submitted": {
        **_LESSON,
        "details": {"score": 80, "total_questions": 5, "correct_answers": 4, "time_taken": 180},
    },
    "assignment_graded": {**_LESSON, "value": 92},
    "course_rated": {"value": 5},
    "certificate_issued": {
        "details": {
            "certificate_url": "https://certs.example.com/cert123.pdf",
            "verification_code": "CERT-2024-ABC123",
            "type": "completion",
            "valid_until": "2034-01-15T00:00:00.000Z",
        }
    },
    "lesson_note_saved": {**_LESSON, "details": {"text": "Great explanation of async/await."}},
}

INTERACTIONS = Family(
    "interactions",
    Inlet.INTERACTIONS,
    LEARNER,
    MODELS,
    classes={
        "value": SENSITIVE,  # a grade, a rating, where the player stood
        "details.*": SENSITIVE,  # keys of the producer's own may hold anything about how somebody learns
        "details.total_lessons": PUBLIC,
        "details.payment": SENSITIVE,
        "details.payment.transaction_id": IDENTIFIER,
        "details.time_spent": SENSITIVE,
        "details.progress": SENSITIVE,
        "details.new_progress": SENSITIVE,
        "details.old_progress": SENSITIVE,
        "details.score": SENSITIVE,
        "details.total_questions": PUBLIC,
        "details.correct_answers": SENSITIVE,
        "details.time_taken": SENSITIVE,
        "details.certificate_url": SENSITIVE,
        "details.verification_code": SENSITIVE,
        "details.type": PUBLIC,
        "details.valid_until": SENSITIVE,
        "lesson_note_saved/details.text": PERSONAL,
    },
    examples={event_type: {**_ABOUT, **_NEEDED.get(event_type, {})} for event_type in MODELS},
    time_series=True,
)
