"""`adopt` is killed before and after each of its writes, and started again: nothing is lost, or adopted twice."""

from pathlib import Path

import pytest
from bson import ObjectId

from projections.catalogue import catalogue_for
from projections.content.versions.projection import COURSE_VERSIONS
from tests.conftest import RunningMongo
from tests.integration.adopt.test_adopt import findings
from tests.integration.adopt.test_courses import theirs
from tests.support.commands import sevenp_worker
from tests.support.jobs import runner
from tests.support.platform import Platform, enrolled
from tests.support.progress import follow
from tests.support.waiting import until
from tests.support.worker_pool import shared_pool
from worker.jobs.adopt import ADOPT, AdoptArguments
from worker.settings import variable
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema

# Every write of a run in their order, as a trace shows them; of the many saves of its place, those between others.
WRITES = [
    "insert:job_runs:1",
    "update:audit:1",
    "update:job_runs:3",
    "findAndModify:job_runs:2",
    "update:courses:1",
    "findAndModify:job_runs:3",
    "update:users:1",
    "findAndModify:job_runs:4",
    "findAndModify:job_runs:6",
    "insert:course_events:1",
    "delete:user_progress:1",
    "insert:user_progress:1",
    "delete:user_progress_projections:1",
    "update:user_progress_projections:1",
    "update:notifications:1",
    "update:analytics_queue:1",
    "commitTransaction:1:1",
    "findAndModify:job_runs:7",
    "findAndModify:job_runs:8",
    "update:courses:2",
    "commitTransaction:1:2",
    "update:users:2",
    "commitTransaction:1:3",
    "update:job_runs:4",
    "update:job_runs:5",
]
RECORDS = 3
LEASE_S = 2.0


def environment(platform: Platform, mongodb: RunningMongo) -> dict[str, str]:
    return {
        variable("mongodb_uri"): mongodb.uri,
        variable("database_prefix"): platform.db.name.removesuffix("_content"),
        variable("allow_test_commands"): "true",
        variable("jobs_lease_s"): str(LEASE_S),
    }


async def killed(settings: dict[str, str], point: str, folder: Path) -> bool:
    """Whether `adopt` came to this point, and was killed there."""
    crashes = folder / "crashes.jsonl"
    crashes.unlink(missing_ok=True)
    changes = {**settings, "CHAOS_KILL": point, "CHAOS_CRASHES": str(crashes)}
    process = shared_pool().start("adopt", folder / "log", changes, ["adopt"], module="tests.chaos.launcher")
    await until(lambda: process.returncode is not None, f"adopt ends at {point}", 60)
    process.popen.wait()
    return crashes.exists()


@pytest.mark.long
async def test_adoption_goes_on_wherever_it_was_killed(
    platform: Platform, adopted: Database, mongodb: RunningMongo, tmp_path: Path
) -> None:
    """Before each write, and after the last: what comes after any other one comes before the next."""
    settings = environment(platform, mongodb)
    await apply_schema(adopted)
    hit, records = [], 0
    for point in [
        *(f"before:{write}" for write in WRITES),
        "after:commitTransaction:1",
        f"after:{WRITES[-1]}",
    ]:
        course = platform.add_course()
        for _ in range(RECORDS):
            user = platform.add_user(stats={"courses_enrolled": 1})["_id"]
            platform.insert(enrolled(user, course["_id"]))
        records += RECORDS
        if await killed(settings, point, tmp_path):
            hit.append(point)
        done = await runner(adopted, lease_s=LEASE_S).run(ADOPT, AdoptArguments())
        # A run that was killed after its last write is over; the next one finds nothing.
        assert done.run.counts.get("adopted", 0) in (RECORDS, 0), point
        assert await adopted.course_events.count_documents({"event_type": "opening"}) == records, point
        assert (
            await adopted.user_progress.count_documents({"projection_version": {"$exists": True}}) == records
        )
    assert len(hit) == len(WRITES) + 1, "\n".join(hit)
    assert await findings(adopted) == []
    assert await adopted.courses.count_documents({"stats.enrollments.total": {"$ne": RECORDS}}) == 0
    kept = await adopted.users.count_documents({"stats.before_adoption.courses_enrolled": 1})
    assert kept == records
    assert await adopted.notifications.count_documents({"status": {"$ne": "suppressed"}}) == 0


@pytest.mark.slow
async def test_the_command_says_what_would_become_of_each_record_before_anything_is_there(
    platform: Platform, adopted: Database, mongodb: RunningMongo
) -> None:
    settings = environment(platform, mongodb)
    user, course = ObjectId(), platform.add_course()["_id"]
    platform.insert(enrolled(user, course))
    broken = platform.insert(enrolled(ObjectId(), course, progress={"percentage": "much"}))
    shown = await sevenp_worker(settings, "adopt", "--dry-run")
    assert shown.code == 1, shown.output
    assert "would be adopted" in shown.output
    assert str(broken) in shown.output
    assert "progress.percentage must be a number" in shown.output
    assert "much" not in shown.output
    refused = await sevenp_worker(settings, "adopt")
    assert (refused.code, "schema apply" in refused.output) == (3, True), refused.output
    assert platform.db.user_progress.count_documents({}) == 2


COURSE_WRITES = [
    *(
        f"{when}:{write}"
        for write in ("insert:course_events:1", "update:courses:1")
        for when in ("before", "after")
    )
]
"""A course's opening event, and what the fold makes of it."""


@pytest.mark.slow
async def test_the_adoption_of_a_course_goes_on_wherever_it_was_killed(
    database: Database, mongodb: RunningMongo, tmp_path: Path
) -> None:
    own = open_database(database.client, database.prefix, catalogue_for({"courses"}))
    await apply_schema(own)
    settings = {
        variable("mongodb_uri"): mongodb.uri,
        variable("database_prefix"): database.prefix,
        variable("allow_test_commands"): "true",
        variable("jobs_lease_s"): str(LEASE_S),
        variable("courses_owner"): "worker",
    }
    for number, point in enumerate(COURSE_WRITES, start=1):
        await own.courses.insert_one(theirs(number))
        assert await killed(settings, point, tmp_path), point
        await runner(own, lease_s=LEASE_S).run(ADOPT, AdoptArguments())
        assert await own.course_events.count_documents({"event_type": "opening"}) == number, point
        assert (
            await own.courses.count_documents({"state": {"$exists": True}, "title": {"$exists": True}})
            == number
        )
    await follow(own, COURSE_VERSIONS)
    assert await findings(own) == []
