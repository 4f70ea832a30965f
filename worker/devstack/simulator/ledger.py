"""What the simulation will have done, decided before the first event exists, and what follows from it.

A plan says what happens in one learner's course; the ledger's entry says what the platform must then show.
What follows for whole courses and people is in `totals`. Of accounts, courses, their content and payments the ledger
has the documents themselves (`ExpectedDocument`), as whoever wrote these lives knows them (`lives`).
Formulas are written here a second time on purpose: nothing is imported from the folds they check.
Percentages, scores and grades are integers in hundredths (10,000 is 100 %), times are milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from bson import ObjectId

FULL = 10_000  # 100 % in hundredths
ALMOST = FULL - 1  # the most a course shows while a lesson is missing
CURRENCY, METHOD = "EUR", "card"  # of everything that is paid

ABSENT: Final = "(not there)"
"""What is expected of a path that a document does not have: null is something else."""


@dataclass(frozen=True, slots=True)
class ExpectedDocument:
    """One document that must be there in the end, with what it must hold by its paths.

    Of its other fields nothing is known here. `after_term`: only what is published last makes it. `may_be_gone`: its
    time is over, and the server removes it some time.
    """

    collection: str
    key: ObjectId
    fields: Mapping[str, object]
    after_term: bool = False
    may_be_gone: bool = False


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The event by which a learner enrolled, and what it says of the payment; `index` is that of the plan."""

    index: int
    user_id: str
    course_id: str
    at: datetime
    event_id: str
    payment: "PaymentPlan | None"


@dataclass(frozen=True, slots=True)
class Paid:
    """What was paid for a course and not given back."""

    course_id: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Course:
    """A course and its lessons in their order; ids are 24 hex digits, `number` counts courses from 0."""

    course_id: str
    lessons: tuple[str, ...]
    number: int = 0
    instructor_id: str = ""


@dataclass(frozen=True, slots=True)
class LessonPlan:
    """One lesson the learner opens. `media` counts player events, of which some report progress and time."""

    lesson_id: str
    completed: bool
    hundredths: int
    time_ms: int
    media: int
    shown: bool = False
    repeated: bool = False
    noted: bool = False
    scores: tuple[int, ...] = ()
    grade: int | None = None

    @property
    def event_count(self) -> int:
        """Events this lesson needs: one `lesson_started` and whatever else is planned."""
        optional = (self.shown, self.completed, self.repeated, self.noted, self.grade is not None)
        return 1 + self.media + len(self.scores) + sum(optional)


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """One `progress_updated`: the player's own percentage of the course, and the time since its last one."""

    hundredths: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class PaymentPlan:
    """How the enrolment is paid; `amount` is decimal text."""

    transaction_id: str
    amount: str


@dataclass(frozen=True, slots=True)
class LearnerPlan:
    """One learner's way through one course. `ratings` are stars in the order in which they are given."""

    index: int
    user_id: str
    course: Course
    lessons: tuple[LessonPlan, ...]
    reports: tuple[ReportPlan, ...] = ()
    social: tuple[str, ...] = ()
    ratings: tuple[int, ...] = ()
    payment: PaymentPlan | None = None
    certified: bool = False
    drops_out: bool = False

    @property
    def event_count(self) -> int:
        """Events the whole way needs, its enrolment included."""
        once = 1 + self.certified + self.drops_out
        several = len(self.reports) + len(self.social) + len(self.ratings)
        return once + several + sum(lesson.event_count for lesson in self.lessons)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the platform must show for one learner in one course. `stars` are those of the latest rating."""

    user_id: str
    course_id: str
    percentage: int
    completed_lessons: int
    time_ms: int
    quiz_average: int | None
    dropped: bool
    finished: bool = False
    stars: int | None = None
    discussion_posts: int = 0
    questions_asked: int = 0
    certificates: int = 0
    transaction_id: str | None = None
    amount: str | None = None


def expected(plan: LearnerPlan) -> LedgerEntry:
    """The entry that follows from a plan."""
    scores = [score for lesson in plan.lessons for score in lesson.scores]
    percentage = _percentage(plan)
    return LedgerEntry(
        user_id=plan.user_id,
        course_id=plan.course.course_id,
        percentage=percentage,
        completed_lessons=sum(lesson.completed for lesson in plan.lessons),
        time_ms=sum(lesson.time_ms for lesson in plan.lessons)
        + sum(report.time_ms for report in plan.reports),
        quiz_average=mean_half_up(scores) if scores else None,
        dropped=plan.drops_out,
        finished=percentage == FULL,
        stars=plan.ratings[-1] if plan.ratings else None,
        discussion_posts=plan.social.count("discussion_posted"),
        questions_asked=plan.social.count("question_asked"),
        certificates=int(plan.certified),
        transaction_id=plan.payment.transaction_id if plan.payment else None,
        amount=plan.payment.amount if plan.payment else None,
    )


def mean_half_up(values: Sequence[int]) -> int:
    """The mean as a whole number; a half goes up."""
    return (2 * sum(values) + len(values)) // (2 * len(values))


def _percentage(plan: LearnerPlan) -> int:
    """100 % needs every lesson; else the mean over the course's lessons, or more if the player reported more."""
    total = len(plan.course.lessons)
    full = sum(lesson.hundredths == FULL for lesson in plan.lessons)
    seen = FULL if full >= total else min(ALMOST, sum(lesson.hundredths for lesson in plan.lessons) // total)
    return max([seen, *(report.hundredths for report in plan.reports)])
