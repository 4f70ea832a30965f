"""Items that are not ours, and items of ours that somebody else has made odd: neither stops the others."""

from typing import Any

import bson
from bson import DatetimeMS, Int64, ObjectId
from bson.raw_bson import RawBSONDocument

from tests.support.odd_bson import raw_document, raw_text
from tests.support.retry import EVENT_TYPE, Noting, item, limited, put, running, stored
from tests.support.waiting import until
from worker.retry.operate import count_foreign, discard_items, find_items, retry_items, show_item
from worker.retry.queue import Queue
from worker.retry.selection import Selection
from worker.storage.database import CODEC_OPTIONS, Database, Document
from worker.storage.elements import elements
from worker.timing import SystemClock

FAR = DatetimeMS(253_402_300_800_000)
FOREIGN = "send_report"


async def insert(database: Database, *documents: Document | bytes) -> None:
    """Past the validator, as somebody may."""
    raw = [
        each if isinstance(each, bytes) else bson.encode(each, codec_options=CODEC_OPTIONS)
        for each in documents
    ]
    command: dict[str, Any] = {
        "insert": "analytics_queue",
        "documents": [RawBSONDocument(each) for each in raw],
    }
    await database.analytics.command({**command, "bypassDocumentValidation": True})


def broken(document: Document) -> bytes:
    parts = [(each.kind, each.name, each.value) for each in elements(bson.encode(document))]
    return raw_document(*parts, (0x02, b"note", raw_text(b"\xff")))


async def test_items_of_other_types_are_no_backlog_of_ours(database: Database) -> None:
    await put(database, [item("foreign", "s1", event_type=FOREIGN), item("other", event_type=FOREIGN)])
    await put(database, [item("ours", status="failed")])
    async with running(database, {EVENT_TYPE: Noting()}) as retry:
        await until(lambda: retry.value("retry_queue_events", state="failed") == 1, "measured")
        assert retry.value("retry_queue_events", state="pending") == 0
        assert retry.value("retry_blocked_streams") == 0
    assert await count_foreign(database) == 2


async def test_an_operator_s_commands_leave_items_of_other_types_alone(database: Database) -> None:
    await put(database, [item("foreign", event_type=FOREIGN, status="failed"), item("ours", status="failed")])
    listed = await find_items(database, Selection())
    assert [entry.id for entry in listed] == ["ours"]
    assert await find_items(database, Selection(ids=("foreign",))) == []
    theirs = await show_item(database, "foreign")
    assert theirs is not None
    assert await retry_items(database, [*listed, listed[0]]) == 1
    foreign = [entry for entry in listed if entry.id == "ours"]
    assert await discard_items(database, foreign) == 1
    assert (await stored(database, "foreign")) == theirs


async def test_items_of_other_types_do_not_expire_with_ours(database: Database) -> None:
    indexes = [dict(each) async for each in await database.analytics_queue.list_indexes()]
    expiring = [each["partialFilterExpression"] for each in indexes if "expireAfterSeconds" in each]
    types: list[str] = []
    for each in (
        one["event_type"] for one in expiring
    ):  # of one index, or of one for each further projection
        types += [each] if isinstance(each, str) else each["$in"]
    assert FOREIGN not in types
    assert types.count(EVENT_TYPE) == 1


async def test_an_open_item_of_counting_is_not_discarded(database: Database) -> None:
    name = f"counts:user:{ObjectId()}"
    await put(database, [item(name, event_type="counts_fold", status="failed")])
    assert await discard_items(database, await find_items(database, Selection())) == 0
    await database.analytics_queue.update_one({"_id": name}, {"$set": {"status": "completed"}})
    assert await discard_items(database, await find_items(database, Selection())) == 1


async def test_odd_items_of_our_types_stop_no_other(database: Database) -> None:
    handler = Noting()
    await insert(
        database,
        broken(item("text", "s1")),
        broken(item("streamless")),
        item("far", "s2", created_at=FAR),
        item("user", "s5", data={"user_id": FAR}),
        item("due", due_at="yesterday"),
        item("list", stream_id=["s3", "s4"]),
        item("count", retry_count={"n": 1}),
        item("huge", retry_count=Int64(2**63 - 1)),
        item("data", data=[1, 2]),
        item("held", status="processing", lease_owner="x", lease_until="never", retry_count="x"),
        {**item("x"), "_id": {"$gt": 1}},
        {**item("x"), "_id": FAR},
        _without_utf8_id(),
    )
    await put(database, [item(f"good{n}", f"t{n}" if n % 2 else None) for n in range(50)])

    async def all_done() -> bool:
        done = {"_id": {"$regex": "^good"}, "status": "completed"}
        return await database.analytics_queue.count_documents(done) == 50

    async with running(database, {EVENT_TYPE: handler}):
        await until(all_done, "all good items are done")
        await until(lambda: _failed(database, "user"), "what cannot be read says so")
        for name in ("text", "streamless", "far"):  # odd where nobody reads
            await until(lambda name=name: _completed(database, name), f"{name} is done")  # type: ignore[misc]
    listed = await find_items(database, Selection())
    assert {entry.id for entry in listed} >= {"user", "data", "due"}
    assert {entry.reason for entry in listed if entry.id == "user"} == {"Unreadable"}


async def _failed(database: Database, name: str) -> bool:
    query = {"_id": name, "status": "failed", "error_class": "Unreadable"}
    return await database.analytics_queue.count_documents(query) == 1


async def _completed(database: Database, name: str) -> bool:
    return await database.analytics_queue.count_documents({"_id": name, "status": "completed"}) == 1


def _without_utf8_id() -> bytes:
    fields = elements(bson.encode({"event_type": EVENT_TYPE, "status": "pending"}))
    return raw_document(
        (0x02, b"_id", raw_text(b"\xfe")), *((each.kind, each.name, each.value) for each in fields)
    )


async def test_items_of_no_stream_say_so_or_are_passed_over_and_nobody_asks_for_them_again(
    database: Database,
) -> None:
    odd: list[Any] = [5, ["s3", "s4"], {"a": 1}, True]
    await insert(database, *(item(f"odd{n}", value) for n, value in enumerate(odd)))
    settings = limited(max_attempts=3, item_lease_s=60.0)
    queue = Queue(database, [EVENT_TYPE], SystemClock(), settings, owner="test")
    assert await queue.due_in_s() == 0.0
    assert (await queue.claim(10)).taken == []  # the validator lets nobody change them
    assert await queue.due_in_s() is None
    await database.analytics.command({"collMod": "analytics_queue", "validationLevel": "off"})
    await queue.reopen()  # looks at everything again
    assert (await queue.claim(10)).taken == []
    for n in range(len(odd)):
        assert await _failed(database, f"odd{n}")
