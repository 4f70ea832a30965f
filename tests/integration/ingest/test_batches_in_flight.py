"""Batches on their way through the pipeline: in order, two at most, and nothing goes on behind one given up."""

import asyncio
import gc
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, records
from worker.contract.routes import Topics, routes
from worker.contract.source import Source
from worker.errors import Fenced
from worker.ingest.event_store import EventStore
from worker.ingest.pipeline import BATCHES_IN_FLIGHT, BatchSource, Pipeline
from worker.ingest.time_series import SeriesWriter
from worker.ingest.versions import StreamVersions
from worker.kafka.record import Batch, Partition, Record
from worker.settings import IngestSettings
from worker.storage.database import Database
from worker.storage.partition_lease import take_partition
from worker.telemetry.health import Component
from worker.telemetry.labels import Outcome
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

TOPIC = "events"
CLOCK = SystemClock()
PARTITIONS = [Partition(TOPIC, 0), Partition(TOPIC, 1)]
PER_BATCH = 12
BATCHES = 4
# Several parts a batch, so that decoding, storing and rows go on beside each other.
OPTIONS = IngestSettings(max_records=10, max_rows=4)


def batch(number: int, published: Sequence[Mapping[str, Any]]) -> Batch:
    """Batch `number` of the log: every other event is in the second partition."""
    at = number * PER_BATCH
    sent = records(published[at : at + PER_BATCH])
    taken = [
        Record(Source(TOPIC, place % 2, (at + place) // 2), CLOCK.now(), each.key, each.value)
        for place, each in enumerate(sent)
    ]
    positions = dict.fromkeys(PARTITIONS, (at + PER_BATCH) // 2)
    return Batch(tuple(taken), positions, generation=1, polled_at=CLOCK.monotonic(), read_at=CLOCK.now())


class Log:
    """Hands out a log batch by batch and keeps none; breaks after `failing` batches.

    `counting` notes how many batches live whenever another one is asked for, which takes a while each time.
    """

    def __init__(
        self, published: Sequence[Mapping[str, Any]], failing: int | None = None, *, counting: bool = False
    ) -> None:
        self.published = published
        self.counting = counting
        self.failing = failing
        self.given = 0
        self.committed: list[int] = []
        self.durable = 0
        self.alive: list[int] = []

    def first(self) -> Batch:
        return self._next()

    @property
    def source(self) -> BatchSource:
        return BatchSource(self.next_batch, self.commit, self.on_durable)

    async def next_batch(self) -> Batch | None:
        if self.counting:
            gc.collect()
            # Asked for its type alone: `isinstance` would ask a weak proxy whose object has gone for its class.
            self.alive.append(sum(type(each) is Batch for each in gc.get_objects()))
        await asyncio.sleep(0)
        if self.given == self.failing:
            raise RuntimeError("the consumer broke")
        return self._next() if self.given < BATCHES else None

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        self.committed.append(positions[PARTITIONS[0]])

    def on_durable(
        self, batch: Batch, dead_letters: Counter[Partition], outcomes: Mapping[Outcome, int]
    ) -> None:
        assert not dead_letters
        self.durable += 1

    def _next(self) -> Batch:
        self.given += 1
        assert self.given - self.durable <= BATCHES_IN_FLIGHT
        return batch(self.given - 1, self.published)


class Steps(Component):
    """A component whose beats, one at every answer of MongoDB, can be waited for."""

    def __init__(self) -> None:
        super().__init__("ingest", CLOCK, stall_after_s=45.0)
        self.taken = 0
        self.wanted = 0
        self.reached = asyncio.Event()

    def beat(self) -> None:
        super().beat()
        self.taken += 1
        if self.taken == self.wanted:
            self.reached.set()


async def owner(database: Database) -> dict[Partition, SeriesWriter]:
    return {
        partition: SeriesWriter(
            await take_partition(
                database, TOPIC, partition.number, uuid.uuid4(), clock=CLOCK, deadline_s=20.0
            ),
            owner_at=CLOCK.monotonic(),
        )
        for partition in PARTITIONS
    }


def pipeline(database: Database, component: Component) -> Pipeline:
    metrics, store = Metrics(CollectorRegistry()), EventStore(database, StreamVersions(database))
    return Pipeline(database, store, routes(Topics(TOPIC)), OPTIONS, CLOCK, metrics, component)


async def ingest(database: Database, log: Log, steps: Steps | None = None) -> None:
    """A new owner reads the log."""
    writers = await owner(database)
    await pipeline(database, steps or Steps()).run(log.first(), writers, log.source)


def left_running() -> list[str]:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [
        name
        for name in names
        if name.startswith(("Pipeline.", "SeriesRows.", "SeriesWriteBehind.", "cancel_and_wait"))
    ]


def published() -> list[dict[str, Any]]:
    return [event(number % 5) for number in range(BATCHES * PER_BATCH)]


async def test_batches_are_acknowledged_in_their_order_and_let_go_of(database: Database) -> None:
    log = Log(published(), counting=True)
    await ingest(database, log)
    assert log.committed == [PER_BATCH // 2 * count for count in range(1, BATCHES + 1)]
    assert log.durable == BATCHES
    # Asked for one more, the pipeline holds the one it has just stored: those before are durable and gone.
    assert log.alive == [BATCHES_IN_FLIGHT - 1] * BATCHES
    await assert_exactly_once(database, log.published)


@pytest.mark.parametrize("given", range(1, BATCHES))
async def test_a_source_that_breaks_leaves_nothing_running_and_nothing_half(
    database: Database, given: int
) -> None:
    log = Log(published(), failing=given)
    with pytest.raises(RuntimeError, match="the consumer broke"):
        await ingest(database, log)
    assert left_running() == []
    await ingest(database, Log(log.published))
    await assert_exactly_once(database, log.published)


async def test_of_several_failures_that_there_is_a_newer_owner_is_raised(database: Database) -> None:
    log, writers = Log(published()), await owner(database)
    await owner(database)
    with pytest.raises(Fenced):
        await pipeline(database, Steps()).run(log.first(), writers, log.source)
    assert left_running() == []
    assert log.committed == []
    await ingest(database, Log(log.published))
    await assert_exactly_once(database, log.published)


@pytest.mark.slow
async def test_given_up_at_any_answer_even_twice_it_leaves_nothing_running(database: Database) -> None:
    """Cancelled at the first answer, at the second, and so on until it got through to the end."""
    events = published()
    for at in range(1, 1000):
        log, steps = Log(events), Steps()
        steps.wanted = at
        work = asyncio.create_task(ingest(database, log, steps))
        reached = asyncio.create_task(steps.reached.wait())
        await asyncio.wait({work, reached}, return_when=asyncio.FIRST_COMPLETED)
        if not reached.done():
            reached.cancel()
            break
        for _ in range(3):
            work.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({work})
        assert left_running() == []
        durable = {
            record["_id"] for record in await database.user_interactions.find({}, {"_id": 1}).to_list()
        }
        acknowledged = events[: log.durable * PER_BATCH]
        assert {uuid.UUID(each["event_id"]) for each in acknowledged} <= durable
    else:
        pytest.fail("it never got to its end")
    await work
    assert at > BATCHES * 4, "there are more answers than that"
    assert log.durable == BATCHES
    await assert_exactly_once(database, events)
