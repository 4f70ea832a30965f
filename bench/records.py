"""The records of all measurements: few learners who take turns, or many; every event once; a seed, the same bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

from worker.devstack.simulator.ledger import Course
from worker.devstack.simulator.planner import make_courses, make_plan, object_id, seeded
from worker.devstack.simulator.platform_documents import course_document, learner_document
from worker.devstack.simulator.script import Draft, Fields, draft_events, session_fields
from worker.devstack.simulator.spelling import fields_of, record_of
from worker.kafka.files import OutgoingRecord
from worker.storage.database import Document

LEARNERS = 2_000
COURSES = 20
MANY = 30_000
MANY_COURSES = 22
EVENTS_EACH = 2.4
MANY_EVENTS = round(MANY * EVENTS_EACH)
ENROLMENT_SHARE = 0.15
LEAVING_SHARE = 0.05
SEED = 7
# Fixed: the same seed gives the same bytes on any day. Within the hour, so that all learners are at it at once.
_BEGIN = datetime(2025, 9, 1, 8, tzinfo=UTC)
_BEGIN_WITHIN_S = 3_600


Platform = tuple[list[Document], list[Document]]


@dataclass(frozen=True, slots=True)
class Workload:
    """`events` records of `learners` who take turns in a random order, each through one course after the other.

    `present` says that the documents of the courses and of the learners stand in the store before the first record.
    With `lessons` each of the courses has so many, of which learners open the first few.
    """

    events: int
    learners: int = LEARNERS
    courses: int = COURSES
    seed: int = SEED
    present: bool = False
    lessons: int = 0

    def records(self) -> Iterator[OutgoingRecord]:
        """The records in the order of publishing, keyed as the contract recommends."""
        courses = make_courses(seeded(self.seed, "courses"), self.courses)
        ways = [self._way(index, courses) for index in range(self.learners)]
        turns = seeded(self.seed, "turns")
        left = self.events
        while left:
            turns.shuffle(ways)
            for way in ways[:left]:
                yield next(way)
            left -= min(left, self.learners)

    def platform(self) -> Platform:
        """Documents of the courses and of the learners, as the platform would have written them before."""
        return _platform(self.seed, self.courses, self.learners, self.lessons)

    def _way(self, index: int, courses: tuple[Course, ...]) -> Iterator[OutgoingRecord]:
        """One learner's events without end: a course, the next one, and after the last the first again."""
        user_id, random = _learner(self.seed, index), seeded(self.seed, f"way:{index}")
        at = _BEGIN + timedelta(seconds=random.randrange(_BEGIN_WITHIN_S))
        number = index
        while True:
            plan = make_plan(random, number, user_id, courses[number % len(courses)])
            for draft in draft_events(plan, random, at):
                yield record_of(fields_of(draft, random))
                at = draft.occurred_at
            number += 1


@dataclass(frozen=True, slots=True)
class ManyLearners:
    """`events` records in random order, of 30,000 learners, or of as many as have 2.4 events each, in a course each.

    Of the events 15 % are enrolments, 80 % quizzes and 5 % leavings, whoever they fall to: a learner may well take a
    quiz first and enrol later, or never. Nearly every event of a turn touches a record that no other of it touches.
    With `lessons` each of the courses has so many, and quizzes are of any of them.
    """

    events: int = MANY_EVENTS
    courses: int = MANY_COURSES
    seed: int = SEED
    present: bool = False
    lessons: int = 0

    @property
    def learners(self) -> int:
        return max(1, round(self.events / EVENTS_EACH))

    def records(self) -> Iterator[OutgoingRecord]:
        """The records in the order of publishing, keyed as the contract recommends; time goes on with each."""
        random = seeded(self.seed, "many")
        courses = _courses(self.seed, self.courses, self.lessons)
        learners = [_learner(self.seed, index) for index in range(self.learners)]
        turns = [number % self.learners for number in range(self.events)]
        random.shuffle(turns)
        for number, (index, event_type) in enumerate(zip(turns, self._event_types(random), strict=True)):
            course = courses[index % len(courses)]
            common = {"user_id": learners[index], "course_id": course.course_id, "producer": "simulator"}
            fields = {**common, **session_fields(random), **_fields_of(event_type, course, random)}
            at = _BEGIN + timedelta(seconds=_BEGIN_WITHIN_S * number / self.events)
            yield record_of(fields_of(Draft(fields, at, at), random))

    def platform(self) -> Platform:
        """Documents of the courses and of the learners, as the platform would have written them before."""
        return _platform(self.seed, self.courses, self.learners, self.lessons)

    def _event_types(self, random: Random) -> list[str]:
        enrolments, leavings = (round(self.events * share) for share in (ENROLMENT_SHARE, LEAVING_SHARE))
        types = ["course_enrolled"] * enrolments + ["course_unenrolled"] * leavings
        types += ["quiz_submitted"] * (self.events - len(types))
        random.shuffle(types)
        return types


AnyWorkload = Workload | ManyLearners


def _fields_of(event_type: str, course: Course, random: Random) -> Fields:
    """What the event has besides its session and whom it is about."""
    match event_type:
        case "course_enrolled":
            return {"event_type": event_type, "details": {"total_lessons": len(course.lessons)}}
        case "quiz_submitted":
            correct = random.randint(3, 10)
            details = {"score": 10.0 * correct, "total_questions": 10, "correct_answers": correct}
            details["time_taken"] = random.randint(30, 600)
            return {"event_type": event_type, "lesson_id": random.choice(course.lessons), "details": details}
        case _:
            return {"event_type": event_type}


def _learner(seed: int, index: int) -> str:
    return object_id(seeded(seed, f"learner:{index}"))


def _courses(seed: int, number: int, lessons: int) -> list[Course]:
    """The courses of the simulator's kind; with `lessons` each has so many, its own at the front."""
    further = seeded(seed, "lessons")
    return [
        replace(
            each, lessons=(*each.lessons, *(object_id(further) for _ in range(len(each.lessons), lessons)))
        )
        for each in make_courses(seeded(seed, "courses"), number)
    ]


def _platform(seed: int, courses: int, learners: int, lessons: int) -> Platform:
    made = _courses(seed, courses, lessons)
    return (
        [course_document(each) for each in made],
        [learner_document(_learner(seed, index), index) for index in range(learners)],
    )
