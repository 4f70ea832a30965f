"""Courses that the platform kept become the worker's with their owner: each by one event of its own stream."""

from typing import Any

import pytest
from bson import ObjectId

from projections.catalogue import catalogue_for
from projections.content.courses.projection import COURSES
from projections.content.versions.projection import COURSE_VERSIONS
from tests.integration.watch.test_courses import oracle
from tests.support.counts import NOW, course, instructor
from tests.support.courses import event_data, event_of
from tests.support.jobs import runner
from tests.support.progress import fold_dependencies, follow, projector
from worker.adopt.shared import SharedDocuments
from worker.jobs.adopt import ADOPT, AdoptArguments
from worker.jobs.runner import Result
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.timing import SystemClock
from worker.verify.run import verify
from worker.watch.folds.rebuild import DocumentRebuild

STREAM = f"course_{course(0)}"


def theirs(number: int, **fields: Any) -> Document:
    """A course as a platform keeps it, with fields that the worker knows nothing of."""
    return {
        "_id": course(number),
        "title": f"Course {number}",
        "slug": f"course-{number}",
        "instructor_id": instructor(0),
        "instructor": {"user_id": instructor(0), "bio": "b", "social_proof": {"students_taught": 3}},
        "status": "published",
        "publication": {"status": "published", "version": "2.1", "published_at": NOW},
        "pricing": {"type": "paid", "price": {"amount": 199.99, "currency": "USD"}, "campaign": 7},
        "metadata": {"tags": ["a"], "shelf": 4},
        "stats": {"enrollments": {"total": 9}, "views": 5},
        "created_at": NOW,
        "updated_at": NOW,
        "homepage": True,
        **fields,
    }


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(database.client, database.prefix, catalogue_for({"courses"}))
    await apply_schema(opened)
    return opened


async def adopt(database: Database, *, dry_run: bool = False) -> Result:
    return await runner(database).run(ADOPT, AdoptArguments(), dry_run=dry_run)


async def faults(database: Database) -> dict[str, dict[str, int]]:
    """What is wrong, once the versions of courses are followed, which are no documents of the platform's."""
    await follow(database, COURSE_VERSIONS)
    return {
        kind: dict(each) for kind, each in (await verify(database, quiescent=True)).faults.items() if each
    }


async def test_a_course_is_adopted_as_it_was_and_goes_on_from_there(own: Database) -> None:
    await own.courses.insert_many([theirs(0), theirs(1, metadata="none")])
    before = await own.courses.find_one({"_id": course(0)})
    shown = await adopt(own, dry_run=True)
    assert await own.course_events.count_documents({}) == 0
    result = await adopt(own)

    for each in (shown, result):
        assert each.run.counts["documents_adopted"] == 1
        assert each.run.counts["set_aside"] == 1
        assert each.outcome["set_aside"] == {"unfit": 1}
        assert each.outcome["changed"] == []
    found = await own.courses.find_one({"_id": course(0)})
    assert found is not None
    assert before is not None
    for name in ("title", "slug", "status", "pricing", "metadata", "homepage", "created_at", "updated_at"):
        assert found[name] == before[name]
    assert found["stats"]["views"] == 5
    assert found["stats"]["before_adoption"]["enrollments"] == {"total": 9}
    assert found["instructor"]["social_proof"]["courses_created"] == 2, "the sum, not what the platform said"
    assert found["publication"]["version"] == "2.1"
    assert await oracle(own) == []
    assert await faults(own) == {"document": {"malformed": 1}}, "the one that was set aside"
    assert await own.analytics_queue.count_documents({"status": {"$ne": "completed"}}) == 0
    history = await own.collection("version_history").find_one({"_id": course(0)})
    assert history is not None
    assert history["current_version"] == "2.1"
    version = await own.collection("course_versions").find_one({"course_id": course(0)})
    assert version is not None
    assert (version["version"], version["course_snapshot"]["title"]) == ("2.1", "Course 0")

    late = event_data("course_priced", -9_000_000, 1, course=course(0), pricing={"type": "free"})
    new = event_data("course_archived", 200_000_000, course=course(0))
    await own.course_events.insert_many([event_of(late, 2), event_of(new, 3)])
    await projector(own, projection=COURSES).project({STREAM: 3})
    found = await own.courses.find_one({"_id": course(0)})
    assert found is not None
    assert (found["status"], found["pricing"]["type"]) == ("archived", "paid")
    assert (await adopt(own)).run.counts.get("documents_adopted", 0) == 0
    assert await oracle(own) == []


async def test_a_run_that_was_killed_between_event_and_document_opens_none_twice(own: Database) -> None:
    await own.courses.insert_many([theirs(number) for number in range(3)])
    shared = SharedDocuments(own, COURSES, "adopt-run-1", SystemClock())
    opened = await shared.open([course(0), course(1)])
    assert len(opened) == 2
    again = await shared.open([course(0), course(1), course(2)])
    assert [each.name for each in again] == [f"courses {course(n)}" for n in range(3)]
    assert await own.course_events.count_documents({"event_type": "opening"}) == 3
    await adopt(own)
    assert await own.courses.count_documents({"state": {"$exists": True}}) == 3
    assert await faults(own) == {}


async def test_events_that_were_stored_before_are_in_the_document_already(own: Database) -> None:
    await own.courses.insert_one(theirs(0))
    sent = [
        event_data(
            "course_created", 0, course=course(0), title="New", slug="new", instructor_id=str(ObjectId())
        ),
        event_data("course_submitted", 1, course=course(0)),
    ]
    await own.course_events.insert_many([event_of(each, n) for n, each in enumerate(sent, start=1)])
    await adopt(own)
    found = await own.courses.find_one({"_id": course(0)})
    assert found is not None
    assert (found["title"], found["status"], found["version"]) == ("Course 0", "published", 3)
    assert await oracle(own) == []


async def test_nothing_is_written_over_a_course_that_is_not_adopted_yet(own: Database) -> None:
    """Its events were stored while the platform owned courses; workers with the new owner run before `adopt` does."""
    await own.courses.insert_one(theirs(0))
    before = await own.courses.find_one({"_id": course(0)})
    created: Document = {"title": "New", "slug": "new", "instructor_id": str(ObjectId())}
    sent = [
        event_data("course_created", 0, course=course(0), **created),
        event_data("course_described", 1, course=course(0), subtitle="of an event"),
    ]
    await own.course_events.insert_many([event_of(each, n) for n, each in enumerate(sent, start=1)])
    await projector(own, projection=COURSES).project({STREAM: 2})
    rebuilt = await DocumentRebuild(fold_dependencies(own, COURSES))([STREAM])
    assert [(each.stream, each.error_class) for each in rebuilt.failed] == [(STREAM, "Refused")]
    assert await own.courses.find_one({"_id": course(0)}) == before
    item = await own.analytics_queue.find_one({"_id": f"courses:{STREAM}"})
    assert item is not None
    assert "is not adopted" in item["last_error"]

    assert (await adopt(own)).run.counts["documents_adopted"] == 1
    found = await own.courses.find_one({"_id": course(0)})
    assert found is not None
    assert (found["title"], found["slug"], found["subtitle"]) == ("Course 0", "course-0", None)
    assert await oracle(own) == []


async def test_a_course_that_went_back_to_the_platform_is_adopted_once_more_as_it_is_then(
    own: Database,
) -> None:
    await own.courses.insert_one(theirs(0))
    await adopt(own)
    await own.courses.update_many({}, {"$unset": {"stream_id": 1, "claims": 1}})
    changed = {
        "title": "Since then",
        "slug": "since-then",
        "status": "archived",
        "publication.status": "archived",
    }
    await own.courses.update_one({"_id": course(0)}, {"$set": changed})
    before = await own.courses.find_one({"_id": course(0)})
    rebuilt = await DocumentRebuild(fold_dependencies(own, COURSES))([STREAM])
    assert [each.error_class for each in rebuilt.failed] == ["Refused"]
    assert await own.courses.find_one({"_id": course(0)}) == before
    assert (await adopt(own)).run.counts["documents_adopted"] == 1
    found = await own.courses.find_one({"_id": course(0)})
    assert found is not None
    assert {name: found[name] for name in ("title", "slug", "status")} == {
        "title": "Since then",
        "slug": "since-then",
        "status": "archived",
    }
    assert found["homepage"] is True
    assert await oracle(own) == []
