"""A fold that fails: one item, everybody else goes on, and after the fix nothing tells that it ever failed."""

from collections.abc import Sequence

import pytest

from projections.progress import PROJECTION_VERSION
from tests.support.progress import documents, expected, histories, interleaved, projector, store, variant
from tests.support.progress import running as watching
from tests.support.retry import LIMITS, folding, item, limited, put, running, stored
from tests.support.waiting import until
from worker.contract.identity import foreign_object_id
from worker.retry.operate import find_items, retry_items
from worker.retry.selection import Selection
from worker.storage.database import Database
from worker.telemetry.metrics import Metrics
from worker.watch.folds import refold
from worker.watch.folds.catch_up import highest_versions

BAD_LESSON = foreign_object_id("lesson-1")
LONG_WAIT = limited(rate_per_s=1_000, backoff_s=600.0, longest_backoff_s=600.0)


async def test_after_the_fix_a_retry_gives_the_documents_of_a_run_that_never_failed(
    database: Database,
) -> None:
    streams = histories(learners=6, events=10)
    good = {stream: events[:4] for stream, events in list(streams.items())[:5]}
    [(bad, bad_events)] = list(streams.items())[5:]
    broken = variant(fails_on=BAD_LESSON)
    async with (
        watching(database, projection=broken) as watcher,
        running(database, folding(database, broken), limits=LONG_WAIT) as retry,
    ):
        await watcher.until_following()
        await store(database, [*interleaved(good), *bad_events])
        await until(
            lambda: retry.value("retry_attempts_total", outcome="failed", error_class="ArithmeticError") == 1,
            "one attempt has failed",
        )
        found = await documents(database)
        assert {stream: found[stream]["version"] for stream in good} == dict.fromkeys(good, 4)
        [waiting] = await database.analytics_queue.find({}).to_list(None)
        assert (waiting["status"], waiting["retry_count"], waiting["stream_id"]) == ("pending", 1, bad)
        assert waiting["due_at"] > waiting["last_retry"]

    async with watching(database) as watcher, running(database, folding(database)) as retry:
        await watcher.until_following()
        entries = await find_items(database, Selection(stream=bad))
        assert await retry_items(database, entries) == 1
        await retry.until_status("completed", 1)
    assert await documents(database) == await expected(database)
    done = await stored(database, f"progress:{bad}")
    assert (done["retry_count"], done["processed_at"] is None) == (1, False)


async def test_the_others_are_folded_while_it_fails_over_and_over(database: Database) -> None:
    streams = histories(learners=12, events=12)
    metrics = Metrics()
    broken = variant(fails_on=BAD_LESSON)
    bad = next(iter(streams))
    await store(database, streams[bad])
    await projector(database, projection=broken).project({bad: 12})
    good = {stream: events[:4] for stream, events in streams.items() if stream != bad}
    limits = limited(max_attempts=1_000_000, rate_per_s=1_000, backoff_s=0.001, longest_backoff_s=0.001)
    async with (
        watching(database, projection=broken) as watcher,
        running(database, folding(database, broken, metrics), limits=limits) as retry,
    ):
        await watcher.until_following()

        def failed() -> float:
            return retry.value("retry_attempts_total", outcome="failed", error_class="ArithmeticError")

        await until(lambda: failed() > 3, "the failing one is busy")
        await store(database, interleaved(good))
        await watcher.until(lambda: watcher.applied() == 11 * 4, "all others folded")
        assert watcher.value("projection_freshness_seconds_count", projection="progress") == 11 * 4
        attempts = failed()
        await until(lambda: failed() > attempts, "the failing one is still busy")
    assert await database.analytics_queue.count_documents({}) == 1
    seen = metrics.registry.get_sample_value
    name = "sevenp_worker_projection_freshness_seconds_count"
    assert seen(name, {"projection": "progress"}) == 0


@pytest.mark.slow
async def test_new_code_takes_up_what_old_code_gave_up(database: Database) -> None:
    streams = histories(learners=4, events=9)
    await store(database, interleaved(streams))
    broken = variant(fails_on=BAD_LESSON)
    await projector(database, projection=broken).project(dict.fromkeys(streams, 9))
    limits = limited(max_attempts=2, rate_per_s=1_000, backoff_s=0.01, longest_backoff_s=0.01)
    async with running(database, folding(database, broken), limits=limits) as old:
        await old.until_status("failed", 4)
    async with running(database, folding(database), limits=limits) as same:
        await put(database, [item("marker", "nobody's", event_type="progress_fold")])
        await same.until_status("completed", 1)
        assert await database.analytics_queue.count_documents({"status": "failed"}) == 4
    async with running(database, folding(database), limits=limits, release="fixed") as new:
        await new.until_status("completed", 5)
    assert await documents(database) == await expected(database)


async def test_a_retried_stream_is_followed_live_again(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=12).items()
    lessons = {BAD_LESSON}
    async with watching(database, projection=variant(fails_on=lessons)) as watcher:
        await watcher.until_following()
        await store(database, events[:9])
        await watcher.until(lambda: watcher.applied("failed") >= 1, "quarantined")
        lessons.clear()
        async with running(database, folding(database), limits=LIMITS) as retry:
            await retry.until_status("completed", 1)
        await store(database, events[9:])
        await watcher.until_current()
    assert (await documents(database))[stream]["version"] == 12


async def test_milestones_met_in_a_retry_say_so(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=9).items()
    await store(database, events)
    await put(database, [item(f"progress:{stream}", stream, event_type="progress_fold")])
    async with running(database, folding(database)) as retry:
        await retry.until_status("completed", 1)
    [document] = await database.user_progress.find({}).to_list(None)
    assert document["milestones"]["welcome"]["by"] == "retry"


async def test_the_platform_s_pending_work_brings_its_learner_up_to_date(database: Database) -> None:
    streams = histories(learners=2, events=5)
    await store(database, interleaved(streams))
    first, second = (events[0]["event_data"] for events in streams.values())
    texts = {"user_id": str(first["user_id"]), "course_id": str(first["course_id"]), "percentage": 40}
    ids = {"user_id": second["user_id"], "course_id": second["course_id"]}
    await put(
        database,
        [
            item("texts", event_type="progress_updated", data=texts),
            item("ids", event_type="progress_updated", data=ids),
            item("nobody", event_type="progress_updated", data={"user_id": "me"}),
        ],
    )
    limits = limited(max_attempts=1, rate_per_s=1_000)
    async with running(database, folding(database), limits=limits) as retry:
        await retry.until_status("completed", 2)
        await retry.until_status("failed", 1)
    assert await documents(database) == await expected(database)


async def test_a_document_of_a_newer_fold_is_left_to_newer_code(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=9).items()
    await store(database, events)
    lessons = {BAD_LESSON}
    newer = variant(PROJECTION_VERSION + 1, fails_on=lessons)
    await projector(database, projection=newer).project({stream: 9})
    limits = limited(max_attempts=1, rate_per_s=1_000, backoff_s=0.01, longest_backoff_s=0.01)
    async with running(database, folding(database), limits=limits) as old:
        await until(
            lambda: old.value("retry_attempts_total", outcome="postponed", error_class="unavailable") >= 3,
            "put off again and again",
        )
    assert (await stored(database, f"progress:{stream}"))["status"] == "pending"
    lessons.clear()
    async with running(database, folding(database, newer), release="newer") as new:
        await new.until_status("completed", 1)
    [document] = await database.user_progress.find({}).to_list(None)
    assert (document["projection_version"], document["version"]) == (newer.version, 9)


async def test_a_live_failure_under_other_code_opens_a_failed_item_again(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=9).items()
    await store(database, events)
    ended = item(f"progress:{stream}", stream, event_type="progress_fold", status="failed", retry_count=3)
    await put(database, [{**ended, "code_version": "before", "occurrences": 4}])
    await projector(database, projection=variant(fails_on=BAD_LESSON)).project({stream: 9})
    opened = await stored(database, f"progress:{stream}")
    assert (opened["status"], opened["retry_count"], opened["occurrences"]) == ("pending", 0, 5)
    await projector(database, projection=variant(fails_on=BAD_LESSON)).project({stream: 9})
    again = await stored(database, f"progress:{stream}")
    assert (again["due_at"], again["occurrences"]) == (opened["due_at"], 6)


async def test_an_event_that_comes_while_a_retry_folds_its_stream_is_folded_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(bad, events)] = histories(learners=1, events=12).items()
    live = projector(database, projection=variant(fails_on=BAD_LESSON))
    await store(database, events[:11])
    await live.project({bad: 11})
    asked = highest_versions

    async def overtaken(database: Database, streams: Sequence[str]) -> dict[str, int]:
        """Right after the attempt has asked how far to go one more event is stored, and its watcher woken."""
        heads = await asked(database, streams)
        if heads == {bad: 11}:
            await store(database, events[11:])
            await live.project({bad: 12})
        return heads

    monkeypatch.setattr(refold, "highest_versions", overtaken)
    async with running(database, folding(database)) as retry:
        await retry.until_status("completed", 1)
    assert await documents(database) == await expected(database)
