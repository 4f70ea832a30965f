"""Documents follow the event store, through restarts and through everything a change stream can do wrong."""

import pytest

from tests.conftest import RunningMongo
from tests.integration.storage.conftest import new_client
from tests.integration.watch.listeners import Stopper
from tests.support.failpoints import failing
from tests.support.progress import (
    RunningProgress,
    documents,
    expected,
    histories,
    interleaved,
    running,
    store,
)
from tests.support.running import sample
from tests.support.waiting import until
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.leases import Token
from worker.storage.schema import apply_schema
from worker.storage.shares import GROUPS
from worker.watch.folds.executor import follow_events, highest

# Names a moment of the year 2039: valid in form, but of no history this server has.
FUTURE = "8281FFFFFF000000032B0229296E04"


async def test_documents_follow_what_is_stored(database: Database) -> None:
    streams = histories(learners=20, events=12)
    async with running(database) as watcher:
        await watcher.until_following()
        await store(database, interleaved(streams, 1, 5))
        await store(database, interleaved(streams, 6))
        await watcher.until_past(20 * 12)

        assert watcher.applied() == 20 * 12
        assert watcher.changes() == 20 * 12


async def test_what_was_stored_before_the_first_start_is_caught_up(database: Database) -> None:
    await store(database, interleaved(histories(learners=30, events=8)))

    async with running(database) as watcher:
        await watcher.until_current()

        assert watcher.changes() == 0


async def test_an_injected_motor_client_does_as_well(database: Database, mongodb: RunningMongo) -> None:
    client = new_client("motor", mongodb.uri)
    try:
        with_motor = open_database(client, prefix=database.prefix)
        await store(database, interleaved(histories(learners=3, events=5, prefix="early")))
        async with running(with_motor) as watcher:
            await watcher.until_following()
            await store(database, interleaved(histories(learners=3, events=5)))
            await watcher.until_current()
    finally:
        await close(client)


async def test_a_restart_goes_on_from_the_saved_token(database: Database) -> None:
    streams = histories(learners=10, events=9)
    async with running(database) as first:
        await first.until_following()
        await store(database, interleaved(streams, 1, 4))
        await first.until_past(10 * 4)
    await store(database, interleaved(streams, 5))

    async with running(database) as second:
        await second.until_current()

        assert second.changes() == 10 * 5


async def test_a_drain_gives_groups_and_membership_back(database: Database) -> None:
    async with running(database, owner="leaver") as watcher:
        await watcher.until_following()
        await watcher.drain()

        assert watcher.groups_held() == 0
    assert await database.leases.count_documents({"owner": "leaver"}) == 0
    assert await database.leases.count_documents({"kind": "group"}) == GROUPS


async def test_a_kill_between_fold_and_token_repeats_without_counting_twice(database: Database) -> None:
    streams = histories(learners=10, events=9)
    async with running(database) as first:
        await first.until_following()
    async with running(database, save_every_s=3600.0, lease_s=0.5) as killed:
        await killed.until_following()
        await store(database, interleaved(streams, 1, 4))
        await killed.until_current()
        await killed.kill()

    async with running(database) as second:
        await second.until(lambda: second.changes() >= 10 * 4, "the changes seen again")
        assert second.applied() == 0
        await store(database, interleaved(streams, 5))
        await second.until_current()


@pytest.mark.parametrize(
    "token",
    [
        {"_data": "garbage"},
        {"_data": ""},
        {"_data": 5},
        {},
        {"_data": "82" * 9},  # a time, then nonsense
        {"_data": FUTURE},
    ],
)
async def test_a_token_that_is_none_is_replaced_by_a_comparison(
    database: Database, token: dict[str, object]
) -> None:
    streams = histories(learners=10, events=6)
    async with running(database) as first:
        await first.until_following()
        await store(database, interleaved(streams, 1, 3))
        await first.until_current()
    await store(database, interleaved(streams, 4, 5))
    await database.projection_state.update_many({"token": {"$ne": None}}, {"$set": {"token": token}})

    async with running(database) as second:
        await second.until_current()
        await store(database, interleaved(streams, 6))
        await second.until_current()


async def test_one_group_s_bad_token_loses_nothing_of_that_group(database: Database) -> None:
    streams = histories(learners=60, events=4)
    async with running(database) as first:
        await first.until_following()
    await store(database, interleaved(streams))
    saved = await database.projection_state.find_one({"_id": "progress:00"})
    assert saved is not None
    async with running(database) as second:
        await second.until_current()
    for stream, events in streams.items():
        if events[0]["slot"] < 16:
            await database.user_progress.delete_one({"stream_id": stream})
    await database.projection_state.update_one({"_id": "progress:00"}, {"$set": {"token": {"_data": FUTURE}}})

    async with running(database) as third:
        await third.until_current()


async def test_a_stop_in_the_middle_of_a_comparison_leaves_it_to_be_done(
    database: Database, mongodb: RunningMongo
) -> None:
    streams = histories(learners=10, events=6)
    async with running(database) as first:
        await first.until_following()
        await store(database, interleaved(streams, 1, 2))
        await first.until_current()
    await store(database, interleaved(streams, 3))
    await database.projection_state.update_many(
        {"_id": {"$regex": "^progress:[0-9]+$"}}, {"$set": {"token": {"_data": "garbage"}}}
    )
    # Stopped by the first look at the documents, before anything is folded.
    stopper = Stopper("user_progress")
    client = make_client(mongodb.uri, listeners=[stopper])
    try:
        async with running(open_database(client, database.prefix)) as second:
            stopper.stop = second.stop
            await until(second.task.done, "stopped")
    finally:
        await close(client)
    async with running(database) as third:
        await third.until_current()


async def test_lost_history_is_caught_up_and_nobody_is_called(database: Database, watched: Database) -> None:
    streams = histories(learners=10, events=6)
    async with running(watched, checked_by=database) as watcher:
        await watcher.until_following()
        async with failing(watched, ["getMore"], code=286, collection="course_events") as entered:
            await store(database, interleaved(streams, 1, 3))
            await watcher.until(lambda: watcher.restarts("history_lost") == 1, "history lost")
            assert await entered() >= 1
        await watcher.until_current()
        await store(database, interleaved(streams, 4))
        await watcher.until_current()


async def test_history_lost_at_opening_is_caught_up(database: Database, watched: Database) -> None:
    streams = histories(learners=10, events=6)
    async with running(watched, checked_by=database) as first:
        await first.until_following()
    await store(database, interleaved(streams))
    async with failing(watched, ["aggregate"], code=286, collection="course_events") as entered:
        async with running(watched, checked_by=database) as second:
            await second.until_current()
            assert second.restarts("history_lost") == 1
        assert await entered() >= 1


async def test_a_killed_cursor_is_opened_again_where_it_was(database: Database, watched: Database) -> None:
    streams = histories(learners=10, events=6)
    async with running(watched, checked_by=database) as watcher:
        await watcher.until_following()
        async with failing(watched, ["getMore"], code=43, collection="course_events") as entered:
            await store(database, interleaved(streams))
            await watcher.until(lambda: watcher.restarts("resumable") == 1, "stream opened again")
            assert await entered() >= 1
        await watcher.until_current()

        assert watcher.restarts("history_lost") == 0
        assert watcher.applied() == 10 * 6


async def test_a_dropped_event_store_invalidates_the_stream_and_following_goes_on(database: Database) -> None:
    async with running(database) as watcher:
        await watcher.until_following()
        await database.course_events.drop()
        await watcher.until(lambda: watcher.restarts("invalidated") == 1, "invalidated")
        await apply_schema(database)
        await store(database, interleaved(histories(learners=5, events=4)))
        await watcher.until_current()


async def test_a_renamed_event_store_invalidates_the_stream_and_what_came_meanwhile_is_folded(
    database: Database,
) -> None:
    streams = histories(learners=5, events=6)
    async with running(database) as watcher:
        await watcher.until_following()
        await store(database, interleaved(streams, 1, 3))
        await watcher.until_current()
        await database.course_events.rename("elsewhere")
        await watcher.until(lambda: watcher.restarts("invalidated") >= 1, "invalidated")
        await database.content.get_collection("elsewhere").insert_many(interleaved(streams, 4))
        await database.content.get_collection("elsewhere").rename("course_events")
        await watcher.until_current()


@pytest.mark.parametrize(
    ("command", "collection"),
    [
        ("getMore", "course_events"),
        ("aggregate", "course_events"),
        ("find", "course_events"),
        ("find", "user_progress"),
        ("insert", "user_progress"),
        ("update", "user_progress"),
        ("update", "leases"),
        ("aggregate", "leases"),
        ("update", "projection_state"),
        ("find", "projection_state"),
    ],
)
async def test_a_server_that_is_away_is_waited_for(
    database: Database, watched: Database, command: str, collection: str
) -> None:
    streams = histories(learners=5, events=6)
    # 262: the server ran out of time. The driver repeats some commands once by itself; three is beyond that.
    async with running(watched, checked_by=database) as first:
        await first.until_following()
        await store(database, interleaved(streams, 1, 2))
        await first.until_current()
    async with (
        failing(watched, [command], code=262, collection=collection, times=3) as entered,
        running(watched, checked_by=database) as second,
    ):
        await store(database, interleaved(streams, 3) + interleaved(histories(3, 4, prefix="new")))
        await second.until_current()
        assert await entered() >= 3


async def test_a_token_of_one_event_serves_whoever_takes_other_slots(database: Database) -> None:
    stream = await follow_events(database, range(256), None)
    await store(database, interleaved(histories(learners=20, events=1)))
    token: Token | None = None
    while token is None:
        if await stream.next(1, await_ms=500):
            token = stream.token
    await stream.close()
    documents_stored = await database.course_events.find({}, {"slot": 1}).sort({"$natural": 1}).to_list(None)
    others = set(range(256)) - {documents_stored[0]["slot"]}
    heads: set[str] = set()
    later = await follow_events(database, others, token)
    while len(heads) < sum(document["slot"] in others for document in documents_stored):
        heads |= highest(await later.next(100, await_ms=500)).keys()
    await later.close()


async def test_the_way_to_the_end_of_the_oplog_is_exported(database: Database) -> None:
    headroom = "change_stream_oplog_headroom_seconds"
    async with running(database) as watcher:
        await watcher.until(lambda: headroom_known(watcher), "headroom measured")
        oldest = await database.client["local"]["oplog.rs"].find_one({}, sort=[("$natural", 1)])
        newest = await database.client["local"]["oplog.rs"].find_one({}, sort=[("$natural", -1)])
        assert oldest is not None
        assert newest is not None
        assert 0 <= watcher.value(headroom, watcher="progress") <= newest["ts"].time - oldest["ts"].time
        await watcher.until_moved("change_stream_oplog_headroom_seconds")


def headroom_known(watcher: RunningProgress) -> bool:
    labels = {"watcher": "progress"}
    name = "sevenp_worker_change_stream_oplog_headroom_seconds"
    return sample(watcher.metrics, name, labels) is not None


async def test_a_silent_stream_is_opened_again(database: Database) -> None:
    async with running(database, silent_after_s=0.0, renewals_per_lease=0.001) as watcher:
        await watcher.until(lambda: watcher.restarts("resumable") >= 2, "stream opened again")
        await watcher.until_moved("change_stream_restarts_total")
        await store(database, interleaved(histories(learners=3, events=4)))
        await watcher.until_current()


async def test_an_idle_watcher_has_no_lag_and_gives_proof_of_life(database: Database) -> None:
    async with running(database) as watcher:
        await watcher.until_following()
        heard = "change_stream_last_heartbeat_timestamp_seconds"
        before = watcher.value(heard, watcher="progress")
        await watcher.until(lambda: watcher.value(heard, watcher="progress") > before, "a later sign of life")

        assert watcher.value("change_stream_lag_seconds", watcher="progress") == 0


async def test_fields_of_the_platform_survive(database: Database) -> None:
    streams = histories(learners=1, events=8)
    async with running(database) as watcher:
        await watcher.until_following()
        await store(database, interleaved(streams, 1, 4))
        await watcher.until_current()
        await database.user_progress.update_many({}, {"$set": {"coach": "Ada"}})
        await store(database, interleaved(streams, 5))
        await watcher.until_current()

    [document] = await database.user_progress.find({}).to_list(None)
    assert document["coach"] == "Ada"


async def test_two_watchers_share_the_groups_and_give_the_documents_of_one(database: Database) -> None:
    streams = histories(learners=60, events=10)
    async with running(database, owner="a") as first, running(database, owner="b") as second:
        await store(database, interleaved(streams, 1, 3))

        await first.until_following(GROUPS // 2)
        await second.until_following(GROUPS // 2)
        await first.until_current()
        await store(database, interleaved(streams, 4))
        await first.until_current()
        for watcher in (first, second):
            assert watcher.changes() > 0
    assert await documents(database) == await expected(database)


async def test_a_second_watcher_takes_over_from_one_that_was_killed(database: Database) -> None:
    streams = histories(learners=40, events=8)
    async with running(database, lease_s=1.0) as first, running(database, lease_s=1.0) as second:
        await until(lambda: first.groups_held() == second.groups_held() == GROUPS // 2, "8 groups each")
        await store(database, interleaved(streams, 1, 4))
        await first.kill()
        await store(database, interleaved(streams, 5))
        await second.until(lambda: second.groups_held() == GROUPS, "all groups taken over")
        await second.until_current()


async def test_a_lost_lease_is_not_folded_or_saved_for_and_comes_back(database: Database) -> None:
    streams = histories(learners=60, events=6)
    async with running(database) as watcher:
        await watcher.until_following()
        thief = {"owner": "thief", "epoch": 1_000}
        stolen = {"_id": {"$in": [f"progress:{n:02}" for n in range(8)]}}
        later = [{"$set": {**thief, "expires_at": {"$add": ["$$NOW", 600_000]}}}]
        await database.leases.update_many(stolen, later)
        await watcher.until(lambda: watcher.restarts("lease_lost") == 1, "loss noticed")
        await watcher.until(lambda: watcher.groups_held() == GROUPS // 2, "8 groups left")
        before = await database.projection_state.find(stolen).to_list(None)
        await store(database, interleaved(streams))
        ours = sum(len(events) for events in streams.values() if events[0]["slot"] >= 128)
        await watcher.until(lambda: watcher.applied() >= ours, "own groups folded")

        assert watcher.applied() == ours
        assert await database.projection_state.find(stolen).to_list(None) == before
        await database.leases.update_many(stolen, [{"$set": {"expires_at": "$$NOW"}}])
        await watcher.until_current()
