"""Verify finds each single thing that is not counted as its record says, and nothing in work that is under way."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from pymongo import MongoClient, monitoring
from pymongo.read_concern import ReadConcern

from projections.counts import Counted, Teaching, count_learner, course_stats, sums_in, user_stats
from tests.conftest import RunningMongo
from tests.integration.verify.counted import (
    INSTRUCTOR,
    counted,
    course_document,
    store_counted,
    user_document,
)
from tests.integration.verify.history import COURSE, START, Learner, as_sent, learner, progress_of, store
from tests.support.clocks import ManualClock
from worker.contract.identity import foreign_object_id
from worker.storage.database import CODEC_OPTIONS, Database, Document, make_client, open_database
from worker.storage.driver import close
from worker.verify import snapshots
from worker.verify.counts_check import check_counts
from worker.verify.findings import Grace, Run, Tally, Verification
from worker.verify.run import verify
from worker.verify.sums_check import SECOND_LOOK_S

NAMES = ("ada", "ben", "vic", "zoe")
TARGET = foreign_object_id("vic")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pages of everything."""
    monkeypatch.setattr(snapshots, "PAGE", 3)


@pytest.fixture
def history() -> list[Learner]:
    return [paying(learner(name)) if name == "vic" else learner(name) for name in NAMES]


@pytest.fixture
async def store_of(database: Database, history: list[Learner]) -> Database:
    """A store in which everything agrees."""
    await store(database, history)
    await store_counted(database, counted(history), history)
    return database


def paying(learner: Learner) -> Learner:
    """The same learner, whose enrolment names a payment."""
    enrolment = learner.events[0]
    payment = {"transaction_id": "tx-1", "amount": "49.90", "currency": "EUR", "method": "card"}
    details = {**enrolment["event_data"]["details"], "payment": payment}
    paid = as_sent({**enrolment, "event_data": {**enrolment["event_data"], "details": details}})
    events = (paid, *learner.events[1:])
    return Learner(events, progress_of(events))


def kinds(verification: Verification) -> Mapping[str, int]:
    return verification.finding_counts


async def quiescent(database: Database) -> Verification:
    return await verify(database, quiescent=True)


async def live(database: Database) -> Verification:
    """Some minutes after the events were recorded, with a clock that the second look does not have to wait for."""
    return await verify(database, clock=ManualClock(START + timedelta(minutes=10)))


async def test_a_counted_history_is_ok_and_completely_counted(store_of: Database) -> None:
    verification = await quiescent(store_of)

    assert verification.ok, verification.findings
    shown = {name: value for name, value in verification.to_json().items() if value}
    assert shown["projections"] == 4
    assert (shown["courses"], shown["users"]) == (1, 5)
    assert (shown["notifications"], shown["billing_transactions"]) == (4, 1)
    assert not {"uncounted", "statistics_missing", "statistics_refused"} & set(shown)


Damage = Callable[[Database], Awaitable[Any]]


def update(collection: str, identity: Any, **paths: Any) -> Damage:
    change = {"$set": {path.replace("__", "."): value for path, value in paths.items()}}
    return lambda database: database.collection(collection).update_one({"_id": identity}, change)


def delete(collection: str, **query: Any) -> Damage:
    return lambda database: database.collection(collection).delete_one(query)


PROJECTION = learner("vic").progress["_id"]
WELCOME = f"welcome:{learner('vic').stream}"
BILLED = {"transaction_id": "tx-1"}
OF_A_RELEASE_BEFORE = (
    "event_id",
    "user_id",
    "course_id",
    "amount",
    "currency",
    "payment_method",
    "transaction_id",
    "status",
    "created_at",
)


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("projection_missing", delete("user_progress_projections", _id=PROJECTION)),
        ("projection_behind", update("user_progress_projections", PROJECTION, source_rev=0)),
        ("projection_ahead", update("user_progress_projections", PROJECTION, source_rev=9)),
        ("projection_different", update("user_progress_projections", PROJECTION, counted__questions_asked=1)),
        ("projection_different", update("user_progress_projections", PROJECTION, last_event_version=3)),
        ("projection_unknown", delete("user_progress", _id=PROJECTION)),
        ("statistics_different", update("courses", COURSE, stats__enrollments__total=5)),
        ("statistics_different", update("courses", COURSE, stats__sums__progress=1)),
        ("statistics_different", update("courses", COURSE, stats__engagement__average_progress=0.5)),
        ("statistics_different", update("users", TARGET, stats__courses_enrolled=2)),
        ("statistics_different", update("users", INSTRUCTOR, stats__total_students=3)),
        ("statistics_missing", lambda it: it.courses.update_one({"_id": COURSE}, {"$unset": {"stats": 1}})),
        ("statistics_missing", lambda it: it.users.update_one({"_id": TARGET}, {"$unset": {"stats": 1}})),
        ("activity_log_different", update("users", TARGET, activity_log=[])),
        (
            "activity_log_different",
            lambda it: it.users.update_one(
                {"_id": TARGET}, [{"$set": {"activity_log": {"$concatArrays": ["$activity_log"] * 2}}}]
            ),
        ),
        ("notification_missing", delete("notifications", _id=WELCOME)),
        ("notification_different", update("notifications", WELCOME, status="suppressed")),
        ("notification_different", update("notifications", WELCOME, user_id=ObjectId())),
        ("billing_missing", delete("billing_transactions", **BILLED)),
        (
            "billing_different",
            lambda it: it.billing_transactions.update_one(BILLED, {"$set": {"created_at": START}}),
        ),
        (
            "billing_different",
            lambda it: it.billing_transactions.update_one(BILLED, {"$set": {"amount": Decimal128("4.99")}}),
        ),
    ],
)
async def test_each_single_thing_that_is_wrong_is_found(
    store_of: Database, kind: str, damage: Damage
) -> None:
    await damage(store_of)

    assert kind in kinds(await quiescent(store_of))


async def test_a_notification_that_no_milestone_explains_is_found(store_of: Database) -> None:
    row = await store_of.notifications.find_one({"_id": WELCOME}) or {}
    ghost = learner("ghost").stream
    for identity, kind, stream in (("a", "completion", row["stream_id"]), ("b", "welcome", ghost)):
        await store_of.notifications.insert_one({**row, "_id": identity, "kind": kind, "stream_id": stream})

    assert kinds(await quiescent(store_of)) == {"notification_unknown": 2}


async def test_a_billing_row_of_no_stored_payment_is_found(store_of: Database) -> None:
    ghost = f"transaction_{foreign_object_id('tx-2')}"
    row = await store_of.billing_transactions.find_one(BILLED) or {}
    ours = {**row, "_id": foreign_object_id("tx-2"), "transaction_id": "tx-2", "stream_id": ghost}
    before = {name: ours[name] for name in OF_A_RELEASE_BEFORE}
    await store_of.billing_transactions.insert_one(ours)
    await store_of.billing_transactions.insert_one(
        {**before, "_id": foreign_object_id("tx-3"), "transaction_id": "tx-3", "event_id": uuid4()}
    )

    assert kinds(await quiescent(store_of))["billing_unknown"] == 2


async def test_billing_rows_of_the_platform_are_its_own(store_of: Database) -> None:
    row = await store_of.billing_transactions.find_one_and_delete(BILLED) or {}
    theirs = {name: row[name] for name in OF_A_RELEASE_BEFORE if name != "event_id"}
    changed = {"_id": ObjectId(), "amount": Decimal128("1.00"), "status": "refunded"}
    await store_of.billing_transactions.insert_one({**theirs, **changed})

    # What was counted of the row that the worker made before is to be taken back.
    assert not {each for each in kinds(await quiescent(store_of)) if each.startswith(("billing", "payment"))}


async def test_a_payment_that_has_no_event_is_found(store_of: Database) -> None:
    await store_of.course_events.delete_many({"event_type": "payment_made"})

    found = kinds(await quiescent(store_of))
    assert found["payment_missing"] == found["billing_unknown"] == 1


async def test_a_milestone_met_by_a_replay_must_be_suppressed(store_of: Database) -> None:
    by_replay = {"$set": {"milestones.welcome.by": "replay"}}
    await store_of.user_progress.update_one({"_id": PROJECTION}, by_replay)
    assert kinds(await quiescent(store_of)) == {"notification_different": 1}

    await store_of.notifications.update_one({"_id": WELCOME}, {"$set": {"status": "suppressed"}})
    assert (await quiescent(store_of)).ok


async def test_learners_not_counted_yet_are_counted_as_behind_and_are_findings_only_once_quiescent(
    store_of: Database,
) -> None:
    await store_of.user_progress.update_one({"_id": PROJECTION}, {"$inc": {"rev": 1}})

    verification = await live(store_of)

    assert (verification.ok, verification.of("counts").behind) == (True, 1)
    assert kinds(await quiescent(store_of)) == {"projection_behind": 1}


async def test_that_all_projections_are_gone_is_found(store_of: Database) -> None:
    await store_of.user_progress_projections.delete_many({})

    verification = await quiescent(store_of)

    assert kinds(verification)["projection_missing"] == 4


async def test_learners_counted_by_newer_code_are_told_and_not_compared(store_of: Database) -> None:
    newer = {"$set": {"counts_version": 99, "counted.something": 1, "source_rev": 77}}
    await store_of.user_progress_projections.update_one({"_id": PROJECTION}, newer)

    verification = await live(store_of)

    assert kinds(verification) == {"projection_newer": 1}
    assert verification.of("counts").other_version == 1


async def test_learners_that_wait_for_an_old_event_are_findings_while_nobody_is_counted(
    store_of: Database, history: list[Learner]
) -> None:
    for each in history:
        await store_of.user_progress.update_one({"_id": each.progress["_id"]}, {"$inc": {"rev": 1}})
    projection = counted(history).projections[0]

    async def count_one() -> None:
        moved = {"$set": {"source_rev": projection["source_rev"] + 1}}
        await store_of.user_progress_projections.update_one({"_id": projection["_id"]}, moved)

    counting = await verify(store_of, clock=Repairing(count_one))
    stuck = await verify(store_of, clock=ManualClock())

    assert (counting.ok, counting.of("counts").behind) == (True, 4)
    assert kinds(stuck) == {"projection_behind": 3}


async def test_documents_that_show_nothing_for_long_are_findings(store_of: Database) -> None:
    await store_of.courses.replace_one({"_id": COURSE}, course_document())
    await store_of.users.replace_one({"_id": TARGET}, {**user_document(TARGET), "created_at": START})

    assert kinds(await verify(store_of, clock=ManualClock())) == {"statistics_missing": 2}


async def test_absent_courses_and_users_are_no_finding(store_of: Database) -> None:
    await store_of.courses.delete_many({})
    await store_of.users.delete_many({"_id": {"$ne": INSTRUCTOR}})
    await store_of.collection("instructor_statistics").delete_many({})
    await store_of.users.update_one(
        {"_id": INSTRUCTOR}, {"$set": {"stats": user_stats(Counted(), Teaching())}}
    )

    assert (await quiescent(store_of)).ok


async def test_documents_the_platform_has_just_written_may_wait_for_their_statistics(
    store_of: Database,
) -> None:
    await store_of.courses.replace_one({"_id": COURSE}, course_document())
    await store_of.users.replace_one({"_id": TARGET}, user_document(TARGET))

    verification = await live(store_of)

    assert (verification.ok, verification.counts["statistics_missing"]) == (True, 2)


class Repairing(ManualClock):
    """Runs `repair` when somebody waits, as the worker would meanwhile."""

    def __init__(self, repair: Callable[[], Awaitable[Any]]) -> None:
        super().__init__()
        self._repair = repair
        self.waited_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waited_s.append(seconds)
        await self._repair()


async def test_statistics_are_wrong_only_if_they_still_are_some_seconds_later(
    store_of: Database, history: list[Learner]
) -> None:
    right = counted(history).course
    stale = {**right, "stats": course_stats(Counted(enrolled=1))}
    await store_of.courses.replace_one({"_id": COURSE}, stale)

    clock = Repairing(lambda: store_of.courses.replace_one({"_id": COURSE}, right))
    assert (await verify(store_of, clock=clock)).ok
    assert clock.waited_s == [SECOND_LOOK_S]

    await store_of.courses.replace_one({"_id": COURSE}, stale)
    assert kinds(await live(store_of)) == {"statistics_different": 1}


async def test_statistics_the_server_refuses_are_told_and_no_finding(store_of: Database) -> None:
    await store_of.courses.update_one({"_id": COURSE}, {"$set": {"stats.enrollments.total": 5}})
    about = {"collection": "courses", "id": COURSE}
    item = {"_id": f"counts:course:{COURSE}", "event_type": "counts_fold", "status": "failed", "data": about}
    await store_of.analytics_queue.insert_one({**item, "retry_count": 3, "created_at": START})

    verification = await quiescent(store_of)

    assert (verification.ok, verification.counts["statistics_refused"]) == (True, 1)


# ---- a worker that counts between any two reads of the check ----


@dataclass(slots=True)
class Counting(monitoring.CommandListener):
    """Moves one learner on and counts it, in one transaction, before every single read of the check."""

    client: "MongoClient[Document]"
    prefix: str
    moved: int = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate"):
            self.moved += 1
            with self.client.start_session() as session:
                session.with_transaction(self._move, read_concern=ReadConcern("snapshot"))

    def _move(self, session: Any) -> None:
        """One more question of the target: in the record, the projection, the course and the log's date."""
        options: CodecOptions[Document] = CODEC_OPTIONS
        content = self.client.get_database(f"{self.prefix}_content", options)
        record = content.user_progress.find_one({"_id": PROJECTION}, session=session) or {}
        record["rev"] += 1
        record["social"]["questions_asked"] += 1
        known = content.user_progress_projections.find_one({"_id": PROJECTION}, session=session)
        step = count_learner(record, known)
        course = content.courses.find_one({"_id": COURSE}, session=session) or {}
        sums = sums_in(course["stats"]["sums"])
        assert step is not None
        assert sums is not None
        stats = {"$set": {"stats": course_stats(sums + step.delta)}}
        content.user_progress.replace_one({"_id": PROJECTION}, record, session=session)
        content.user_progress_projections.replace_one({"_id": PROJECTION}, step.projection, session=session)
        content.courses.update_one({"_id": COURSE}, stats, session=session)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


@pytest.fixture
def writer(mongodb: RunningMongo) -> Iterator["MongoClient[Document]"]:
    with MongoClient[Document](mongodb.uri) as client:
        yield client


@pytest.fixture
async def counting(
    mongodb: RunningMongo, store_of: Database, writer: "MongoClient[Document]"
) -> AsyncIterator[tuple[Database, Counting]]:
    """A handle on the store in which every read finds the world moved on."""
    counting = Counting(writer, store_of.prefix)
    client = make_client(mongodb.uri, listeners=[counting])
    yield open_database(client, prefix=store_of.prefix), counting
    await close(client)


async def test_a_worker_that_counts_between_any_two_reads_is_never_wrong(
    counting: tuple[Database, Counting],
) -> None:
    database, worker = counting
    tally = Tally()

    await check_counts(Run(database, tally, ManualClock(), Grace(True, START, START)))

    assert tally.result().ok, tally.findings
    assert worker.moved > 10


async def test_a_change_outside_the_transaction_is_found(counting: tuple[Database, Counting]) -> None:
    database, _ = counting
    await database.courses.update_one({"_id": COURSE}, {"$inc": {"stats.sums.questions_asked": 1}})
    tally = Tally()

    await check_counts(Run(database, tally, ManualClock(), Grace(True, START, START)))

    assert tally.result().finding_counts == {"statistics_different": 1}
