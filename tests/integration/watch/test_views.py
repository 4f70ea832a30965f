"""Views of a read model: whoever commits later has read later, whatever fails costs only its own view."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import pytest
from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.catalogue import CATALOGUE
from projections.kinds import Catalogue, Document, Read, ReadModel, Target, Trigger
from tests.support.counts import Learner, course, dependencies, store_all, user
from worker.errors import Retryable
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema
from worker.watch.models.views import VIEW, Views
from worker.watch.sums.attempt import Keys


class Standing(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    as_of: datetime
    events: Annotated[int, Field(le=1_000)]
    note: str


def build(key: ObjectId, read: Mapping[str, Sequence[Document]]) -> Document | None:
    events = sum(record["version"] for record in read["records"])
    if events == 7:
        raise ArithmeticError("seven events make no sense here")
    note = "$$NOW is a text here"
    return {"events": events if events != 11 else 2_000, "note": note} if read["records"] else None


STANDING = ReadModel(
    name="standing",
    version=1,
    target=Target("standing", (Standing,)),
    triggers=(Trigger("user_progress", lambda record: record["course_id"]),),
    reads={"records": Read("user_progress", lambda key: {"course_id": key}, ("version",))},
    build=build,
)


@pytest.fixture
async def opened(database: Database) -> Database:
    catalogue = Catalogue((*CATALOGUE.projections, STANDING))
    own = open_database(database.client, database.prefix, catalogue)
    await apply_schema(own)
    return own


def views(database: Database) -> Views:
    return Views(dependencies(database), STANDING)


def of(*courses: ObjectId) -> Keys:
    return frozenset((VIEW, key) for key in courses)


async def events(database: Database) -> dict[Any, int]:
    rows = await database.collection("standing").find({}).to_list(None)
    return {row["_id"]: row["events"] for row in rows}


async def test_an_older_view_never_takes_the_place_of_a_newer_one(opened: Database) -> None:
    keys = [course(n) for n in range(4)]
    stop = asyncio.Event()

    async def rebuild(seed: int) -> None:
        chance, engine = random.Random(seed), views(opened)  # noqa: S311  # a repeatable order
        while not stop.is_set():
            try:
                await engine.rebuild(of(*chance.sample(keys, 2)))
            except Retryable:
                continue

    async def change() -> None:
        for n in range(12):
            await store_all(opened, [Learner(course(n % 4), user(n)).enrol()])
        for n in range(4):
            await opened.user_progress.delete_many({"course_id": course(n)} if n == 3 else {"_id": None})

    async with asyncio.TaskGroup() as group:
        for seed in range(3):
            group.create_task(rebuild(seed))
        await change()
        stop.set()
    # Whoever was slow has committed: a last round can only repeat what stands.
    await views(opened).rebuild(of(*keys))
    assert await events(opened) == {course(n): 3 for n in range(3)}


async def test_what_cannot_be_built_or_stored_costs_only_its_view(opened: Database) -> None:
    learners = [Learner(course(n), user(n)) for n in range(3)]
    for learner, number in zip(learners, (7, 11, 5), strict=True):
        for at in range(number):
            learner.meet("discussion_posted", at)
    await store_all(opened, learners)
    engine = views(opened)
    failures = await engine.rebuild(of(*map(course, range(3))))
    assert failures.keys() == of(course(0), course(1))
    assert await events(opened) == {course(2): 5}
    items = await opened.analytics_queue.find({"event_type": "standing_fold"}).sort("_id", 1).to_list(None)
    assert [(item["_id"], item["data"]["id"]) for item in items] == [
        (f"standing:{course(n)}", course(n)) for n in range(2)
    ]
    stored = await opened.collection("standing").find_one({"_id": course(2)})
    assert stored is not None
    assert (stored["note"], type(stored["as_of"])) == ("$$NOW is a text here", datetime)
    await opened.user_progress.delete_many({})
    assert await engine.rebuild(of(course(2))) == {}
    assert await events(opened) == {}
