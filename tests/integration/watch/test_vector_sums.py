"""A second sum beside `counts`: declared as a value, kept by the same follower."""

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.catalogue import CATALOGUE
from projections.counts import COUNTS_VERSION
from projections.kinds import Catalogue, Sum, SumProjection, Target, Vector
from tests.support.counts import Learner, add_user, counter, course, dependencies, running, store_all, user
from worker.errors import Retryable
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.storage.work_items import Item
from worker.watch.sums.attempt import Keys
from worker.watch.sums.counting import Counter
from worker.watch.sums.declared import SOURCE
from worker.watch.sums.handlers import TargetHandler


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")


class PaceCounted(_Shape):
    source_rev: int
    counts_version: int
    counted: dict[str, int]
    course_id: ObjectId
    user_id: ObjectId


class CoursePace(_Shape):
    learners: int
    events: int


class NarrowPace(_Shape):
    learners: int
    events: Annotated[int, Field(le=10)]


def vector(record: Mapping[str, Any]) -> Vector:
    if record["version"] == 7:
        raise ArithmeticError("seven events make no sense here")
    return {"learners": 1, "events": record["version"]}


def shown(sums: Vector) -> Document:
    return dict(sums)


PACE = SumProjection(
    name="pace",
    version=1,
    source="progress",
    vector=vector,
    counted=Target("pace_counted", (PaceCounted,)),
    sums=(
        Sum("course_pace", "course_id", shown),
        Sum("users", "user_id", lambda sums: {"pace": dict(sums)}),
    ),
    shows=(Target("course_pace", (CoursePace,)),),
)


async def with_pace(database: Database, projection: SumProjection = PACE) -> Database:
    catalogue = Catalogue((*CATALOGUE.projections, projection))
    opened = open_database(database.client, database.prefix, catalogue)
    await apply_schema(opened)
    return opened


async def paces(database: Database) -> dict[ObjectId, Document]:
    rows = await database.collection("course_pace").find({}).to_list(None)
    return {row.pop("_id"): row for row in rows}


async def expected(database: Database) -> dict[ObjectId, Document]:
    sums: dict[ObjectId, Document] = {}
    for record in await database.user_progress.find({}).to_list(None):
        one = sums.setdefault(record["course_id"], {"learners": 0, "events": 0})
        if record["version"] != 7:
            one["learners"] += 1
            one["events"] += record["version"]
    return sums


def engine(database: Database) -> Counter:
    return counter(dependencies(database), name=PACE.name)


def documents(*identities: ObjectId) -> Keys:
    return frozenset((SOURCE, identity) for identity in identities)


async def without_haste(sums: Counter, identities: list[ObjectId]) -> None:
    """As a follower does: what goes on conflicting is tried again."""
    while True:
        with suppress(Retryable):
            await sums.count(documents(*identities))
            return


async def test_a_second_sum_follows_the_records_and_catches_up_when_it_is_new(database: Database) -> None:
    learners = [Learner(course(n % 3), user(n)).enrol().finish(lessons=n % 2) for n in range(12)]
    await store_all(database, learners)
    opened = await with_pace(database)

    async def current() -> bool:
        return await paces(opened) == await expected(opened)

    async with running(opened) as role:
        await role.until(current, "what was there before it came")
        await add_user(opened, user(0))
        await store_all(opened, [learner.meet("lesson_view", 500, lesson=1) for learner in learners[:5]])
        await role.until(current, "what moved")

        async def appeared() -> bool:
            document = await opened.users.find_one({"_id": user(0)})
            return (document or {}).get("pace") == {"learners": 1, "events": 2}

        await role.until(appeared, "the platform's document has it")
        await role.until_counted()

        async def saved() -> bool:
            state = await opened.projection_state.find_one({"_id": "counts:00"})
            versions = (state or {}).get("versions") or {}
            return (versions.get("counts"), versions.get("pace")) == (COUNTS_VERSION, 1)

        await role.until(saved, "the position is that of both versions")


async def test_three_at_once_give_the_sums_of_one(database: Database) -> None:
    opened = await with_pace(database)
    learners = [Learner(course(n % 2), user(n)).enrol() for n in range(30)]
    await store_all(opened, learners)

    async def work(seed: int) -> None:
        chance, sums = random.Random(seed), engine(opened)  # noqa: S311  # a repeatable order
        for _ in range(4):
            some = [learner.identity for learner in chance.sample(learners, 20)]
            await without_haste(sums, some)
        await without_haste(sums, [learner.identity for learner in learners])

    await asyncio.gather(*map(work, range(3)))
    assert await paces(opened) == await expected(opened)


async def test_a_document_that_makes_no_vector_costs_only_itself(database: Database) -> None:
    opened = await with_pace(database)
    good, bad = Learner(course(0), user(0)).enrol(), Learner(course(0), user(1)).enrol()
    for lesson in range(6):
        bad.meet("lesson_view", 10, lesson=lesson + 1)
    await store_all(opened, [good, bad])
    sums = engine(opened)
    failures = await sums.count(documents(good.identity, bad.identity))
    assert failures.keys() == documents(bad.identity)
    assert await paces(opened) == await expected(opened)
    [item] = await opened.analytics_queue.find({}).to_list(None)
    assert (item["_id"], item["event_type"]) == (f"pace:{bad.identity}", "pace_fold")
    tried = Item(item["_id"], item["event_type"], item["data"], None, attempt=1, occurrences=1)
    again = TargetHandler(sums.quarantine, sums.recount)
    assert (await again([tried])).keys() == {item["_id"]}
    await bad.meet("lesson_view", 20, lesson=7).store(opened)
    assert await again([tried]) == {}
    assert await paces(opened) == await expected(opened)

    await opened.user_progress.delete_one({"_id": good.identity})
    await sums.count(documents(good.identity))
    assert await paces(opened) == {course(0): {"learners": 1, "events": 8}}


async def test_a_document_whose_sum_the_server_refuses_costs_only_itself(database: Database) -> None:
    narrow = replace(PACE, shows=(Target("course_pace", (NarrowPace,)),))
    opened = await with_pace(database, narrow)
    learners = [Learner(course(n), user(n)).enrol() for n in range(3)]
    for at in range(20):
        learners[1].meet("discussion_posted", 10 + at)
    await store_all(opened, learners)
    failures = await engine(opened).count(documents(*(learner.identity for learner in learners)))
    assert failures.keys() == documents(learners[1].identity)
    assert await paces(opened) == {course(n): {"learners": 1, "events": 1} for n in (0, 2)}
    [item] = await opened.analytics_queue.find({}).to_list(None)
    assert item["_id"] == f"pace:{learners[1].identity}"


async def test_what_the_server_refused_is_left_alone_instead_of_being_looked_for_at_every_change(
    database: Database,
) -> None:
    narrow = replace(PACE, shows=(Target("course_pace", (NarrowPace,)),))
    opened = await with_pace(database, narrow)
    learners = [Learner(course(n), user(n)).enrol() for n in range(16)]
    for at in range(20):
        learners[5].meet("discussion_posted", 10 + at)
    await store_all(opened, learners)
    everybody = documents(*(learner.identity for learner in learners))
    attempts = 0

    async def keep_alive() -> None:
        nonlocal attempts
        attempts += 1

    sums = counter(dependencies(opened, keep_alive=keep_alive), name=PACE.name)
    await sums.count(everybody)
    attempts = 0
    assert (await sums.count(everybody)).keys() == documents(learners[5].identity)
    assert attempts == 1
    assert (await sums.recount(documents(learners[5].identity))).keys() == documents(learners[5].identity)


async def test_a_document_of_the_platform_that_refuses_its_sum_costs_only_itself(database: Database) -> None:
    opened = await with_pace(database)
    learners = [Learner(course(0), user(n)).enrol() for n in range(2)]
    await store_all(opened, learners)
    sums = engine(opened)
    await sums.count(documents(*(learner.identity for learner in learners)))
    for n in range(2):
        await add_user(opened, user(n), closed=n == 0)
    rule = {"$or": [{"closed": False}, {"pace": {"$exists": False}}]}
    await opened.users.database.command({"collMod": "users", "validator": rule})
    failures = await sums.count(frozenset(("users", user(n)) for n in range(2)))
    assert failures.keys() == {("users", user(0))}
    assert ((await opened.users.find_one({"_id": user(1)})) or {})["pace"] == {"learners": 1, "events": 1}
    [item] = await opened.analytics_queue.find({}).to_list(None)
    assert item["_id"] == f"pace:{user(0)}"
    await opened.users.update_one({"_id": user(0)}, {"$set": {"closed": False}})
    tried = Item(item["_id"], item["event_type"], item["data"], None, attempt=1, occurrences=1)
    assert await TargetHandler(sums.quarantine, sums.recount)([tried]) == {}
    assert ((await opened.users.find_one({"_id": user(0)})) or {})["pace"] == {"learners": 1, "events": 1}


async def test_a_new_version_counts_only_its_own_documents_again(database: Database) -> None:
    opened = await with_pace(database)
    await store_all(opened, [Learner(course(0), user(n)).enrol() for n in range(4)])
    async with running(opened) as role:
        await role.until_counted()
        await role.until(lambda: _sums(opened, {"learners": 4, "events": 4}), "summed")
    before = await opened.user_progress_projections.find({}).sort("_id", 1).to_list(None)
    twice = replace(PACE, version=2, vector=lambda record: {"learners": 2, "events": record["version"]})
    newer = await with_pace(database, twice)
    async with running(newer) as role:
        await role.until(lambda: _sums(newer, {"learners": 8, "events": 4}), "summed by the new version")
    assert await newer.user_progress_projections.find({}).sort("_id", 1).to_list(None) == before


async def _sums(database: Database, wanted: Document) -> bool:
    return await paces(database) == {course(0): wanted}
