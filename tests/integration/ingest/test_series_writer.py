"""The owner's side of the fence: durable when `send` returns, and silent when somebody else owns the partition."""

import uuid

import pytest

from tests.integration.storage.fences import NOON, failpoint, once, rows, stored
from tests.support.clocks import ManualClock
from worker.errors import Fenced, Retryable
from worker.ingest.time_series import SeriesWriter
from worker.storage.database import Database
from worker.storage.partition_lease import lease_id, take_partition


async def writer_of(database: Database, clock: ManualClock) -> SeriesWriter:
    lease = await take_partition(database, "events", 0, uuid.uuid4(), clock=clock, deadline_s=20.0)
    return SeriesWriter(lease, owner_at=clock.monotonic())


@pytest.mark.parametrize("attempt", range(5))
async def test_rows_whose_answer_was_lost_are_on_a_majority_when_sending_again_returns(
    database: Database, attempt: int
) -> None:
    clock, sent = ManualClock(), rows(20)
    writer = await writer_of(database, clock)
    writer.begin(sent)
    async with failpoint(database.client, "hangTimeseriesInsertBeforeCommit") as hanging:
        with pytest.raises(Retryable):
            await writer.send(database, clock, deadline_s=0.5)
    assert hanging.hits >= 1
    await writer.send(database, clock, deadline_s=20.0)
    assert await stored(database) == once(sent)


async def test_commands_are_numbered_one_after_the_other(database: Database) -> None:
    clock, first, second = ManualClock(), rows(5), rows(5)
    writer = await writer_of(database, clock)
    for sent in (first, second):
        writer.begin(sent)
        await writer.send(database, clock, deadline_s=20.0)
    assert await stored(database) == once(first) + once(second)


async def test_an_owner_idle_for_so_long_that_a_burn_may_be_forgotten_looks_at_its_lease(
    database: Database,
) -> None:
    clock, early = ManualClock(), rows(5)
    writer = await writer_of(database, clock)
    writer.begin(early)
    await writer.send(database, clock, deadline_s=20.0)
    # Another owner, whose burn of this session the server has forgotten.
    await database.leases.update_one(
        {"_id": lease_id("events", 0)}, {"$set": {"session": uuid.uuid4(), "updated_at": NOON}}
    )
    clock.advance(601.0)
    writer.begin(rows(5))
    with pytest.raises(Fenced, match="another owner"):
        await writer.send(database, clock, deadline_s=20.0)
    assert await stored(database) == once(early)


async def test_an_idle_owner_that_is_still_the_owner_goes_on(database: Database) -> None:
    clock, sent = ManualClock(), rows(5)
    writer = await writer_of(database, clock)
    clock.advance(100_000.0)
    writer.begin(sent)
    await writer.send(database, clock, deadline_s=20.0)
    assert await stored(database) == once(sent)
