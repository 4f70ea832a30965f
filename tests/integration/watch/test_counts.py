"""Counting without lease and change stream: one transaction moves all that follows from a learner's record."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from tests.conftest import RunningMongo
from tests.integration.watch.listeners import Guillotine, Meddler
from tests.support.counts import (
    Learner,
    add_course,
    add_platform,
    add_user,
    assert_counted,
    count,
    counting,
    course,
    dirty_keys,
    instructor,
    only,
    snapshot,
    statistics,
    store_all,
    user,
)
from tests.support.waiting import until
from tests.unit.projections.events import moment
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.retrying import retrying
from worker.timing import SystemClock
from worker.watch.sums.attempt import Keys

_ROUNDS = 5  # of being cut off everywhere, until every kind of command was met


def dirty(learners: Sequence[Learner]) -> Keys:
    return dirty_keys(learner.identity for learner in learners)


async def moved_once(database: Database) -> None:
    """Everything that one enrolment moves has moved by exactly 1."""
    stats = (await only(database, "courses"))["stats"]
    assert stats["enrollments"] == {"total": 1, "active": 1, "completed": 0}
    learner = await database.users.find_one({"_id": user(0)}) or {}
    assert learner["stats"]["courses_enrolled"] == 1
    assert learner["activity_log"] == [
        {"action": "course_enrollment", "course_id": course(0), "timestamp": moment(0)}
    ]
    assert await database.users.count_documents({"_id": instructor(0), "stats.total_students": 1}) == 1
    assert (await only(database, "notifications"))["kind"] == "welcome"
    assert (await only(database, "user_progress_projections"))["counted"]["enrolled"] == 1
    assert not await snapshot(database)


async def test_an_enrolment_moves_course_user_log_and_outbox(database: Database) -> None:
    await add_platform(database, 1, 1)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    await moved_once(database)
    projection = await only(database, "user_progress_projections")
    assert (projection["source_rev"], projection["last_event_version"]) == (1, 1)
    assert projection["current_state"]["status"] == "active"


async def test_counting_again_changes_nothing(database: Database) -> None:
    await add_platform(database, 1, 1)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    before = await statistics(database)
    for _ in range(5):
        await count(database, [learner], courses=[course(0)], users=[user(0), instructor(0)])
    await learner.store(database)  # another revision of the same content
    await count(database, [learner])
    assert await statistics(database) == before
    await moved_once(database)


async def test_every_number_follows_the_records_as_they_change(database: Database) -> None:
    await add_platform(database, 3, 8, instructors=2)
    learners = [Learner(course(c), user(u)).enrol() for c in range(3) for u in range(8) if (c + u) % 3]
    chance = random.Random(7)  # noqa: S311  # a repeatable story
    for round_number in range(6):
        for learner in learners:
            at = 1_000 * round_number + chance.randrange(900)
            what = chance.choice(["rate", "finish", "leave", "enrol", "post", "ask", "certificate", "report"])
            if what == "rate":
                learner.meet("course_rated", at, value=chance.choice([1, 2.5, 3.5, 4.25, 5]))
            elif what == "finish":
                learner.finish(at)
            elif what == "enrol":
                learner.enrol(at)
            elif what == "report":
                details: dict[str, Any] = {
                    "new_progress": chance.choice([12.5, 33.33, 99.99]),
                    "old_progress": 0,
                    "time_spent": 1,
                }
                learner.meet("progress_updated", at, details=details)
            elif what == "certificate":
                details = {"certificate_url": "https://c.example/1", "verification_code": f"C{at}"}
                learner.meet("certificate_issued", at, details=details)
            else:
                names = {"leave": "course_unenrolled", "post": "discussion_posted", "ask": "question_asked"}
                learner.meet(names[what], at)
        await store_all(database, learners)
        await count(database, learners)
        await assert_counted(database)
        assert not await snapshot(database)


async def test_enrol_leave_enrol_in_every_order_of_arrival_gives_one_set_of_counts(
    database: Database,
) -> None:
    await add_platform(database, 6, 1)
    story = [("course_enrolled", 0), ("course_unenrolled", 10), ("course_enrolled", 20)]
    for number, order in enumerate(itertools.permutations(story)):
        learner = Learner(course(number), user(0))
        for event_type, at in order:
            learner.meet(event_type, at)
            await learner.store(database)
            await count(database, [learner])
    await assert_counted(database)
    shown = [each["stats"] async for each in database.courses.find({})]
    assert all(stats == shown[0] for stats in shown)
    assert shown[0]["enrollments"] == {"total": 1, "active": 1, "completed": 0}
    records = [each["status"] async for each in database.user_progress.find({})]
    assert records == ["active"] * 6
    learner_document = await database.users.find_one({"_id": user(0)}) or {}
    assert {each["timestamp"] for each in learner_document["activity_log"]} == {moment(0)}


async def count_until(mongodb: RunningMongo, prefix: str, learners: Sequence[Learner], at: int) -> list[str]:
    """Count by a worker of its own that is cut off in its `at`-th command; returns its commands."""
    guillotine = Guillotine(at)
    client = make_client(mongodb.uri, listeners=[guillotine])
    try:
        async with counting(open_database(client, prefix)) as counter:
            guillotine.target = asyncio.create_task(counter.count(dirty(learners)))
            await asyncio.gather(guillotine.target, return_exceptions=True)
    finally:
        await close(client)
    return guillotine.commands


@pytest.mark.slow
async def test_an_enrolment_counted_by_three_workers_cut_off_in_every_command_counts_once(
    database: Database, mongodb: RunningMongo
) -> None:
    await add_platform(database, 1, 1)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    wanted, cut_in = {"find", "insert", "update", "commitTransaction"}, set[str]()
    for _ in range(_ROUNDS):
        cut_in |= await cut_off_in_every_command(database, mongodb, learner)
        if wanted <= cut_in:
            break
    assert wanted <= cut_in


async def cut_off_in_every_command(database: Database, mongodb: RunningMongo, learner: Learner) -> set[str]:
    """Three workers who are cut off one command later each time, until all have committed; the commands cut off in.

    Who meets whom is chance: they may all commit before one is cut off in its commit.
    """
    cut_in: set[str] = set()
    for at in itertools.count(1):
        kept = database.collection("instructor_statistics")
        rows = (database.user_progress_projections, database.notifications, kept, database.projection_state)
        await asyncio.gather(*(each.delete_many({}) for each in rows))
        await database.courses.update_many({}, {"$unset": {"stats": 1}})
        await database.users.update_many({}, {"$unset": {"stats": 1, "activity_log": 1}})
        cut = await asyncio.gather(
            *(count_until(mongodb, database.prefix, [learner], at + worker) for worker in range(3))
        )
        assert not await snapshot(database)
        # Delivered again, to three workers at once: four and five times in all.
        await asyncio.gather(*(with_retry(partial(count, database, [learner])) for _ in range(3)))
        await moved_once(database)
        cut_in |= {
            commands[at + worker - 1] for worker, commands in enumerate(cut) if len(commands) >= at + worker
        }
        if all("commitTransaction" in commands[: at - 1] for commands in cut):
            break
    assert at > 10
    return cut_in


@pytest.mark.parametrize("command", ["insert", "update", "commitTransaction", "find"])
@pytest.mark.parametrize("code", [112, 251, 262])
async def test_a_command_that_fails_is_repeated_with_all_of_its_transaction(
    database: Database, command: str, code: int
) -> None:
    await add_platform(database, 1, 1)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    admin = database.client.admin
    labels = ["TransientTransactionError"] if command != "commitTransaction" else []
    data = {"failCommands": [command], "errorCode": code, "errorLabels": labels}
    await admin.command({"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data})
    try:
        await count(database, [learner])
    finally:
        await admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    await moved_once(database)


@pytest.mark.slow
async def test_three_workers_at_once_give_what_one_gives_and_no_reader_sees_anything_else(
    database: Database,
) -> None:
    await add_platform(database, 4, 60, instructors=2)
    learners = [Learner(course((n + n // 60) % 4), user(n % 60)).enrol() for n in range(120)]
    done = asyncio.Event()

    async def read() -> int:
        looks = 0
        while not done.is_set():
            assert not await snapshot(database)
            looks += 1
        return looks

    async def work(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  # a repeatable order
        async with counting(database) as counter:
            for _ in range(6):
                some = dirty(chance.sample(learners, 40))
                await with_retry(partial(counter.count, some))

    reader = asyncio.create_task(read())
    for round_number in range(3):
        for learner in learners:
            learner.meet("lesson_view", 10 + round_number, lesson=1 + round_number)
            learner.meet("complete", 20 + round_number, lesson=1 + round_number)
        await store_all(database, learners)
        await asyncio.gather(*(work(seed) for seed in range(3)))
    await count(database, learners)
    done.set()
    assert await reader > 3
    await assert_counted(database)
    assert await database.notifications.count_documents({}) == 240


async def test_without_course_and_user_nothing_is_inserted_and_nothing_is_lost(database: Database) -> None:
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    assert await database.courses.count_documents({}) == await database.users.count_documents({}) == 0
    await add_platform(database, 1, 1)
    await count(database, courses=[course(0)], users=[user(0)])
    await moved_once(database)


async def test_a_document_that_appeared_is_summed_when_a_learner_moves_before_anybody_told(
    database: Database,
) -> None:
    learners = [await Learner(course(0), user(n)).enrol().store(database) for n in range(3)]
    await count(database, learners)
    await add_platform(database, 1, 3)
    await learners[0].finish().store(database)
    await count(database, learners[:1])
    assert (await only(database, "courses"))["stats"]["enrollments"] == {
        "total": 3,
        "active": 2,
        "completed": 1,
    }
    teacher = await database.users.find_one({"_id": instructor(0)}) or {}
    assert teacher["stats"]["total_students"] == 3


async def test_a_document_that_appears_while_learners_are_counted_misses_none(database: Database) -> None:
    learners = [await Learner(course(n % 3), user(n)).enrol().store(database) for n in range(30)]

    async def appear() -> None:
        await add_platform(database, 3, 30)
        async with counting(database) as counter:
            everything = dirty_keys(
                courses=frozenset(map(course, range(3))),
                users=frozenset([*map(user, range(30)), instructor(0)]),
            )
            await with_retry(partial(counter.count, everything))

    async def work() -> None:
        async with counting(database) as counter:
            for learner in learners:
                await with_retry(partial(counter.count, dirty([learner])))

    await asyncio.gather(work(), appear())
    await assert_counted(database)


async def test_a_course_that_appears_during_a_slow_commit_misses_no_learner(
    database: Database, mongodb: RunningMongo
) -> None:
    learner = await Learner(course(0), user(0)).enrol().store(database)
    guillotine = Guillotine(at=0)
    client = make_client(mongodb.uri, listeners=[guillotine], application_name="slow")
    slow = {
        "failCommands": ["commitTransaction"],
        "appName": "slow",
        "blockConnection": True,
        "blockTimeMS": 400,
    }
    admin = database.client.admin
    await admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": slow})
    try:
        async with counting(open_database(client, database.prefix)) as counter:
            committing = asyncio.create_task(counter.count(dirty([learner])))
            await until(lambda: "commitTransaction" in guillotine.commands, "the commit is under way")
            await add_course(database, 0)
            await with_retry(lambda: count(database, courses=[course(0)]))
            await committing
    finally:
        await close(client)
    assert (await only(database, "courses"))["stats"]["enrollments"]["total"] == 1


@pytest.mark.parametrize("kind", ["course", "learner", "instructor"])
async def test_somebody_who_writes_to_a_document_all_the_time_does_not_keep_it_from_being_counted(
    database: Database, mongodb: RunningMongo, kind: str
) -> None:
    await add_platform(database, 1, 1)
    names = {"course": ("courses", course(0)), "learner": ("users", user(0))}
    name, identity = names.get(kind, ("users", instructor(0)))
    theirs: MongoClient[dict[str, Any]] = MongoClient(mongodb.uri)
    content = theirs[database.courses.database.name]
    meddler = Meddler(content[name], identity)
    client = make_client(mongodb.uri, listeners=[meddler])
    learner = Learner(course(0), user(0)).enrol()
    try:
        async with counting(open_database(client, database.prefix)) as counter:
            await counter.count(dirty([await learner.store(database)]))
            await moved_once(database)
            await learner.meet("lesson_view", 5, lesson=1).store(database)  # moves no sum
            await counter.count(dirty([learner]))
            learner.meet("course_rated", 10, value=4)
            await counter.count(dirty([await learner.store(database)]))
            await counter.count(dirty_keys((), {course(0)}, {user(0), instructor(0)}))
    finally:
        await close(client)
        theirs.close()
    assert meddler.managed
    assert meddler.refused  # held by the transaction that came after
    assert not await snapshot(database)
    await assert_counted(database)


async def with_retry(operation: Callable[[], Awaitable[object]]) -> None:
    """As the role does: a conflict that lasts is met again later."""
    await retrying(operation, clock=SystemClock(), on_retry=lambda _error: None)


async def test_what_the_platform_wrote_into_stats_is_replaced_where_it_is_ours_and_kept_elsewhere(
    database: Database,
) -> None:
    sums = {"enrolled": 9, "rated": 4, "rating": 5}
    await add_course(database, 0, stats={"enrollments": {"total": 2500}, "sums": sums, "views": 3})
    await add_user(database, user(0), stats={"courses_enrolled": "many", "sums": 1}, activity_log="none")
    said = {"courses_created": 12, "total_students": 1500, "profile_views": 12}
    await add_user(database, instructor(0), stats=said)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    await moved_once(database)
    teacher = await database.users.find_one({"_id": instructor(0)}) or {}
    assert (teacher["stats"]["courses_created"], teacher["stats"]["profile_views"]) == (1, 12)
    assert (await only(database, "courses"))["stats"]["views"] == 3


async def test_the_activity_log_keeps_the_platforms_entries_and_the_last_hundred(database: Database) -> None:
    logins = [{"action": "login", "timestamp": moment(n)} for n in range(99)]
    await add_user(database, user(0), activity_log=logins)
    learners = [await Learner(course(n), user(0)).enrol(at=1_000 + n).store(database) for n in range(3)]
    await count(database, learners)
    document = await database.users.find_one({"_id": user(0)}) or {}
    log = document["activity_log"]
    assert log[:99] == logins
    assert [each["course_id"] for each in log[99:]] == [course(0), course(1), course(2)]


async def test_the_activity_log_shows_the_last_hundred_courses_in_any_order_of_arrival(
    database: Database,
) -> None:
    await add_user(database, user(0))
    learners = [Learner(course(n), user(0)).enrol(at=n // 4) for n in range(106)]
    order = random.Random(3).sample(learners, len(learners))  # noqa: S311  # a repeatable order
    for some in (order[:40], order[40:99], order[99:]):
        await store_all(database, some)
        await count(database, some)
    # One that the log had let go began later after all; one that it shows began earlier.
    for learner, at in ((learners[0], 90), (learners[50], -1)):
        learner.events = []
        await learner.enrol(at=at).store(database)
        await count(database, [learner])
    began = sorted((each.events[0].occurred_at, each.course) for each in learners)
    document = await database.users.find_one({"_id": user(0)}) or {}
    assert [(each["timestamp"], each["course_id"]) for each in document["activity_log"]] == began[-100:]


async def test_a_course_that_changes_hands_takes_its_learners_along(database: Database) -> None:
    await add_platform(database, 2, 3, instructors=2)
    learners = [Learner(course(n % 2), user(n)).enrol().meet("course_rated", 1, value=4) for n in range(3)]
    await store_all(database, learners)
    await count(database, learners)
    await database.courses.update_one({"_id": course(0)}, {"$set": {"instructor_id": instructor(1)}})
    await count(database, courses=[course(0)])
    await assert_counted_teacher(database, instructor(0), 0, 0.0)
    await assert_counted_teacher(database, instructor(1), 3, 4.0)
    await database.courses.delete_one({"_id": course(0)})
    await count(database, courses=[course(0)])
    await assert_counted_teacher(database, instructor(1), 1, 4.0)
    await add_course(database, 0, taught_by=0)
    await count(database, courses=[course(0)])
    await assert_counted(database)


async def assert_counted_teacher(database: Database, who: ObjectId, students: int, rating: float) -> None:
    document = await database.users.find_one({"_id": who}) or {}
    assert (document["stats"]["total_students"], document["stats"]["avg_rating"]) == (students, rating)


async def test_a_course_may_name_its_instructor_in_the_nested_place_only(database: Database) -> None:
    await add_user(database, instructor(5))
    await database.courses.database.command(
        {"collMod": "courses", "validator": {}}
    )  # a course of another service, with its own rules
    await database.courses.insert_one({"_id": course(0), "instructor": {"user_id": instructor(5)}})
    await count(database, [await Learner(course(0), user(0)).enrol().store(database)])
    await assert_counted_teacher(database, instructor(5), 1, 0.0)


async def test_a_course_the_server_does_not_let_us_write_holds_up_nobody_and_catches_up(
    database: Database,
) -> None:
    await add_platform(database, 2, 4)
    home = database.courses.database
    rules = (await (await home.list_collections(filter={"name": "courses"})).to_list(None))[0]["options"]
    await home.command({"collMod": "courses", "validator": {}})
    await database.courses.update_one({"_id": course(0)}, {"$unset": {"title": 1}})
    await home.command({"collMod": "courses", "validator": rules["validator"]})
    learners = [await Learner(course(n % 2), user(n)).enrol().store(database) for n in range(4)]
    await count(database, learners)
    healthy = await database.courses.find_one({"_id": course(1)}) or {}
    assert healthy["stats"]["enrollments"]["total"] == 2
    refused = await database.courses.find_one({"_id": course(0)}) or {}
    assert "stats" not in refused
    assert await database.user_progress_projections.count_documents({}) == 4
    await database.courses.update_one({"_id": course(0)}, {"$set": {"title": "Repaired"}})
    await count(database, [await learners[0].finish().store(database)])
    refused = await database.courses.find_one({"_id": course(0)}) or {}
    assert "stats" not in refused  # its learners alone do not try it again: its item does
    await count(database, courses=[course(0)])
    await assert_counted(database)
    assert (await only(database, "analytics_queue"))["status"] == "completed"


async def test_a_learner_whose_projection_is_taken_by_a_foreign_document_holds_up_nobody(
    database: Database,
) -> None:
    await add_platform(database, 1, 2)
    learners = [await Learner(course(0), user(n)).enrol().store(database) for n in range(2)]
    await count(database, learners[:1])
    foreign = await only(database, "user_progress_projections")
    await database.user_progress_projections.delete_many({})
    await database.user_progress_projections.insert_one(foreign | {"_id": ObjectId()})
    await count(database, learners, courses=[course(0)])
    assert (await only(database, "courses"))["stats"]["enrollments"]["total"] == 2


async def test_a_record_no_fold_wrote_holds_up_nobody(database: Database) -> None:
    await add_platform(database, 1, 2)
    learners = [await Learner(course(0), user(n)).enrol().store(database) for n in range(2)]
    home = database.user_progress.database
    await home.command({"collMod": "user_progress", "validator": {}})
    await database.user_progress.update_one({"_id": learners[0].identity}, {"$unset": {"milestones": 1}})
    await count(database, learners)
    assert (await only(database, "courses"))["stats"]["enrollments"]["total"] == 1


async def test_learners_counted_by_an_older_version_are_counted_again(database: Database) -> None:
    await add_platform(database, 1, 1)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    older = {"counts_version": 0, "counted": {"enrolled": 1}}
    home = database.user_progress.database
    await home.command({"collMod": "user_progress_projections", "validator": {}})
    await database.user_progress_projections.update_one({}, {"$set": older})
    await database.courses.update_one({}, {"$set": {"stats.sums": {"enrolled": 1}}})
    await learner.meet("question_asked", 3).store(database)
    await count(database, [learner])
    await assert_counted(database)
    assert not await snapshot(database)
