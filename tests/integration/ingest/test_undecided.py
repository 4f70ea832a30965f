"""What one record decided about another, when the first turned out not to be stored: real keys, real refusals."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId
from prometheus_client import CollectorRegistry

from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.ingest.test_faults import POISON, refusing
from tests.support.ingest import event, learner
from tests.support.waiting import LIMIT_S
from worker.contract.codec import encode
from worker.contract.routes import Topics, routes
from worker.contract.source import Source
from worker.ingest import pipeline as pipeline_module
from worker.ingest.enrich.stamps import Stamps
from worker.ingest.event_store import EventStore
from worker.ingest.pipeline import BatchSource, Pipeline
from worker.ingest.plan import Known, Sorted, sort_candidates
from worker.ingest.record import Appended, Candidate
from worker.ingest.time_series import SeriesWriter
from worker.ingest.versions import StreamVersions
from worker.kafka.record import Batch, Partition, Record
from worker.settings import IngestSettings
from worker.storage.database import Database, Document
from worker.storage.documents import event_document
from worker.storage.partition_lease import take_partition
from worker.telemetry.health import Component
from worker.telemetry.labels import Outcome
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

TOPIC = "events"
P0 = Partition(TOPIC, 0)


class Rests(SystemClock):
    """Notes how long is waited, and does not wait."""

    def __init__(self) -> None:
        self.rests: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        await asyncio.sleep(0)


class OneBatch:
    """A source of no more batches than the first."""

    async def next_batch(self) -> Batch | None:
        return None

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        assert positions

    def on_durable(
        self, batch: Batch, dead_letters: Counter[Partition], outcomes: Mapping[Outcome, int]
    ) -> None:
        assert dead_letters.keys() <= {P0}
        assert batch.records


async def ingested(
    database: Database,
    published: Sequence[Mapping[str, Any]],
    store: type[EventStore] = EventStore,
    clock: SystemClock | None = None,
) -> dict[str, int]:
    """Have a new owner take in the records, from offset 0; what became of them, and how many were dropped."""
    clock = clock or SystemClock()
    metrics, events = Metrics(CollectorRegistry()), store(database, StreamVersions(database))
    component = Component("ingest", clock, stall_after_s=45.0)
    pipeline = Pipeline(database, events, routes(Topics(TOPIC)), IngestSettings(), clock, metrics, component)
    taken = tuple(
        Record(Source(TOPIC, 0, offset), clock.now(), None, encode(fields))
        for offset, fields in enumerate(published)
    )
    lease = await take_partition(database, TOPIC, 0, uuid.uuid4(), clock=clock, deadline_s=20.0)
    batch = Batch(taken, {P0: len(taken)}, 1, clock.monotonic(), clock.now())
    async with asyncio.timeout(LIMIT_S):
        one = OneBatch()
        source = BatchSource(one.next_batch, one.commit, one.on_durable)
        await pipeline.run(batch, {P0: SeriesWriter(lease, clock.monotonic())}, source)

    def value(name: str, **labels: str) -> int:
        return int(metrics.registry.get_sample_value(f"sevenp_worker_{name}", labels) or 0)

    counted = {each.value: value("events_processed_total", topic=TOPIC, outcome=each) for each in Outcome}
    counted["dropped"] = value("events_dropped_total", reason="unexpected")
    return {name: number for name, number in counted.items() if number}


async def test_a_conflict_with_a_record_that_the_store_refuses_is_none(database: Database) -> None:
    refused = event(1, device_type=POISON)
    healthy = event(1, event_id=refused["event_id"])
    async with refusing(database):
        found = await ingested(database, [refused, healthy, healthy, event(1, value=1), refused])
    # The last one is a conflict: with the healthy event, which was stored.
    assert found == {"stored": 2, "duplicate": 1, "dead_lettered": 1, "conflict": 1}
    dead_letters = await database.dead_letters.find({}).sort("offset", 1).to_list(None)
    assert [(each["offset"], each["reason"]) for each in dead_letters] == [
        (0, "refused_by_store"),
        (4, "conflict"),
    ]


async def test_a_record_decided_by_one_that_lost_its_id_is_decided_by_the_winner(database: Database) -> None:
    loser = event(1)
    winner = event(1, event_id=loser["event_id"], value=99)

    class Raced(EventStore):
        raced = False

        async def append(
            self, candidates: Sequence[Candidate], stamps: Stamps, recorded_at: datetime
        ) -> Appended:
            if not self.raced:
                type(self).raced = True
                equal = candidates[0].event._replace(value=99)
                await self._events.insert_one(
                    event_document(equal, 1, Source(TOPIC, 3, 7), recorded_at, None)
                )
            return await super().append(candidates, stamps, recorded_at)

    assert await ingested(database, [loser, winner, loser], Raced) == {"conflict": 2, "duplicate": 1}


@pytest.mark.parametrize("with_tombstone", [True, False])
async def test_an_event_erased_between_two_reads_ends_nothing(
    database: Database, with_tombstone: bool
) -> None:
    published = [event(1), event(2)]
    assert await ingested(database, published) == {"stored": 2}

    class Erased(EventStore):
        erased = False

        async def documents(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Document]:
            if not self.erased:
                type(self).erased = True
                if with_tombstone:
                    gone = {"_id": ObjectId(learner(1)), "reason": "asked", "created_at": SystemClock().now()}
                    await database.tombstones.insert_one(gone)
                await self._events.delete_one({"_id": uuid.UUID(published[0]["event_id"])})
            return await super().documents(ids)

    found = await ingested(database, published, Erased)
    assert found == {"redelivered": 1, "skipped" if with_tombstone else "stored": 1}
    assert await database.course_events.count_documents({}) == (1 if with_tombstone else 2)


async def test_who_meets_a_write_that_no_majority_has_yet_pauses_longer_and_longer(
    database: Database,
) -> None:
    published = [event(1)]

    class Behind(EventStore):
        """Another worker's insert is there, and what is read at majority does not show it yet."""

        looks = 0

        async def known(self, candidates: Sequence[Candidate]) -> dict[uuid.UUID, Known]:
            type(self).looks += 1
            return await super().known(candidates) if self.looks > 12 else {}

    await ingested(database, published)
    clock = Rests()
    assert await ingested(database, published, Behind, clock) == {"redelivered": 1}
    assert len(clock.rests) == 11  # the first time at once: most races are over by then
    assert clock.rests == sorted(clock.rests)
    assert 0.02 < clock.rests[0] < clock.rests[-1] <= 2.0


async def test_a_unique_index_of_somebody_else_refuses_and_is_not_asked_for_ever(database: Database) -> None:
    await database.course_events.create_index("event_data.session_id", unique=True)
    published = [event(1, session_id="same"), event(2, session_id="same"), event(1, session_id="other")]
    assert await ingested(database, published) == {"stored": 2, "dead_lettered": 1}
    await assert_exactly_once(database, [published[0], published[2]])


async def test_a_record_that_gets_lost_on_its_way_is_counted_as_dropped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(candidates: Sequence[Candidate], *others: Any) -> Sorted:
        return sort_candidates(candidates[:-1], *others)

    published = [event(n) for n in range(5)]
    assert await ingested(database, published) == {"stored": 5}
    monkeypatch.setattr(pipeline_module, "sort_candidates", forgetful)
    assert await ingested(database, published) == {"redelivered": 4, "dropped": 1}
