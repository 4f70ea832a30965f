"""Checkpoints of a real mongod are seen, and not looking is no way of seeing none."""

import asyncio

import pytest
from pymongo.errors import InvalidOperation

from bench.checkpoints import checkpoints
from worker.storage.database import Database, make_client
from worker.storage.driver import close

LIMIT_S = 120.0


async def test_a_checkpoint_is_seen_with_its_length(database: Database) -> None:
    before = asyncio.get_running_loop().time()
    async with asyncio.timeout(LIMIT_S), checkpoints(database.client) as seen:
        while not seen.seconds:
            await database.content["written"].insert_many({"n": n} for n in range(1_000))
            await database.client.admin.command("fsync")
    assert all(before <= began < ended for began, ended in seen.spans)
    began, ended = seen.spans[0]
    assert seen.touch(began, ended)
    assert not seen.touch(before - 2, before - 1)


async def test_who_cannot_look_says_so(database: Database) -> None:
    host, port = await database.client.address or ("", 0)
    client = make_client(f"mongodb://{host}:{port}/?directConnection=true")
    await close(client)
    with pytest.raises(InvalidOperation):
        async with checkpoints(client):
            await asyncio.sleep(0)
