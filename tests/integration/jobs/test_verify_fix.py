"""`verify --fix`: one damage of each kind is found, mended or named with the reason, and verify agrees afterwards."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128

from tests.integration.jobs.test_rebuild_rows import runner_of
from tests.integration.verify.counted import INSTRUCTOR, counted, store_counted
from tests.integration.verify.dead_letters import dead_letter
from tests.integration.verify.history import COURSE, Learner, learner, store
from tests.integration.verify.test_verify_counts_damage import paying
from tests.integration.verify.test_verify_damage import put
from tests.support.counts import count
from tests.support.ingest import options
from worker.cli.left import print_left
from worker.contract.identity import foreign_object_id, stream_object_id
from worker.ingest.row_removal import deletes_rows
from worker.jobs import operate
from worker.jobs.errors import Cancelled
from worker.jobs.runner import Runner
from worker.jobs.series import NO_DELETES
from worker.jobs.verify_fix import VERIFY_FIX, VerifyFix
from worker.storage.database import Database, Document
from worker.storage.outbox import REMADE, notification_id
from worker.verify.run import verify

NEVER = DatetimeMS(253_402_300_800_000)
TOPIC = "t"  # from which the events of the tests' history came
FAR = 2**53


@dataclass(frozen=True, slots=True)
class World:
    """A store in which everything agrees, of two learners: `vic` pays, and is damaged; `ben` is not."""

    database: Database
    vic: Learner
    ben: Learner

    @property
    def record(self) -> Document:
        return {"_id": stream_object_id(self.vic.stream)}

    @property
    def welcome(self) -> Document:
        return {"_id": notification_id("welcome", self.vic.stream)}

    @property
    def billing(self) -> Document:
        return {"_id": foreign_object_id("vic-1")}


Damage = Callable[[World], Awaitable[Any]]


def changed(collection: str, which: str, fields: Mapping[str, Any]) -> Damage:
    """Somebody writes to a document, past its validator."""

    async def damage(world: World) -> None:
        await world.database.collection(collection).update_one(
            getattr(world, which), {"$set": dict(fields)}, bypass_document_validation=True
        )

    return damage


def deleted(collection: str, which: str) -> Damage:
    async def damage(world: World) -> None:
        await world.database.collection(collection).delete_one(getattr(world, which))

    return damage


def platform(collection: str, identity: Any, fields: Mapping[str, Any]) -> Damage:
    async def damage(world: World) -> None:
        await world.database.collection(collection).update_one({"_id": identity}, {"$set": dict(fields)})

    return damage


async def own_statistics(world: World) -> None:
    user = world.vic.progress["user_id"]
    await world.database.users.update_one({"_id": user}, {"$set": {"stats.courses_enrolled": 7}})


async def own_log(world: World) -> None:
    user = world.vic.progress["user_id"]
    await world.database.users.update_one({"_id": user}, {"$set": {"activity_log": []}})


async def second_row(world: World) -> None:
    row = await world.database.notifications.find_one(world.welcome) or {}
    await put(world.database.notifications, {**row, "_id": "welcome:elsewhere"})


async def row_of_nothing(world: World) -> None:
    row = await world.database.notifications.find_one(world.welcome) or {}
    key = notification_id("completion", world.vic.stream)
    await put(world.database.notifications, {**row, "_id": key, "kind": "completion"})


async def hole(world: World) -> None:
    [void] = [each for each in world.ben.events if each["event_type"] == "void"]
    await world.database.course_events.delete_one({"_id": void["_id"]})


MENDED: Mapping[str, tuple[str, Damage]] = {
    "a record is altered": ("progress_different", changed("user_progress", "record", {"status": "paused"})),
    "a record lost a path": (
        "progress_different",
        changed("user_progress", "record", {"progress.percentage": 99.0}),
    ),
    "a record has another type": ("document_malformed", changed("user_progress", "record", {"rev": 1.0})),
    "a record cannot be read": (
        "document_unreadable",
        changed("user_progress", "record", {"enrollment_date": NEVER}),
    ),
    "a record is deleted": ("progress_missing", deleted("user_progress", "record")),
    "a projection is altered": (
        "projection_different",
        changed("user_progress_projections", "record", {"counted.progress": 7}),
    ),
    "a projection has another type": (
        "document_malformed",
        changed("user_progress_projections", "record", {"source_rev": 1.0}),
    ),
    "a projection cannot be read": (
        "document_unreadable",
        changed("user_progress_projections", "record", {"last_updated": NEVER}),
    ),
    "a projection is deleted": ("projection_missing", deleted("user_progress_projections", "record")),
    "a course's counter": ("statistics_different", platform("courses", COURSE, {"stats.sums.learners": 9})),
    "a course's statistics": (
        "statistics_different",
        platform("courses", COURSE, {"stats.enrollments.total": 9}),
    ),
    "a user's counter": ("statistics_different", own_statistics),
    "an instructor's counter": (
        "statistics_different",
        platform("users", INSTRUCTOR, {"stats.total_students": 9}),
    ),
    "a user's log": ("activity_log_different", own_log),
    "a notification is altered": (
        "notification_different",
        changed("notifications", "welcome", {"data": {}}),
    ),
    "a notification is deleted": ("notification_missing", deleted("notifications", "welcome")),
    "a notification has another type": (
        "document_malformed",
        changed("notifications", "welcome", {"attempts": 1.0}),
    ),
    "a notification cannot be read": (
        "document_unreadable",
        changed("notifications", "welcome", {"due_at": NEVER}),
    ),
    "a second notification": ("notification_repeated", second_row),
    "a notification of nothing": ("notification_unknown", row_of_nothing),
    "a billing row is altered": (
        "billing_different",
        changed("billing_transactions", "billing", {"amount": Decimal128("1.00")}),
    ),
    "a billing row is deleted": ("billing_missing", deleted("billing_transactions", "billing")),
    "a billing row has another type": (
        "billing_different",
        changed("billing_transactions", "billing", {"currency": 7}),
    ),
    "a hole in the versions": ("version_hole", hole),
}


@pytest.fixture
async def runner(database: Database, kafka: str, topic: str) -> Runner:
    """With a group that has committed everything of the topic that the history came from."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    except TopicAlreadyExistsError:
        pass
    finally:
        await admin.close()
    chosen = options(kafka, topic)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=chosen.consumer.kafka.group_id, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(TOPIC, 0)])
        await consumer.commit({TopicPartition(TOPIC, 0): FAR})
    finally:
        await consumer.stop()
    history = options(kafka, TOPIC)
    group = replace(history.consumer, kafka=chosen.consumer.kafka)
    return runner_of(database, replace(history, consumer=group))


async def world_of(database: Database, rows: Callable[[Learner], list[Document]] | None = None) -> World:
    vic, ben = paying("vic"), learner("ben")
    await store(database, [vic, ben], {vic.stream: rows(vic)} if rows else None)
    await store_counted(database, counted([vic, ben]), [vic, ben])
    await count(database, courses=[COURSE])  # notes whom the course is counted for
    return World(database, vic, ben)


@pytest.mark.parametrize("name", MENDED)
async def test_what_is_damaged_is_found_and_mended_and_verify_agrees(
    database: Database, runner: Runner, name: str
) -> None:
    kind, damage = MENDED[name]
    world = await world_of(database)
    assert (await verify(database, quiescent=True)).ok
    await damage(world)
    assert kind in (await verify(database, quiescent=True)).finding_counts
    fix = VerifyFix(settled=True)
    shown = await runner.run(VERIFY_FIX, fix, dry_run=True)
    assert (shown.outcome["ok"], shown.outcome["left"]) == (False, [])
    assert kind in (await verify(database, quiescent=True)).finding_counts  # a dry run changes nothing
    result = await runner.run(VERIFY_FIX, fix)
    assert (result.outcome["left"], result.outcome["ok"]) == ([], True)
    assert (await verify(database, quiescent=True)).ok
    assert await database.notifications.count_documents({"status": "pending"}) <= 2


def missing(vic: Learner) -> list[Document]:
    return vic.rows[1:]


def doubled(vic: Learner) -> list[Document]:
    return [*vic.rows, vic.rows[0]]


def altered(vic: Learner) -> list[Document]:
    return [{**vic.rows[0], "value": -1}, *vic.rows[1:]]


@pytest.mark.parametrize(
    ("rows", "kind"), [(missing, "row_missing"), (doubled, "row_doubled"), (altered, "row_different")]
)
async def test_a_row_of_the_time_series_is_mended_or_named_with_its_event(
    database: Database, runner: Runner, rows: Callable[[Learner], list[Document]], kind: str
) -> None:
    world = await world_of(database, rows)
    assert (await verify(database, quiescent=True)).finding_counts == {kind: 1}
    result = await runner.run(VERIFY_FIX, VerifyFix(settled=True))
    after = await verify(database, quiescent=True)
    if kind == "row_missing" or await deletes_rows(database):
        assert after.ok, after.findings
        assert result.outcome["left"] == []
        return
    assert after.finding_counts == {kind: 1}
    [left] = result.outcome["left"]
    assert left == {
        "kind": kind,
        "subject": world.vic.stream,
        "id": str(world.vic.rows[0]["_id"]),
        "reason": NO_DELETES,
    }


async def test_an_altered_row_that_waited_to_be_sent_is_held_back_and_told(
    database: Database, runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await world_of(database)
    await world.database.notifications.update_one(world.welcome, {"$set": {"data": {}, "status": "pending"}})
    result = await runner.run(VERIFY_FIX, VerifyFix(settled=True))
    assert (result.outcome["ok"], result.run.counts["held_back"]) == (True, 1)
    row = await database.notifications.find_one(world.welcome)
    assert row is not None
    assert (row["status"], row["last_error"]) == ("suppressed", REMADE)
    print_left(result)
    shown = " ".join(capsys.readouterr().out.split())
    assert "though they had been waiting to be sent: 1 notification." in shown
    assert "--send RUN has them sent" in shown


@dataclass(slots=True)
class Gate:
    """Somebody cancels the run when it has passed so often."""

    database: Database
    passes: int
    passed: int = 0

    async def closed(self) -> str | None:
        self.passed += 1
        if self.passed == self.passes:
            run = await self.database.job_runs.find_one({"job": "verify-fix"})
            assert run is not None
            await operate.cancel(self.database, run["_id"], "ben@ops-2", datetime.now(UTC))
        return None


async def test_a_check_of_everything_can_be_cancelled_in_its_middle(
    database: Database, runner: Runner
) -> None:
    await world_of(database)
    gate = Gate(database, 4)
    with pytest.raises(Cancelled, match="cancelled by ben@ops-2"):
        await Runner(replace(runner.parts, gate=gate), "anna@ops-1").run(VERIFY_FIX, VerifyFix(settled=True))
    assert gate.passed == gate.passes


async def test_all_that_is_left_is_counted_by_its_reason_and_the_first_of_it_named(
    database: Database, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.jobs.naming.NAMED", 1)
    await world_of(database)
    await put(database.dead_letters, *({**dead_letter(number), "size_bytes": 5} for number in range(3)))
    result = await runner.run(VERIFY_FIX, VerifyFix(settled=True))
    assert len(result.outcome["left"]) == 1
    [reason] = result.outcome["left_by_reason"]
    assert (reason["kind"], reason["number"], result.outcome["findings"]) == ("dead_letter_damaged", 3, 3)
