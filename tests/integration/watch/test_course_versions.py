"""Versions of courses on a real server: snapshots of whole courses, late events, kills and damage."""

from collections.abc import Sequence
from typing import Any

import pytest

from projections.content.versions.fold import version_id
from projections.content.versions.projection import COURSE_VERSIONS
from projections.event import StoredEvent
from tests.oracle.case import Case
from tests.oracle.stored import Stored
from tests.oracle.versions import version_documents
from tests.support.courses import COURSE, CREATED, STREAM, event_of, golden_versions, sent, version
from tests.support.failpoints import failing
from tests.support.progress import fold_dependencies, projector, running
from tests.unit.projections.test_versions import made
from worker.storage.database import Database, Document
from worker.verify.run import Checks
from worker.watch.folds.rebuild import DocumentRebuild

LESSONS, MODULES = 300, 30


def whole_course(revision: int) -> list[Document]:
    """The curriculum of a large course, some 150 KB; each revision has one more lesson in its first module."""

    def lesson(number: int) -> Document:
        content = {"video_url": f"https://video.example.com/{number}.mp4", "transcript": "word " * 60}
        named = {"title": f"Lesson {number}", "type": "video", "order": number, "content": content}
        return {"_id": f"{number:024x}", **named}

    per_module = LESSONS // MODULES
    modules = [
        {
            "_id": f"{10_000 + place:024x}",
            "title": f"Module {place}",
            "order": place,
            "lessons": [lesson(1 + place * per_module + number) for number in range(per_module)],
        }
        for place in range(MODULES)
    ]
    modules[0]["lessons"] += [lesson(1_000 + number) for number in range(revision)]  # type: ignore[operator]
    return modules


async def arrive(database: Database, events: Sequence[Document], after: int = 0) -> list[Document]:
    """Store events of the course in the order in which they came."""
    documents = [event_of(fields, number) for number, fields in enumerate(events, start=after + 1)]
    await database.course_events.insert_many(documents)
    return documents


async def stored(database: Database) -> Stored:
    async def all_of(name: str) -> list[Document]:
        found: list[Document] = await database.collection(name).find({}).sort("_id", 1).to_list(None)
        return found

    return Stored(
        events=await all_of("course_events"),
        version_histories=await all_of("version_history"),
        course_versions=await all_of("course_versions"),
    )


async def oracle(database: Database) -> list[str]:
    return list(version_documents(Case(await stored(database))))


async def fold(database: Database, version: int) -> None:
    await projector(database, projection=COURSE_VERSIONS).project({STREAM: version})


async def faults(database: Database) -> dict[str, int]:
    """What `verify` finds of versions in a system at rest."""
    checks = await Checks.opened(database, quiescent=True)
    await checks.streams.streams([STREAM])
    for phase in checks.further():
        if phase.name in ("documents", "course_versions parts"):
            await phase.check()
    return dict(checks.run.tally.faults.get("course_versions", {}))


async def test_the_store_takes_what_events_make_and_verify_and_oracle_agree(database: Database) -> None:
    events = golden_versions()
    await arrive(database, events)
    await fold(database, len(events))

    found = await stored(database)
    assert (len(found.version_histories), len(found.course_versions)) == (1, 2)
    assert await oracle(database) == []
    assert await faults(database) == {}
    [history] = found.version_histories
    assert history["without_effect"]["reasons"] == {"version_exists": 1, "version_unknown": 1}
    arrived = [StoredEvent.from_document(each) for each in found.events]
    assert {each["version"]: each["course_snapshot"] for each in found.course_versions} == {
        label: each["course_snapshot"] for label, each in made(history, arrived).items()
    }


@pytest.mark.slow
async def test_large_courses_in_any_order_of_arrival_and_killed_between_a_version_and_its_history(
    database: Database, watched: Database
) -> None:
    events = [sent("course_created", 0, **CREATED)]
    for revision in range(8):
        at = 10 * revision + 1
        events += [
            sent("curriculum_published", at, curriculum=whole_course(revision)),
            sent("course_version_created", at + 1, **version(f"{revision}.0")),
            sent("course_version_deployed", at + 2, version=f"{revision}.0"),
        ]
    late, rest = events[4], [*events[:4], *events[5:]]  # a curriculum comes last of all
    await arrive(database, rest)
    async with (
        failing(watched, ["insert"], code=189, times=10_000, collection="version_history"),
        running(watched, projection=COURSE_VERSIONS, lease_s=2.0) as first,
    ):

        async def written() -> bool:
            return await database.collection("course_versions").count_documents({}) == 8

        await first.until(written, "the versions are written")
        await first.kill()
    assert await database.collection("version_history").count_documents({}) == 0
    async with running(database, projection=COURSE_VERSIONS) as second:

        async def told() -> bool:
            return await database.collection("version_history").count_documents({}) == 1

        await second.until(told, "the history tells of them")
        assert await oracle(database) == []
        await arrive(database, [late], len(rest))

        async def has_seen_all() -> bool:
            query: Document = {"version": len(events)}
            return await database.collection("version_history").count_documents(query) == 1

        await second.until(has_seen_all, "the late curriculum is in it")
    assert await oracle(database) == []
    assert await faults(database) == {}


@pytest.mark.parametrize(
    "damage",
    [
        {"course_snapshot.title": "Another"},
        {"changes.total": 99},
        {"deployment.status": "draft"},
        {"event_version": 1},
    ],
    ids=lambda each: next(iter(each)),
)
async def test_a_damaged_version_is_found_and_mended(database: Database, damage: dict[str, Any]) -> None:
    events = golden_versions()
    await arrive(database, events)
    await fold(database, len(events))
    before = await stored(database)
    identity = version_id(COURSE, "2.0")
    await database.collection("course_versions").update_one({"_id": identity}, {"$set": damage})

    assert await faults(database) == {"different": 1}
    rebuilt = await DocumentRebuild(fold_dependencies(database, COURSE_VERSIONS))([STREAM])

    assert rebuilt.done.changed == {STREAM}
    after = await stored(database)
    revisions = {each["_id"]: each["rev"] for each in after.course_versions}
    assert revisions[identity] == 2
    assert [{**each, "rev": 1} for each in after.course_versions] == before.course_versions
    assert after.version_histories == before.version_histories


async def test_a_version_of_a_course_that_turns_out_to_have_been_deleted_goes(database: Database) -> None:
    events = [
        sent("course_created", 0, **CREATED),
        sent("course_version_created", 1, **version("1.0")),
        sent("course_version_created", 5, **version("2.0")),
    ]
    await arrive(database, events)
    await fold(database, 3)
    await arrive(database, [sent("course_deleted", 3)], 3)
    await fold(database, 4)

    found = await stored(database)
    assert [each["version"] for each in found.course_versions] == ["1.0"]
    assert await oracle(database) == []
    assert await faults(database) == {}
