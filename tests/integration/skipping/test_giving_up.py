"""By a setting an event is given up by itself: a failure of the fold alone, after its attempts, and not in masses."""

from tests.integration.skipping.blocked import BAD, blocked, broken
from tests.support.progress import documents, expected, histories, interleaved, projector, store
from tests.support.retry import LIMITS, folding, running, stored
from tests.support.scraping import until_moved
from tests.support.settings import changed
from worker.storage.database import Database, Document
from worker.telemetry.metrics import Metrics

SKIPPING = changed(LIMITS, skip_bad_events=True, max_attempts=2)


def given_up(metrics: Metrics) -> float:
    name = "sevenp_worker_skipped_events_total"
    return metrics.registry.get_sample_value(name, {"projection": "progress"}) or 0.0


async def test_after_its_attempts_the_event_is_skipped_audited_and_counted(database: Database) -> None:
    one = await blocked(database)
    metrics = Metrics()
    handlers = folding(database, broken({BAD, 5}), metrics, SKIPPING)
    async with running(database, handlers, limits=SKIPPING) as retry:
        await retry.until_status("completed", 1)
        attempts = retry.value("retry_attempts_total", outcome="failed", error_class="ArithmeticError")
    assert await documents(database) == await expected(database)
    decisions = await database.skipped_versions.find({}).sort("version", 1).to_list(None)
    assert [(each["version"], each["automatic"]) for each in decisions] == [(BAD, True), (5, True)]
    rows = await database.audit.find({"command": "queue skip-event"}).to_list(None)
    assert [(row["arguments"]["version"], row["outcome"]) for row in rows] == [
        (BAD, {"skipped": True}),
        (5, {"skipped": True}),
    ]
    assert {row["who"] for row in rows} == {each["who"] for each in decisions} == {"retry test"}
    # Each of the two events had its two attempts, the second of which gave it up.
    assert (given_up(metrics), attempts) == (2.0, 2.0)
    await until_moved(metrics, "skipped_events_total")
    assert one.stream == decisions[0]["stream_id"]


async def test_without_the_setting_it_waits_for_somebody(database: Database) -> None:
    await blocked(database)
    limits = changed(SKIPPING, skip_bad_events=False)
    async with running(database, folding(database, broken(), limits=limits), limits=limits) as retry:
        await retry.until_status("failed", 1)
    assert await database.skipped_versions.count_documents({}) == 0


async def test_what_the_server_refuses_is_not_given_up(database: Database) -> None:
    one = await blocked(database)
    stricter: Document = {"$jsonSchema": {"properties": {"version": {"maximum": 2}}}}
    await database.content.command({"collMod": "user_progress", "validator": stricter})
    async with running(database, folding(database, limits=SKIPPING), limits=SKIPPING) as retry:
        await retry.until_status("failed", 1)
    assert (await stored(database, f"progress:{one.stream}"))["error_class"] == "Refused"
    assert await database.skipped_versions.count_documents({}) == 0


async def test_a_defect_that_many_streams_meet_gives_no_event_up(database: Database) -> None:
    streams = histories(learners=21, events=4)
    await store(database, interleaved(streams))
    await projector(database, projection=broken()).project(dict.fromkeys(streams, 4))
    async with running(database, folding(database, broken(), limits=SKIPPING), limits=SKIPPING) as retry:
        await retry.until_status("failed", 21)
    assert await database.skipped_versions.count_documents({}) == 0
