"""Marks of rows that are done at the same time: one command, and each row's owner is told for himself."""

import asyncio
from collections.abc import Callable
from typing import Any

from pymongo.monitoring import CommandListener

from tests.conftest import RunningMongo
from tests.support.notify import QUICK, row, write
from tests.support.settings import changed
from tests.support.waiting import LIMIT_S
from worker.errors import Retryable
from worker.notify.outbox import Outbox
from worker.notify.policy import RowState
from worker.notify.waiting import MongoDBWaits
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.timing import SystemClock, cancel_and_wait

ROWS = 24


class Updates(CommandListener):
    """Counts the updates of notifications."""

    def __init__(self) -> None:
        self.commands = 0

    def started(self, event: Any) -> None:
        if event.command_name == "update" and event.command["update"] == "notifications":
            self.commands += 1

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


def outbox(
    database: Database,
    owner: str,
    lease_s: float = 60.0,
    on_retry: Callable[[Retryable], None] = lambda _error: None,
) -> Outbox:
    settings = changed(QUICK, lease_s=lease_s, longest_grace_s=0.0)
    clock = SystemClock()
    return Outbox(database, clock, MongoDBWaits(clock, on_retry), settings, owner=owner)


async def test_rows_done_at_the_same_time_are_marked_together(
    database: Database, mongodb: RunningMongo
) -> None:
    await write(database, [row(number) for number in range(ROWS)])
    updates = Updates()
    client = make_client(mongodb.uri, listeners=[updates])
    try:
        ours = outbox(open_database(client, prefix=database.prefix), "ours")
        rows = await ours.claim(["completion"], ROWS)
        updates.commands = 0
        written = await asyncio.gather(*(ours.mark(each, RowState("sent"), "log") for each in rows))
        assert written == [True] * ROWS
        # The first goes out alone, the others wait for it and go together.
        assert updates.commands == 2
    finally:
        await close(client)
    assert await database.notifications.count_documents({"status": "sent"}) == ROWS


async def test_only_the_row_that_another_took_meanwhile_is_not_ours(database: Database) -> None:
    await write(database, [row(number) for number in range(ROWS)])
    ours, theirs = outbox(database, "ours", lease_s=0.0), outbox(database, "theirs")
    rows = await ours.claim(["completion"], ROWS)
    [taken] = await theirs.claim(["completion"], 1)
    failed = RowState("failed", error="no")
    written = await asyncio.gather(*(ours.mark(each, failed, "log") for each in rows))
    assert {each["_id"] for each, done in zip(rows, written, strict=True) if not done} == {taken["_id"]}
    [left] = await database.notifications.find({"status": {"$ne": "failed"}}).to_list(None)
    assert (left["_id"], left["status"], left["lease_owner"]) == (taken["_id"], "taken", taken["lease_owner"])


async def test_a_mark_whose_writer_is_cancelled_is_written_by_the_next(database: Database) -> None:
    await write(database, [row(number) for number in range(ROWS)])
    retried = asyncio.Event()
    ours = outbox(database, "ours", on_retry=lambda _error: retried.set())
    rows = await ours.claim(["completion"], ROWS)
    unavailable = {
        "failCommands": ["update"],
        "errorCode": 10107,
        "namespace": f"{database.notifications.database.name}.notifications",
    }
    admin = database.client.admin
    await admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=unavailable)
    try:
        marking = [asyncio.create_task(ours.mark(each, RowState("sent"), "log")) for each in rows]
        await asyncio.wait_for(retried.wait(), LIMIT_S)
        await cancel_and_wait(marking[0])
        assert marking[0].cancelled()
    finally:
        await admin.command("configureFailPoint", "failCommand", mode="off")
    assert await asyncio.gather(*marking[1:]) == [True] * (ROWS - 1)
    assert await database.notifications.count_documents({"status": "sent"}) == ROWS
