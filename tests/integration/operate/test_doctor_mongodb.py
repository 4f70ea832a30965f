"""Each finding about MongoDB: a broken set-up in, the named finding and what mends it out; a sound one gives none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from tests.support.doctor import Ahead, Doctor, sound_topic, subjects, told
from worker.app.presence import running_as
from worker.devstack.servers.mongod import Mongod, spawn_mongod, start_mongod
from worker.devstack.servers.process import free_port, wait_for_port
from worker.operate.doctor.clock_skew import CLOCK_SKEW
from worker.operate.doctor.clock_skew import decide as decide_clock
from worker.operate.doctor.collection_missing import COLLECTION_MISSING
from worker.operate.doctor.direct_connection import DIRECT_CONNECTION
from worker.operate.doctor.disk_filling import DISK_FILLING
from worker.operate.doctor.expiry_differs import EXPIRY_DIFFERS
from worker.operate.doctor.failpoints import FAILPOINTS
from worker.operate.doctor.few_members import FEW_MEMBERS
from worker.operate.doctor.few_members import decide as decide_members
from worker.operate.doctor.finding import Finding
from worker.operate.doctor.foreign_unique_index import FOREIGN_UNIQUE_INDEX
from worker.operate.doctor.index_differs import INDEX_DIFFERS
from worker.operate.doctor.index_missing import INDEX_MISSING
from worker.operate.doctor.migration_pending import MIGRATION_PENDING
from worker.operate.doctor.mongodb_away import MONGODB_AWAY
from worker.operate.doctor.no_replica_set import NO_REPLICA_SET
from worker.operate.doctor.old_mongodb import OLD_MONGODB
from worker.operate.doctor.old_mongodb import decide as decide_version
from worker.operate.doctor.oplog_below_retention import OPLOG_BELOW_RETENTION
from worker.operate.doctor.owners_differ import OWNERS_DIFFER
from worker.operate.doctor.sessions_forgotten import SESSIONS_FORGOTTEN
from worker.operate.doctor.setup import Limits
from worker.operate.doctor.short_oplog import SHORT_OPLOG
from worker.operate.doctor.time_series_differs import TIME_SERIES_DIFFERS
from worker.operate.doctor.transaction_lifetime import TRANSACTION_LIFETIME
from worker.operate.doctor.unused_index import UNUSED_INDEX
from worker.operate.doctor.uri_options_ignored import URI_OPTIONS_IGNORED
from worker.operate.doctor.uri_time_limit import URI_TIME_LIMIT
from worker.operate.doctor.validator_differs import VALIDATOR_DIFFERS
from worker.operate.doctor.zstd_time_series import ZSTD_TIME_SERIES
from worker.settings import variable
from worker.settings.role import RoleSettings
from worker.storage.database import make_client, open_database
from worker.storage.driver import close
from worker.storage.workers import say_alive

SERIES = {"timeField": "timestamp", "metaField": "metadata", "granularity": "minutes"}


# ---- servers that are not as they should be ----


@pytest.fixture(scope="module")
def weak_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A replica set that forgets sessions within a minute, and may only use what MongoDB 5.0 had."""

    async def start() -> Mongod:
        parameters = ("localLogicalSessionTimeoutMinutes=1", "TransactionRecordMinimumLifetimeMinutes=1")
        mongod = await start_mongod(tmp_path_factory.mktemp("weak"), parameters=parameters)
        async with AsyncMongoClient[dict[str, object]](mongod.uri) as client:
            await client.admin.command({"setFeatureCompatibilityVersion": "5.0"})
        return mongod

    started = asyncio.run(start())
    yield started
    started.stop()


@pytest.fixture(scope="module")
def single_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A server of which nobody has made a replica set."""
    started = spawn_mongod(tmp_path_factory.mktemp("single"), free_port())
    asyncio.run(wait_for_port(started.process, started.port, 60.0))
    yield started
    started.stop()


@asynccontextmanager
async def at(doctor: Doctor, uri: str, *, silent_after_ms: int = 5_000) -> AsyncIterator[Doctor]:
    """The doctor at another MongoDB."""
    client = make_client(uri, server_selection_timeout_ms=silent_after_ms)
    try:
        given = {**doctor.given, variable("mongodb_uri"): uri}
        yield doctor.but(given=given, database=open_database(client, doctor.database.prefix))
    finally:
        await close(client)


async def test_mongodb_away(doctor: Doctor) -> None:
    assert await doctor.sees(MONGODB_AWAY) == []
    async with at(doctor, "mongodb://127.0.0.1:1/?replicaSet=rs0", silent_after_ms=200) as elsewhere:
        report = await elsewhere.report([MONGODB_AWAY, SHORT_OPLOG])
    assert [each.finding for each in report.found] == [MONGODB_AWAY]
    assert variable("mongodb_uri") in report.found[0].fix
    assert [each.reason for each in report.not_looked] == ["mongodb cannot be asked"]
    assert report.away == ["mongodb"]


async def test_no_replica_set(doctor: Doctor, single_mongod: Mongod) -> None:
    assert await doctor.sees(NO_REPLICA_SET) == []
    async with at(doctor, f"mongodb://127.0.0.1:{single_mongod.port}/?directConnection=true") as elsewhere:
        [found] = await elsewhere.sees(NO_REPLICA_SET)
    assert "--replSet" in found.fix


async def test_old_mongodb(doctor: Doctor, weak_mongod: Mongod) -> None:
    assert await doctor.sees(OLD_MONGODB) == []
    async with at(doctor, weak_mongod.uri) as elsewhere:
        [found] = await elsewhere.sees(OLD_MONGODB)
    assert "feature compatibility version is 5.0" in found.seen.words
    assert "setFeatureCompatibilityVersion" in found.fix
    assert [each.words for each in decide_version("5.0.9", None)] == ["the server is of version 5.0.9"]
    assert not decide_version("10.1.0", "8.2")


async def test_sessions_forgotten(doctor: Doctor, weak_mongod: Mongod) -> None:
    assert await doctor.sees(SESSIONS_FORGOTTEN) == []
    async with at(doctor, weak_mongod.uri) as elsewhere:
        [found] = await elsewhere.sees(SESSIONS_FORGOTTEN)
    assert "after 1 min of silence" in found.seen.words
    assert "localLogicalSessionTimeoutMinutes" in found.fix


async def test_failpoints(doctor: Doctor) -> None:
    """The session's server has test commands, and the settings of tests allow it."""
    assert await doctor.sees(FAILPOINTS) == []
    [found] = await doctor.sees(FAILPOINTS, allow_test_commands="false")
    assert "enableTestCommands" in found.fix


async def test_few_members(doctor: Doctor) -> None:
    [found] = await doctor.sees(FEW_MEMBERS)
    assert found.seen.words == "the set rs0 has 1 member with data"
    assert "rs.add()" in found.fix
    sound = {"setName": "rs0", "hosts": ["a", "b"], "passives": ["c"]}
    assert not decide_members(sound)
    [seen] = decide_members({"setName": "rs0", "hosts": ["a", "b"], "arbiters": ["c"]})
    assert seen.words == "the set rs0 has 2 members with data and 1 arbiter"


async def test_transaction_lifetime(doctor: Doctor) -> None:
    admin = doctor.database.client.admin
    assert await doctor.sees(TRANSACTION_LIFETIME) == []
    await admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 5})
    try:
        [found] = await doctor.sees(TRANSACTION_LIFETIME)
    finally:
        await admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 60})
    assert "transactionLifetimeLimitSeconds is 5" in found.seen.words


async def test_clock_skew(doctor: Doctor) -> None:
    assert await doctor.sees(CLOCK_SKEW) == []
    [behind] = await doctor.but(clock=Ahead(timedelta(hours=3))).sees(CLOCK_SKEW)
    assert "3 hours behind this machine's" in behind.seen.words
    [ahead] = await doctor.but(clock=Ahead(timedelta(hours=-3))).sees(CLOCK_SKEW)
    assert "3 hours ahead of this machine's" in ahead.seen.words
    assert "chrony" in ahead.fix
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    slow = begun + timedelta(seconds=20)  # an answer that took long says nothing about clocks
    assert not decide_clock(begun, begun + timedelta(seconds=10), slow)


# ---- the URI ----


async def test_direct_connection(doctor: Doctor) -> None:
    await only_with(doctor, DIRECT_CONNECTION, "directConnection=true", "directConnection=true")


async def test_uri_options_ignored(doctor: Doctor) -> None:
    await only_with(doctor, URI_OPTIONS_IGNORED, "socketTimeoutMS=100&w=1", "sockettimeoutms, w")


async def test_uri_time_limit(doctor: Doctor) -> None:
    await only_with(doctor, URI_TIME_LIMIT, "timeoutMS=5000", "timeoutMS=")


async def only_with(doctor: Doctor, finding: Finding, option: str, said: str) -> None:
    uri = doctor.given[variable("mongodb_uri")]
    assert await doctor.sees(finding) == []
    [found] = await doctor.sees(finding, mongodb_uri=f"{uri}&{option}")
    assert found.seen.subject == variable("mongodb_uri")
    assert said in found.seen.words
    assert "out of the URI" in found.fix


# ---- the oplog and the disk ----


async def test_short_oplog(doctor: Doctor) -> None:
    assert await doctor.sees(SHORT_OPLOG) == []
    [found] = await doctor.but(limits=Limits(longest_outage=timedelta(days=200_000))).sees(SHORT_OPLOG)
    assert "200,000 days" in found.seen.words
    assert "replSetResizeOplog" in found.fix


async def test_oplog_below_retention(doctor: Doctor, kafka: str) -> None:
    assert await doctor.sees(OPLOG_BELOW_RETENTION) == []
    kept_for_long = await sound_topic(kafka, retention_ms=10**13)
    [found] = await doctor.sees(OPLOG_BELOW_RETENTION, topic=kept_for_long)
    assert found.seen.subject == kept_for_long
    assert "oplog" in found.fix
    kept_for_ever = await sound_topic(kafka, retention_ms=-1)
    assert await doctor.sees(OPLOG_BELOW_RETENTION, topic=kept_for_ever) == []


async def test_disk_filling(doctor: Doctor) -> None:
    now = datetime.now(UTC)
    rows = [{"timestamp": now - timedelta(minutes=n), "metadata": {"user_id": ObjectId()}} for n in range(60)]
    await doctor.database.user_interactions.insert_many(rows)
    events = [{"_id": ObjectId(), "stream_id": "s", "version": n} for n in range(60)]
    await doctor.database.course_events.insert_many(events, bypass_document_validation=True)
    assert await doctor.sees(DISK_FILLING) == []
    [found] = await doctor.but(limits=Limits(full_within=timedelta(days=10**8))).sees(DISK_FILLING)
    assert "GiB are free" in found.seen.words
    assert "sevenp-worker capacity" in found.fix


# ---- collections ----


async def test_collection_missing(doctor: Doctor) -> None:
    assert await doctor.sees(COLLECTION_MISSING) == []
    await doctor.database.analytics.drop_collection("dead_letters")
    [found] = await doctor.sees(COLLECTION_MISSING)
    assert found.seen.subject == "dead_letters"
    assert "schema apply" in found.fix


async def test_validator_differs(doctor: Doctor) -> None:
    assert await doctor.sees(VALIDATOR_DIFFERS) == []
    await doctor.database.content.command({"collMod": "user_progress", "validator": {}})
    [found] = await doctor.sees(VALIDATOR_DIFFERS)
    assert found.seen.subject == "user_progress"
    assert "schema apply" in found.fix


async def test_index_missing(doctor: Doctor) -> None:
    name = "idx_course_events_stream_version_unique"
    assert await doctor.sees(INDEX_MISSING) == []
    await doctor.database.course_events.drop_index(name)
    [found] = await doctor.sees(INDEX_MISSING)
    assert found.seen.subject == "course_events"
    assert name in found.seen.words
    assert await doctor.sees(INDEX_DIFFERS) == []


async def test_index_differs(doctor: Doctor) -> None:
    name = "idx_course_events_stream_version_unique"
    assert await doctor.sees(INDEX_DIFFERS) == []
    await doctor.database.course_events.drop_index(name)
    await doctor.database.course_events.create_index([("stream_id", 1), ("version", 1)], name=name)
    [found] = await doctor.sees(INDEX_DIFFERS)
    assert name in found.seen.words
    assert "dropIndex" in found.fix
    assert await doctor.sees(INDEX_MISSING) == []


async def test_time_series_differs(doctor: Doctor) -> None:
    assert await doctor.sees(TIME_SERIES_DIFFERS) == []
    await doctor.database.analytics.drop_collection("user_interactions")
    await doctor.database.analytics.create_collection(
        "user_interactions", timeseries={**SERIES, "granularity": "hours"}
    )
    [found] = await doctor.sees(TIME_SERIES_DIFFERS)
    assert "hours" in found.seen.words
    assert "rename" in found.fix


async def test_zstd_time_series(doctor: Doctor) -> None:
    assert await doctor.sees(ZSTD_TIME_SERIES) == []
    await doctor.database.analytics.drop_collection("user_interactions")
    await doctor.database.analytics.create_collection("user_interactions", timeseries=SERIES)
    [found] = await doctor.sees(ZSTD_TIME_SERIES)
    assert "snappy" in found.fix


async def test_expiry_differs(doctor: Doctor) -> None:
    assert await doctor.sees(EXPIRY_DIFFERS) == []
    found = await doctor.sees(EXPIRY_DIFFERS, retention_completed_items_days=3, retention_time_series_days=90)
    assert set(subjects(found)) == {"analytics_queue", "user_interactions"}
    assert "kept 3 days, found kept 7 days" in told(found)
    assert "schema apply" in found[0].fix


async def test_migration_pending(doctor: Doctor) -> None:
    assert await doctor.sees(MIGRATION_PENDING) == []
    await doctor.database.watch_positions.insert_one({"_id": "progress:00"})
    [found] = await doctor.sees(MIGRATION_PENDING)
    assert "watch_positions" in found.seen.words
    assert "schema apply" in found.fix


async def test_foreign_unique_index(doctor: Doctor) -> None:
    assert await doctor.sees(FOREIGN_UNIQUE_INDEX) == []
    await doctor.database.courses.create_index("title", name="somebodys", unique=True)
    [found] = await doctor.sees(FOREIGN_UNIQUE_INDEX)
    assert "somebodys on title is unique" in found.seen.words
    assert found.fix.endswith('db.courses.dropIndex("somebodys").')
    assert await doctor.sees(FOREIGN_UNIQUE_INDEX, external_collections="courses") == []


async def test_unused_index(doctor: Doctor) -> None:
    """The indexes of the code have not been used here either, and are none of its concern."""
    later = doctor.but(clock=Ahead(timedelta(days=40)))
    assert await later.sees(UNUSED_INDEX) == []
    await doctor.database.courses.create_index("title", name="somebodys")
    assert await doctor.sees(UNUSED_INDEX) == []
    [found] = await later.sees(UNUSED_INDEX)
    assert "somebodys has not been used for 40 days" in found.seen.words
    assert 'db.courses.hideIndex("somebodys")' in found.fix
    await doctor.database.courses.find({"title": "x"}).to_list(None)
    assert await later.sees(UNUSED_INDEX) == []


# ---- workers that do not agree ----


async def test_owners_differ(doctor: Doctor) -> None:
    database, both = doctor.database, frozenset({"courses", "users"})
    assert await doctor.sees(OWNERS_DIFFER) == []
    await say_alive(database, running_as(RoleSettings(), "pod:7:aa", ["progress"], both))
    await say_alive(database, running_as(RoleSettings(), "pod:8:bb", ["progress"], frozenset({"users"})))
    await say_alive(database, running_as(RoleSettings(), "old:9:cc", ["progress"]))
    await database.workers.update_one({"_id": "old:9:cc"}, {"$unset": {"owned": ""}})
    agreed = {"courses_owner": "worker", "users_owner": "worker"}
    [courses] = await doctor.sees(OWNERS_DIFFER, **agreed)
    assert courses.seen.subject == "courses"
    assert courses.seen.words == (
        "SEVENP_COURSES_OWNER is external for pod:8, and worker here and for 1 other worker"
    )
    assert subjects(await doctor.sees(OWNERS_DIFFER, courses_owner="worker")) == ["courses", "users"]
    await database.workers.delete_many({"_id": "pod:8:bb"})
    assert await doctor.sees(OWNERS_DIFFER, **agreed) == []
    long_ago = [{"$set": {"seen_at": {"$subtract": ["$seen_at", 60_000]}}}]
    await database.workers.update_one({"_id": "pod:7:aa"}, long_ago)
    assert await doctor.sees(OWNERS_DIFFER) == [], "one that is gone disagrees with nobody"
