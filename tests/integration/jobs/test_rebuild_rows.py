"""`rebuild time-series` and `rebuild notifications` as jobs: what is lost comes back, and nothing is sent unasked."""

import uuid
from typing import Any

import pytest
from bson import ObjectId

from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.verify.counted import counted, store_counted
from tests.integration.verify.history import Learner, learner, store
from tests.support.ingest import event, options, records, running, send
from tests.support.ingest import learner as user_id
from tests.support.jobs import parts
from tests.support.settings import changed
from worker.errors import Misconfigured
from worker.ingest.options import IngestOptions
from worker.jobs.context import Parts
from worker.jobs.rebuild_notifications import REBUILD_NOTIFICATIONS, RebuildNotifications
from worker.jobs.rebuild_time_series import REBUILD_TIME_SERIES, RebuildTimeSeries
from worker.jobs.runner import Result, Runner
from worker.storage.database import Database
from worker.storage.outbox import REMADE
from worker.storage.stream_selection import StreamSelection
from worker.verify.run import verify

EVER_H = 24 * 366 * 100


def runner_of(database: Database, chosen: IngestOptions | None = None) -> Runner:
    """One with the settings of the tests' own worker; the stories of the tests happened long ago."""
    given = parts(database)
    settings = given.settings.model_copy(
        update={"counts": changed(given.settings.counts, notify_within_hours=EVER_H)}
    )
    if chosen is not None:
        settings = settings.model_copy(update={"kafka": chosen.consumer.kafka, "ingest": chosen.settings})
    return Runner(Parts(database, settings, given.clock, given.metrics), "anna@ops-1")


async def test_rows_that_are_missing_come_back_below_the_committed_offset(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    published = [event(number % 5) for number in range(60)]
    async with running(database, chosen) as ingest:
        await send(kafka, topic, records(published))
        await ingest.until_processed(60)
    lost = ObjectId(user_id(2))
    await database.user_interactions.delete_many({"metadata.user_id": lost})
    others = RebuildTimeSeries(of=StreamSelection(learner=user_id(3)))
    everything = RebuildTimeSeries()
    runner = runner_of(database, chosen)

    async def rebuilt(arguments: RebuildTimeSeries, **how: Any) -> Result:
        return await runner.run(REBUILD_TIME_SERIES, arguments, **how)

    await database.course_events.update_many(
        {}, [{"$set": {"recorded_at": {"$subtract": ["$recorded_at", 120_000]}}}]
    )
    looked = await rebuilt(everything, dry_run=True)
    assert looked.run.counts["inserted"] == 12
    assert looked.outcome == {"wrong": 12, "left": [], "estimate_s": looked.outcome["estimate_s"]}
    assert looked.outcome["estimate_s"] < 60
    assert REBUILD_TIME_SERIES.differs(looked.outcome)
    assert await database.user_interactions.count_documents({}) == 48
    assert (await rebuilt(others)).run.counts == {"events": 12, "left": 0}
    result = await rebuilt(everything)
    assert (result.run.counts["inserted"], result.outcome) == (12, {"left": []})
    assert not REBUILD_TIME_SERIES.differs(result.outcome)
    assert (await rebuilt(everything)).run.counts == {"events": 60, "left": 0}
    await assert_exactly_once(database, published)


async def test_rows_that_are_not_ours_to_write_are_named_with_event_and_reason(
    database: Database, kafka: str, topic: str
) -> None:
    """Their records are of a group that never committed; one row is doubled on a server that cannot delete it."""
    ada = learner("ada")
    await store(database, [ada], {ada.stream: [*ada.rows[1:], ada.rows[3]]})
    chosen = options(kafka, "t")
    result = await runner_of(database, chosen).run(REBUILD_TIME_SERIES, RebuildTimeSeries())
    missing, doubled = ada.rows[0]["_id"], ada.rows[3]["_id"]
    left = {each["id"]: (each["kind"], each["reason"]) for each in result.outcome["left"]}
    assert left.keys() == {str(missing), str(doubled)}
    assert left[str(missing)][0] == "row_missing"
    assert "not below the offset that the consumer group has committed" in left[str(missing)][1]
    assert left[str(doubled)][0] == "row_doubled"
    assert REBUILD_TIME_SERIES.differs(result.outcome)
    assert await database.user_interactions.count_documents({}) == len(ada.rows)


async def lost_rows(database: Database, names: str = "abc") -> list[Learner]:
    """Learners who were counted, and whose notifications are gone."""
    everyone = [learner(name) for name in names]
    await store(database, everyone)
    await store_counted(database, counted(everyone), everyone)
    await database.notifications.delete_many({})
    return everyone


async def test_notifications_come_back_suppressed_and_are_sent_by_the_name_of_a_dry_run(
    database: Database,
) -> None:
    everyone = await lost_rows(database)
    job, runner, asked = REBUILD_NOTIFICATIONS, runner_of(database), RebuildNotifications()
    shown = (await runner.run(job, asked, dry_run=True)).run
    assert shown.counts == {"made": 3, "to_send": 3}
    outcome = shown.outcome or {}
    assert (outcome["lost"], 0 <= outcome["estimate_s"] < 60) == (3, True)
    assert job.differs(shown.outcome or {})
    assert await database.notifications.count_documents({}) == 0
    assert (await runner.run(job, asked)).run.counts == {"made": 3}
    silent = {"status": "suppressed", "last_error": REMADE}
    assert await database.notifications.count_documents(silent) == len(everyone)
    assert (await verify(database, quiescent=True)).ok
    assert (await runner.run(job, RebuildNotifications(send=shown.id))).run.counts == {"to_send": 3}
    assert await database.notifications.count_documents({"status": "pending"}) == len(everyone)
    assert (await verify(database, quiescent=True)).ok


@pytest.mark.parametrize("send", ["nobody", "real", "other", "more"])
async def test_nothing_is_sent_without_a_dry_run_that_showed_it(database: Database, send: str) -> None:
    a, *_ = await lost_rows(database)
    job, runner, of = REBUILD_NOTIFICATIONS, runner_of(database), StreamSelection(streams=(a.stream,))
    named, words = uuid.uuid4().hex, "is no dry run of rebuild notifications"
    if send == "real":
        named = (await runner.run(job, RebuildNotifications(of=of))).run.id
    elif send == "other":
        named, words = (
            (await runner.run(job, RebuildNotifications(of=of), dry_run=True)).run.id,
            "of other streams",
        )
    elif send == "more":
        counted_before = (await runner.run(job, RebuildNotifications(), dry_run=True)).run.id
        await database.job_runs.update_one({"_id": counted_before}, {"$set": {"counts": {"to_send": 2}}})
        named, words = counted_before, "more would be sent than the 2"
    with pytest.raises(Misconfigured, match=words):
        await runner.run(job, RebuildNotifications(send=named))
    assert await database.notifications.count_documents({"status": "pending"}) == 0
