"""What folds make of a decision: the same everywhere, whoever folds, and whoever was faster."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.monitoring import CommandListener, CommandStartedEvent

from projections.progress import PROJECTION_VERSION
from tests.conftest import RunningMongo
from tests.integration.skipping.blocked import BAD, Blocked, blocked, broken
from tests.support.clocks import ManualClock
from tests.support.jobs import runner
from tests.support.progress import documents, expected, histories, interleaved, projector, store
from tests.support.progress import running as watching
from tests.support.retry import folding, running, stored
from worker.jobs.rebuild_progress import REBUILD_PROGRESS, RebuildProgress
from worker.retry import skipping
from worker.storage.database import Database, Document, make_client, open_database
from worker.storage.driver import close
from worker.storage.skipped_versions import NO_SKIPS, Skips
from worker.timing import SystemClock
from worker.verify.run import verify
from worker.watch.folds import decisions

CLOCK = SystemClock()


async def skip(database: Database, one: Blocked) -> None:
    assert not (await skipping.skip_event(database, one.asked(), "test", CLOCK)).before


async def test_the_learner_goes_on_at_once_and_live_events_follow(database: Database) -> None:
    one = await blocked(database, events=9)
    [item] = await database.analytics_queue.find({}).to_list(None)
    named = {"event_id": one.events[BAD - 1]["_id"], "event_type": "quiz_submitted"}
    assert (item["version"], item["data"]) == (BAD, named)
    async with (
        watching(database, projection=broken()) as watcher,
        running(database, folding(database, broken())) as retry,
    ):
        await watcher.until_following()
        await skip(database, one)
        await retry.until_status("completed", 1)
        [more] = histories(learners=1, events=12).values()
        await store(database, more[9:])
        await watcher.until_current()
    shown = (await documents(database))[one.stream]
    assert shown["version"] == 12
    assert await database.course_events.count_documents({"version": BAD, "event_type": "quiz_submitted"}) == 1
    checked = await verify(database)
    assert (checked.findings, checked.counts["skipped_versions"]) == ((), 1)


async def test_two_bad_events_are_skipped_one_after_the_other(database: Database) -> None:
    one = await blocked(database)
    async with running(database, folding(database, broken({BAD, 5}))) as retry:
        await skip(database, one)
        await retry.until_status("pending", 1)

        async def stands_at_the_second() -> bool:
            return bool((await stored(database, f"progress:{one.stream}"))["version"] == 5)

        await retry.until(stands_at_the_second, "the second bad event is named")
        await skipping.skip_event(database, one.asked(5), "test", CLOCK)
        await retry.until_status("completed", 1)
    assert await documents(database) == await expected(database)


async def lost(database: Database) -> None:
    await database.user_progress.delete_many({})


async def of_an_older_fold(database: Database) -> None:
    older = {"projection_version": PROJECTION_VERSION - 1, "version": 1}
    await database.user_progress.update_many({}, {"$set": older})


async def from_before(database: Database) -> None:
    """A document as a restore brings it: from before the version that is skipped."""
    await lost(database)
    one = histories(learners=1, events=2)
    await projector(database).project(dict.fromkeys(one, 2))


@pytest.mark.parametrize("then", [lost, of_an_older_fold, from_before])
@pytest.mark.parametrize("events_per_round", [2, 4_000])
@pytest.mark.parametrize("doubting", [False, True])
async def test_every_way_of_folding_leaves_it_out_with_code_that_could_take_it(
    database: Database,
    then: Callable[[Database], Awaitable[None]],
    events_per_round: int,
    doubting: bool,
) -> None:
    one = await blocked(database)
    await skip(database, one)
    await then(database)
    folding_again = projector(database, events_per_round=events_per_round, doubting=doubting)

    await folding_again.project({one.stream: 6})

    found = await documents(database)
    assert found == await expected(database)
    assert found[one.stream]["performance"]["quiz_average"] is None


@pytest.mark.parametrize("then", [lost, of_an_older_fold])
async def test_a_rebuild_leaves_it_out(
    database: Database, then: Callable[[Database], Awaitable[None]]
) -> None:
    one = await blocked(database)
    await skip(database, one)
    await then(database)

    await runner(database).run(REBUILD_PROGRESS, RebuildProgress())

    found = await documents(database)
    assert found == await expected(database)
    assert (found[one.stream]["version"], found[one.stream]["performance"]["quiz_average"]) == (6, None)


async def test_a_fold_that_began_before_the_decision_is_overtaken(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New code folds the version, not knowing of the decision, right after it was made; and another goes on."""
    one = await blocked(database)
    await skip(database, one)

    async def as_before(*_: Any) -> Skips:
        return NO_SKIPS

    with monkeypatch.context() as patched:
        patched.setattr(decisions, "skips_of", as_before)
        await projector(database).project({one.stream: 6})
    assert (await documents(database))[one.stream]["performance"]["quiz_average"] is not None
    async with running(database, folding(database)) as retry:
        await retry.until_status("completed", 1)

    assert await documents(database) == await expected(database)
    assert (await documents(database))[one.stream]["performance"]["quiz_average"] is None


async def test_another_event_at_the_version_is_not_skipped(database: Database) -> None:
    """The store went back in time, and was filled again in another order."""
    one = await blocked(database)
    await skip(database, one)
    [other] = histories(learners=1, events=6).values()
    await database.course_events.delete_many({"version": {"$gte": BAD}})
    await store(database, [{**other[4], "version": BAD}])
    await projector(database).project({one.stream: BAD})

    found = (await documents(database))[one.stream]
    assert (found["version"], found["lesson_progress"] != []) == (BAD, True)
    assert (await verify(database)).finding_counts["skipped_version_unknown"] == 1


def _decision(one: Blocked, **changes: Any) -> Document:
    now = datetime.now(UTC)
    decision = {
        "_id": f"progress:{one.stream}:4",
        "projection": "progress",
        "stream_id": one.stream,
        "version": 4,
        "event_id": one.events[3]["_id"],
        "event_type": None,
        "failure": None,
        "who": "nobody",
        "reason": "none",
        "automatic": False,
        "decided_at": now,
        "recorded_at": now,
        "taken_back_at": None,
        "taken_back_by": None,
    }
    return {**decision, **changes}


async def test_documents_of_others_decide_nothing_and_are_found(database: Database) -> None:
    one = await blocked(database)
    odd: list[Document] = [
        _decision(one, version="4"),
        _decision(one, _id="mine"),
        _decision(one, _id="two", decided_at="yesterday"),
        _decision(one, _id="three", stream_id="course_x"),
        _decision(one, _id=f"progress:{one.stream}:6", version=6, recorded_at=None),
        {"_id": 4, "stream_id": one.stream, "projection": "progress"},
    ]
    taken = await database.skipped_versions.insert_many(odd, bypass_document_validation=True)
    assert len(taken.inserted_ids) == len(odd)
    await projector(database).project({one.stream: 6})

    found = await documents(database)
    await database.skipped_versions.delete_many({"_id": {"$ne": "none"}})
    assert found == await expected(database)
    await database.skipped_versions.insert_many(odd, bypass_document_validation=True)
    kinds = (await verify(database)).finding_counts
    assert kinds["document_malformed"] == 4
    assert kinds["skipped_version_different"] == 2


class Asked(CommandListener):
    """Counts what is asked of the decisions."""

    def __init__(self) -> None:
        self.times = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.times += event.command.get("find") == "skipped_versions"

    def succeeded(self, event: object) -> None:
        """Nothing to note."""

    def failed(self, event: object) -> None:
        """Nothing to note."""


async def test_where_nothing_is_skipped_live_work_asks_once_a_second(
    database: Database, mongodb: RunningMongo
) -> None:
    streams = histories(learners=5, events=20)
    asked, clock = Asked(), ManualClock()
    client = make_client(mongodb.uri, listeners=[asked])
    live = projector(open_database(client, database.prefix), clock=clock)
    for version in range(1, 21):
        await store(database, interleaved(streams, version, version))
        await live.project(dict.fromkeys(streams, version))
    before = asked.times
    clock.advance(1)
    await store(database, interleaved(histories(learners=5, events=21), 21))
    await live.project(dict.fromkeys(streams, 21))
    await close(client)

    # Once as the streams began, once whether there are decisions at all, and so once more a second later.
    assert (before, asked.times) == (2, 3)
    assert await documents(database) == await expected(database)
