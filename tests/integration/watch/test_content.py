"""Lessons, blocks, relationships and workflows on a real server: what events say stands there, but for cycles."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from bson import encode

from projections.content.relationships import CONTENT_CYCLES, CONTENT_RELATIONSHIPS
from projections.kinds import Document
from tests.conftest import RunningMongo
from tests.oracle.case import Case
from tests.oracle.content import content_documents, cycles
from tests.oracle.stored import read_stored
from tests.support.counts import dependencies
from tests.support.followers import working
from tests.support.jobs import runner
from tests.support.progress import store
from tests.unit.projections.content.events import ITEM, LESSON, USER, content_document
from tests.unit.projections.events import CODEC_OPTIONS
from worker.jobs.rebuild_progress import REBUILD_PROGRESS, RebuildProgress
from worker.retry.operate import find_items
from worker.retry.selection import Selection
from worker.storage.database import Database
from worker.verify.run import verify
from worker.watch.recounting import Recount

COLLECTIONS = ("lesson_content", "content_blocks", "content_relationships", "content_workflow")
"""Each is called as the projection that writes it."""
ROLES = "progress,counts"


def oid(number: int) -> str:
    return f"{number:024x}"


class Story:
    """Events that are stored in any order; each gets the next version of its stream."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions: dict[str, int] = {}
        self._offset = 0

    async def happen(self, *events: Document) -> None:
        documents = []
        for event in events:
            version = self._versions[event["stream_id"]] = self._versions.get(event["stream_id"], 0) + 1
            self._offset += 1
            source = {**event["metadata"]["source"], "offset": self._offset}
            metadata = {**event["metadata"], "source": source}
            documents.append({**event, "version": version, "metadata": metadata})
        await store(self._database, documents)


def relate(relationship: int, parent: int, child: int, at: float = 0, kind: str = "contains") -> Document:
    details = {"parent_id": oid(100 + parent), "child_id": oid(100 + child), "relationship_type": kind}
    return content_document("content_related", at, item=oid(relationship), details=details)


def unrelate(relationship: int, at: float) -> Document:
    return content_document("content_unrelated", at, item=oid(relationship))


def lesson_and_block() -> Sequence[Document]:
    article = {"type": "article", "title": "One", "content": {"markdown_content": "one two"}}
    block = {"type": "rich_text", "version": "1.0", "content": {"html": "<h1>One</h1><p>Two three.</p>"}}
    return [
        content_document("lesson_content_changed", 9, details={"type": "article", "description": "Short"}),
        content_document("lesson_content_created", 0, details=article, lesson_id=LESSON),
        content_document("content_block_created", 0, details=block),
        # Its stream has not begun: nothing is stored of it, and nothing is missing.
        content_document("lesson_content_changed", 0, item=oid(77), details={"type": "quiz", "title": "?"}),
    ]


def workflow() -> Sequence[Document]:
    start = {
        "content_id": ITEM,
        "workflow_type": "course_publication",
        "stages": [{"name": "draft", "assigned_to": USER}, {"name": "review"}],
    }
    said = {"stage": "draft", "comment": "Great", "author": USER}
    return [
        content_document("workflow_stage_completed", 20, details={"stage": "review"}),  # was never begun
        content_document("workflow_stage_started", 10, details={"stage": "draft"}),
        content_document("workflow_commented", 15, details=said),
        content_document("workflow_started", 0, details=start),
    ]


async def wrong(database: Database, uri: str) -> list[str]:
    """What the oracle finds."""
    case = Case(await asyncio.to_thread(read_stored, uri, database.prefix))
    return [*content_documents(case), *cycles(case)]


async def effective(database: Database) -> dict[int, bool | None]:
    found = await database.collection("content_relationships").find({}).to_list(None)
    return {int(str(each["_id"]), 16): each.get("effective") for each in found}


async def test_what_events_say_stands_there_and_verify_agrees(
    database: Database, mongodb: RunningMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(database)
    await story.happen(*lesson_and_block(), *workflow())
    # 1 above 2 above 3; 3 above 1 closes the cycle, though it arrives first; and a neighbour below 3.
    await story.happen(relate(3, 3, 1, at=30), relate(1, 1, 2, at=10), relate(2, 2, 3, at=20))
    await story.happen(relate(4, 3, 9, at=40), relate(5, 2, 1, at=50, kind="requires"))

    async def agrees() -> bool:
        return not await wrong(database, mongodb.uri)

    async with working(database, monkeypatch, roles=ROLES) as worker:
        await worker.until(agrees, "all documents are what the oracle says")
        assert await effective(database) == {1: True, 2: True, 3: False, 4: True, 5: True}
        [item] = await find_items(database, Selection())
        assert (item.id, item.reason) == (f"content_cycles:{oid(3)}", "ClosesCycle")
        await worker.until_moved("projection_events_without_effect_total")
        await story.happen(unrelate(1, at=60))
        await worker.until(lambda: _is(database, 3, True), "the way is free, and it stands")
        await story.happen(relate(1, 1, 2, at=70))
        await worker.until(lambda: _is(database, 1, False), "made again it is the latest, and gives way")
        await worker.until(agrees, "and all the rest is as the oracle says")
    found = await verify(database, quiescent=True)
    assert found.ok, found.findings
    assert found.of("content_workflow").reasons == {"not_in_progress": 1}
    assert found.of("content_cycles").reasons == {"ClosesCycle": 1}
    assert found.of("content_relationships").documents == 5
    assert await database.collection("lesson_content").count_documents({}) == 1


async def _is(database: Database, relationship: int, expected: bool) -> bool:
    return (await effective(database)).get(relationship) is expected


async def test_a_rebuild_from_the_store_gives_the_same_bytes(
    database: Database, mongodb: RunningMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Story(database).happen(*lesson_and_block(), *workflow(), relate(1, 1, 2), relate(2, 2, 1, at=9))

    async def agrees() -> bool:
        return not await wrong(database, mongodb.uri)

    async with working(database, monkeypatch, roles=ROLES) as worker:
        await worker.until(agrees, "all documents are there")
    before = await stored_bytes(database)
    assert [len(each) for each in before.values()] == [1, 1, 2, 1]
    await database.collection("lesson_content").delete_many({})
    await database.collection("content_blocks").update_many({}, {"$set": {"content.metadata.word_count": 9}})
    await database.collection("content_relationships").update_many({}, {"$set": {"order": 9}})
    await database.collection("content_workflow").update_many({}, {"$set": {"stages.0.status": "completed"}})
    damaged = await verify(database, quiescent=True)
    assert {name for name in COLLECTIONS if damaged.faults.get(name)} == set(COLLECTIONS)
    await runner(database).run(REBUILD_PROGRESS, RebuildProgress())
    assert await stored_bytes(database) == before


async def stored_bytes(database: Database) -> dict[str, dict[Any, bytes]]:
    """Every document as it lies there, but for how often it was written."""
    return {
        name: {
            each["_id"]: encode({**each, "rev": 0}, codec_options=CODEC_OPTIONS)
            for each in await database.collection(name).find({}).to_list(None)
        }
        for name in COLLECTIONS
    }


async def test_a_cycle_that_somebody_breaks_by_hand_is_found_and_mended(
    database: Database, mongodb: RunningMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Story(database).happen(relate(1, 1, 2, at=1), relate(2, 2, 1, at=2))
    async with working(database, monkeypatch, roles=ROLES) as worker:
        await worker.until(lambda: _is(database, 2, False), "the latest gives way")
    relationships = database.collection(CONTENT_RELATIONSHIPS.target.collection)
    await relationships.update_many({}, {"$set": {"effective": True}, "$unset": {"reason": ""}})
    found = await verify(database, quiescent=True)
    assert found.faults[CONTENT_CYCLES.name], found.findings
    async for _ in Recount(dependencies(database), timedelta(0), [CONTENT_CYCLES.name]).everything(None):
        pass
    assert await wrong(database, mongodb.uri) == []


@pytest.mark.slow
async def test_any_order_of_arrival_and_two_workers_beside_each_other_give_the_same(
    database: Database, mongodb: RunningMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relationships are made and removed at random, and arrive shuffled, while two workers keep them."""
    chance = random.Random(11)  # noqa: S311  # a repeatable story
    events: list[Document] = []
    for at in range(90):
        number = chance.randrange(1, 16)
        ends = chance.sample(range(7), 2)
        events.append(
            unrelate(number, at) if chance.random() < 0.25 else relate(number, ends[0], ends[1], at=at)
        )
    chance.shuffle(events)
    story = Story(database)

    async def agrees() -> bool:
        return not await wrong(database, mongodb.uri)

    async with (
        working(database, monkeypatch, roles=ROLES) as one,
        working(database, monkeypatch, roles=ROLES) as other,
    ):
        for start in range(0, len(events), 15):
            await story.happen(*events[start : start + 15])
            await other.lives_on("counts", 0.2)
        await one.until(agrees, "both have followed")
    assert {*(await effective(database)).values()} >= {True, False}
    found = await verify(database, quiescent=True)
    assert found.ok, found.findings
