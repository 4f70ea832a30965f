"""What never reached a majority is rolled back, and must have decided nothing.

Three mongods. While the secondaries are down the primary takes a tombstone of a learner that nobody else has, and
the worker reads an event of that learner. Then the primary dies, and the others elect one that never saw it.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from tests.chaos.target import committed
from tests.support.ingest import event, learner, records, send
from tests.support.waiting import until
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import REPLICA_SET, spawn_mongod
from worker.devstack.servers.process import ServerProcess, free_port, spawn
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database, Document, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.timing import SystemClock

_TOPIC, _GROUP, _PREFIX = "interaction-events", "rollback", "education_platform"
_ERASED = ObjectId(learner(2))
# Nobody is to be elected, and the primary is not to step down, before we say so.
_ELECTION_MS = 120_000


@dataclass
class Member:
    """One mongod of the set; a client that speaks to it alone, and waits for nobody else."""

    folder: Path
    port: int
    process: ServerProcess
    client: "AsyncMongoClient[Document]"

    async def killed(self) -> None:
        self.process.popen.kill()
        await asyncio.to_thread(self.process.popen.wait)


async def rolled_back(settings: Mapping[str, str]) -> Sequence[str]:
    """What is wrong after it: nothing, or that an event is missing. `settings` go over the worker's own.

    Raises TimeoutError where the set, or the worker, does not get as far as it should.
    """
    async with AsyncExitStack() as on_leaving:
        folder = Path(tempfile.mkdtemp(prefix="sevenp-rollback-"))
        on_leaving.callback(shutil.rmtree, folder, ignore_errors=True)
        members = await on_leaving.enter_async_context(_replica_set(folder))
        broker = await start_broker(folder)
        on_leaving.callback(broker.stop)
        uri = (
            "mongodb://"
            + ",".join(f"127.0.0.1:{each.port}" for each in members)
            + f"/?replicaSet={REPLICA_SET}"
        )
        client = make_client(uri)
        on_leaving.push_async_callback(close, client)
        database = open_database(client, _PREFIX)
        await apply_schema(database)
        await create_topic(broker.bootstrap_servers, _TOPIC, 1)
        worker = _start_worker(folder, uri, broker.bootstrap_servers, settings)
        on_leaving.callback(worker.stop)
        return await _scenario(members, database, broker.bootstrap_servers, worker)


async def _scenario(
    members: Sequence[Member], database: Database, kafka: str, worker: ServerProcess
) -> Sequence[str]:
    first, *others = members

    async def read(offset: int) -> bool:
        worker.require_alive()
        return (await committed(kafka, _TOPIC, _GROUP, 1))[f"{_TOPIC}:0"] >= offset

    await send(kafka, _TOPIC, records([event(1)]))
    await until(lambda: read(1), "the worker to store a first event")

    # Dead and not merely stopped: what waits in a stopped process's socket would be replicated all the same.
    for other in others:
        await other.killed()
    content, config = first.client[f"{_PREFIX}_content"], first.client[f"{_PREFIX}_config"]
    tombstone = {"_id": _ERASED, "reason": "never on a majority", "created_at": SystemClock().now()}
    await config["tombstones"].insert_one(tombstone)
    await send(kafka, _TOPIC, records([event(2)]))

    async def decided() -> bool:
        """It either takes the event for erased, or has sent it to the store, where it cannot be durable yet.

        What is taken for erased shows in the lease of the partition first, which no majority has, either.
        """
        worker.require_alive()
        skipped = await config["leases"].count_documents({"durable": {"$gte": 2}})
        return bool(skipped) or await content["course_events"].count_documents({}) == 2

    await until(decided, "the worker to decide on the second event")

    await first.killed()
    for other in others:
        other.process = spawn_mongod(other.folder, other.port).process
    await until(lambda: _elected(others[0]), "another primary")
    first.process = spawn_mongod(first.folder, first.port).process
    await until(lambda: read(2), "the worker to read the second event")
    if await database.tombstones.count_documents({}):
        raise TimeoutError("the tombstone was not rolled back: nothing is proven")
    stored = await database.course_events.count_documents({"event_data.user_id": _ERASED})
    return [] if stored == 1 else [f"an event is missing: {stored} of 1 stored"]


async def _elected(member: Member) -> bool:
    if await _takes_writes(member.client):
        return True
    with suppress(PyMongoError):
        await member.client.admin.command("replSetStepUp")
    return False


async def _takes_writes(client: "AsyncMongoClient[Document]") -> bool:
    with suppress(PyMongoError):
        return bool((await client.admin.command("hello")).get("isWritablePrimary"))
    return False


@asynccontextmanager
async def _replica_set(folder: Path) -> AsyncIterator[Sequence[Member]]:
    """Three members, of which the first is primary."""
    members: list[Member] = []
    try:
        for number in range(3):
            home, port = folder / str(number), free_port()
            uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
            client: AsyncMongoClient[Document] = AsyncMongoClient(uri, w=1, serverSelectionTimeoutMS=5_000)
            members.append(Member(home, port, spawn_mongod(home, port).process, client))
        config = {
            "_id": REPLICA_SET,
            "members": [
                {"_id": number, "host": f"127.0.0.1:{each.port}", "priority": 2 if number == 0 else 1}
                for number, each in enumerate(members)
            ],
            "settings": {"electionTimeoutMillis": _ELECTION_MS},
        }
        await until(lambda: _answers(members), "three mongods")
        await members[0].client.admin.command("replSetInitiate", config)
        await until(lambda: _elected(members[0]), "the first primary")
        yield members
    finally:
        for member in members:
            await member.client.close()
            await member.killed()


async def _answers(members: Sequence[Member]) -> bool:
    for member in members:
        member.process.require_alive()
        try:
            await member.client.admin.command("ping")
        except PyMongoError:
            return False
    return True


def _start_worker(folder: Path, uri: str, kafka: str, settings: Mapping[str, str]) -> ServerProcess:
    environment = {
        "SEVENP_MONGODB_URI": uri,
        "SEVENP_DATABASE_PREFIX": _PREFIX,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SEVENP_KAFKA_GROUP_ID": _GROUP,
        "SEVENP_TOPIC": _TOPIC,
        "SEVENP_ROLES": "ingest",
        "SEVENP_HTTP_PORT": str(free_port()),
        **settings,
    }
    return spawn(
        "worker", [sys.executable, "-m", "tests.chaos.launcher", "run"], folder / "target.log", environment
    )
