"""The records of all measurements: many learners at the same time, every event once; one seed, the same bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from worker.contract.codec import encode, record_key
from worker.devstack.simulator.ledger import Course
from worker.devstack.simulator.planner import make_courses, make_plan, object_id, seeded
from worker.devstack.simulator.platform_documents import course_document, learner_document
from worker.devstack.simulator.script import Draft, draft_events
from worker.kafka.files import OutgoingRecord
from worker.storage.database import Document

LEARNERS = 2_000
COURSES = 20
SEED = 7
# Fixed: the same seed gives the same bytes on any day. Within the hour, so that all learners are at it at once.
_BEGIN = datetime(2025, 9, 1, 8, tzinfo=UTC)
_BEGIN_WITHIN_S = 3_600


@dataclass(frozen=True, slots=True)
class Workload:
    """`events` records of `learners` who take turns in a random order, each through one course after the other."""

    events: int
    learners: int = LEARNERS
    courses: int = COURSES
    seed: int = SEED

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

    def platform(self) -> tuple[list[Document], list[Document]]:
        """Documents of the courses and of the learners, as the platform would have written them before."""
        courses = make_courses(seeded(self.seed, "courses"), self.courses)
        learners = [self._learner(index) for index in range(self.learners)]
        return (
            [course_document(each) for each in courses],
            [learner_document(each, number) for number, each in enumerate(learners)],
        )

    def _learner(self, index: int) -> str:
        return object_id(seeded(self.seed, f"learner:{index}"))

    def _way(self, index: int, courses: tuple[Course, ...]) -> Iterator[OutgoingRecord]:
        """One learner's events without end: a course, the next one, and after the last the first again."""
        user_id, random = self._learner(index), seeded(self.seed, f"way:{index}")
        at = _BEGIN + timedelta(seconds=random.randrange(_BEGIN_WITHIN_S))
        number = index
        while True:
            plan = make_plan(random, number, user_id, courses[number % len(courses)])
            for draft in draft_events(plan, random, at):
                yield _record(draft, random)
                at = draft.occurred_at
            number += 1


def _record(draft: Draft, random: Random) -> OutgoingRecord:
    digits = f"{random.getrandbits(128):032x}"
    parts = (digits[:8], digits[8:12], f"4{digits[13:16]}", f"a{digits[17:20]}", digits[20:])
    occurred_at = draft.occurred_at.isoformat(timespec="milliseconds")
    value = encode({"event_id": "-".join(parts), "occurred_at": occurred_at, **draft.fields})
    return OutgoingRecord(value, record_key(value))
