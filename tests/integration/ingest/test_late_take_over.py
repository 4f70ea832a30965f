"""A take-over that comes late: the group has gone on, and the rightful owner is left alone."""

import uuid

import structlog
from prometheus_client import CollectorRegistry

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, options, records, running, send
from tests.support.waiting import until
from worker.errors import Retryable
from worker.ingest.assignment import Assignment
from worker.ingest.options import IngestOptions
from worker.kafka.consumer import EventConsumer
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


def _assignment(database: Database, consumer: EventConsumer, chosen: IngestOptions) -> Assignment:
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    waits = Waits(structlog.get_logger(__name__), clock, "ingest")
    return Assignment(database, consumer, chosen, clock, metrics, uuid.uuid4, waits)


async def _burns(database: Database) -> int:
    leases = await database.leases.find({"kind": "partition"}).to_list(None)
    return sum(lease["burns"] for lease in leases)
