"""What ingest tests share: events as producers write them, and an ingest role that runs inside a test."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from tests.support.running import RunningRole, run
from tests.support.settings import changed
from worker.backlog import Backlog
from worker.contract.codec import encode
from worker.gate import Gate
from worker.ingest.assignment import OnGaps
from worker.ingest.options import IngestOptions
from worker.ingest.service import Ingest
from worker.settings import IngestSettings, KafkaSettings, StartPolicy
from worker.settings.ingest import OFF
from worker.storage.database import Database
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, SystemClock

COURSE = "5f1d7f3e9d1c4b0001a0c001"
LESSON = "5f1d7f3e9d1c4b0001a0e001"


def learner(number: int) -> str:
    return f"5f1d7f3e9d1c4b0001{number:06x}"


def event(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A valid `view` event of one learner; `number` picks the learner, `fields` replace envelope fields."""
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": "view",
        "occurred_at": "2026-03-01T10:00:00.000Z",
        "user_id": learner(number),
        "course_id": COURSE,
        "lesson_id": LESSON,
        "session_id": f"session-{number}",
        "value": 12.5,
        "details": {"time_spent": 10},
        **fields,
    }


@dataclass(frozen=True, slots=True)
class Sent:
    """One record to publish; no `partition` means the producer's choice by key (or none)."""

    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None


def records(events: Iterable[Mapping[str, Any]], partition: int | None = None) -> list[Sent]:
    return [
        Sent(encode(fields), f"{fields['course_id']}:{fields['user_id']}".encode(), partition)
        for fields in events
    ]


async def send(kafka: str, topic: str, sent: Sequence[Sent]) -> list[tuple[int, int]]:
    """Publish in order; (partition, offset) of each record."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=5, max_request_size=4_000_000)
    await producer.start()
    try:
        futures = [
            await producer.send(
                topic,
                r.value,
                key=r.key,
                partition=r.partition,
                timestamp_ms=r.timestamp_ms,
                headers=list(r.headers),
            )
            for r in sent
        ]
        answers = await asyncio.gather(*futures)
    finally:
        await producer.stop()
    return [(answer.partition, answer.offset) for answer in answers]


@dataclass(slots=True)
class RunningIngest(RunningRole):
    """An ingest role in this process; `outcome` reads its counters."""

    role: Ingest
    topic: str

    def outcome(self, name: str) -> int:
        return int(self.value("events_processed_total", topic=self.topic, outcome=name))

    def processed(self) -> int:
        names = ("stored", "redelivered", "duplicate", "conflict", "dead_lettered", "skipped")
        return sum(self.outcome(name) for name in names)

    def consumed(self) -> int:
        return int(self.value("kafka_records_consumed_total", topic=self.topic))

    async def until_processed(self, count: int) -> None:
        await self.until(lambda: self.processed() >= count, f"{count} records processed")

    async def until_assigned(self, partitions: int) -> None:
        await self.until(
            lambda: self.value("kafka_assigned_partitions", topic=self.topic) == partitions,
            f"{partitions} partitions assigned",
        )


NO_OTHERS: Mapping[str, Any] = dict.fromkeys(
    ("content_topic", "account_topic", "billing_topic", "worker_topic"), OFF
)
"""Settings of ingest that read what learners do, and nothing else."""


def options(
    kafka: str,
    topic: str,
    *,
    start_policy: StartPolicy = StartPolicy.EARLIEST,
    others: Mapping[str, str] | None = None,
    **changes: Any,
) -> IngestOptions:
    """Of an ingest that reads the learners' topic, and the `others` by their settings."""
    # The embedded broker lets a group form only after a part of this time: short, to keep tests short.
    servers = KafkaSettings(bootstrap_servers=kafka, group_id=f"group-{topic}", session_timeout_ms=4_000)
    settings = IngestSettings(
        topic=topic,
        position_check_interval_s=1.0,
        lag_every_s=0.5,
        start_policy=start_policy,
        **{**NO_OTHERS, **(others or {})},
    )
    return replace(IngestOptions.of(servers, settings), **changes)


def with_kafka(chosen: IngestOptions, **changes: Any) -> IngestOptions:
    """The options with other settings of Kafka, numbers of the code among them."""
    kafka = changed(chosen.consumer.kafka, **changes)
    return replace(chosen, consumer=replace(chosen.consumer, kafka=kafka))


def make_ingest(
    database: Database,
    chosen: IngestOptions,
    clock: Clock | None = None,
    gate: Gate | None = None,
    on_gaps: OnGaps | None = None,
    backlog: Backlog | None = None,
) -> tuple[Ingest, Metrics]:
    used = clock or SystemClock()
    metrics = Metrics(CollectorRegistry())
    component = Health(used, metrics).component("ingest")
    given = database, chosen, used, metrics, component, uuid.uuid4
    return Ingest(*given, gate=gate, on_gaps=on_gaps, backlog=backlog), metrics


@contextlib.asynccontextmanager
async def running(
    database: Database,
    chosen: IngestOptions,
    clock: Clock | None = None,
    *,
    gate: Gate | None = None,
    on_gaps: OnGaps | None = None,
    backlog: Backlog | None = None,
) -> AsyncIterator[RunningIngest]:
    """Run an ingest role; it is drained at the end, or cancelled where the test ended it otherwise."""
    role, metrics = make_ingest(database, chosen, clock, gate, on_gaps, backlog)
    topic = chosen.consumer.topics[0]
    async with run(role, lambda task, stop: RunningIngest(metrics, task, stop, role, topic)) as started:
        yield started
