"""Every stream projection there is, in the store: any order of arrival, and a rebuild, give the same document.

What each one makes of its events is tested beside it; here no new one can be forgotten.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bson import encode

from projections.catalogue import EVERY
from projections.event import StoredEvent
from projections.kinds import StreamProjection
from tests.support.clocks import ManualClock
from tests.support.progress import fold_dependencies, projector
from tests.unit.projections.events import CODEC_OPTIONS, START, arrive, course_event
from tests.unit.projections.histories import history_of
from tests.unit.projections.test_every_projection import OF_ARRIVAL
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.watch.folds.rebuild import DocumentRebuild

# How often a document was written, and how its events arrived.
_BESIDE = ("rev", "version", "event_version", "recorded_at")

Stored = Mapping[str, list[Document]]
"""By collection what a projection keeps there, by `_id`."""

every_projection = pytest.mark.parametrize("projection", EVERY.streams, ids=lambda each: each.name)


@pytest.fixture
async def own(database: Database) -> Database:
    """The database of a worker that owns courses and users."""
    opened = open_database(database.client, database.prefix, EVERY)
    await apply_schema(opened)
    return opened


async def kept(database: Database, projection: StreamProjection) -> Stored:
    return {
        target.collection: await database.collection(target.collection).find({}).sort("_id", 1).to_list(None)
        for target in projection.targets
    }


def clock() -> ManualClock:
    """What is to end has not ended yet."""
    return ManualClock(START)


def encoded(found: Stored, *without: str) -> Mapping[str, list[bytes]]:
    """The documents as they lie there, but for these fields, and for who met a milestone, which no event says."""
    return {
        name: [encode(_plain(each, without), codec_options=CODEC_OPTIONS) for each in documents]
        for name, documents in found.items()
    }


def _plain(document: Document, without: Sequence[str]) -> Document:
    fields = {name: value for name, value in document.items() if name not in without}
    for reached in fields.get("milestones", {}).values():
        if reached is not None:
            reached.pop("by", None)
    return fields


async def folded(
    database: Database, projection: StreamProjection, arrived: Sequence[StoredEvent], batch: int
) -> Stored:
    """What stands there when the history has arrived in this order, so many events at once."""
    for name in ("course_events", *(target.collection for target in projection.targets)):
        await database.collection(name).delete_many({})
    events = arrive(arrived)
    work = projector(database, projection=projection, clock=clock())
    for start in range(0, len(events), batch):
        some = events[start : start + batch]
        await database.course_events.insert_many([course_event(each) for each in some])
        await work.project({some[-1].stream_id: some[-1].version})
    return await kept(database, projection)


@every_projection
async def test_any_order_of_arrival_gives_the_same_documents(
    own: Database, projection: StreamProjection
) -> None:
    history = [*history_of(projection)]
    shuffled = random.Random(projection.name).sample(history, len(history))  # noqa: S311  # a repeatable order
    without = (*_BESIDE, *OF_ARRIVAL.get(projection.name, ()))

    async def shown(arrived: Sequence[StoredEvent], batch: int) -> Mapping[str, list[bytes]]:
        """In whatever order the fields were written first."""
        found = await folded(own, projection, arrived, batch)
        ordered = {
            name: [{field: each[field] for field in sorted(each)} for each in some]
            for name, some in found.items()
        }
        return encoded(ordered, *without)

    at_once = await shown(history, len(history))

    assert all(at_once.values()), "there is something to compare"
    for arrived, batch in ((history[::-1], 1), (shuffled, 3)):
        assert await shown(arrived, batch) == at_once


@every_projection
@pytest.mark.parametrize("damage", ["gone", "altered"])
async def test_a_rebuild_from_the_store_gives_the_same_bytes(
    own: Database, projection: StreamProjection, damage: str
) -> None:
    history = [*history_of(projection)]
    before = await folded(own, projection, history, len(history))
    for name in before:
        collection: Any = own.collection(name)
        if damage == "gone":
            await collection.delete_many({})
        else:
            wrong = {"$set": {"projection_version": 0, "recorded_at": None, "slot": 300}}
            await collection.update_many({}, wrong, bypass_document_validation=True)
    assert encoded(await kept(own, projection), "rev") != encoded(before, "rev")

    rebuilt = await DocumentRebuild(fold_dependencies(own, projection, clock()))([history[0].stream_id])

    assert rebuilt.counts()["failed"] == 0
    assert encoded(await kept(own, projection), "rev") == encoded(before, "rev")
