"""One trial of `curriculum-migration` on a system of its own: MongoDB, Kafka, a worker, a course, and a load."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from random import Random
from typing import Any
from uuid import UUID

from bson import ObjectId

from tests.support.platform import BEGAN
from tests.support.trials.commands import Ended
from tests.support.trials.history import History
from tests.support.trials.judge import found_by_oracle, found_by_verify
from tests.support.trials.load import Load, Seen, load
from tests.support.trials.report import Report, Size
from tests.support.trials.system import KILLED, System, system
from tests.support.waiting import until
from worker.chunks import chunks
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.identity import stream_id, stream_object_id
from worker.contract.source import Source
from worker.ingest.enrich.course import known_course
from worker.ingest.enrich.stamps import Stamps
from worker.jobs.curriculum_migration import NAME
from worker.storage import driver
from worker.storage.database import Database, Document
from worker.storage.documents import event_document
from worker.storage.lesson_lists import store_lists
from worker.timing import Deadline, SystemClock

Milestones = tuple[Mapping[str, Any], int]

LIMIT_S = 900.0
"""After so long a migration is given up: twice what one of 20,000 learners took on two cores."""

_COURSE = ObjectId("5f0000000000000000c0ffee")
# Of other courses, whose learners do something all the time.
_OTHERS, _OTHER_EVENTS = 500, 5_000
# What begins, or has just ended, is in neither measurement.
_BETWEEN_S = 5.0
_LOOK_EVERY_S = 0.05  # how soon it is seen how far the command has come
_AT_ONCE = 500  # learners, for one command


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSize(Size):
    """How large a trial is; the migration is given up after `limit_s`. A `rate` of 0 is the job's own."""

    learners: int
    lessons: int
    added: int = 10
    kills: int = 5
    rate: int = 0
    limit_s: float = LIMIT_S


@dataclass(kw_only=True)
class MigrationReport(Report):
    """How long each part took; `cpu_s` are seconds of CPU while learners were migrated, by process."""

    learners: int
    published: int = 0
    set_up_s: float = 0.0
    migrated_s: float = 0.0
    compared_s: float = 0.0
    cpu_s: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "published": self.published,
            "set_up_s": self.set_up_s,
            "migrated_s": self.migrated_s,
            "learners_a_second": round(self.learners / max(0.1, self.migrated_s), 1),
            "cpu_s": self.cpu_s,
            "compared_s": self.compared_s,
            **super().to_json(),
        }


async def run_trial(size: MigrationSize) -> MigrationReport:
    """Migrate the learners of a course, and measure it.

    1. the course and its learners are there before anything is measured  2. load alone  3. the course gets its new
    lessons; migrate under the same load, killed on the way  4. load alone once more: its learners have more behind
    them by now  5. everything folded and counted  6. compare with what it must be
    """
    report = MigrationReport(learners=size.learners)
    lessons = [ObjectId(f"{number + 1:024x}") for number in range(size.lessons + size.added)]
    history, others = History(_OTHERS, 20), dict[str, int]()

    async def stored(database: Database) -> None:
        await database.courses.insert_one(_course("1", lessons[: size.lessons]))
        await _store(database, size, lessons)
        others.update(await history.store(database, _OTHER_EVENTS))

    began = time.monotonic()
    settings = {"SEVENP_ROLES": "ingest,progress,counts"}
    topics = ("interaction-events", "worker-events")
    async with system(history, settings, topics=topics, before=stored) as world:
        await world.quiesce()  # 1
        before = await _milestones(world.database)
        report.set_up_s = round(time.monotonic() - began, 1)
        async with load(world.database, world.history, others, size.load, Seen()) as under_way:
            await _measured_alone(under_way, size, report)  # 2
            await world.database.courses.replace_one({"_id": _COURSE}, _course("2", lessons))  # 3
            await _migrated(world, size, report, under_way)
            await _measured_alone(under_way, size, report)  # 4
        await world.quiesce()  # 5
        began = time.monotonic()
        found = await asyncio.gather(found_by_oracle(world.database), found_by_verify(world))  # 6
        report.wrong += [*await _wrong(world.database, size, before), *chain(*found)]
        report.compared_s = round(time.monotonic() - began, 1)
    report.note_readers()
    return report


async def _measured_alone(under_way: Load, size: MigrationSize, report: MigrationReport) -> None:
    under_way.seen = Seen()
    await asyncio.sleep(_BETWEEN_S)
    under_way.seen = report.quiet
    await asyncio.sleep(size.quiet_s)
    under_way.seen = Seen()


async def _migrated(world: System, size: MigrationSize, report: MigrationReport, under_way: Load) -> None:
    """Start it until it is done, killed at random places, and wait until everybody's record has followed.

    Measured from its first learner on: before, it waits until ingest stamps the new lessons.
    """
    random = Random(size.seed)  # noqa: S311  # when to kill, not a secret
    kills = sorted(size.learners * random.uniform(0.02, 0.9) for _ in range(size.kills))
    began: float | None = None
    deadline = Deadline.after(SystemClock(), size.limit_s)

    def measure() -> None:
        nonlocal began
        began, report.cpu_s, under_way.seen = time.monotonic(), world.cpu_s(), report.loaded

    while True:
        kill_at = kills[report.kills] if report.kills < size.kills else None
        ended = await _attempt(world, size, kill_at, random, deadline, None if began else measure)
        if ended.code == 0:
            report.published = ended.summary["counts"]["published"]
            break
        if ended.code != KILLED or deadline.passed:
            report.wrong.append(f"it ended with {ended.code} before {size.limit_s} s: {ended.errors}")
            return
        report.kills += 1
    behind = {stream_object_id(stream_id(_COURSE, _learner(number))) for number in range(size.learners)}
    total = size.lessons + size.added
    await until(
        lambda: _all_follow(world.database, behind, total), "every record follows", deadline.remaining_s
    )
    report.migrated_s = round(time.monotonic() - (began or 0.0), 1)
    report.cpu_s = {name: round(now - report.cpu_s[name], 1) for name, now in world.cpu_s().items()}


async def _attempt(
    world: System,
    size: MigrationSize,
    kill_at: float | None,
    random: Random,
    deadline: Deadline,
    on_first: Callable[[], None] | None,
) -> Ended:
    """The command to its end, killed in the middle of what it does once so many learners have heard of it."""
    rate = (f"rate={size.rate}",) if size.rate else ()
    asked = ("jobs", "run", NAME, f"course={_COURSE}", *rate, "--json")
    kill = threading.Event()
    running = asyncio.create_task(world.command(*asked, kill_after_s=deadline.remaining_s, kill=kill))
    try:
        while not running.done():
            done = await _done(world.database)
            if done and on_first is not None:
                on_first()
                on_first = None
            if kill_at is not None and done >= kill_at:
                await asyncio.sleep(random.uniform(0, 0.5))
                kill.set()
            await asyncio.sleep(_LOOK_EVERY_S)
        return await running
    finally:
        kill.set()


async def _done(database: Database) -> int:
    run = await database.job_runs.find_one({"job": NAME}, {"progress.done": 1}, sort=[("started_at", -1)])
    return 0 if run is None else int(run["progress"]["done"])


async def _all_follow(database: Database, behind: set[ObjectId], total: int) -> bool:
    """Whether all of these records show so many lessons; those that do are taken out of the set."""
    while behind:
        some = {"_id": {"$in": list(islice(behind, _AT_ONCE))}, "progress.total_lessons": total}
        found = await database.user_progress.find(some, {"_id": 1}).to_list(None)
        if not found:
            return False
        behind -= {each["_id"] for each in found}
    return True


async def _wrong(database: Database, size: MigrationSize, before: Mapping[str, Milestones]) -> list[str]:
    """Each learner has been migrated once, nobody has reached or been told anything anew, no record was refused."""
    migrations = {"event_type": "curriculum_migrated"}
    events = await database.course_events.count_documents(migrations)
    streams = len(await database.course_events.distinct("stream_id", migrations))
    wrong = []
    if not events == streams == size.learners:
        wrong.append(f"{events} migrations in {streams} streams of {size.learners} learners")
    after = await _milestones(database)
    if changed := [each for each in before if after.get(each) != before[each]]:
        wrong.append(f"{len(changed)} learners have other milestones, or rows, than before")
    if dead_letters := await database.dead_letters.count_documents({}):
        wrong.append(f"{dead_letters} dead letters")
    return wrong


async def _milestones(database: Database) -> dict[str, Milestones]:
    """What each learner of the course has reached, and how many notifications they have, by stream."""
    of_course = {"course_id": _COURSE}
    by_stream: list[Document] = [
        {"$match": of_course},
        {"$group": {"_id": "$stream_id", "rows": {"$sum": 1}}},
    ]
    rows = {each["_id"]: each["rows"] for each in await driver.aggregate(database.notifications, by_stream)}
    records = await database.user_progress.find(of_course, {"milestones": 1, "stream_id": 1}).to_list(None)
    return {each["stream_id"]: (each["milestones"], rows.get(each["stream_id"], 0)) for each in records}


def _course(version: str, lessons: list[ObjectId]) -> Document:
    return {
        "_id": _COURSE,
        "title": "Migrated",
        "slug": "migrated",
        "instructor_id": ObjectId("5f0000000000000000c0ffed"),
        "status": "published",
        "created_at": BEGAN,
        "publication": {"version": version},
        "curriculum": [
            {"lessons": [{"_id": each, "type": "video"} for each in some]} for some in chunks(lessons, 30)
        ],
    }


async def _store(database: Database, size: MigrationSize, lessons: list[ObjectId]) -> None:
    known = known_course(_course("1", lessons[: size.lessons]))
    if known is None or known.ids is None:
        raise TypeError("the course of the trial names no lessons")
    await store_lists(database, [known.ids], datetime.now(UTC))
    stamps = Stamps({_COURSE: known})
    for some in chunks(range(size.learners), _AT_ONCE):
        documents = [each for number in some for each in _events(number, size, lessons, stamps)]
        await database.course_events.insert_many(documents, ordered=False)


def _learner(number: int) -> ObjectId:
    return ObjectId(f"{0xABC:06x}{number:018x}")


def _events(number: int, size: MigrationSize, lessons: list[ObjectId], stamps: Stamps) -> Iterator[Document]:
    """An enrolment and two lessons; one of a hundred has a long way behind them, one of two hundred has done all."""
    done = 2 if number % 100 else size.lessons // 2 if number % 200 else size.lessons
    user_id, now = _learner(number), datetime.now(UTC)
    for place in range(done + 1):
        act = (
            {"event_type": "complete", "lesson_id": lessons[place - 1]}
            if place
            else {"event_type": "course_enrolled"}
        )
        sent = {
            "event_id": UUID(int=(number << 32) + place + 1),
            "occurred_at": now - timedelta(days=30) + timedelta(seconds=place),
            "user_id": user_id,
            "course_id": _COURSE,
            **act,
        }
        event = decode_event(encode(sent), timestamp=now)
        if not isinstance(event, Event):
            raise TypeError(f"an event of the trial was rejected: {event}")
        stamp = stamps.curriculum(event, place + 1)
        yield event_document(event, place + 1, Source("trial", 0, number * 1_000 + place), now, stamp)
