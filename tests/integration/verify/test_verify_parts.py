"""Verify compares parts with the documents that name them and with their events, and excuses what is under way."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.jobs import runner
from tests.support.progress import histories, projector, store
from tests.support.stream_parts import BROKEN, LESSONS, own_database, parts
from worker.contract.identity import foreign_object_id
from worker.jobs.verify_fix import VERIFY_FIX, VerifyFix
from worker.storage.database import Collection, Database, Document
from worker.verify.findings import Verification
from worker.verify.run import verify

EVENTS = 24
ODD = foreign_object_id("odd")


@pytest.fixture
async def own(database: Database) -> AsyncIterator[Database]:
    streams = histories(learners=2, events=EVENTS)
    async with own_database(database) as opened:
        await store(opened, [event for events in streams.values() for event in events])
        await projector(opened, projection=LESSONS).project(dict.fromkeys(streams, EVENTS))
        yield opened


def concerned(found: Verification) -> dict[str, int]:
    """Findings about these documents: this store has rows and records of learners' events for none."""
    return {
        name: count
        for name, count in found.finding_counts.items()
        if name.startswith(("lessons", "document"))
    }


Damage = Callable[[Collection, Document], Awaitable[Any]]


async def altered(some: Collection, part: Document) -> Any:
    await some.update_one({"_id": part["_id"]}, {"$set": {"before": []}})


async def removed(some: Collection, part: Document) -> Any:
    await some.delete_one({"_id": part["_id"]})


async def ahead(some: Collection, part: Document) -> Any:
    await some.update_one({"_id": part["_id"]}, {"$set": {"event_version": 999}})


async def superfluous(some: Collection, part: Document) -> Any:
    await some.insert_one({**part, "_id": ODD})


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (altered, "lessons_different"),
        (removed, "lessons_missing"),
        (ahead, "lessons_ahead"),
        (superfluous, "lessons_different"),
    ],
)
async def test_a_damaged_part_is_found_and_mended(own: Database, damage: Damage, finding: str) -> None:
    before = await parts(own)
    agreed = await verify(own, quiescent=True)
    assert (concerned(agreed), agreed.of("lessons").parts) == ({}, len(before))
    beginnings = own.collection("lesson_beginnings")
    [part] = await beginnings.find({}).limit(1).to_list(None)
    await damage(beginnings, part)

    found = await verify(own, quiescent=True)

    assert concerned(found) == {finding: 1}, found.findings
    await runner(own).run(VERIFY_FIX, VerifyFix())
    assert await parts(own) == before or finding == "lessons_ahead"


async def test_what_a_writer_is_about_to_name_is_excused_while_it_may_be_at_work(own: Database) -> None:
    beginnings = own.collection("lesson_beginnings")
    [part] = await beginnings.find({}).limit(1).to_list(None)
    await beginnings.insert_one({**part, "_id": ODD, "event_version": EVENTS + 1})
    await beginnings.update_one({"_id": part["_id"]}, {"$set": {"event_version": EVENTS + 1}})
    assert concerned(await verify(own)) == {}
    assert concerned(await verify(own, quiescent=True)) == {"lessons_different": 1, "lessons_ahead": 1}


async def test_a_part_of_no_stream_is_named(own: Database) -> None:
    beginnings = own.collection("lesson_beginnings")
    [part] = await beginnings.find({}).limit(1).to_list(None)
    stream = part["stream_id"][:-1] + ("0" if part["stream_id"][-1] != "0" else "1")
    await beginnings.insert_one({**part, "_id": ODD, "stream_id": stream})
    assert concerned(await verify(own, quiescent=True)) == {"lessons_unknown": 1}


async def test_events_of_which_no_part_can_be_made_are_told(own: Database) -> None:
    event = await own.course_events.find_one({"version": 9})
    assert event is not None
    BROKEN.add(event["_id"])
    found = await verify(own, quiescent=True)
    assert concerned(found) == {"lessons_fold_failed": 1}
