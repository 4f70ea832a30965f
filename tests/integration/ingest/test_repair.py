"""Missing rows come back, each once, although the partition's owner goes on writing; nobody's fence is touched."""

import asyncio
import uuid
from collections.abc import Collection, Mapping
from functools import partial

import pytest
from bson import ObjectId
from prometheus_client import CollectorRegistry

from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.storage.fences import DEADLINE_S, once, rows, send, stored
from tests.support.clocks import ManualClock
from tests.support.ingest import event, learner, options, records, running
from tests.support.ingest import send as publish
from worker.errors import Fenced
from worker.ingest.options import IngestOptions
from worker.ingest.repair import Committed, RowRepair, row_repair
from worker.ingest.time_series import SeriesWriter
from worker.kafka.log_reader import LogReader
from worker.kafka.record import Partition
from worker.storage.database import Database, Document
from worker.storage.partition_lease import assert_in_force, take_partition, take_repair
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

LEARNERS = 5


def repair_of(database: Database, chosen: IngestOptions, committed: Committed) -> RowRepair:
    clock = SystemClock()
    return row_repair(
        database,
        chosen.routes,
        chosen.settings,
        clock,
        Metrics(CollectorRegistry()),
        Health(clock).component("repair"),
        committed=committed,
        new_session=uuid.uuid4,
    )


async def events_of(database: Database) -> list[Document]:
    return await database.course_events.find({}).to_list(None)


async def lose_rows(database: Database, learners: Collection[int]) -> None:
    """MongoDB 6 deletes rows by their metadata only."""
    for number in learners:
        await database.user_interactions.delete_many({"metadata.user_id": ObjectId(learner(number))})


async def test_missing_rows_come_back_once_while_the_owner_goes_on(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    published = [event(number % LEARNERS) for number in range(120)]
    async with running(database, chosen) as ingest, LogReader(chosen.consumer, SystemClock()) as log:
        await publish(kafka, topic, records(published[:60]))
        await ingest.until_processed(60)
        await lose_rows(database, [0, 3])
        lost = await events_of(database)
        first, second = (repair_of(database, chosen, log.committed) for _ in range(2))
        await ingest.until(lambda: all_committed(log, topic, 60), "60 records committed")
        assert await first.missing(lost) == 24
        repaired, *_ = await asyncio.gather(
            first(lost), second(lost), publish(kafka, topic, records(published[60:]))
        )
        assert not repaired.unproven
        await ingest.until_processed(120)
        assert ingest.value("fenced_writes_total", component="ingest") == 0
        assert (await first(await events_of(database))).written == 0
    await assert_exactly_once(database, published)


async def all_committed(log: LogReader, topic: str, number: int) -> bool:
    committed = await log.committed([Partition(topic, each) for each in range(4)])
    return sum(committed.values()) == number


async def test_rows_of_records_that_the_group_has_not_committed_are_its_owners(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    published = [event(number % LEARNERS) for number in range(30)]
    await publish(kafka, topic, records(published, partition=0))
    async with running(database, chosen) as ingest:
        await ingest.until_processed(30)
    await lose_rows(database, range(LEARNERS))

    async def ten(partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return dict.fromkeys(partitions, 10)

    repaired = await repair_of(database, chosen, ten)(await events_of(database))
    assert repaired.written == 10
    assert [each["metadata"]["source"]["offset"] for each in repaired.unproven] == list(range(10, 30))
    assert await database.user_interactions.count_documents({}) == 10


async def test_a_partitions_new_owner_burns_its_repairer_which_never_burns_an_owner(
    database: Database,
) -> None:
    clock, sent = ManualClock(), rows(3)
    own = partial(take_partition, database, "events", 0, clock=clock, deadline_s=DEADLINE_S)
    mend = partial(take_repair, database, "events", 0, clock=clock, deadline_s=DEADLINE_S)
    owner = await own(uuid.uuid4())
    before = await mend(uuid.uuid4())
    repairer = await mend(uuid.uuid4())
    with pytest.raises(Fenced):
        await send(database, before.session, 1, rows(2))
    await send(database, owner.session, 1, sent[:1])
    await send(database, repairer.session, 1, sent[1:])
    await assert_in_force(database, owner, clock.now())
    await assert_in_force(database, repairer, clock.now())
    await own(uuid.uuid4())
    for fenced in (owner, repairer):
        with pytest.raises(Fenced):
            await send(database, fenced.session, 2, rows(2))
        with pytest.raises(Fenced):
            await assert_in_force(database, fenced, clock.now())
    assert await stored(database) == once(sent)


async def test_an_owner_burns_again_the_repairers_that_came_while_it_owned(database: Database) -> None:
    """One of them may be frozen with a command in hand, and the server forgets a burn after half an hour."""
    clock, forgotten = ManualClock(), uuid.uuid4()
    owner = await take_partition(database, "events", 0, uuid.uuid4(), clock=clock, deadline_s=DEADLINE_S)
    writer = SeriesWriter(owner, clock.monotonic())
    await database.leases.update_one({"_id": owner.key}, {"$push": {"burned": forgotten}})
    await writer.burn_again(database, clock, deadline_s=DEADLINE_S)
    with pytest.raises(Fenced):
        await send(database, forgotten, 1, rows(2))
    assert not await stored(database)
