"""One trial of `curriculum-migration` on a system of its own: MongoDB, Kafka, a worker, a course, and a load."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from bson import ObjectId

from tests.replay.commands import Commands
from tests.replay.history import History
from tests.replay.judge import found_by_verify, said_by_oracle
from tests.replay.load import Seen, load
from tests.replay.trial import System
from tests.support.platform import BEGAN
from tests.support.waiting import until
from worker.chunks import chunks
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.source import Source
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import start_mongod
from worker.devstack.servers.topics import create_topic
from worker.devstack.servers.worker_process import start_worker
from worker.ingest.enrich.course import known_course
from worker.ingest.enrich.stamps import Stamps
from worker.jobs.curriculum_migration import SETTLED_S
from worker.storage import driver
from worker.storage.database import Database, Document, make_client, open_database
from worker.storage.documents import event_document
from worker.storage.schema import apply_schema

_LIMIT_S = 1_800.0
_KILLED = -9
_COURSE = ObjectId("5f0000000000000000c0ffee")
_JOB = ("jobs", "run", "curriculum-migration")
# Of other courses, whose learners do something all the time.
_OTHERS, _OTHER_EVENTS = 500, 5_000


@dataclass(frozen=True, slots=True)
class Size:
    """How large a trial is: so many `kills` on the way, so much `load` a second, also `quiet_s` before it."""

    learners: int
    lessons: int
    added: int = 10
    kills: int = 5
    rate: int = 100
    load: int = 50
    quiet_s: float = 30.0
    seed: int = 7


@dataclass(slots=True)
class Report:
    """What was measured, and everything that is wrong."""

    size: Size
    quiet_p99_s: float = 0.0
    loaded_p99_s: float = 0.0
    kills: int = 0
    published: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def slower(self) -> float:
        """By how much the 99th percentile of freshness grew meanwhile."""
        return round(self.loaded_p99_s / max(0.001, self.quiet_p99_s), 2)

    def to_json(self) -> Mapping[str, Any]:
        learners = self.size.learners
        rate = round(learners / max(0.1, self.seconds))
        return {
            **asdict(self),
            "p99_grew": self.slower,
            "learners_a_second": rate,
            "wrong": self.wrong[:50],
            "wrongs": len(self.wrong),
        }


async def run_trial(size: Size) -> Report:
    """Migrate the learners of a course, and measure it.

    1. the course and its learners  2. load alone  3. the course gets its new lessons; migrate under load, killed on
    the way  4. everything folded and counted  5. compare with what it must be
    """
    report, random = Report(size), Random(size.seed)  # noqa: S311  # when to kill, not a secret
    lessons = [ObjectId(f"{number + 1:024x}") for number in range(size.lessons + size.added)]
    async with _system(size) as world:
        await world.database.courses.insert_one(_course("1", lessons[: size.lessons]))  # 1
        await _store(world.database, size, lessons)
        others = await world.history.store(world.database, _OTHER_EVENTS)
        await world.quiesce()
        before = await _milestones(world.database)
        quiet, seen = Seen(), Seen()
        async with load(world.database, world.history, others, size.load, quiet):  # 2
            await asyncio.sleep(size.quiet_s)
        report.quiet_p99_s = quiet.quantile_s(0.99)
        await world.quiesce()
        await world.database.courses.replace_one({"_id": _COURSE}, _course("2", lessons))  # 3
        async with load(world.database, world.history, others, size.load, seen):
            await _migrated(world, size, random, report)
        report.loaded_p99_s = seen.quantile_s(0.99)
        await world.quiesce()  # 4
        report.wrong += await _wrong(world.database, size, before)  # 5
        report.wrong += await said_by_oracle(world.database)
        report.wrong += await found_by_verify(world.database)
    return report


async def _migrated(world: System, size: Size, random: Random, report: Report) -> None:
    """Start it until it is done, killed at times, and wait until everybody's record has followed."""
    asked = (*_JOB, f"course={_COURSE}", f"rate={size.rate}", "--json")
    began, shortest_s = time.monotonic(), SETTLED_S + 2
    while True:
        longest_s = max(4.0, size.learners / size.rate / (size.kills + 1))
        after_s = shortest_s + random.uniform(0.5, longest_s) if report.kills < size.kills else None
        ended = await world.command(*asked, kill_after_s=after_s)
        if ended.code == 0:
            report.published = ended.summary["counts"]["published"]
            break
        if ended.code != _KILLED:
            report.wrong.append(f"it ended with {ended.code}: {ended.errors}")
            return
        report.kills += 1
        shortest_s = 2.0  # its lease runs out first
    await until(lambda: _all_follow(world.database, size), "every record follows", _LIMIT_S)
    report.seconds = round(time.monotonic() - began - SETTLED_S, 1)


async def _all_follow(database: Database, size: Size) -> bool:
    total = {"course_id": _COURSE, "progress.total_lessons": size.lessons + size.added}
    return await database.user_progress.count_documents(total) == size.learners


async def _wrong(database: Database, size: Size, before: Mapping[Any, Any]) -> list[str]:
    told = {"event_type": "curriculum_migrated"}
    events = await database.course_events.count_documents(told)
    streams = await driver.aggregate(
        database.course_events, [{"$match": told}, {"$group": {"_id": "$stream_id"}}, {"$count": "streams"}]
    )
    wrong = []
    if not events == size.learners == streams[0]["streams"]:
        wrong.append(f"{events} migrations in {streams} of {size.learners} learners")
    after = await _milestones(database)
    if changed := [each for each in before if after[each] != before[each]]:
        wrong.append(f"{len(changed)} learners have other milestones, or rows, than before")
    if letters := await database.dead_letters.count_documents({}):
        wrong.append(f"{letters} dead letters")
    return wrong


async def _milestones(database: Database) -> dict[Any, Any]:
    """What each learner of the course has reached, and how often they were told."""
    found: dict[Any, Any] = {}
    async for record in database.user_progress.find(
        {"course_id": _COURSE}, {"milestones": 1, "stream_id": 1}
    ):
        found[record["stream_id"]] = [record["milestones"], 0]
    rows = await driver.aggregate(
        database.notifications,
        [{"$match": {"course_id": _COURSE}}, {"$group": {"_id": "$stream_id", "rows": {"$sum": 1}}}],
    )
    for row in rows:
        found[row["_id"]][1] = row["rows"]
    return found


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


async def _store(database: Database, size: Size, lessons: list[ObjectId]) -> None:
    known = known_course(_course("1", lessons[: size.lessons]))
    assert known is not None
    for some in chunks(range(size.learners), 500):
        documents = [
            each for number in some for each in _events(number, size, lessons, Stamps({_COURSE: known}))
        ]
        await database.course_events.insert_many(documents, ordered=False)


def _events(number: int, size: Size, lessons: list[ObjectId], stamps: Stamps) -> Iterator[Document]:
    """An enrolment and a few lessons; every fiftieth has a long way behind them, every hundredth has done all."""
    done = 2 if number % 50 else size.lessons // 2 if number % 100 else size.lessons
    user_id, now = ObjectId(f"{0xABC:06x}{number:018x}"), datetime.now(UTC)
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


@contextlib.asynccontextmanager
async def _system(size: Size) -> AsyncIterator[System]:
    """Everything that a trial needs, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="migration-") as name:
        folder = Path(name)
        mongod, broker = await start_mongod(folder), await start_broker(folder / "kafka")
        client = make_client(mongod.uri)
        settings = {
            "SEVENP_MONGODB_URI": mongod.uri,
            "SEVENP_DATABASE_PREFIX": "migration",
            "SEVENP_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "SEVENP_ROLES": "ingest,progress,counts",
            "SEVENP_JOBS_LEASE_S": "2",
            "SEVENP_NOTIFY_WITHIN_HOURS": "1",
        }
        worker = None
        try:
            for topic in ("interaction-events", "worker-events"):
                await create_topic(broker.bootstrap_servers, topic, partitions=4)
            database = open_database(client, "migration")
            await apply_schema(database)
            history = History(_OTHERS, 20)
            await history.store_platform(database)
            worker = start_worker(folder, settings)
            yield System(database, Commands(folder, settings), worker, history)
        finally:
            if worker is not None and worker.process is not None:
                worker.process.stop()
            await driver.close(client)
            broker.stop()
            mongod.stop()
