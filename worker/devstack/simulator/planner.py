"""Draws plausible plans from a seed: who studies what, how far they get, who drops out."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from worker.devstack.simulator.ledger import FULL, Course, LearnerPlan, LessonPlan, PaymentPlan, ReportPlan

SOCIAL = ("discussion_posted", "question_asked", "answer_given", "peer_interaction", "study_group_joined")
COURSES = 8
INSTRUCTORS = 4  # each teaches two courses
COURSES_PER_LEARNER = 3  # streams of one learner differ by course only
PAID_SHARE = 0.3

# Of ten learners three finish, three drop out, four are on their way. Fixed turns instead of chances keep
# every event type's share above half a percent in small runs too.
FINISHERS = frozenset({0, 3, 7})
DROPOUTS = frozenset({1, 5, 8})
RATERS = frozenset({0, 2, 3, 5, 7})


def seeded(seed: int, purpose: str) -> Random:
    """A generator of its own for each purpose: drawing more for one changes nothing for the others."""
    return Random(f"{seed}:{purpose}")  # noqa: S311 - simulation, not cryptography


def make_courses(random: Random, count: int = COURSES) -> tuple[Course, ...]:
    """Courses of five to ten lessons."""
    instructors = [object_id(random) for _ in range(INSTRUCTORS)]
    return tuple(
        Course(
            object_id(random),
            tuple(object_id(random) for _ in range(random.randint(5, 10))),
            number,
            instructors[number % INSTRUCTORS],
        )
        for number in range(count)
    )


def make_plans(seed: int, events: int) -> list[LearnerPlan]:
    """Plans that need exactly `events` events together (at least one).

    When the next learner does not fit any more, the last one watches the rest of the time away: player events
    that report neither progress nor time.
    """
    plans: list[LearnerPlan] = []
    left = events
    for plan in _endless(seeded(seed, "plans")):
        if plan.event_count > left:
            break
        plans.append(plan)
        left -= plan.event_count
    if not plans:  # too few events for even one ordinary learner
        plans = [_newcomer(seeded(seed, "plans"))]
        left -= 1
    return _fill(plans, left)


def _endless(random: Random) -> Iterator[LearnerPlan]:
    courses = make_courses(random)
    index = 0
    while True:
        user_id = object_id(random)
        for course in random.sample(courses, COURSES_PER_LEARNER):
            yield make_plan(random, index, user_id, course)
            index += 1


def make_plan(random: Random, index: int, user_id: str, course: Course) -> LearnerPlan:
    """One learner's way through one course; `index` decides its kind, in fixed turns."""
    turn = index % 10
    total = len(course.lessons)
    completed = total if turn in FINISHERS else random.randint(1, total - 1)
    lessons = [_lesson(random, lesson_id, completed=True) for lesson_id in course.lessons[:completed]]
    if completed < total and random.random() < 0.8:
        lessons.append(_lesson(random, course.lessons[completed], completed=False))
    reports = [_report(random, completed, total) for _ in range(random.randint(0, 2))]
    return LearnerPlan(
        index=index,
        user_id=user_id,
        course=course,
        lessons=tuple(lessons),
        reports=tuple(reports),
        social=_social(random, index),
        ratings=tuple(random.randint(1, 5) for _ in range(random.randint(1, 2))) if turn in RATERS else (),
        payment=_payment(random) if random.random() < PAID_SHARE else None,
        certified=turn in FINISHERS,
        drops_out=turn in DROPOUTS,
    )


def _lesson(random: Random, lesson_id: str, *, completed: bool) -> LessonPlan:
    quizzed = completed and random.random() < 0.45
    return LessonPlan(
        lesson_id=lesson_id,
        completed=completed,
        hundredths=FULL if completed else random.randint(1, 99) * 100,
        time_ms=random.randint(60_000, 900_000),
        media=random.randint(2, 5),
        shown=random.random() < 0.4,
        repeated=completed and random.random() < 0.05,
        noted=random.random() < 0.12,
        scores=tuple(random.randint(3_000, FULL) for _ in range(random.randint(1, 2))) if quizzed else (),
        grade=random.randint(4_000, FULL) if completed and random.random() < 0.12 else None,
    )


def _report(random: Random, completed: int, total: int) -> ReportPlan:
    """The player's own figure: around the true one, sometimes a little above it."""
    hundredths = FULL * completed // total + random.randint(-500, 500)
    return ReportPlan(max(0, min(FULL - 1, hundredths)), random.randint(1_000, 60_000))


def _social(random: Random, index: int) -> tuple[str, ...]:
    """Every kind in its turn, so that none becomes rare, and some more by chance."""
    extra = [random.choice(SOCIAL) for _ in range(random.randint(0, 2))]
    return (SOCIAL[index % len(SOCIAL)], *extra)


def _payment(random: Random) -> PaymentPlan:
    return PaymentPlan(f"tx-{transaction_token(random)}", f"{random.randint(19, 299)}.00")


def _newcomer(random: Random) -> LearnerPlan:
    course = make_courses(random)[0]
    return LearnerPlan(index=0, user_id=object_id(random), course=course, lessons=())


def _fill(plans: list[LearnerPlan], events: int) -> list[LearnerPlan]:
    """Add exactly `events` player events to the last learner; a newcomer opens a first lesson for them."""
    if events == 0:
        return plans
    last = plans[-1]
    if last.lessons:
        first = replace(last.lessons[0], media=last.lessons[0].media + events)
        return [*plans[:-1], replace(last, lessons=(first, *last.lessons[1:]))]
    opened = LessonPlan(last.course.lessons[0], completed=False, hundredths=0, time_ms=0, media=events - 1)
    return [*plans[:-1], replace(last, lessons=(opened,))]


def object_id(random: Random) -> str:
    """24 hex digits."""
    return f"{random.getrandbits(96):024x}"


def transaction_token(random: Random) -> str:
    """What tells one transaction from another: twelve letters, nothing like a card number."""
    return "".join(random.choices("abcdefghkmnp", k=12))
