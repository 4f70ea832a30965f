"""Documents somebody else wrote, with whatever BSON allows in them: each costs itself, and nobody else waits."""

import struct
from collections.abc import Awaitable, Callable
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Int64, ObjectId
from bson.raw_bson import RawBSONDocument

from tests.support.clocks import ManualClock
from tests.support.counts import (
    NOW,
    Learner,
    add_course,
    add_platform,
    add_user,
    assert_counted,
    course,
    dependencies,
    dirty_keys,
    instructor,
    running,
    user,
    visible,
)
from tests.support.counts import counter as counter_of
from tests.support.odd_bson import raw_array, raw_document, raw_text
from worker.storage.database import CODEC_OPTIONS, Database, Document
from worker.storage.elements import elements
from worker.storage.work_items import COUNTS_FOLD
from worker.watch.sums.counting import Counter

FAR = DatetimeMS(253_402_300_800_000)
BROKEN = raw_document((0x02, b"t", raw_text(b"\xff")))


def counter(database: Database) -> Counter:
    return counter_of(dependencies(database, clock=ManualClock()))


async def put(database: Database, name: str, raw: bytes) -> None:
    """Store these bytes whatever validators say, in place of the document of the same `_id`."""
    identity = next(bson.decode(each.document)["_id"] for each in elements(raw) if each.name == b"_id")
    await database.collection(name).delete_one({"_id": identity})
    collection = database.collection(name)
    command: dict[str, Any] = {"insert": name, "documents": [RawBSONDocument(raw)]}
    await collection.database.command({**command, "bypassDocumentValidation": True})


def with_field(document: Document, kind: int, name: bytes, value: bytes) -> bytes:
    parts = [
        each for each in elements(bson.encode(document, codec_options=CODEC_OPTIONS)) if each.name != name
    ]
    return raw_document(*((each.kind, each.name, each.value) for each in parts), (kind, name, value))


async def test_an_item_of_the_queue_that_is_named_by_a_document_stands_in_nobody_s_way(
    database: Database,
) -> None:
    await add_platform(database, 1, 1)
    item = {"_id": {"whose": "another's"}, "event_type": COUNTS_FOLD, "status": "pending"}
    insert = {"insert": "analytics_queue", "documents": [item], "bypassDocumentValidation": True}
    await database.analytics.command(insert)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await counter(database).count(dirty_keys([learner.identity]))
    await assert_counted(database)


async def far_date_in_a_user(database: Database) -> str:
    await add_user(database, user(0), activity_log=[{"action": "login", "timestamp": FAR}])
    return f"counts:user:{user(0)}"


async def broken_text_in_a_course(database: Database) -> str:
    document = await database.courses.find_one({"_id": course(0)}) or {}
    await put(database, "courses", with_field(document, 0x03, b"stats", BROKEN))
    return f"counts:course:{course(0)}"


async def uuid_of_three_bytes_in_a_record(database: Database) -> str:
    learner = Learner(course(0), user(0))
    document = await database.user_progress.find_one({"_id": learner.identity}) or {}
    odd = struct.pack("<i", 3) + b"\x04abc"
    await put(database, "user_progress", with_field(document, 0x05, b"social", odd))
    return f"counts:learner:{learner.identity}"


async def list_for_a_course_in_a_record(database: Database) -> str:
    learner = Learner(course(0), user(0))
    document = await database.user_progress.find_one({"_id": learner.identity}) or {}
    await put(database, "user_progress", bson.encode({**document, "course_id": [course(0)]}))
    return f"counts:learner:{learner.identity}"


async def projection_without_a_revision(database: Database) -> str:
    learner = Learner(course(0), user(0))
    await put(database, "user_progress_projections", bson.encode({"_id": learner.identity, "counted": {}}))
    return f"counts:learner:{learner.identity}"


async def sums_beyond_64_bits(database: Database) -> str:
    for n in range(90, 93):
        huge = {
            "_id": ObjectId(),
            "course_id": course(0),
            "user_id": user(n),
            "counted": {"enrolled": Int64(2**62)},
        }
        await put(database, "user_progress_projections", bson.encode(huge))
    return f"counts:course:{course(0)}"


ODD: list[Callable[[Database], Awaitable[str]]] = [
    far_date_in_a_user,
    broken_text_in_a_course,
    uuid_of_three_bytes_in_a_record,
    list_for_a_course_in_a_record,
    projection_without_a_revision,
    sums_beyond_64_bits,
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
async def test_an_odd_document_is_quarantined_by_itself_and_everybody_else_is_counted(
    database: Database, odd: Callable[[Database], Awaitable[str]]
) -> None:
    await add_platform(database, 2, 3)
    first = await Learner(course(0), user(0)).enrol().store(database)
    others = [await Learner(course(1), user(n)).enrol().store(database) for n in (1, 2)]
    name = await odd(database)
    counting = counter(database)
    everybody = dirty_keys(learners=frozenset(each.identity for each in (first, *others)))
    await counting.count(everybody)
    await counting.count(everybody)  # once more, with the item there

    item = await database.analytics_queue.find_one({"_id": name})
    assert item is not None
    assert (item["event_type"], item["status"]) == ("counts_fold", "pending")
    assert item["data"]["collection"] in {"user_progress", "courses", "users"}
    assert await database.analytics_queue.count_documents({}) == 1
    shown = await database.courses.find_one({"_id": course(1)}) or {}
    assert shown["stats"]["enrollments"]["total"] == 2
    for n in (1, 2):
        other = await database.users.find_one({"_id": user(n)}) or {}
        assert other["stats"]["courses_enrolled"] == 1


async def test_odd_entries_of_a_log_keep_their_bytes_when_the_log_is_written(database: Database) -> None:
    await add_platform(database, 1, 1)
    entries = [
        (0x03, raw_document((0x0E, b"action", raw_text(b"symbol")))),  # what Python reads as a string
        (0x06, b""),  # and as nothing
        (0x0A, b""),
        (0x04, raw_array([(0x10, b"\1\0\0\0")])),
        (0x03, raw_document((0x10, b"n", b"\1\0\0\0"), (0x10, b"n", b"\2\0\0\0"))),  # a name twice
        (
            0x03,
            raw_document(
                (0x02, b"action", raw_text(b"course_enrollment")), (0x03, b"course_id", raw_document())
            ),
        ),
        (0x03, raw_document((0x02, b"$ref", raw_text(b"users")), (0x07, b"$id", user(0).binary))),
        (0x0B, b"(\0zx\0"),
    ]
    document = await database.users.find_one({"_id": user(0)}) or {}
    await put(database, "users", with_field(document, 0x04, b"activity_log", raw_array(entries)))
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await counter(database).count(dirty_keys(learners=frozenset([learner.identity])))

    assert await database.analytics_queue.count_documents({}) == 0
    batches: Any = database.users.find_raw_batches({"_id": user(0)})
    log = next(each for each in elements(await anext(batches)) if each.name == b"activity_log")
    stored = [(each.kind, each.value) for each in elements(log.value)]
    assert [each for each in stored if each in entries] == entries
    assert len(stored) == len(entries) + 1


async def test_a_mended_document_is_counted_at_once_and_its_item_closed(database: Database) -> None:
    await add_platform(database, 1, 2)
    await add_user(database, user(0), activity_log=[{"timestamp": FAR}])
    await Learner(course(0), user(0)).enrol().store(database)
    async with running(database) as role:
        await role.until(lambda: _is(database, user(0), "pending"), "the user quarantined")
        await add_user(database, user(0), activity_log=[{"timestamp": NOW}])
        await role.until(lambda: _is(database, user(0), "completed"), "the user counted")
    shown = await database.users.find_one({"_id": user(0)}) or {}
    assert visible(shown["stats"])["courses_enrolled"] == 1


async def test_what_the_code_before_had_quarantined_becomes_an_item(database: Database) -> None:
    await add_platform(database, 1, 1)
    former = {"_id": f"counts:refused:user:{instructor(0)}", "token": None, "epoch": 1, "saved_at": NOW}
    await database.watch_positions.insert_one(former)
    async with running(database) as role:
        await role.until(lambda: _is(database, instructor(0), "completed"), "the instructor counted")
    assert await database.watch_positions.count_documents({"_id": {"$regex": "^counts:refused:"}}) == 0


async def test_a_document_that_grew_too_large_to_be_written_costs_only_itself(database: Database) -> None:
    await add_platform(database, 1, 2)
    await add_course(database, 1, description="x" * (16 * 1024 * 1024 - 400))
    learners = [await Learner(course(n), user(n)).enrol().store(database) for n in range(2)]
    await counter(database).count(dirty_keys(learners=frozenset(each.identity for each in learners)))
    (item,) = await database.analytics_queue.find({}).to_list(None)
    assert item["_id"] == f"counts:course:{course(1)}"
    shown = await database.courses.find_one({"_id": course(0)}) or {}
    assert shown["stats"]["enrollments"]["total"] == 1


async def _is(database: Database, identity: ObjectId, status: str) -> bool:
    item = await database.analytics_queue.find_one({"_id": f"counts:user:{identity}"})
    return item is not None and item["status"] == status
