"""Missing rows come back, each once, although the partition's owner goes on writing; nobody's fence is touched."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial

import pytest
from bson import ObjectId
from prometheus_client import CollectorRegistry

from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.storage.fences import DEADLINE_S, once, rows, send, stored
from tests.integration.verify.history import learner as history
from tests.integration.verify.history import store as store_history
from tests.support.clocks import ManualClock
from tests.support.ingest import event, learner, options, records, running
from tests.support.ingest import send as publish
from worker.errors import Fenced
from worker.ingest.options import IngestOptions
from worker.ingest.repair import Committed, RowRepair, row_repair
from worker.ingest.row_removal import can_delete_rows, deletes_rows
from worker.ingest.time_series import SeriesWriter, commands, rows_present
from worker.kafka.log_reader import LogReader
from worker.kafka.record import Partition
from worker.settings import IngestSettings, KafkaSettings
from worker.storage.database import Database, Document
from worker.storage.partition_lease import (
    PartitionLease,
    assert_in_force,
    shut_out_repairer,
    take_partition,
    take_repair,
)
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

LEARNERS = 5
FAR = 2**53


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
    with pytest.raises(Fenced, match="was burned"):
        await mend(before.session)
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


async def test_an_owner_that_reads_again_below_the_committed_offset_shuts_the_repairer_out(
    database: Database,
) -> None:
    """Its log was made anew: the repairer knows an offset that is none any more."""
    clock = ManualClock()
    own = partial(take_partition, database, "events", 0, clock=clock, deadline_s=DEADLINE_S)
    owner = await own(uuid.uuid4())
    repairer = await take_repair(database, "events", 0, uuid.uuid4(), clock=clock, deadline_s=DEADLINE_S)
    for _ in range(2):
        await shut_out_repairer(database, owner, deadline_s=DEADLINE_S)
    with pytest.raises(Fenced):
        await send(database, repairer.session, 1, rows(2))
    sent = rows(2)
    await send(database, owner.session, 1, sent)
    assert await stored(database) == once(sent)
    successor = await own(uuid.uuid4())
    assert repairer.session in successor.burned or repairer.session in await burned_of(database, successor)
    with pytest.raises(Fenced, match="another owner"):
        await shut_out_repairer(database, owner, deadline_s=DEADLINE_S)


async def burned_of(database: Database, lease: PartitionLease) -> Collection[uuid.UUID]:
    stored_lease = await database.leases.find_one({"_id": lease.key}) or {}
    return set(stored_lease["burned"])


async def test_a_new_owner_that_reads_everything_again_meanwhile_and_the_repairer_make_each_row_once(
    database: Database,
) -> None:
    """The group's offsets were set back. It takes the partition after we asked for them, and looks before we do."""
    ada, clock = history("ada"), SystemClock()
    await store_history(database, [ada], {ada.stream: ada.rows[-1:]})
    missing, owners = ada.rows[:-1], list[SeriesWriter]()

    async def committed(partitions: Collection[Partition]) -> Mapping[Partition, int]:
        if not owners:
            (only,) = partitions
            lease = await take_partition(database, *only, uuid.uuid4(), clock=clock, deadline_s=DEADLINE_S)
            owners.append(SeriesWriter(lease, clock.monotonic()))
            assert not await rows_present(database, missing)
        else:  # the repairer was refused, and begins again; only now come the rows that the owner found missing
            for command in commands(missing, 1_000, 1_000_000):
                owners[0].begin(command)
                await owners[0].send(database, clock, deadline_s=DEADLINE_S)
        return dict.fromkeys(partitions, FAR)

    repair = repair_of(database, IngestOptions.of(KafkaSettings(), IngestSettings(topic="t")), committed)
    assert (await repair(ada.events)).written == 0
    assert await stored(database) == Counter(row["_id"] for row in ada.rows)


async def test_only_a_server_from_7_0_on_deletes_single_rows(database: Database) -> None:
    versions = ([5, 0, 9], [6, 0, 5], [6, 3, 0], [7, 0, 0], [8, 2, 1])
    assert [can_delete_rows(version) for version in versions] == [False, False, False, True, True]
    build = await database.client.admin.command("buildInfo")
    assert await deletes_rows(database) is can_delete_rows(build["versionArray"])


async def test_altered_and_doubled_rows_are_replaced_where_the_server_can(database: Database) -> None:
    if not await deletes_rows(database):
        pytest.skip("this mongod is older than 7.0: name a newer one by SEVENP_TEST_MONGODB_URI")
    ada = history("ada")
    altered = {**ada.rows[1], "value": -1}
    await store_history(database, [ada], {ada.stream: [ada.rows[0], altered, *ada.rows[2:], ada.rows[2]]})

    async def far(partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return dict.fromkeys(partitions, FAR)

    wrong = (altered["_id"], ada.rows[2]["_id"])
    repair = repair_of(database, IngestOptions.of(KafkaSettings(), IngestSettings(topic="t")), far)
    repaired = await repair.replace([each for each in ada.events if each["_id"] in wrong])
    assert repaired.written == 2
    found = await database.user_interactions.find({}).to_list(None)
    assert sorted(found, key=lambda row: str(row["_id"])) == sorted(ada.rows, key=lambda row: str(row["_id"]))
