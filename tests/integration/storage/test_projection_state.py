"""What the release before kept in `watch_positions` is taken over by `schema apply`; its documents are real ones."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from bson import ObjectId, json_util
from bson.binary import UuidRepresentation

from projections.counts import COUNTS_VERSION
from worker.storage.database import Database, Document
from worker.storage.projection_state import Position, Positions, forget_the_version_before
from worker.storage.schema import apply_schema, check_schema

# Written by the release before: commit 5228aaf counted six learners of two courses, one of which changed hands,
# followed three streams, and was killed.
_BEFORE = Path(__file__).with_name("before.json")
_OPTIONS = json_util.JSONOptions(tz_aware=True, tzinfo=UTC, uuid_representation=UuidRepresentation.STANDARD)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def before(any_database: Database) -> dict[str, Document]:
    """A database as the release before left it; its documents of `watch_positions`."""
    stored = json_util.loads(_BEFORE.read_text(), json_options=_OPTIONS)
    await any_database.leases.insert_many(stored["leases"])
    await any_database.watch_positions.insert_many(stored["watch_positions"])
    return {each["_id"]: each for each in stored["watch_positions"]}


async def has_ended(database: Database) -> None:
    await database.leases.delete_many({"kind": "member"})


async def state(database: Database) -> dict[str, Document]:
    return {each["_id"]: each for each in await database.projection_state.find({}).to_list(None)}


async def test_everything_that_means_something_is_taken_over_once(
    any_database: Database, before: dict[str, Document]
) -> None:
    await has_ended(any_database)
    (difference,) = await check_schema(any_database)
    assert (difference.collection, difference.found) == ("projection_state", "in watch_positions")
    (change,) = await apply_schema(any_database)
    assert (change.collection, change.done) == ("watch_positions", "moved to projection_state")
    assert await check_schema(any_database) == []
    assert await apply_schema(any_database) == []
    now = await state(any_database)
    assert now.pop("migration")["markers_in"] == "projection_state"
    kinds = {name: each["kind"] for name, each in now.items()}
    groups = {name: "position" for name in before if name.rpartition(":")[2].isdecimal()}
    credited = {
        name: each["token"]["instructor_id"]
        for name, each in before.items()
        if name.startswith("counts:course:") and each["token"] is not None
    }
    assert kinds == {**groups, **dict.fromkeys(credited, "marker"), "counts:session": "session"}
    assert len(groups) == 17
    assert len(credited) == 2
    assert {name: now[name]["instructor_id"] for name in credited} == credited
    assert now["counts:session"]["session"] == before["counts:session"]["token"]["lsid"]


async def test_groups_go_on_where_the_release_before_had_come(
    any_database: Database, before: dict[str, Document]
) -> None:
    await has_ended(any_database)
    await apply_schema(any_database)
    positions = Positions(any_database, watcher="counts", versions={"counts": COUNTS_VERSION})
    token, version = before["counts:00"]["token"], before["counts:00"]["version"]
    assert version < COUNTS_VERSION  # so that all is counted anew
    assert await positions.take({0: 2}) == {0: Position(token, {"counts": version})}
    # A worker of the release before that is started again after all trusts no token: it compares everything.
    assert await any_database.watch_positions.count_documents({"_id": "counts:00", "token": None}) == 1


async def test_while_its_workers_live_they_keep_their_documents(
    any_database: Database, before: dict[str, Document]
) -> None:
    await any_database.leases.update_many({"kind": "member"}, [{"$set": {"expires_at": "$$NOW"}}])
    for _ in range(2):
        (change,) = await apply_schema(any_database)
        assert change.done == "wait for the workers of the version before to end"
    assert await check_schema(any_database) == []
    rows = await any_database.watch_positions.find({}).to_list(None)
    assert {each["_id"]: each for each in rows} == before
    assert set(await state(any_database)) == {"migration"}
    positions = Positions(any_database, watcher="progress", versions={"progress": 2})
    assert await positions.take({3: 5}) == {3: Position(before["progress:03"]["token"], {"progress": 2})}


async def test_what_somebody_spoilt_is_left_behind(
    any_database: Database, before: dict[str, Document]
) -> None:
    await has_ended(any_database)
    spoilt = [
        ("progress:03", {"epoch": "many"}),
        ("progress:04", {"token": 5}),
        ("counts:session", {"token": {}}),
    ]
    for name, change in spoilt:
        await any_database.watch_positions.update_one({"_id": name}, {"$set": change})
    await any_database.watch_positions.insert_one({"_id": ObjectId(), "anything": 1})
    await apply_schema(any_database)
    now = await state(any_database)
    assert not {"progress:03", "progress:04"} & now.keys()
    assert now["counts:session"]["session"] is None
    assert len(now) == len([name for name in before if name.rpartition(":")[2].isdecimal()]) - 2 + 1 + 2 + 1


async def test_the_documents_of_before_go_an_hour_later(
    any_database: Database, before: dict[str, Document]
) -> None:
    await has_ended(any_database)
    await apply_schema(any_database)
    await forget_the_version_before(any_database)
    assert await any_database.watch_positions.count_documents({}) == len(before)
    await any_database.projection_state.update_one({"_id": "migration"}, {"$set": {"saved_at": LONG_AGO}})
    await forget_the_version_before(any_database)
    assert await any_database.watch_positions.count_documents({}) == 0
    assert await apply_schema(any_database) == []


async def test_a_release_before_that_ran_again_after_a_roll_back_is_taken_over_again(
    any_database: Database, before: dict[str, Document]
) -> None:
    await has_ended(any_database)
    await apply_schema(any_database)
    # Its own `schema apply` opens `leases` again; then it counts, from nothing.
    await any_database.config.command({"collMod": "leases", "validator": {"owner": {"$ne": 5}}})
    await any_database.watch_positions.delete_many({})
    token, later = before["counts:00"]["token"], datetime(2100, 1, 1, tzinfo=UTC)
    for name, held in [("counts:00", token), (f"counts:course:{ObjectId()}", {"instructor_id": ObjectId()})]:
        row = {"_id": name, "token": held, "epoch": 9, "version": 1, "saved_at": later}
        await any_database.watch_positions.insert_one(row)
    assert "projection_state" in [each.collection for each in await check_schema(any_database)]
    assert [each.done for each in await apply_schema(any_database)] == ["set", "moved to projection_state"]
    now = await state(any_database)
    assert now["counts:00"]["epoch"] == 9
    assert [each["_id"] for each in now.values() if each["kind"] == "marker"] == [name]
    assert await check_schema(any_database) == []
