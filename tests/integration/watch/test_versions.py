"""An older and a newer fold take turns at the same documents: nothing an older worker leaves behind stays hidden."""

import asyncio

from pymongo import monitoring

from projections.progress.projection import PROGRESS
from tests.conftest import RunningMongo
from tests.support.progress import (
    highest_versions,
    histories,
    interleaved,
    running,
    store,
    variant,
)
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close

NEXT = PROGRESS.version + 1


class Saving(monitoring.CommandListener):
    """Tells when the first token is saved."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self._asked: set[int] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command.get("update") == "projection_state" and "$currentDate" in str(event.command):
            self._asked.add(event.request_id)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if event.request_id in self._asked:
            self.done.set()

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


async def test_an_older_worker_that_dies_right_after_saving_its_tokens_hides_nothing(
    database: Database, mongodb: RunningMongo
) -> None:
    streams, late = histories(learners=20, events=6), histories(learners=10, events=4, prefix="late")
    await store(database, interleaved(streams, 1, 3))
    async with running(database, projection=variant(NEXT)) as newer:
        await newer.until(lambda: raised(database), "documents of the newer version")
    # Of these the older worker moves none, and makes the late ones its own.
    await store(database, interleaved(streams, 4))
    await store(database, interleaved(late))
    saving = Saving()
    client = make_client(mongodb.uri, listeners=[saving])
    try:
        async with running(open_database(client, database.prefix), lease_s=1.0) as older:
            await older.until(saving.done.is_set, "the older worker's tokens saved")
            await older.kill()
            assert older.applied("stale") > 0
    finally:
        await close(client)

    async with running(database, projection=variant(NEXT)) as newer:
        await newer.until(lambda: raised(database), "everything raised and current")


async def raised(database: Database) -> bool:
    """Whether every stream's document is at its last version, by the newer fold."""
    rows = await database.user_progress.find({"projection_version": NEXT}).to_list(None)
    heads = await highest_versions(database)
    return bool(heads) and {row["stream_id"]: row["version"] for row in rows} == heads
