"""Learners for ever, and the ledger of what they do: each scenario touches every stage of the worker within seconds.

A learner enrols (every second one pays), works through two lessons and completes the course; some take a second
course of the same instructor. Some records come twice, some contradict an earlier one, some are no events, some the
store refuses, an enrolment that names a payment among them, and some lessons fail to fold.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from random import Random

from tests.chaos.steps import BEGIN, LEARNERS, Step, Writer, interleaved
from tests.oracle import Entry
from worker.contract.identity import foreign_object_id
from worker.devstack.simulator.ledger import Course
from worker.kafka.files import OutgoingRecord

# What the scenarios' own validator refuses, and what their own fold fails on.
REFUSED_DEVICE = "refused-device"
BROKEN_LESSON = foreign_object_id("a lesson that cannot be folded live")

_SIDE_BY_SIDE = 24  # learners under way at a time: each partition has some of them
_REFUSED = "refused_by_store"


def courses() -> Sequence[Course]:
    """Four courses of two lessons, by two instructors."""
    return [
        Course(
            course_id=str(foreign_object_id(f"course {number}")),
            lessons=tuple(str(foreign_object_id(f"lesson {number}.{each}")) for each in (1, 2)),
            number=number,
            instructor_id=str(foreign_object_id(f"instructor {number % 2}")),
        )
        for number in range(4)
    ]


def learner_id(seed: int, number: int) -> str:
    """24 hex digits."""
    return str(foreign_object_id(f"learner {seed} {number}"))


def learner_writer(
    random: Random, user_id: str, course_id: str, begin: datetime, topic: str = LEARNERS
) -> Writer:
    """Who writes what is said of a learner in a course, from `begin` on."""
    ids = {"user_id": user_id, "course_id": course_id}
    return Writer(random, f"course_{course_id}_user_{user_id}", ids, begin, topic)


def scenarios(seed: int) -> Iterator[Step]:
    """Records in the order of publishing, without an end; the same for the same seed."""
    random = Random(seed)  # noqa: S311 - a repeatable order, not a secret
    return interleaved(random, (_scenario(random, seed, number) for number in count()), _SIDE_BY_SIDE)


def _scenario(random: Random, seed: int, number: int) -> Iterator[Step]:
    """One learner's records; which of them are special turns with the learner's number."""
    every = courses()
    course = every[number % len(every)]
    first, second = course.lessons
    writer = learner_writer(random, learner_id(seed, number), course.course_id, _begin(number))
    if number % 8 == 3:
        named = {"payment": _payment(f"refused-{seed}-{number}")}
        yield writer.poison(_REFUSED, "course_enrolled", device_type=REFUSED_DEVICE, details=named)
    payment = _payment(f"tx-{seed}-{number}")
    yield writer.ok(
        "course_enrolled", details={"total_lessons": 2, **({"payment": payment} if number % 2 else {})}
    )
    yield writer.ok("lesson_started", lesson_id=first)
    media = writer.ok("view", lesson_id=first, value=12.5, details={"time_spent": 30, "progress": 0.4})
    yield media
    if number % 3 == 0:
        yield writer.ok("lesson_view", lesson_id=str(BROKEN_LESSON))
    yield writer.ok("quiz_submitted", lesson_id=first, details={"score": 80})
    yield writer.ok("complete", lesson_id=first)
    if number % 5 == 0:
        yield writer.again(media)
    if number % 4 == 0:
        yield writer.poison(_REFUSED, "lesson_view", lesson_id=second, device_type=REFUSED_DEVICE)
        yield writer.ok("lesson_view", lesson_id=second)
    if number % 7 == 0:
        yield writer.contradicting(media)
    if number % 11 == 0:
        yield _poison(seed, number)
    if number % 6 == 5:
        yield from _further_course(random, seed, number)
    yield writer.ok("complete", lesson_id=second)
    yield writer.ok("course_rated", value=1 + number % 5)


def _further_course(random: Random, seed: int, number: int) -> Iterator[Step]:
    """The same learner begins another course of the same instructor."""
    every = courses()
    course = every[(number + 2) % len(every)]
    writer = learner_writer(random, learner_id(seed, number), course.course_id, _begin(number))
    yield writer.ok("course_enrolled")
    yield writer.ok("lesson_started", lesson_id=course.lessons[0])


def _begin(number: int) -> datetime:
    """Learners begin a minute apart."""
    return BEGIN + timedelta(minutes=number)


def _payment(transaction: str) -> dict[str, str]:
    return {"transaction_id": transaction, "amount": "49.90", "currency": "EUR", "method": "card"}


def _poison(seed: int, number: int) -> Step:
    """Bytes that are no event, each of its own."""
    value = b'{"event_id": "%d-%d", "\xff' % (seed, number)
    return Step(OutgoingRecord(value), Entry(None, None, "poison", value, "not_utf8", acknowledged=False))
