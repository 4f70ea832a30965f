"""Records of learners, courses and users, running counts, and the statistics they must lead to."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

from bson import ObjectId
from bson.decimal128 import Decimal128

from projections.counts import COUNTS_VERSION
from projections.event import StoredEvent
from projections.progress import fold
from tests.support.running import RunningRole, run
from tests.support.settings import changed
from tests.unit.projections.events import arrive, course_event, event
from worker.contract.identity import stream_id, stream_object_id
from worker.settings import CountsSettings
from worker.storage import driver
from worker.storage.database import Client, Database, Document
from worker.storage.transactions import Transactions
from worker.telemetry.health import Health
from worker.telemetry.labels import RestartReason
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, SystemClock
from worker.watch.roles import Watcher, counters, record_follower
from worker.watch.sums.attempt import Keys
from worker.watch.sums.counting import Counter
from worker.watch.sums.runner import Dependencies

_AT_ONCE = 50

# What happens in these stories happened long ago.
EVER = timedelta(days=36_500)
SETTINGS = CountsSettings(
    await_ms=50,
    lease_s=5.0,
    renewals_per_lease=25.0,
    save_every_s=0.0,
    notify_within_hours=EVER / timedelta(hours=1),
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def course(number: int) -> ObjectId:
    return ObjectId(f"c{number:023x}")


def user(number: int) -> ObjectId:
    return ObjectId(f"a{number:023x}")


def instructor(number: int) -> ObjectId:
    return ObjectId(f"d{number:023x}")


@dataclass(slots=True)
class Learner:
    """One learner in one course; `events` in the order of their arrival."""

    course: ObjectId
    user: ObjectId
    events: list[StoredEvent] = field(default_factory=list)
    rev: int = 0

    @property
    def identity(self) -> ObjectId:
        return stream_object_id(stream_id(self.course, self.user))

    def event(self, event_type: str, at: float = 0, **fields: Any) -> StoredEvent:
        """An event of this learner, `at` seconds into the story."""
        return event(event_type, at, user_id=str(self.user), course_id=str(self.course), **fields)

    def meet(self, event_type: str, at: float = 0, **fields: Any) -> "Learner":
        """Let an event arrive."""
        self.events.append(self.event(event_type, at, **fields))
        return self

    def enrol(self, at: float = 0, *, pays: str | None = None, lessons: int = 2) -> "Learner":
        details: dict[str, Any] = {"total_lessons": lessons}
        if pays is not None:
            details["payment"] = {
                "transaction_id": pays,
                "amount": "19.90",
                "currency": "EUR",
                "method": "card",
            }
        return self.meet("course_enrolled", at, details=details)

    def finish(self, at: float = 100, lessons: int = 2) -> "Learner":
        for lesson in range(1, lessons + 1):
            self.meet("complete", at + lesson, lesson=lesson)
        return self

    def record(self, by: Any = "live") -> Document:
        return {"_id": self.identity, "rev": self.rev, **fold(None, arrive(self.events), by)}

    async def store(self, database: Database, by: Any = "live") -> "Learner":
        """Write the record as the progress role would: every write raises `rev`. Payments have their events."""
        self.rev += 1
        for each in map(course_event, arrive(self.events)):
            if "payment" in each["event_data"]["details"]:
                await database.course_events.replace_one({"_id": each["_id"]}, each, upsert=True)
        await database.user_progress.replace_one({"_id": self.identity}, self.record(by), upsert=True)
        return self


async def store_all(database: Database, learners: Iterable[Learner]) -> None:
    """Some at a time: a thousand at once would wait for connections, and give up on a busy machine."""
    everybody = iter(learners)
    while some := list(islice(everybody, _AT_ONCE)):
        await asyncio.gather(*(learner.store(database) for learner in some))


async def add_course(database: Database, number: int, *, taught_by: int = 0, **fields: Any) -> None:
    """Insert a course as the platform does, or put it in place of the one there is."""
    document = {
        "title": f"Course {number}",
        "slug": f"course-{number}",
        "instructor_id": instructor(taught_by),
        "status": "published",
        "created_at": NOW,
        **fields,
    }
    await database.courses.replace_one({"_id": course(number)}, document, upsert=True)


async def add_user(database: Database, identity: ObjectId, **fields: Any) -> None:
    document = {"email": f"{identity}@example.com", "username": str(identity), **fields}
    await database.users.replace_one({"_id": identity}, document, upsert=True)


async def add_platform(database: Database, courses: int, users: int, instructors: int = 1) -> None:
    """Everybody's documents; course n is taught by instructor n modulo their number."""
    for number in range(courses):
        await add_course(database, number, taught_by=number % instructors)
    for number in range(users):
        await add_user(database, user(number))
    for number in range(instructors):
        await add_user(database, instructor(number))


async def only(database: Database, collection: str) -> Document:
    """The only document of a collection."""
    (document,) = await database.collection(collection).find({}).to_list(None)
    return document


# ---- what the statistics must be: from the records, by another way than the worker's ----


def expected_course(records: Sequence[Document]) -> Document:
    """The visible part of `courses.stats` for these learners."""
    total = len(records)
    finished = [each for each in records if each["milestones"]["completed"]]
    stars = [Fraction(str(each["rating"]["value"])) for each in records if each["rating"]]
    reached = sum((Fraction(str(each["progress"]["percentage"])) for each in records), Fraction())
    return {
        "enrollments": {
            "total": total,
            "active": sum(each["status"] == "active" and each not in finished for each in records),
            "completed": len(finished),
        },
        "ratings": {
            "average": average(stars),
            "total_reviews": len(stars),
            "distribution": {str(n): sum(half_up(each) == n for each in stars) for n in range(1, 6)},
        },
        "engagement": {
            "completion_rate": len(finished) / total if total else 0.0,
            "average_progress": float(reached / 100 / total) if total else 0.0,
            "discussion_posts": sum(each["social"]["discussion_posts"] for each in records),
            "questions_asked": sum(each["social"]["questions_asked"] for each in records),
        },
    }


def expected_user(
    own: Sequence[Document],
    taught: Sequence[Document],
    *,
    teaches: bool,
    courses: int = 1,
    revenue: Mapping[str, float] | None = None,
) -> Document:
    """The visible part of `users.stats` for somebody's own records and those of the `courses` taught."""
    stars = [Fraction(str(each["rating"]["value"])) for each in taught if each["rating"]]
    instructor_part = {
        "courses_created": courses,
        "total_students": len({each["user_id"] for each in taught}),
        "avg_rating": average(stars),
        "total_revenue": (revenue or {}).get("USD", 0.0),
        "revenue": revenue or {},
    }
    return {
        "courses_enrolled": len(own),
        "courses_completed": sum(each["milestones"]["completed"] is not None for each in own),
        "certificates_earned": sum(len(each["certificates"]) for each in own),
        **(instructor_part if teaches else {}),
    }


def half_up(number: Fraction) -> int:
    return int(number + Fraction(1, 2))


def average(stars: Sequence[Fraction]) -> float:
    return half_up(sum(stars, Fraction()) / len(stars) * 100) / 100 if stars else 0.0


async def assert_counted(database: Database) -> None:
    """Every document shows the statistics of the records as they are now."""
    records = await database.user_progress.find({}).to_list(None)
    courses = {each["_id"]: each async for each in database.courses.find({})}
    for identity, document in courses.items():
        own = [each for each in records if each["course_id"] == identity]
        assert visible(document["stats"]) == expected_course(own), identity
    async for document in database.users.find({}):
        taught = {each for each, one in courses.items() if one["instructor_id"] == document["_id"]}
        expected = expected_user(
            [each for each in records if each["user_id"] == document["_id"]],
            [each for each in records if each["course_id"] in taught],
            teaches=bool(taught) or "total_students" in document["stats"],
            courses=sum(courses[each].get("deleted_at") is None for each in taught),
            revenue=await expected_revenue(database, taught),
        )
        assert visible(document["stats"]) == expected, document["_id"]
        log = [each["course_id"] for each in document.get("activity_log", [])]
        assert sorted(log) == sorted(
            each["course_id"] for each in records if each["user_id"] == document["_id"]
        )


async def expected_revenue(database: Database, courses: Iterable[ObjectId]) -> dict[str, float]:
    """What was paid for these courses and not given back, by currency."""
    sums: dict[str, Decimal] = {}
    async for row in database.billing_transactions.find({"course_id": {"$in": list(courses)}}):
        if row["status"] in ("completed", "refunded") and "stream_id" in row:
            refunded = row["refunded_amount"] or Decimal128("0")
            kept = row["amount"].to_decimal() - refunded.to_decimal()
            sums[row["currency"]] = sums.get(row["currency"], Decimal(0)) + kept
    return {name: float(amount) for name, amount in sorted(sums.items())}


def visible(stats: Document) -> Document:
    return {name: value for name, value in stats.items() if name != "sums"}


async def statistics(database: Database) -> dict[ObjectId, tuple[Document, list[Any]]]:
    """All that counting writes into courses and users."""
    return {
        document["_id"]: (document.get("stats", {}), document.get("activity_log", []))
        for collection in (database.courses, database.users)
        async for document in collection.find({})
    }


async def snapshot(database: Database, *, instructors: bool = True) -> list[str]:
    """Where, at this moment, a document's sums are not the sum over projections. Empty when all is well.

    `instructors=False` where somebody deletes courses: their instructors follow a little later.
    """
    session = await driver.start_session(database.client)
    try:
        await driver.start_transaction(session)
        projections = await database.user_progress_projections.find({}, session=session).to_list(None)
        courses = await database.courses.find({"stats.sums": {"$exists": True}}, session=session).to_list(
            None
        )
        users = await database.users.find({"stats.sums": {"$exists": True}}, session=session).to_list(None)
        kept = database.collection("instructor_statistics").find({}, session=session)
        teaching = {each.pop("_id"): each for each in await kept.to_list(None)}
        await session.commit_transaction()
    finally:
        await session.end_session()
    wrong = [
        f"course {each['_id']}"
        for each in courses
        if each["stats"]["sums"]
        != added([one for one in projections if one["course_id"] == each["_id"]], each["stats"]["sums"])
    ]
    for each in users:
        sums = each["stats"]["sums"]
        own = [one for one in projections if one["user_id"] == each["_id"]]
        if sums["learning"] != added(own, sums["learning"]):
            wrong.append(f"learner {each['_id']}")
        if not instructors:
            continue
        taught = [one for one in courses if one["instructor_id"] == each["_id"]]
        students = {one["user_id"] for one in projections if one["course_id"] in {i["_id"] for i in taught}}
        summed = total([one["stats"]["sums"] for one in taught], ("enrolled", "rated", "rating"))
        shown = sums.get("teaching", {"revenue": {}})
        expected = {**summed, "students": len(students), "courses": len(taught), "revenue": shown["revenue"]}
        if "teaching" in sums and (shown != expected or teaching.get(each["_id"]) != expected):
            wrong.append(f"instructor {each['_id']}")
    return wrong


def added(projections: Iterable[Document], names: Iterable[str]) -> dict[str, int]:
    return total([each["counted"] for each in projections], names)


def total(vectors: Iterable[dict[str, int]], names: Iterable[str]) -> dict[str, int]:
    rows = list(vectors)
    return {name: sum(row[name] for row in rows) for name in names}


# ---- running ----


async def nothing() -> None:
    """No lease is held."""


def dirty_keys(
    learners: Iterable[ObjectId] = (), courses: Iterable[ObjectId] = (), users: Iterable[ObjectId] = ()
) -> Keys:
    """What has moved, as a follower hands it to counting."""
    named = {"learner": learners, "course": courses, "user": users}
    return frozenset((kind, each) for kind, some in named.items() for each in some)


def dependencies(
    database: Database,
    *,
    client: Client | None = None,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    keep_alive: Callable[[], Awaitable[None]] = nothing,
) -> Dependencies:
    """What sums and read models work with, without lease and change stream."""
    transactions = Transactions(client or database.client)
    measured = metrics or Metrics(catalogue=database.catalogue)
    return Dependencies(database, transactions, clock or SystemClock(), measured, keep_alive, "test")


def counter(given: Dependencies, notify_within: timedelta = EVER, name: str = "counts") -> Counter:
    """What keeps one of the catalogue's sums."""
    return counters(given, notify_within)[name]


@contextlib.asynccontextmanager
async def counting(
    database: Database,
    client: Client | None = None,
    *,
    notify_within: timedelta = EVER,
    metrics: Metrics | None = None,
) -> AsyncIterator[Counter]:
    """A counter alone, without lease and change stream."""
    given = dependencies(database, client=client, metrics=metrics)
    try:
        yield counter(given, notify_within)
    finally:
        await given.transactions.close()


async def count(database: Database, learners: Iterable[Learner] = (), **others: Iterable[ObjectId]) -> None:
    """Count these learners, and sum these `courses` and `users` anew, once."""
    async with counting(database) as keeping:
        await keeping.count(dirty_keys((each.identity for each in learners), **others))


@dataclass(slots=True)
class RunningCounts(RunningRole):
    """A counts role in this process."""

    database: Database

    def restarts(self, reason: str) -> int:
        return int(self.value("change_stream_restarts_total", watcher="counts", reason=reason))

    def lost(self) -> int:
        """How often the change stream could not tell what happened, so that everything was compared."""
        return self.restarts(RestartReason.HISTORY_LOST) + self.restarts(RestartReason.INVALIDATED)

    async def until_following(self) -> None:
        """The change stream has answered: what is stored from now on arrives by it."""
        heard = "change_stream_last_heartbeat_timestamp_seconds"
        await self.until(lambda: self.value(heard, watcher="counts") > 0, "the change stream followed")

    async def until_caught_up(self) -> None:
        """Everything was compared once: from now on only the change stream tells of anything."""

        async def compared() -> bool:
            saved = {"_id": "counts:00", "versions.counts": COUNTS_VERSION}
            return await self.database.projection_state.count_documents(saved) == 1

        await self.until(compared, "everything compared")

    def holds(self) -> bool:
        return self.value("lease_held", lease="counts:00") == 1

    async def until_counted(self) -> None:
        """Every record is counted as it stands, and the statistics are theirs."""

        async def counted() -> bool:
            try:
                await assert_counted(self.database)
            except (AssertionError, KeyError):
                return False
            return True

        try:
            await self.until(counted, "all records counted")
        except AssertionError:
            await assert_counted(self.database)  # says what differs
            raise


@contextlib.asynccontextmanager
async def running(
    database: Database, *, owner: str = "", checked_by: Database | None = None, **changes: Any
) -> AsyncIterator[RunningCounts]:
    """Run a counts role; it is drained at the end, unless the test has ended it.

    `checked_by` reads what the role did where the role has a client of its own.
    """
    clock, metrics = SystemClock(), Metrics()
    component, settings = Health(clock).component("counts"), changed(SETTINGS, **changes)
    role = record_follower(Watcher(database, clock, component, metrics, settings, owner or uuid.uuid4().hex))
    async with run(
        role, lambda task, stop: RunningCounts(metrics, task, stop, checked_by or database)
    ) as watcher:
        yield watcher
