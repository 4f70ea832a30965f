"""Spans of real work on real servers: of a batch, a fold round, a notification and a job's step, with their links."""

import uuid
from dataclasses import replace
from itertools import pairwise

from prometheus_client import CollectorRegistry

from tests.support.ingest import Sent, event, options, send
from tests.support.jobs import CountArguments, Counting, parts
from tests.support.notify import QUICK
from tests.support.progress import fold_dependencies, highest_versions
from tests.support.running import RunningRole, run
from tests.support.settings import changed
from tests.support.spans import Kept, linked, spans_in_memory
from tests.support.waiting import until
from worker.contract.codec import encode
from worker.ingest.service import Ingest
from worker.jobs.runner import Runner
from worker.notify.senders.log import LogSender
from worker.notify.service import Notifier
from worker.storage.database import Database
from worker.storage.outbox import notification_row
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock
from worker.watch.folds.projector import Projector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADER = ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode())
CLOCK = SystemClock()


async def test_the_way_of_an_event_is_a_chain_of_spans_that_name_its_trace(
    database: Database, kafka: str, topic: str
) -> None:
    kept = spans_in_memory()
    plain, traced = (encode(event(1, event_type="complete")) for _ in range(2))
    await send(kafka, topic, [Sent(plain, b"k", 0), Sent(traced, b"k", 0, (HEADER,))])
    await _ingested(database, kafka, topic, kept)
    batches = kept.named("ingest batch")
    assert sum(span.attributes["messaging.batch.message_count"] for span in batches) == 2
    assert [trace for span in batches for trace in linked(span)] == [TRACE]

    await _folded(database, kept)
    (round_,) = kept.named("fold round")
    assert linked(round_) == [TRACE]
    assert dict(round_.attributes) == {
        "sevenp.projection": "progress",
        "sevenp.mode": "live",
        "sevenp.streams": 1,
        "sevenp.events": 2,
    }

    await _notified(database, kept)
    (sending,) = kept.named("send notification")
    assert linked(sending) == [TRACE]
    assert (sending.kind.name, sending.attributes["sevenp.channel"]) == ("PRODUCER", "log")
    for span in kept.spans:
        assert "5f1d7f3e" not in str(dict(span.attributes))  # no learner, no course


async def _ingested(database: Database, kafka: str, topic: str, kept: Kept) -> None:
    metrics = Metrics(CollectorRegistry())
    component = Health(CLOCK).component("ingest")
    role = Ingest(
        database, options(kafka, topic), CLOCK, metrics, component, uuid.uuid4, tracing=kept.tracing
    )

    async def all_stored() -> bool:
        return await database.course_events.count_documents({}) == 2

    async with run(role, lambda task, stop: RunningRole(metrics, task, stop)):
        await until(all_stored, "both events are stored")


async def _folded(database: Database, kept: Kept) -> None:
    projector = Projector(fold_dependencies(database, clock=CLOCK), tracing=kept.tracing)
    await projector.project(await highest_versions(database))


async def _notified(database: Database, kept: Kept) -> None:
    stored = await database.course_events.find_one({"metadata.traceparent": {"$exists": True}})
    assert stored is not None
    data, now = stored["event_data"], CLOCK.now()
    row = notification_row(
        "completion",
        stored["stream_id"],
        data["user_id"],
        data["course_id"],
        by="live",
        data={"percentage": 100.0, "reached_at": stored["occurred_at"]},
        now=now,
    )
    await database.notifications.insert_one(row)
    metrics = Metrics(CollectorRegistry())
    role = Notifier(
        database,
        CLOCK,
        Health(CLOCK).component("notify"),
        metrics,
        changed(QUICK, routes={"welcome": "log", "completion": "log"}),
        {"log": LogSender(CLOCK)},
        owner=uuid.uuid4().hex,
        tracing=kept.tracing,
    )
    async with run(role, lambda task, stop: RunningRole(metrics, task, stop)):
        await until(lambda: bool(kept.named("send notification")), "it is sent")


async def test_each_step_of_a_job_is_a_span(database: Database) -> None:
    kept, counting = spans_in_memory(), Counting()
    given = replace(parts(database), tracing=kept.tracing)
    await Runner(given, "anna").run(counting.job, CountArguments(to=3))
    steps = kept.named("job step")
    assert [span.attributes["sevenp.steps"] for span in steps] == [1, 1, 1]
    assert {span.attributes["sevenp.job"] for span in steps} == {"count"}
    assert all(earlier.end_time <= later.start_time for earlier, later in pairwise(steps))
