"""Commands that MongoDB lets fail, of one client only."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from worker.storage.database import Database


@contextlib.asynccontextmanager
async def failing(
    watched: Database, commands: Sequence[str], *, code: int, times: int = 1, collection: str | None = None
) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Let commands of this client fail, on one collection or wherever they go.

    Yields a function that tells how often they have failed, and ends the failing.
    """

    async def entered() -> int:
        reply = await admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        return int(reply["count"]) - before

    admin = watched.client.admin
    data: dict[str, Any] = {
        "failCommands": list(commands),
        "errorCode": code,
        "appName": watched.prefix,
    }
    if collection is not None:
        data["namespace"] = f"{watched.collection(collection).database.name}.{collection}"
    armed = await admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})
    before = int(armed["count"])  # the server counts from its start
    try:
        yield entered
    finally:
        await admin.command({"configureFailPoint": "failCommand", "mode": "off"})
