"""The counts role: it follows the records, and documents that come, change and go."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable

import pytest
from bson import ObjectId

from tests.conftest import RunningMongo
from tests.integration.storage.conftest import new_client
from tests.integration.watch.listeners import Stopper
from tests.support.counts import (
    NOW,
    Learner,
    RunningCounts,
    add_course,
    add_platform,
    add_user,
    assert_counted,
    course,
    instructor,
    running,
    snapshot,
    statistics,
    store_all,
    user,
)
from tests.support.failpoints import failing
from tests.support.waiting import LIMIT_S, until
from worker.storage import driver
from worker.storage.database import Database, Document, make_client, open_database
from worker.storage.driver import close
from worker.storage.transactions import Session

COURSES, USERS = 10, 400


def thousand() -> list[Learner]:
    """1,000 learners in 10 courses; some pay, finish, rate, leave."""
    learners = []
    for number in range(1_000):
        learner = Learner(course(number % COURSES), user(number // COURSES * 4 + number % 4))
        learner.enrol(at=number, pays=f"t.{number}" if number % 5 == 0 else None)
        if number % 3 == 0:
            learner.finish(2_000 + number)
        if number % 4 == 0:
            learner.meet("course_rated", 3_000 + number, value=1 + number % 9 / 2)
        if number % 7 == 0:
            learner.meet("course_unenrolled", 4_000 + number)
        learners.append(learner)
    return learners


async def came_to_nothing(database: Database) -> None:
    """As before the first learner."""
    for name in ("user_progress", "user_progress_projections", "notifications", "instructor_statistics"):
        await database.collection(name).delete_many({})
    await database.courses.delete_many({})
    await database.users.delete_many({})


@pytest.mark.slow
async def test_documents_missing_late_or_deleted_end_with_the_statistics_of_a_run_that_had_them_all(
    database: Database,
) -> None:
    learners = thousand()
    assert len({learner.identity for learner in learners}) == 1_000
    async with running(database) as worker:
        await add_platform(database, COURSES, USERS, instructors=3)
        await store_all(database, learners)
        await worker.until_counted()
    wanted = await statistics(database)

    await came_to_nothing(database)
    chance = random.Random(11)  # noqa: S311  # a repeatable story
    async with running(database) as worker:
        await add_platform(database, COURSES // 2, USERS // 2)  # the others are missing
        for start in range(0, 1_000, 100):
            await store_all(database, learners[start : start + 100])
            gone = [course(chance.randrange(COURSES)), user(chance.randrange(USERS))]
            await database.courses.delete_many({"_id": {"$in": gone}})
            await database.users.delete_many({"_id": {"$in": gone}})
            assert not await snapshot(database, instructors=False)
        await add_platform(database, COURSES, USERS, instructors=3)  # late, or put in place again
        await worker.until_counted()
    assert await statistics(database) == wanted
    assert await database.notifications.count_documents({"kind": "welcome"}) == 1_000


async def until_statistics(
    worker: RunningCounts, condition: Callable[[], Awaitable[bool]], what: str
) -> None:
    """The change stream told of it: everything was compared before, and nothing was since."""
    lost = worker.lost()
    await worker.until(condition, what)
    assert worker.lost() == lost


async def total(database: Database, identity: ObjectId) -> int | None:
    found = await database.courses.find_one({"_id": identity}, {"stats": 1}) or {}
    stats = found.get("stats") or {}
    value = stats.get("enrollments", {}).get("total")
    return None if value is None else int(value)


@pytest.mark.slow
async def test_a_course_shows_its_statistics_soon_after_it_appears_is_replaced_or_overwritten(
    database: Database,
) -> None:
    learners = [await Learner(course(0), user(n)).enrol().store(database) for n in range(3)]
    async with running(database) as worker:
        await worker.until_caught_up()

        async def right() -> bool:
            return await total(database, course(0)) == len(learners) and not await snapshot(database)

        await add_course(database, 0)
        await until_statistics(worker, right, "summed after it appeared")
        await add_course(database, 0, stats={"enrollments": {"total": 99}})
        await until_statistics(worker, right, "summed after it was replaced")
        await database.courses.update_one({"_id": course(0)}, {"$set": {"stats": {"views": 1}}})
        await until_statistics(worker, right, "summed after it was overwritten")
        await database.courses.update_one({"_id": course(0)}, {"$unset": {"stats": 1}})
        await until_statistics(worker, right, "summed after it was removed")


async def test_an_enrolment_that_the_platform_counts_by_itself_as_well_is_counted_once(
    database: Database,
) -> None:
    await add_platform(database, 1, 1)
    async with running(database) as worker:
        await Learner(course(0), user(0)).enrol().store(database)
        await worker.until_caught_up()
        await worker.until_counted()
        # After the worker, as the specification's own transaction does it.
        more = {"stats.enrollments.total": 1, "stats.enrollments.active": 1}
        await database.courses.update_one({"_id": course(0)}, {"$inc": more})
        await database.users.update_one({"_id": user(0)}, {"$inc": {"stats.courses_enrolled": 1}})
        await database.users.update_one({"_id": instructor(0)}, {"$set": {"stats.total_students": 9}})
        await worker.until_counted()


@pytest.mark.slow
async def test_instructors_follow_their_courses_from_hand_to_hand(database: Database) -> None:
    await add_platform(database, 2, 4, instructors=2)
    learners = [Learner(course(n % 2), user(n)).enrol().meet("course_rated", 1, value=4) for n in range(4)]
    async with running(database) as worker:
        await worker.until_caught_up()
        await store_all(database, learners)
        await worker.until_counted()

        async def students(who: int, number: int) -> bool:
            found = await database.users.find_one({"_id": instructor(who)}) or {}
            return bool(found["stats"]["total_students"] == number)

        await database.courses.update_one({"_id": course(0)}, {"$set": {"instructor_id": instructor(1)}})
        await until_statistics(worker, lambda: students(1, 4), "handed over")
        assert await students(0, 0)
        await database.courses.delete_one({"_id": course(0)})
        await until_statistics(worker, lambda: students(1, 2), "deleted")


async def test_an_injected_motor_client_does_as_well(database: Database, mongodb: RunningMongo) -> None:
    await add_platform(database, 2, 4)
    client = new_client("motor", mongodb.uri)
    try:
        async with running(open_database(client, prefix=database.prefix), checked_by=database) as worker:
            await store_all(
                database, [Learner(course(n % 2), user(n)).enrol(pays=f"t.{n}") for n in range(4)]
            )
            await worker.until_counted()
    finally:
        await close(client)


@pytest.mark.parametrize(
    "command", ["getMore", "aggregate", "find", "insert", "update", "commitTransaction", "killSessions"]
)
async def test_a_server_that_is_away_is_waited_for(
    database: Database, watched: Database, command: str
) -> None:
    await add_platform(database, 2, 8)
    learners = [Learner(course(n % 2), user(n)).enrol() for n in range(8)]
    async with running(watched, checked_by=database, owner="first") as first:
        await store_all(database, learners[:4])
        await first.until_counted()
        await first.kill()
    # 262: the server ran out of time. The driver repeats some commands once by itself; three is beyond that.
    # Catching up needs the end of a session and the change stream's next answer only once.
    least = 1 if command in ("killSessions", "getMore") else 3
    async with (
        failing(watched, [command], code=262, times=3) as entered,
        running(watched, checked_by=database, owner="first") as second,
    ):
        await store_all(database, learners[:6])
        await second.until_counted()
        # What was stored before the stream was open needs no further answer of it; what comes now does.
        await second.until_following()
        await store_all(database, learners)
        await second.until_counted()
        assert await entered() >= least


async def test_a_server_that_lets_nobody_end_a_session_is_no_reason_to_stop(
    database: Database, watched: Database
) -> None:
    await add_platform(database, 1, 1)
    former = counting_session(uuid.uuid4())
    await database.projection_state.insert_one(former)
    async with (
        failing(watched, ["killSessions"], code=13, times=9) as entered,
        running(watched, checked_by=database) as worker,
    ):
        await Learner(course(0), user(0)).enrol().store(database)
        await worker.until_counted()
        assert await entered() >= 1


async def test_lost_history_is_compared_and_nobody_is_called(database: Database, watched: Database) -> None:
    await add_platform(database, 2, 8)
    learners = [Learner(course(n % 2), user(n)).enrol() for n in range(8)]
    async with running(watched, checked_by=database) as worker:
        await worker.until_following()
        async with failing(watched, ["getMore"], code=286, times=1):
            await store_all(database, learners[:4])
            await worker.until(lambda: worker.restarts("history_lost") == 1, "history lost")
        await worker.until_counted()
        await store_all(database, learners)
        await worker.until_counted()


async def test_a_stop_in_the_middle_of_a_comparison_leaves_it_to_be_done(
    database: Database, mongodb: RunningMongo
) -> None:
    await add_platform(database, 2, 8)
    learners = [Learner(course(n % 2), user(n)).enrol() for n in range(8)]
    async with running(database) as first:
        await store_all(database, learners[:4])
        await first.until_counted()
    await store_all(database, learners)
    garbage = {"$set": {"token": {"_data": "garbage"}}}
    await database.projection_state.update_one({"_id": "counts:00"}, garbage)
    # Stopped by the first look at the records, before anything is counted.
    stopper = Stopper("user_progress")
    client = make_client(mongodb.uri, listeners=[stopper])
    try:
        async with running(open_database(client, database.prefix), checked_by=database) as second:
            stopper.stop = second.stop
            await asyncio.wait_for(asyncio.shield(second.task), LIMIT_S)
    finally:
        await close(client)
    assert await total(database, course(0)) == 2
    async with running(database) as third:
        await third.until_counted()


async def test_a_killed_worker_goes_on_where_it_stopped_and_counts_nothing_twice(database: Database) -> None:
    await add_platform(database, 3, 30)
    learners = [Learner(course(n % 3), user(n)).enrol(pays=f"t.{n}") for n in range(30)]
    for start in range(0, 30, 10):
        async with running(database, owner="same", lease_s=2.0) as worker:
            await worker.until_following()
            await store_all(database, learners[start : start + 10])
            await worker.kill()
    async with running(database, owner="same") as worker:
        await worker.until_counted()
    assert not await snapshot(database)


async def test_of_two_workers_one_counts_and_the_other_takes_over(database: Database) -> None:
    await add_platform(database, 2, 20)
    learners = [Learner(course(n % 2), user(n)).enrol() for n in range(20)]
    async with running(database, owner="a", lease_s=2.0) as first:
        await first.until_following()
        async with running(database, owner="b", lease_s=2.0) as second:
            await store_all(database, learners[:10])
            await second.until_counted()
            await first.until(lambda: first.holds() != second.holds(), "one holds the lease")
            holder, other = (first, second) if first.holds() else (second, first)
            await holder.kill()
            await store_all(database, learners[10:])
            await other.until(other.holds, "the lease taken over")
            await other.until_counted()


async def test_a_transaction_left_open_by_a_killed_process_is_ended_at_once(
    database: Database, mongodb: RunningMongo
) -> None:
    await add_platform(database, 1, 1)
    learner = Learner(course(0), user(0)).enrol()
    client = make_client(mongodb.uri)
    dead = open_database(client, database.prefix)
    session = await driver.start_session(client)
    try:
        await driver.start_transaction(session)
        await dead.courses.update_one(
            {"_id": course(0)}, {"$set": {"stats": {"half": "done"}}}, session=session
        )
        await database.projection_state.insert_one(counting_session(uuid_of(session)))
        async with running(database) as worker:
            await learner.store(database)
            async with asyncio.timeout(45):  # by itself the server would end it after 60 s
                await worker.until_counted()
    finally:
        await close(client)


def counting_session(identity: object) -> Document:
    return {"_id": "counts:session", "kind": "session", "session": identity, "writes": 1, "saved_at": NOW}


def uuid_of(session: Session) -> object:
    return session.session_id["id"].as_uuid()


async def test_without_a_token_everything_is_compared_and_what_differs_counted(database: Database) -> None:
    await add_platform(database, 3, 30, instructors=2)
    learners = [Learner(course(n % 3), user(n)).enrol() for n in range(30)]
    async with running(database) as worker:
        await store_all(database, learners[:20])
        await worker.until_counted()
    # While nobody looks: learners move, sums are overwritten, a course goes and another one comes.
    await store_all(database, [learner.finish() for learner in learners[10:]])
    await database.courses.update_one({"_id": course(0)}, {"$inc": {"stats.sums.enrolled": 5}})
    await database.users.update_one({"_id": user(1)}, {"$set": {"stats.sums.learning.completed": 7}})
    await database.courses.delete_one({"_id": course(1)})
    await add_course(database, 7, taught_by=1)
    await database.projection_state.update_one(
        {"_id": "counts:00"}, {"$set": {"token": {"_data": "garbage"}}}
    )
    async with running(database) as worker:
        await worker.until_counted()

        async def as_counted() -> bool:
            return not await snapshot(database)

        await worker.until(as_counted, "all sums right")


async def test_a_dropped_collection_is_compared_and_followed_again(database: Database) -> None:
    await add_platform(database, 2, 4)
    learners = [Learner(course(n % 2), user(n)).enrol() for n in range(4)]
    async with running(database) as worker:
        await worker.until_following()
        await store_all(database, learners)
        await worker.until_counted()
        await database.users.drop()
        await worker.until(lambda: worker.restarts("invalidated") > 0, "the drop seen")
        await add_platform(database, 2, 4)
        await worker.until_counted()
    await assert_counted(database)


async def test_a_reader_sees_the_sum_of_projections_at_any_moment_while_everything_moves(
    database: Database,
) -> None:
    await add_platform(database, 3, 30)
    learners = [Learner(course(n % 5), user(n % 40)).enrol() for n in range(60)]
    done = asyncio.Event()

    async def read() -> int:
        looks = 0
        while not done.is_set():
            assert not await snapshot(database)
            looks += 1
        return looks

    async with running(database, lease_s=2.0), running(database, lease_s=2.0) as worker:
        reader = asyncio.create_task(read())
        for round_number in range(8):
            for learner in learners:
                learner.meet("question_asked", round_number)
            await store_all(database, learners)
            if round_number == 3:
                await add_course(database, 3)
                await add_user(database, user(35))
        await add_course(database, 4)
        for number in (30, 31, 32, 33, 34, 36, 37, 38, 39):
            await add_user(database, user(number))
        await worker.until_counted()
        done.set()
        assert await reader >= 5


async def test_markers_that_no_transaction_needs_are_forgotten(database: Database) -> None:
    marker = {"kind": "marker", "instructor_id": None, "writes": 1, "saved_at": NOW}
    old = [{**marker, "_id": f"counts:user:{user(n)}"} for n in range(3)]
    kept = {**marker, "_id": f"counts:course:{course(9)}", "instructor_id": instructor(9)}
    await database.projection_state.insert_many([*old, kept])
    async with running(database):

        async def forgotten() -> bool:
            names = [each["_id"] for each in old]
            return await database.projection_state.count_documents({"_id": {"$in": names}}) == 0

        await until(forgotten, "old markers forgotten")
    # The course is gone, so nobody is credited with it any more.
    left = await database.projection_state.find_one({"_id": kept["_id"]})
    assert left is None or left["instructor_id"] is None
