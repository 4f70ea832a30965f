"""Rows and learners that somebody else has made odd: they wait and say why, and nobody waits for them."""

from typing import Any

import bson
import pytest
from bson import DatetimeMS
from bson.raw_bson import RawBSONDocument

from tests.integration.notify.test_role import Collector, learner
from tests.support.notify import RunningNotifier, notifying, row, write
from tests.support.odd_bson import raw_document, raw_text
from worker.app.retry import NotificationHandler
from worker.storage.database import CODEC_OPTIONS, Database, Document
from worker.storage.elements import elements
from worker.storage.outbox import UNSENT
from worker.storage.work_items import Failed, Item

FAR = DatetimeMS(253_402_300_800_000)


async def put(database: Database, name: str, document: Document | bytes) -> None:
    """Past the validator, as somebody may."""
    raw = document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC_OPTIONS)
    command: dict[str, Any] = {"insert": name, "documents": [RawBSONDocument(raw)]}
    await database.collection(name).database.command({**command, "bypassDocumentValidation": True})


def broken(document: Document) -> bytes:
    parts = [(each.kind, each.name, each.value) for each in elements(bson.encode(document))]
    return raw_document(*parts, (0x02, b"note", raw_text(b"\xff")))


def odd_rows() -> dict[str, Document | bytes]:
    return {
        "text": broken(row(1)),
        "far": {**row(2), "data": {"reached_at": FAR}},
        "due": {**row(3), "due_at": "yesterday"},
        "attempts": {**row(4), "attempts": "many"},
        "user": {**row(5), "user_id": [learner(5)]},
        "created": {**row(6), "created_at": FAR},
        "lease": {**row(7), "status": "taken", "lease_until": "never", "lease_owner": 5},
        "id": {**row(8), "_id": {"$gt": ""}},
        "data": {**row(9), "data": 5},
        "more": {**row(10), "ours": "not"},
    }


async def item(database: Database, key: str) -> Document | None:
    return await database.analytics_queue.find_one({"_id": f"notification:{key}"})


async def until_quarantined(running: RunningNotifier, key: str, status: str = "pending") -> None:
    async def is_there() -> bool:
        found = await item(running.database, key)
        return found is not None and found["status"] == status

    await running.until(is_there, f"{key} {status}")


async def test_odd_rows_wait_in_the_queue_and_all_others_are_sent(database: Database) -> None:
    collector = Collector()
    for document in odd_rows().values():
        await put(database, "notifications", document)
    good = await write(database, [row(number) for number in range(100, 150)])
    async with notifying(database, {"webhook": collector}) as running:
        await running.until_status("sent", len(good))
        for number in (1, 2, 3, 4, 5, 6, 9, 10):
            await until_quarantined(running, row(number)["_id"])
        assert await database.notifications.count_documents(UNSENT) >= 8
    assert collector.taken == dict.fromkeys(good, 1)


async def test_a_row_that_is_mended_is_sent_and_its_item_closed(database: Database) -> None:
    collector = Collector()
    await put(database, "notifications", broken(row(1)))
    key = row(1)["_id"]
    async with notifying(database, {"webhook": collector}) as running:
        await until_quarantined(running, key)
        await database.notifications.replace_one({"_id": key}, row(1))
        await running.until_status("sent", 1)
        await until_quarantined(running, key, "completed")
    assert collector.taken == {key: 1}


@pytest.mark.parametrize("channel", ["webhook", "mail"])
async def test_a_learner_who_cannot_be_read_is_not_written_to_until_it_can(
    database: Database, channel: str
) -> None:
    collector = Collector()
    await put(database, "users", {"_id": learner(1), "email": "a@example.org", "deleted_at": FAR})
    keys = await write(database, [row(1), row(2)])
    async with notifying(database, {channel: collector}) as running:
        await running.until_status("sent", 1)
        await until_quarantined(running, keys[0])
        assert collector.taken == {keys[1]: 1}
        await database.users.replace_one({"_id": learner(1)}, {"email": "a@example.org"})
        await running.until_status("sent", 2)
        await until_quarantined(running, keys[0], "completed")
    assert collector.taken == dict.fromkeys(keys, 1)


async def test_the_retry_role_closes_what_no_longer_waits(database: Database) -> None:
    await put(database, "notifications", broken(row(1)))
    await write(database, [{**row(2), "last_error": "set aside: a document in users: it cannot be decoded"}])
    await write(database, [row(3)])
    keys = [row(number)["_id"] for number in (1, 2, 3, 4)]
    items = [Item(f"notification:{key}", "notification_send", {}, None, 1, 1) for key in keys]
    verdicts = await NotificationHandler(database)(items)
    assert verdicts.keys() == {f"notification:{key}" for key in keys[:2]}
    assert all(isinstance(verdict, Failed) for verdict in verdicts.values())
