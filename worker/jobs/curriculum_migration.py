"""The job `curriculum-migration`: every learner of a course hears which lessons it has now, by one event each.

The events go through Kafka like all others, to the topic that only the worker writes to, and are stored once: their
ids follow from course, version, moment and learner. What becomes of a learner's record is the fold's.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

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
from worker.jobs.sending import Send, sending
from worker.jobs.throttle import SmallSteps
from worker.kafka.files import OutgoingRecord
from worker.settings import variable
from worker.storage import job_runs, reading
from worker.storage.curriculum import CURRICULUM_PATHS, count_lessons, listed_lessons
from worker.storage.database import Document
from worker.storage.reading import Unreadable
from worker.storage.stream_selection import StreamSelection, count_streams, selected_pages
from worker.timing import Throttle

NAME: Final = "curriculum-migration"

# A step: what a run that is killed publishes once more. While somebody follows, a step has fewer learners
# (`SmallSteps`): a record of 300 lessons, written anew, takes some milliseconds.
_LEARNERS_PER_STEP = 500
# Before each page it is looked whether the course still says the same.
_LEARNERS_PER_PAGE = 500
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
    """Which course, and how many learners a second at most; 0 for as many as live work leaves room for.

    `deployment` names what it is started for: of one deployment there is one run, however often it is started.
    """

    course: Annotated[str, AfterValidator(_course)]
    rate: Annotated[int, Field(ge=0)] = 500
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

    def is_before(self, last: "Told | None") -> bool:
        """Whether learners have been told something else since: the word with the latest moment holds."""
        return last is not None and last.plan.at > self.at

    def after(self, last: "Told | None") -> "Plan":
        """The same, said later than whatever was told last, also by a machine whose clock is ahead."""
        if last is None or last.plan.at < self.at:
            return self
        return replace(self, at=last.plan.at + timedelta(milliseconds=1))

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

    1. decide what is said, and keep it: anew where the course was revised, or another run has said something since
    2. wait until ingest stamps the same  3. learners page by page: leave out whom an event is stored for, publish,
    save the place  4. once more for those who came meanwhile; and from 1. until the course is as it was
    """
    if not context.settings.ingest.topics.worker:
        raise Refused(f"{variable('worker_topic')} is none: nobody would read what is published")
    place = dict(context.checkpoint or {})
    while True:
        wanted = await _wanted(context, arguments)  # 1
        last = await _last_told(context, arguments.course)
        known = Plan.of(place["plan"]) if "plan" in place else None
        if known is None or not known.says(wanted) or known.is_before(last):
            if last is not None and last.complete and last.plan.says(wanted):
                return {"already": True, **_told(last.plan)}
            place = {"plan": wanted.after(last).document(), "round": 0, "below": None}
            await context.advance(0, place)
        elif place["round"] == _rounds(context):
            return {"already": False, **_told(known)}
        plan = Plan.of(place["plan"])
        if not context.dry_run:
            await _settled(context, plan)  # 2
        await context.total(await count_streams(context.database, StreamSelection(course=arguments.course)))
        place = await _publish(context, arguments, plan, place)  # 3, 4


def _rounds(context: JobContext) -> int:
    """A dry run stores nothing: a second round would count those of the last minute once more."""
    return 1 if context.dry_run else _ROUNDS


def _told(plan: Plan) -> dict[str, JsonValue]:
    return {
        "version": plan.version,
        "lessons": len(plan.lessons) // LESSON_BYTES,
        "at": plan.at.isoformat(timespec="milliseconds"),
    }


async def _publish(
    context: JobContext, arguments: CurriculumMigration, plan: Plan, place: Mapping[str, Any]
) -> dict[str, Any]:
    """Everybody, then those of whom something was stored since shortly before; returns where it has come to.

    It ends early where the course says something else by now: nobody is told what does not hold any more.
    """
    async with sending(context, context.settings.ingest.topics.worker) as send:
        steps = _Steps(context, arguments, plan, send)
        for number in range(place["round"], _rounds(context)):
            since = plan.at - timedelta(seconds=2 * SETTLED_S) if number else None
            chosen = StreamSelection(course=arguments.course, since=since)
            place = {**place, "round": number}
            below, most = place["below"], _LEARNERS_PER_PAGE
            async with aclosing(selected_pages(context.database, chosen, below=below, most=most)) as pages:
                async for page in pages:
                    if not plan.says(await _wanted(context, arguments)):
                        return dict(place)
                    place = {**place, "below": page.below}
                    learners = [stream for stream in page.streams if stream_kind(stream) == LEARNER]
                    await steps.publish(learners, place)
            place = {**place, "round": number + 1, "below": None}
        await context.advance(0, place)
    return dict(place)


@dataclass(frozen=True, slots=True)
class _Untold:
    """A learner whose event is not stored."""

    stream: str
    user_id: ObjectId
    event_id: UUID


class _Steps:
    """Tells learners, step by step, as fast as `rate` and live work allow."""

    def __init__(self, context: JobContext, arguments: CurriculumMigration, plan: Plan, send: Send) -> None:
        self._context, self._course, self._plan, self._send = context, arguments.course, plan, send
        self._throttle = Throttle(context.clock, arguments.rate or None)
        most = min(_LEARNERS_PER_STEP, arguments.rate or _LEARNERS_PER_STEP)
        self._sizes = SmallSteps(context.database, context.settings.jobs, context.clock, most=most)

    async def publish(self, learners: Sequence[str], place: Mapping[str, Any]) -> None:
        """A page of learners, by name downwards; at its end `place` is where to go on."""
        left = await _left(self._context, self._course, self._plan, learners)
        told = 0
        while left:
            most = self._sizes.most if self._context.dry_run else await self._sizes.room()
            some, left = left[:most], left[most:]
            done = learners.index(some[-1].stream) + 1
            await self._step(some)
            await self._save(done - told, {**place, "below": some[-1].stream}, published=len(some))
            told = done
        await self._save(len(learners) - told, place)

    async def _step(self, some: Sequence[_Untold]) -> None:
        if self._context.dry_run:
            return
        await self._throttle.wait_for(len(some))
        await self._context.keep_alive()
        since = self._context.clock.monotonic()
        await self._send([self._plan.record(self._course, each.user_id) for each in some])
        await self._sizes.shown({each.event_id: each.stream for each in some}, since)

    async def _save(self, steps: int, place: Mapping[str, Any], **counts: int) -> None:
        """Each learner is a step of the first round; the second one looks for those who came meanwhile."""
        await self._context.advance(0 if place["round"] else steps, place, **counts)


async def _left(context: JobContext, course_id: str, plan: Plan, learners: Sequence[str]) -> list[_Untold]:
    """Of these learners, in their order, those of whom nothing of it is stored, and who are not erased."""
    users = [(stream, ids["user_id"]) for stream in learners if (ids := parse_stream_id(stream)) is not None]
    each = [
        _Untold(stream, user, migration_event_id(course_id, plan.version, plan.at, user))
        for stream, user in users
    ]
    events = [one.event_id for one in each]
    stored = await reading.find(context.database.course_events, {"_id": {"$in": events}}, {"_id": 1})
    people = [one.user_id for one in each]
    erased = await reading.find(context.database.tombstones, {"_id": {"$in": people}}, {"_id": 1})
    gone = {found["_id"] for found in [*stored.documents, *erased.documents]}
    return [one for one in each if one.event_id not in gone and one.user_id not in gone]


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


@dataclass(frozen=True, slots=True)
class Told:
    """What a run told learners, or began to; `complete` where all of them have heard it."""

    plan: Plan
    complete: bool


async def _last_told(context: JobContext, course_id: str) -> Told | None:
    """By the run with the newest plan, whether it came to its end or not: some of the learners may have heard it."""
    run = await job_runs.newest_asked(
        context.database,
        NAME,
        {"course": course_id},
        {"checkpoint.plan": {"$exists": True}},
        newest_by="checkpoint.plan.at",
    )
    if run is None or run.checkpoint is None:
        return None
    return Told(Plan.of(run.checkpoint["plan"]), complete=run.status == "succeeded")


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
