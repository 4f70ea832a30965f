"""What the fence tests share: rows, failpoints that prove they fired, and a client that is watched."""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring

from worker.storage.database import Client, Database, make_client
from worker.storage.encoding import encoded
from worker.storage.fenced import insert_once
from worker.timing import cancel_and_wait

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEADLINE_S = 20.0


def rows(count: int, learner: ObjectId | None = None) -> list[RawBSONDocument]:
    """Time-series rows, each of a learner of its own (a bucket each) unless one is given."""
    blobs = [
        encoded(
            {
                "_id": uuid.uuid4(),
                "timestamp": NOON + timedelta(seconds=number),
                "metadata": {"user_id": learner or ObjectId(), "interaction_type": "view"},
                "details": {},
            }
        )
        for number in range(count)
    ]
    return [blob for blob in blobs if blob is not None]


async def send(
    database: Database,
    session: uuid.UUID,
    number: int,
    sent: list[RawBSONDocument],
    deadline_s: float = DEADLINE_S,
) -> None:
    await insert_once(database.user_interactions, session, number, sent, deadline_s=deadline_s)


async def stored(database: Database) -> Counter[uuid.UUID]:
    """How often each row is stored."""
    found = await database.user_interactions.find({}, {"_id": 1}).to_list(None)
    return Counter(row["_id"] for row in found)


def once(sent: list[RawBSONDocument]) -> Counter[uuid.UUID]:
    return Counter(row["_id"] for row in sent)


@dataclass(slots=True)
class Failpoint:
    """A failpoint of the server; `hits` counts how often it fired, known after the block."""

    client: Client
    name: str
    hits: int = 0
    _before: int = 0

    async def on(self, mode: Any, data: dict[str, Any]) -> None:
        reply = await self.client.admin.command({"configureFailPoint": self.name, "mode": mode, "data": data})
        self._before = reply["count"]

    async def off(self) -> None:
        reply = await self.client.admin.command({"configureFailPoint": self.name, "mode": "off"})
        self.hits = reply["count"] - self._before

    async def until_hit(self) -> None:
        await self.client.admin.command(
            {
                "waitForFailPoint": self.name,
                "timesEntered": self._before + 1,
                "maxTimeMS": 60_000,
            }
        )


@contextlib.asynccontextmanager
async def failpoint(
    client: Client, name: str, mode: Any = "alwaysOn", **data: Any
) -> AsyncIterator[Failpoint]:
    point = Failpoint(client, name)
    await point.on(mode, data)
    try:
        yield point
    finally:
        await point.off()


async def operations(client: Client, match: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server is working on."""
    reply = await client.admin.command(
        {"aggregate": 1, "pipeline": [{"$currentOp": {}}, {"$match": match}], "cursor": {}}
    )
    return cast(list[dict[str, Any]], reply["cursor"]["firstBatch"])


@dataclass(slots=True)
class Watched(monitoring.CommandListener, monitoring.ConnectionPoolListener):
    """Records what a client sends, and who waits for a connection."""

    commands: list[dict[str, Any]] = field(default_factory=list)
    check_outs: Counter[str] = field(default_factory=Counter)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        self.check_outs["started"] += 1

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self.check_outs["ended"] += 1

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        self.check_outs["ended"] += 1

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        pass

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        pass

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        pass

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        pass

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        pass

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        pass

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        pass

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        pass

    def named(self, name: str) -> list[dict[str, Any]]:
        return [command for command in self.commands if name in command]


def watched_client(kind: str, uri: str, application: str) -> tuple[Client, Watched]:
    """A client of either driver with one connection, and what watches it."""
    watched = Watched()
    uri = f"{uri}&maxPoolSize=1&waitQueueTimeoutMS=60000"
    if kind == "motor":
        motor: Any = AsyncIOMotorClient(uri, event_listeners=[watched], appname=application)
        return cast(Client, motor), watched
    return make_client(uri, listeners=[watched], application_name=application), watched


async def ended(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and see its end."""
    await cancel_and_wait(task)
