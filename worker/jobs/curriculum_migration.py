"""The job `curriculum-migration`: every learner of a course hears which lessons it has now, by one event each.

The events go through Kafka like all others, to the topic that only the worker writes to, and are stored once: their
ids follow from course, version, moment and learner. What becomes of a learner's record is the fold's.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import AfterValidator, Field, JsonValue

from projections.event import MIGRATED
from worker.contract.codec import encode, record_key
from worker.contract.events.own import LESSON_BYTES
from worker.contract.family import LEARNER
from worker.contract.identity import migration_event_id, parse_stream_id, stream_kind
from worker.errors import Refused
from worker.ingest.enrich.stamps import COURSES_AGE_S
from worker.jobs.context import JobContext
from worker.jobs.job import Job, JobArguments
from worker.jobs.sending import sending
from worker.kafka.files import OutgoingRecord
from worker.settings import variable
from worker.storage import job_runs, reading
from worker.storage.curriculum import CURRICULUM_PATHS, count_lessons, listed_lessons
from worker.storage.database import Document
from worker.storage.reading import Unreadable
from worker.storage.stream_selection import StreamSelection, count_streams, selected_pages
from worker.timing import Throttle

NAME: Final = "curriculum-migration"

# A step: what a run that is killed publishes once more, and behind how much live work may have to wait for its turn.
# A record of 300 lessons, written anew, takes some milliseconds.
_LEARNERS_PER_STEP = 50
# From then on every process of ingest stamps the new lessons: what it knew before is too old, and stored by now.
SETTLED_S = COURSES_AGE_S + 5.0
# Everybody, and those who came meanwhile.
_ROUNDS = 2
_DIGITS = 24


def _course(digits: str) -> str:
    if len(digits) != _DIGITS or not set(digits.lower()) <= set("0123456789abcdef"):
        raise ValueError("a course has 24 hexadecimal digits")
    return digits.lower()


class CurriculumMigration(JobArguments):
    """Which course, and how many learners a second at most; 0 for as many as Kafka takes.

    `deployment` names what it is started for: of one deployment there is one run, however often it is started.
    """

    course: Annotated[str, AfterValidator(_course)]
    rate: Annotated[int, Field(ge=0)] = 100
    deployment: Annotated[str, Field(max_length=100)] | None = None

    @property
    def selection(self) -> Mapping[str, JsonValue]:
        return {"course": self.course}


@dataclass(frozen=True, slots=True)
class Plan:
    """What the learners are told, fixed before the first of them is: every attempt publishes the same."""

    version: str | None
    lessons: bytes
    at: datetime

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Plan":
        return cls(stored["version"], b64decode(stored["lessons"]), stored["at"])

    def document(self) -> Document:
        """As a run keeps it."""
        return {"version": self.version, "lessons": b64encode(self.lessons).decode(), "at": self.at}

    def says(self, other: "Plan") -> bool:
        """Whether both say the same, whenever they do."""
        return (self.version, self.lessons) == (other.version, other.lessons)

    def record(self, course_id: str, user_id: ObjectId) -> OutgoingRecord:
        """One learner's event."""
        details = {
            "version": self.version,
            "total_lessons": len(self.lessons) // LESSON_BYTES,
            "lessons": b64encode(self.lessons).decode(),
        }
        value = encode(
            {
                "event_id": migration_event_id(course_id, self.version, self.at, user_id),
                "event_type": MIGRATED,
                "occurred_at": self.at,
                "user_id": user_id,
                "course_id": course_id,
                "producer": NAME,
                "details": {name: each for name, each in details.items() if each is not None},
            }
        )
        return OutgoingRecord(value, record_key(value))


async def run(context: JobContext, arguments: CurriculumMigration) -> Mapping[str, JsonValue]:
    """Publish what is not stored yet, from where the run has come to; a dry run only counts.

    1. decide what is said, and keep it: a course that was revised since is decided anew  2. wait until ingest stamps
    the same  3. learners page by page: leave out whom an event is stored for, publish, save the place  4. once more
    for those who came meanwhile; and from 1. until the course is as it was
    """
    if not context.settings.ingest.topics.worker:
        raise Refused(f"{variable('worker_topic')} is none: nobody would read what is published")
    place = dict(context.checkpoint or {})
    while True:
        wanted = await _wanted(context, arguments)  # 1
        known = Plan.of(place["plan"]) if "plan" in place else None
        if known is None or not known.says(wanted):
            last = await _last_plan(context, arguments.course)
            if last is not None and last.says(wanted):
                return {"already": True, **_told(last)}
            place = {"plan": wanted.document(), "round": 0, "below": None}
            await context.advance(0, place)
        elif place["round"] == _ROUNDS:
            return {"already": False, **_told(known)}
        plan = Plan.of(place["plan"])
        if not context.dry_run:
            await _settled(context, plan)  # 2
        await context.total(await count_streams(context.database, StreamSelection(course=arguments.course)))
        while place["round"] < _ROUNDS:  # 3, 4
            await _publish(context, arguments, plan, place)
            place = {**place, "round": place["round"] + 1, "below": None}
        await context.advance(0, place)


def _told(plan: Plan) -> dict[str, JsonValue]:
    return {
        "version": plan.version,
        "lessons": len(plan.lessons) // LESSON_BYTES,
        "at": plan.at.isoformat(timespec="milliseconds"),
    }


async def _publish(
    context: JobContext,
    arguments: CurriculumMigration,
    plan: Plan,
    place: Mapping[str, Any],
) -> None:
    """One round from its place: everybody, then those of whom something was stored since shortly before."""
    since = plan.at - timedelta(seconds=2 * SETTLED_S) if place["round"] else None
    chosen = StreamSelection(course=arguments.course, since=since)
    topic = context.settings.ingest.topics.worker
    throttle = Throttle(context.clock, arguments.rate or None)
    most = min(_LEARNERS_PER_STEP, arguments.rate or _LEARNERS_PER_STEP)
    async with sending(context, topic) as send:
        pages = selected_pages(context.database, chosen, below=place["below"], most=most)
        async for page in pages:
            learners = [stream for stream in page.streams if stream_kind(stream) == LEARNER]
            records = await _left(context, arguments.course, plan, learners)
            if records and not context.dry_run:
                await throttle.wait_for(len(records))
                await context.keep_alive()
                await send(records)
            steps = len(learners) if place["round"] == 0 else 0
            await context.advance(steps, {**place, "below": page.below}, published=len(records))


async def _left(
    context: JobContext, course_id: str, plan: Plan, learners: Sequence[str]
) -> list[OutgoingRecord]:
    """A record for each learner of whom nothing of it is stored, and who is not erased."""
    users = [ids["user_id"] for stream in learners if (ids := parse_stream_id(stream)) is not None]
    events = {migration_event_id(course_id, plan.version, plan.at, user): user for user in users}
    stored = await reading.find(context.database.course_events, {"_id": {"$in": list(events)}}, {"_id": 1})
    erased = await reading.find(context.database.tombstones, {"_id": {"$in": users}}, {"_id": 1})
    gone = {each["_id"] for each in erased.documents} | {events[each["_id"]] for each in stored.documents}
    return [plan.record(course_id, user) for user in users if user not in gone]


async def _wanted(context: JobContext, arguments: CurriculumMigration) -> Plan:
    """What the course document says now, as of the moment from which ingest stamps it, too."""
    found = await reading.find_one(
        context.database.courses, {"_id": ObjectId(arguments.course)}, CURRICULUM_PATHS
    )
    if found is None:
        raise Refused(f"there is no document of the course {arguments.course}")
    counted = None if isinstance(found, Unreadable) else count_lessons(found)
    lessons = None if isinstance(found, Unreadable) else listed_lessons(found)
    if counted is None or lessons is None:
        raise Refused(
            f"the curriculum of the course {arguments.course} names no lessons, more than 5,000, "
            "one without an ObjectId, or one twice: write it as the specification has it"
        )
    version = None if counted["version"] is None else str(counted["version"])
    now = context.clock.now().astimezone(UTC)
    at = now.replace(microsecond=now.microsecond // 1000 * 1000) + timedelta(seconds=SETTLED_S)
    return Plan(version, lessons, at)


async def _last_plan(context: JobContext, course_id: str) -> Plan | None:
    """Of the run that migrated the course last and came to its end."""
    ended = {"status": "succeeded", "checkpoint.plan": {"$exists": True}}
    last = await job_runs.newest_asked(context.database, NAME, {"course": course_id}, ended)
    return None if last is None or last.checkpoint is None else Plan.of(last.checkpoint["plan"])


async def _settled(context: JobContext, plan: Plan) -> None:
    """Return at the moment of the plan: whoever enrols later is stamped with its lessons."""
    while (left_s := (plan.at - context.clock.now()).total_seconds()) > 0:
        await context.clock.sleep(min(left_s, context.settings.jobs.look_every_s))
        await context.ready()


CURRICULUM_MIGRATION = Job(
    NAME,
    CurriculumMigration,
    run,
    lock=lambda arguments: f"{NAME}:{arguments.course}",
    about="tell every learner of a course which lessons it has now, by one event each",
)
