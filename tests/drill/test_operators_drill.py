"""The operator's drill: a fault on real servers raises its alert, which names what is broken, and clears.

The rules are those of `deploy/prometheus`, with shorter times (see `scaling`), evaluated by a real Prometheus that
scrapes real workers. What the operator does is what docs/runbook.md says.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.running_worker import flowing
from tests.drill.site import TOPIC, Site, frozen, site
from tests.integration.ingest.test_breaker import poison
from tests.integration.verify.history import stored_events
from tests.support.ingest import event, records, send
from tests.support.small_disk import fill, small_disk
from tests.support.waiting import stretched, until

# A probe every 5 s, which has 8 s; a minute that is a second; two looks of Prometheus. The rest: a busy machine.
NAMED_WITHIN_S = 30.0
# The version of the first quiz in a history, and a score that no contract lets in.
QUIZ = 3
# mongod's own files take 300 MB of an empty database.
DISK_MB = 1_000
# A fifth of the usual times: long enough for a worker to be replaced, short enough to be watched.
CALM = 1 / 5


def batch() -> list[dict[str, Any]]:
    return [event(number) for number in range(20)]


@pytest.mark.slow
async def test_a_server_that_does_not_answer_is_named_and_the_alert_clears(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        await send(place.kafka, TOPIC, records(batch()))
        for name, process in (("kafka", place.broker.process), ("mongodb", place.mongod.process)):
            async with frozen(process):
                took_s = await place.until_told(f"DependencyDown dependency={name}")
                assert took_s < stretched(NAMED_WITHIN_S)
                assert (await place.workers["a"].get("livez"))[0] == 200
            await place.until_told()
        await send(place.kafka, TOPIC, records(batch()))
        await place.workers["a"].until_quiescent(place.database, place.kafka, 2 * len(batch()))


async def block_a_stream(place: Site) -> str:
    """Store a learner's events of which one has a score that no fold can take."""
    events = stored_events("stuck", range(1, 5), datetime.now(UTC))
    assert events[QUIZ - 1]["event_type"] == "quiz_submitted"
    events[QUIZ - 1]["event_data"]["details"]["score"] = "many"
    await place.database.course_events.insert_many(events)
    return str(events[0]["stream_id"])


async def lose_history(place: Site) -> None:
    """The next answer to the change stream of `progress` is that the oplog does not hold its place any more."""
    namespace = f"{place.database.course_events.database.name}.course_events"
    data = {"failCommands": ["getMore"], "errorCode": 286, "namespace": namespace}
    await place.database.client.admin.command(
        {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data}
    )


@pytest.mark.long
async def test_a_stuck_stream_lost_history_and_a_flood_of_poison_are_told_apart_and_clear(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, times={"RetryBacklogOld"}) as place:
        stream = await block_a_stream(place)
        await send(place.kafka, TOPIC, poison(300, 0))
        for alert in ("DeadLetterBurst", "PartitionPaused"):
            await until(lambda alert=alert: _tells(place, f"{alert} topic={TOPIC}"), alert)  # type: ignore[misc]
        await lose_history(place)
        await send(place.kafka, TOPIC, records(batch()))
        await until(lambda: _tells(place, "HistoryLost watcher=progress"), "history lost")
        await until(lambda: _tells(place, "RetryBacklogOld"), "a stuck stream")

        # By the runbook: the queue names the stream, and its bad event is left out.
        shown = await place.command("queue", "list", "--json")
        assert shown.code == 0, shown.output
        assert stream in shown.output
        reason = "a score in words, ticket 4711"
        skipped = await place.command(
            *("queue", "skip-event", stream, "--version", str(QUIZ), "--reason", reason)
        )
        assert skipped.code == 0, skipped.output
        await place.until_told()
        await place.workers["a"].until_quiescent(place.database, place.kafka, 300 + len(batch()))
        assert await place.ever_fired() == {
            "DeadLetterBurst",
            "PartitionPaused",
            "HistoryLost",
            "RetryBacklogOld",
        }


async def _tells(place: Site, alert: str) -> bool:
    return alert in await place.told()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, DISK_MB) as disk:
        yield disk


@pytest.mark.long
async def test_a_disk_that_fills_is_told_before_mongod_has_to_end(tmp_path: Path, disk: Path) -> None:
    async with site(tmp_path, data=disk) as place:
        fill(disk, left_mb=DISK_MB * 0.15)
        await place.until_told("MongodbDiskFilling")
        ballast = fill(disk, left_mb=DISK_MB * 0.05)
        await place.until_told("MongodbDiskAlmostFull")
        await send(place.kafka, TOPIC, records(batch()))
        await place.workers["a"].until_quiescent(place.database, place.kafka, len(batch()))
        ballast.unlink()
        await place.until_told()


@pytest.mark.long
async def test_a_full_rebuild_and_a_rolling_restart_are_no_news(tmp_path: Path) -> None:
    async with site(tmp_path, workers=("a", "b"), factor=CALM) as place:
        async with flowing(place.kafka, TOPIC, batch) as published:
            await until(lambda: _stored(place, 200), "events flow")
            for what in ("progress", "counts"):
                rebuilt = await place.command("rebuild", what)
                assert rebuilt.code == 0, rebuilt.output
            for name in ("a", "b"):
                await place.restart(name)
                stored = await place.database.course_events.count_documents({})
                await until(lambda stored=stored: _stored(place, stored + 200), "events flow again")  # type: ignore[misc]
        await until(lambda: _stored(place, len(published)), "all is stored")
        assert await place.ever_fired() == set()


async def _stored(place: Site, count: int) -> bool:
    return bool(await place.database.course_events.count_documents({}) >= count)
