"""A take-over that comes late: the group has gone on, and the rightful owner is left alone."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, options, records, running, send
from tests.support.waiting import until
from worker.errors import Retryable
from worker.ingest.assignment import Assignment, OnGaps
from worker.ingest.options import IngestOptions
from worker.kafka.consumer import EventConsumer
from worker.kafka.positions import Gap, LogRange
from worker.kafka.record import Partition
from worker.storage.database import Database
from worker.telemetry.metrics import Metrics
from worker.telemetry.waits import Waits
from worker.timing import SystemClock, cancel_and_wait


class Frozen(EventConsumer):
    """A member that the group hears nothing of any more, as from a process that is stopped."""

    async def freeze(self) -> None:
        coordinator = self._consumer._coordinator  # noqa: SLF001  # there is no public way to be silent
        await cancel_and_wait(coordinator._coordination_task, coordinator._heartbeat_task)  # noqa: SLF001


async def nothing() -> None:
    """Nothing is in hand."""


@pytest.mark.slow
async def test_a_late_take_over_leaves_the_rightful_owner_alone(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    published = [event(number) for number in range(40)]
    late = Frozen(chosen.consumer, SystemClock(), nothing)
    assignment = _assignment(database, late, chosen)
    await late.start()
    try:
        await until(lambda: len(late.assigned) == 4, "the late one is assigned everything")
        await late.freeze()
        async with running(database, chosen) as rightful:
            await rightful.until_assigned(4)
            await send(kafka, topic, records(published[:20]))
            await rightful.until_processed(20)
            burns = await _burns(database)
            refused = False
            try:
                await assignment.on_assigned()
            except Retryable:
                refused = True
            assert await _burns(database) == burns
            assert refused
            await send(kafka, topic, records(published[20:]))
            await rightful.until_processed(40)
            assert rightful.value("fenced_writes_total", component="ingest") == 0
    finally:
        await late.stop()
    await assert_exactly_once(database, published)


@pytest.mark.slow
async def test_a_late_owner_stops_no_partition_of_others_at_a_gap(
    database: Database, kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, stopped = options(kafka, topic), list[Gap]()
    real = EventConsumer.log_ranges

    async def as_after_retention(self: EventConsumer) -> Mapping[Partition, LogRange]:
        ranges = await real(self)
        return {p: replace(log, begin=log.begin + 5) for p, log in ranges.items()}

    async def on_gaps(gaps: Sequence[Gap]) -> None:
        stopped.extend(gaps)

    late = Frozen(chosen.consumer, SystemClock(), nothing)
    assignment = _assignment(database, late, chosen, on_gaps)
    await late.start()
    try:
        await until(lambda: len(late.assigned) == 4, "the late one is assigned everything")
        await late.freeze()
        async with running(database, chosen) as rightful:
            await rightful.until_assigned(4)
            # As far as the late one can see, records were removed that the group had not read.
            monkeypatch.setattr(Frozen, "log_ranges", as_after_retention)
            monkeypatch.setattr(Frozen, "committed", _the_first)
            with pytest.raises(Retryable, match="a newer generation"):
                await assignment.on_assigned()
            assert stopped == []
    finally:
        await late.stop()


async def _the_first(self: EventConsumer, partition: Partition) -> int | None:
    return 0


def _assignment(
    database: Database, consumer: EventConsumer, chosen: IngestOptions, on_gaps: OnGaps | None = None
) -> Assignment:
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    waits = Waits(structlog.get_logger(__name__), clock, "ingest")
    return Assignment(database, consumer, chosen, clock, metrics, uuid.uuid4, waits, on_gaps=on_gaps)


async def _burns(database: Database) -> int:
    leases = await database.leases.find({"kind": "partition"}).to_list(None)
    return sum(lease["burns"] for lease in leases)
