"""A command is frozen between its last check and the socket, until the server has forgotten who may not write."""

import uuid
from pathlib import Path

import pytest
from bson import Binary

from tests.chaos.test_forgotten_sessions import FORGETFUL, forgotten, remembered
from tests.integration.storage.fences import DEADLINE_S, once, rows, stored
from tests.support.waiting import until
from worker.devstack.servers.mongod import start_mongod
from worker.errors import Fenced
from worker.ingest.time_series import SeriesWriter
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.partition_lease import take_partition
from worker.storage.schema import apply_schema
from worker.timing import SystemClock

CLOCK = SystemClock()


async def owner(database: Database) -> SeriesWriter:
    lease = await take_partition(database, "events", 0, uuid.uuid4(), clock=CLOCK, deadline_s=DEADLINE_S)
    return SeriesWriter(lease, CLOCK.monotonic())


@pytest.mark.long
@pytest.mark.parametrize("reminded", [True, False])
async def test_a_command_that_was_frozen_until_the_server_forgot_inserts_nothing_if_it_is_reminded(
    tmp_path: Path, reminded: bool
) -> None:
    """Without being reminded it inserts the row a second time: what the reminders are for."""
    mongod = await start_mongod(tmp_path, parameters=FORGETFUL)
    client = make_client(mongod.uri)
    try:
        database = open_database(client, "frozen")
        await apply_schema(database)
        frozen, between, last = [await owner(database) for _ in range(3)]
        sent = rows(1)
        for each in (frozen, between, last):
            each.begin(sent)  # looked, young, in force; of two of them nothing more for a long time
        await last.send(database, CLOCK, deadline_s=DEADLINE_S)
        burned = [Binary(each.lease.session.bytes, 4) for each in (frozen, between)]
        silent = [Binary(last.lease.session.bytes, 4)] if reminded else burned

        async def waited() -> bool:
            if reminded:
                await last.burn_again(database, CLOCK, deadline_s=DEADLINE_S)
            return await forgotten(client, silent)

        await until(waited, "the server has forgotten who is silent")
        if not reminded:
            await frozen.send(database, CLOCK, deadline_s=DEADLINE_S)
            assert await stored(database) == {sent[0]["_id"]: 2}
            return
        assert await remembered(client, burned) == 2
        for each in (frozen, between):
            with pytest.raises(Fenced):
                await each.send(database, CLOCK, deadline_s=DEADLINE_S)
        assert await stored(database) == once(sent)
    finally:
        await close(client)
        mongod.stop()
