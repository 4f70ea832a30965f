"""Three projections that the worker has never heard of: one of each kind, declared here and handed in as a catalogue.

Nothing else is changed for them: collections, validators, indexes, metric labels, catching up, quarantine, retry and
what operators list are derived from the values.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field
from pymongo.errors import WriteError

from projections.catalogue import CATALOGUE as OURS
from projections.event import StoredEvent
from projections.kinds import (
    By,
    Catalogue,
    Document,
    Index,
    Read,
    ReadModel,
    StreamProjection,
    Sum,
    SumProjection,
    Target,
    Trigger,
    Vector,
)
from projections.progress.projection import PROGRESS
from tests.support.followers import working
from tests.support.progress import histories, interleaved, store
from worker.contract.identity import stream_object_id, stream_slot
from worker.retry.operate import find_items, retry_items
from worker.retry.selection import Selection
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema, check_schema
from worker.telemetry.metrics import Metrics
from worker.verify.findings import Verification
from worker.verify.run import verify

BROKEN: set[Any] = set()
"""Streams, documents and courses of which the code below can make nothing, until it is mended."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")


class Activity(_Shape):
    rev: int
    stream_id: str
    user_id: ObjectId
    course_id: ObjectId
    slot: int
    version: int
    projection_version: int
    recorded_at: datetime
    events: int


class ActivityCounted(_Shape):
    source_rev: int
    counts_version: int
    counted: dict[str, int]
    course_id: ObjectId


class CourseActivity(_Shape):
    events: int
    learners: int


class Board(_Shape):
    as_of: datetime
    most: int
    learners: list[ObjectId]


def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
    """How many events a learner has in a course, voids left out."""
    first, last = events[0], events[-1]
    if first.stream_id in BROKEN:
        raise ArithmeticError("nothing can be made of this stream")
    known = current or {"events": 0, "recorded_at": first.recorded_at}
    return {
        "stream_id": first.stream_id,
        "user_id": first.user_id,
        "course_id": first.course_id,
        "slot": stream_slot(first.stream_id),
        "version": last.version,
        "projection_version": 1,
        "recorded_at": max([known["recorded_at"], *(event.recorded_at for event in events)]),
        "events": known["events"] + sum(not event.is_void for event in events),
    }


def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
    return fold(None, events, by)


def vector(document: Mapping[str, Any]) -> Vector:
    if document["_id"] in BROKEN:
        raise ArithmeticError("nothing can be counted of this document")
    return {"events": document["events"], "learners": 1}


def build(course: ObjectId, read: Mapping[str, Sequence[Document]]) -> Document | None:
    if course in BROKEN:
        raise ArithmeticError("nothing can be shown of this course")
    ranked = sorted(read["learners"], key=lambda each: (-each["events"], each["user_id"]))
    if not ranked:
        return None
    return {"most": ranked[0]["events"], "learners": [each["user_id"] for each in ranked[:3]]}


ACTIVITY = StreamProjection(
    name="activity",
    version=1,
    about=PROGRESS.about,
    target=Target("activity", (Activity,), (Index("activity", "idx_activity_course", (("course_id", 1),)),)),
    paths=tuple(name for name in Activity.model_fields if name not in ("id", "rev")),
    fold=fold,
    refold=refold,
)
TOTALS = SumProjection(
    name="totals",
    version=1,
    source="activity",
    vector=vector,
    counted=Target("activity_counted", (ActivityCounted,)),
    sums=(Sum("course_activity", "course_id", lambda sums: dict(sums)),),
    shows=(Target("course_activity", (CourseActivity,)),),
)
BOARD = ReadModel(
    name="board",
    version=1,
    target=Target("activity_board", (Board,)),
    triggers=(Trigger("activity", lambda document: document["course_id"]),),
    reads={"learners": Read("activity", lambda course: {"course_id": course}, ("user_id", "events"))},
    build=build,
    freshness_s=0.2,
)
CATALOGUE = Catalogue((*OURS.projections, ACTIVITY, TOTALS, BOARD))


@pytest.fixture(autouse=True)
def whole() -> None:
    BROKEN.clear()


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(database.client, database.prefix, CATALOGUE)
    await apply_schema(opened)
    return opened


async def all_of(database: Database, name: str) -> dict[Any, Document]:
    return {each.pop("_id"): each for each in await database.collection(name).find({}).to_list(None)}


async def agrees(database: Database) -> bool:
    """Documents, sums and views are what the events say; what is broken left out."""
    rows = await database.course_events.find({}).to_list(None)
    expected: dict[Any, int] = {}
    courses: dict[Any, dict[Any, int]] = {}
    for row in rows:
        expected[row["stream_id"]] = expected.get(row["stream_id"], 0) + 1
        data = row["event_data"]
        of_course = courses.setdefault(data["course_id"], {})
        of_course[data["user_id"]] = of_course.get(data["user_id"], 0) + 1
    documents, sums, views = [
        await all_of(database, name) for name in ("activity", "course_activity", "activity_board")
    ]
    return (
        {each["stream_id"]: each["events"] for each in documents.values()} == expected
        and sums
        == {key: {"events": sum(some.values()), "learners": len(some)} for key, some in courses.items()}
        and {key: view["most"] for key, view in views.items()}
        == {key: max(some.values()) for key, some in courses.items()}
    )


async def test_collections_validators_and_indexes_are_made_and_checked(own: Database) -> None:
    assert await check_schema(own) == []
    names = {"activity", "activity_counted", "course_activity", "activity_board"}
    assert names <= set(await own.content.list_collection_names())
    with pytest.raises(WriteError):
        await own.collection("course_activity").insert_one(
            {"_id": ObjectId(), "events": "many", "learners": 1}
        )
    assert "idx_activity_course" in await own.collection("activity").index_information()
    await own.collection("activity").drop()
    assert {each.collection for each in await check_schema(own)} == {"activity"}


def test_their_metrics_are_there_before_anything_happens() -> None:
    metrics = Metrics(CollectorRegistry(), CATALOGUE)
    for name in ("activity", "totals", "board"):
        labels = {"projection": name, "mode": "live", "outcome": "failed"}
        assert metrics.registry.get_sample_value("sevenp_worker_projection_events_applied_total", labels) == 0


async def test_they_catch_up_with_what_is_stored_and_follow_what_comes(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = histories(learners=6, events=8)
    await store(own, interleaved(streams, last=5))
    async with working(own, monkeypatch) as worker:
        await worker.until(lambda: agrees(own), "all three have caught up")
        await store(own, interleaved(streams, first=6))
        await worker.until(lambda: agrees(own), "all three have followed")
        found = await verify(own)
        assert found.by_projection.keys() == set(CATALOGUE.names)
        assert found.by_projection["board"].documents == len(await all_of(own, "activity_board"))
        assert not {each.name for each in found.findings if each.kind in {"activity", "totals", "board"}}
        gone = next(iter(await all_of(own, "activity")))
        await own.collection("activity").delete_one({"_id": gone})
        await worker.until(
            lambda: _is_without(own, gone), "sums and views are without the document that is gone"
        )


async def _is_without(database: Database, gone: ObjectId) -> bool:
    counted = await all_of(database, "activity_counted")
    documents = await all_of(database, "activity")
    views = await all_of(database, "activity_board")
    left = {each["user_id"] for each in documents.values()}
    return gone not in counted and all(set(view["learners"]) <= left for view in views.values())


async def test_what_fails_waits_in_the_queue_and_is_done_when_the_code_is_mended(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = histories(learners=4, events=6)
    first, second = sorted(streams)[:2]
    course = streams[first][0]["event_data"]["course_id"]
    BROKEN.update({first, stream_object_id(second), course})
    await store(own, interleaved(streams))
    expected = {f"activity:{first}", f"totals:{stream_object_id(second)}", f"board:{course}"}
    async with working(own, monkeypatch) as worker:

        async def quarantined() -> bool:
            return expected <= {each.id for each in await find_items(own, Selection())}

        await worker.until(quarantined, "all three failures are items of the queue")
        assert len(await all_of(own, "user_progress")) == 4  # theirs are no concern of others
        BROKEN.clear()

        async def mended() -> bool:
            await retry_items(own, await find_items(own, Selection(), ["pending", "failed"]))
            return await agrees(own)

        await worker.until(mended, "all three are retried")

        async def completed() -> bool:
            items = await find_items(own, Selection(), ["completed"])
            return expected <= {each.id for each in items}

        await worker.until(completed, "their items are completed")
        for name in ("activity", "totals", "board"):
            assert worker.value(
                "projection_events_applied_total", projection=name, mode="live", outcome="failed"
            )
            assert worker.value(
                "projection_events_applied_total", projection=name, mode="retry", outcome="applied"
            )


def _concerned(verification: Verification) -> dict[str, int]:
    """Findings, but for those about events and records, which this store has no more of than it needs."""
    others = ("event_", "row_", "progress_", "projection_")
    return {name: count for name, count in verification.finding_counts.items() if not name.startswith(others)}


async def test_verify_agrees_with_them_and_finds_what_is_damaged(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(own, interleaved(histories(learners=6, events=8)))
    async with working(own, monkeypatch) as worker:
        await worker.until(lambda: agrees(own), "all three have caught up")
    agreed = await verify(own, quiescent=True)
    assert _concerned(agreed) == {}, agreed.findings
    assert (agreed.of("activity").documents, agreed.of("totals").documents) == (6, 6)
    assert agreed.of("board").documents == await own.collection("activity_board").count_documents({})

    for collection, change in {
        "activity": {"events": 99},
        "activity_counted": {"counted.events": 98},
        "activity_board": {"most": 97},
    }.items():
        await own.collection(collection).update_one({}, {"$set": change})
    await own.collection("course_activity").delete_one({})
    found = await verify(own, quiescent=True)
    assert set(_concerned(found)) == {
        "activity_different",
        "totals_different",
        "totals_missing",
        "board_different",
    }


async def test_verify_excuses_what_is_quarantined(own: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = histories(learners=4, events=6)
    first, second = sorted(streams)[:2]
    course = streams[first][0]["event_data"]["course_id"]
    BROKEN.update({first, stream_object_id(second), course})
    await store(own, interleaved(streams))
    async with working(own, monkeypatch) as worker:

        async def quarantined() -> bool:
            return len(await find_items(own, Selection())) == len(BROKEN)

        await worker.until(quarantined, "all three failures are items of the queue")
    verification = await verify(own, quiescent=True)
    assert _concerned(verification) == {}, verification.findings
    for name in ("activity", "totals", "board"):
        assert verification.of(name).quarantined == 1
