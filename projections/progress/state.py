"""The fold's working state as it is stored: integers, dates, registers and capped sets, all order-free.

Entries are replaced, never changed in place, so a state opened from a document leaves that document alone.
The collection's validator is made from these very shapes.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from struct import Struct
from typing import Annotated, Any, Generic, NotRequired, TypeVar, cast

from bson import ObjectId
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic cannot read the one in the `typing` of Python 3.11

from projections.event import StoredEvent
from projections.progress.ranked import RankedTable

T = TypeVar("T")

# Lessons with an entry of their own: fifteen times the spec's sample course. A document of the worst case stays far
# below MongoDB's 16 MB.
LESSONS_CAP = 1000
# Lessons that count: the contract takes no larger course.
COUNTED_CAP = 5000
# A note has up to 4 KiB and stands in the document twice. With this many, notes stay below 2 MB and a change
# event that carries an update and the full document stays below 16 MB.
NOTES_CAP = 200
# Beyond this many sessions the number of them is estimated; the error is then about 1/sqrt(200) = 7 %.
SESSIONS_CAP = 200
# A learner earns one or two certificates in a course; the rest are re-issues.
CERTIFICATES_CAP = 20

FULL_LESSONS = RankedTable(Struct(">qB"), COUNTED_CAP)
"""Lessons at 100 %: the first moment of it in milliseconds, and 1 where a `complete` said so."""
MORE_LESSONS = RankedTable(Struct(">H"), COUNTED_CAP - LESSONS_CAP)
"""Lessons beyond those that have an entry: their hundredths of a percent."""


Count = Annotated[int, Field(ge=0)]
_SHAPE = with_config(ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True))


@_SHAPE
class Register(TypedDict, Generic[T]):
    """The value of the latest event by (occurred_at, event_id); `id` is the event id's 16 bytes."""

    at: datetime
    id: bytes
    v: T


@_SHAPE
class QuizAttempt(TypedDict):
    """One quiz attempt: score in hundredths, time in milliseconds."""

    score: Count
    total_questions: int | None
    correct_answers: int | None
    time_ms: Count | None


@_SHAPE
class IssuedCertificate(TypedDict):
    """What one `certificate_issued` said."""

    code: str
    url: str
    type: str
    valid_until: datetime | None


@_SHAPE
class EnrolmentPayment(TypedDict):
    """How an enrolment was paid; `amount` is the decimal the producer wrote."""

    transaction_id: str
    amount: str
    currency: str
    method: str


@_SHAPE
class LessonState(TypedDict):
    """Integers and registers behind one entry of `lesson_progress`."""

    started_at: datetime
    hundredths: Count
    time_ms: Count
    attempts: Count
    completed_at: datetime | None
    quizzes: Count
    quiz: Register[QuizAttempt] | None
    grade: Register[int] | None


@_SHAPE
class SessionSpan(TypedDict):
    """First and last event of one session."""

    first: datetime
    last: datetime


@_SHAPE
class Social(TypedDict):
    """Counters of social events."""

    discussion_posts: Count
    questions_asked: Count
    answers_given: Count
    peer_interactions: Count
    study_group_participations: Count


@_SHAPE
class CurriculumState(TypedDict):
    """A list of lessons that the learner was given, 12 bytes each, and the latest event that named it.

    `since` is when a migration first brought it; null where an enrolment or a first event named it.
    """

    lessons: bytes
    at: datetime
    id: bytes
    since: datetime | None


@_SHAPE
class Opened(TypedDict):
    """What an adopted record said that no event does; units as in `State`.

    `percentage` is the record's, `lessons` the share that its lessons alone amount to, `unnamed` the number of
    completed lessons that it counts and does not list. `sessions` have `sessions_ms` in all; `grade` is the average
    of assignments that no lesson shows. Events up to `counted_until` are in the record. `carried` is shown as it is.
    """

    at: datetime
    counted_until: datetime | None
    percentage: Count
    lessons: Count
    unnamed: Count
    sessions: Count
    sessions_ms: Count
    longest_ms: Count
    grade: Count | None
    completed_at: datetime | None
    last_activity: datetime
    last_accessed: datetime
    updated_at: datetime
    carried: dict[str, dict[str, Any]]


@_SHAPE
class State(TypedDict):
    """All a later fold needs, in integers, dates and registers; not for readers.

    Keys of `lessons` and `notes` are lesson ids in hex; of `sessions`, `session_key`.

    `full` is a table of `FULL_LESSONS`, `more` one of `MORE_LESSONS`. `payments_named` counts the enrolments with a
    payment. `opened` is there once a record was adopted, from version 3 on. `full_at` and `payments` are of
    projection version 1; `full`, `more`, `payment` and `payments_named` of version 2, and always there while this
    code folds. While a new release takes over from an old one both write.

    `curricula` are lists of lessons by the first 16 digits of their SHA-1, there once one was named, from version 4
    on; `done_at` is when the lessons of one were done that had to make room.
    """

    first_at: datetime | None
    last_at: datetime | None
    time_ms: Count
    enrolled_at: datetime | None
    enrolled: Register[bool] | None
    total: Register[int] | None
    least_total: int | None
    current_lesson: Register[ObjectId] | None
    reported: int | None
    reported_full_at: datetime | None
    lessons: dict[str, LessonState]
    full_at: NotRequired[dict[str, datetime]]
    full: NotRequired[bytes]
    more: NotRequired[bytes]
    notes: dict[str, Register[str]]
    sessions: dict[str, SessionSpan]
    sessions_over: bool
    quizzes: Count
    quiz_sum: Count
    social: Social
    rating: Register[int] | None
    certificates: dict[str, Register[IssuedCertificate]]
    payments: NotRequired[dict[str, Register[EnrolmentPayment]]]
    payment: NotRequired[Register[EnrolmentPayment] | None]
    payments_named: NotRequired[Count]
    opened: NotRequired[Opened]
    curricula: NotRequired[dict[str, CurriculumState]]
    done_at: NotRequired[datetime]


_KEYED = ("lessons", "notes", "sessions", "certificates", "curricula")


def empty_state() -> State:
    """The state before the first event."""
    return State(
        first_at=None,
        last_at=None,
        time_ms=0,
        enrolled_at=None,
        enrolled=None,
        total=None,
        least_total=None,
        current_lesson=None,
        reported=None,
        reported_full_at=None,
        lessons={},
        full=b"",
        more=b"",
        notes={},
        sessions={},
        sessions_over=False,
        quizzes=0,
        quiz_sum=0,
        social=cast("Social", dict.fromkeys(Social.__annotations__, 0)),
        rating=None,
        certificates={},
        payment=None,
        payments_named=0,
    )


def open_state(stored: Mapping[str, Any]) -> State:
    """A state to fold on, from a document's `state`; the document's own containers are not shared."""
    copies = {name: dict(value) for name, value in stored.items() if isinstance(value, dict)}
    return cast("State", {**stored, **copies})


def close_state(state: State) -> State:
    """The state as it is stored: keyed sets in the order of their keys, whatever the order of arrival."""
    stored = cast("dict[str, Any]", {**state})
    for name in _KEYED:
        if len(stored.get(name, ())) > 1:
            stored[name] = dict(sorted(stored[name].items()))
    return cast("State", stored)


def later(register: Register[T] | None, event: StoredEvent, value: T) -> Register[T]:
    """The register after `event`: the event with the greater (occurred_at, event_id) wins."""
    at, event_id = event.occurred_at, event.event_id.bytes
    if register is not None and (at, event_id) < (register["at"], register["id"]):
        return register
    return Register(at=at, id=event_id, v=value)


def earliest(known: datetime | None, at: datetime) -> datetime:
    """The smaller of two moments, the first of which may be unknown."""
    return at if known is None or at < known else known


def latest(known: datetime, at: datetime | None) -> datetime:
    """The greater of two moments, the second of which may be unknown."""
    return known if at is None or at < known else at


def keep_last(kept: dict[str, Register[T]], cap: int) -> None:
    """Drop the earliest entry by (occurred_at, event_id) if there are more than `cap`.

    Registers only move forward, so a key dropped here is not missed unless it comes again, later than all.
    """
    if len(kept) > cap:
        del kept[min(kept, key=lambda each: (kept[each]["at"], kept[each]["id"]))]


def admit(kept: dict[str, T], key: str, cap: int, rank: Callable[[str], Any]) -> bool:
    """True if `key` belongs to the `cap` keys of smallest rank; makes room for it by dropping the largest.

    A key once refused or dropped never belongs again: what is kept of a key is all that happened to it.
    """
    if key in kept or len(kept) < cap:
        return True
    worst = max(kept, key=rank)
    if rank(key) > rank(worst):
        return False
    del kept[worst]
    return True


def session_key(session_id: str) -> str:
    """First 16 hex digits of the SHA-1 of the session id: key and rank of a session."""
    return hashlib.sha1(session_id.encode(), usedforsecurity=False).hexdigest()[:16]


def certificate_key(stream_id: str, code: str) -> str:
    """Hex of a certificate's `_id`: first 12 bytes of the SHA-1 of the stream id followed by the code."""
    return hashlib.sha1(f"{stream_id}{code}".encode(), usedforsecurity=False).hexdigest()[:24]
