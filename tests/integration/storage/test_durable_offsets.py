"""The durable offset in a lease: raised by its owner, from what the owner may have left there and nothing else."""

from datetime import UTC, datetime

import pytest

from worker.errors import Fenced
from worker.storage.database import Database
from worker.storage.durable_offsets import Step, advance, make_leases, read_held
from worker.storage.partition_lease import PartitionLease, lease_id

PLACE = ("interaction-events", 3)


async def owned(database: Database, durable: int) -> PartitionLease:
    await make_leases(database, {PLACE: durable}, datetime.now(UTC))
    lease = await database.leases.find_one({"_id": lease_id(*PLACE)})
    assert lease is not None
    return PartitionLease(*PLACE, lease["session"], ())


async def test_a_step_whose_answer_was_lost_is_no_store_that_went_back(database: Database) -> None:
    lease = await owned(database, 10)
    await advance(database, [Step(lease, 10, 20)])  # of which the owner hears nothing
    await advance(database, [Step(lease, 10, 30)])
    assert (await read_held(database, [PLACE]))[PLACE].durable == 30


@pytest.mark.parametrize("found", [5, 50])
async def test_an_offset_that_the_owner_has_not_left_there_is(database: Database, found: int) -> None:
    lease = await owned(database, found)
    with pytest.raises(Fenced, match="went back in time"):
        await advance(database, [Step(lease, 10, 30)])
    assert (await read_held(database, [PLACE]))[PLACE].durable == found
