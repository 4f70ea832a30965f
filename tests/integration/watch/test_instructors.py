"""Instructors: learners counted once, courses, money by currency, and what their courses show of them."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from bson import ObjectId

from tests.support.billing import fold_rows, sum_revenue
from tests.support.counts import (
    EVER,
    Learner,
    add_course,
    add_platform,
    assert_counted,
    count,
    course,
    dependencies,
    instructor,
    running,
    snapshot,
    store_all,
    user,
)
from tests.support.money import money_event
from tests.unit.projections.events import STORED_AT
from worker.contract.source import Source
from worker.ingest.versions import StreamVersions
from worker.storage.database import Database, Document
from worker.storage.documents import event_document
from worker.verify.run import verify
from worker.watch.recounting import Recount

INSTRUCTORS = "instructor_statistics"


async def stats(database: Database, number: int = 0) -> Document:
    document = await database.users.find_one({"_id": instructor(number)}) or {}
    found: Document = document["stats"]
    return found


async def pay(database: Database, *steps: tuple[str, int, dict[str, Any]], since: int = 0) -> None:
    """Let events of transactions happen: type, number of the course, details."""
    versions = StreamVersions(database)
    for at, (event_type, number, details) in enumerate(steps, start=since):
        whose = {"user_id": str(user(number)), "course_id": str(course(number))}
        event = money_event(event_type, at, **whose, details=details)
        version = (await versions.highest([event.stream_id]))[event.stream_id] + 1
        source = Source("billing-events", 0, at)
        await database.course_events.insert_one(event_document(event, version, source, STORED_AT, None))
        versions.reached(event.stream_id, version)
    await fold_rows(database)
    await sum_revenue(database)


def paid(
    number: int, transaction: str, amount: str, currency: str = "USD"
) -> tuple[str, int, dict[str, Any]]:
    said = {"transaction_id": transaction, "amount": amount, "currency": currency, "method": "card"}
    return "payment_made", number, said


async def test_a_learner_of_whom_somebody_spoilt_what_was_counted_is_no_second_one(
    database: Database,
) -> None:
    await add_platform(database, 2, 1, instructors=1)
    learners = [Learner(course(number), user(0)).enrol() for number in range(2)]
    await store_all(database, learners)
    await count(database, learners[:1])
    spoilt = {"update": "user_progress_projections", "bypassDocumentValidation": True}
    change = {"q": {}, "u": {"$set": {"counted.completed": "soon"}}}
    await database.content.command({**spoilt, "updates": [change]})
    await count(database, learners[1:])
    assert (await stats(database))["total_students"] == 1


async def test_a_learner_of_several_courses_counts_once_and_follows_the_courses(database: Database) -> None:
    await add_platform(database, 3, 2, instructors=1)
    learners = [Learner(course(c), user(u)).enrol() for c, u in ((0, 0), (1, 0), (1, 1), (2, 0))]
    await store_all(database, learners)
    for learner in learners:
        await count(database, [learner])
    assert ((await stats(database))["total_students"], (await stats(database))["courses_created"]) == (2, 3)
    await add_course(database, 1, taught_by=1)  # another instructor
    await count(database, courses=[course(1)])
    assert ((await stats(database))["total_students"], (await stats(database))["courses_created"]) == (1, 2)
    await database.courses.update_one({"_id": course(2)}, {"$set": {"deleted_at": STORED_AT}})
    await count(database, courses=[course(2)])
    assert ((await stats(database))["total_students"], (await stats(database))["courses_created"]) == (1, 1)
    await assert_counted(database)
    assert (await verify(database, quiescent=True)).finding_counts.keys() <= {"progress_unknown"}


async def test_money_is_what_was_paid_and_not_given_back_by_currency(database: Database) -> None:
    await add_platform(database, 3, 3, instructors=2)  # courses 0 and 2 are of the first
    await count(database, courses=map(course, range(3)), users=map(user, range(3)))
    await pay(
        database,
        paid(0, "a", "100.10"),
        paid(2, "b", "50.05"),
        paid(2, "c", "9.99", "EUR"),
        paid(1, "d", "7.00"),
        paid(0, "a", "5.00"),  # another price: without effect
        ("payment_refunded", 0, {"transaction_id": "a", "amount": "0.10"}),
        ("payment_refunded", 2, {"transaction_id": "b"}),
        ("payment_refunded", 2, {"transaction_id": "b"}),  # twice: without effect
        ("payment_failed", 0, {"transaction_id": "e", "amount": "1000", "currency": "USD"}),
    )
    shown = await stats(database)
    assert (shown["total_revenue"], shown["revenue"]) == (100.0, {"EUR": 9.99, "USD": 100.0})
    assert (await stats(database, 1))["total_revenue"] == 7.0
    await add_course(database, 0, taught_by=1)
    await count(database, courses=[course(0)])
    assert (await stats(database))["revenue"] == {"EUR": 9.99, "USD": 0.0}
    assert (await stats(database, 1))["total_revenue"] == 107.0
    await assert_counted(database)
    assert Decimal(str((await stats(database, 1))["revenue"]["USD"])) == Decimal("107.0")
    assert (await verify(database, quiescent=True)).ok


async def test_who_leaves_comes_again_or_is_paid_back_was_taught_once_all_the_same(
    database: Database,
) -> None:
    await add_platform(database, 2, 1, instructors=1)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    await pay(database, paid(0, "a", "10.00"))
    assert (await stats(database))["total_revenue"] == 10.0
    again = await Learner(course(1), user(0)).enrol(20).store(database)
    for each in (await learner.meet("course_unenrolled", 10).store(database), again):
        await count(database, [each])
    await pay(database, ("payment_refunded", 0, {"transaction_id": "a"}), since=1)
    shown = await stats(database)
    assert (shown["total_students"], shown["total_revenue"], shown["revenue"]) == (1, 0.0, {"USD": 0.0})
    await count(database, [await learner.enrol(30).store(database)])
    assert (await stats(database))["total_students"] == 1
    await assert_counted(database)


async def test_revenue_is_shown_in_the_currency_of_the_setting(database: Database) -> None:
    await add_platform(database, 1, 1)
    await count(database, courses=[course(0)])
    await pay(database, paid(0, "a", "10.00"), paid(0, "b", "9.99", "EUR"))
    async with running(database, revenue_currency="EUR") as worker:
        # As after a change of the setting: what is shown follows when the instructor is summed again.
        await database.users.update_one({"_id": instructor(0)}, {"$unset": {"stats": ""}})

        async def shown() -> bool:
            found = (await database.users.find_one({"_id": instructor(0)}) or {}).get("stats", {})
            revenue = {"EUR": 9.99, "USD": 10.0}
            return (found.get("total_revenue"), found.get("revenue")) == (9.99, revenue)

        await worker.until(shown, "both stand there, the one of the setting first")


async def test_courses_show_what_their_instructors_have_come_to(database: Database) -> None:
    nested: dict[str, Any] = {"instructor": {"user_id": instructor(0), "bio": "a bio"}}
    await add_platform(database, 1, 2)
    for number in range(2):
        await add_course(database, number, **nested)
    async with running(database) as worker:
        await worker.until_counted()
        await store_all(database, [Learner(course(0), user(n)).enrol() for n in range(2)])
        rated = Learner(course(1), user(0)).enrol().meet("course_rated", 9, value=4)
        await rated.store(database)
        wanted = {"students_taught": 2, "courses_created": 2, "average_rating": 4.0}

        async def shown() -> bool:
            proofs = [each["instructor"] async for each in database.courses.find({})]
            return proofs == [{**nested["instructor"], "social_proof": wanted}] * 2

        await worker.until(shown, "both courses show it")
        altered = {"$set": {"instructor.social_proof.students_taught": 9_000}}
        await database.courses.update_one({"_id": course(1)}, altered)
        await worker.until(shown, "what somebody else wrote there is put right")


@pytest.mark.slow
async def test_damage_to_what_is_kept_or_shown_is_found_and_mended(database: Database) -> None:
    await add_platform(database, 2, 3)
    await store_all(database, [Learner(course(n % 2), user(n)).enrol() for n in range(3)])
    await count(database, [Learner(course(n % 2), user(n)) for n in range(3)])
    await pay(database, paid(0, "a", "100.10"))
    known = (await verify(database, quiescent=True)).finding_counts
    damages: Iterable[tuple[str, ObjectId, Document]] = (
        (INSTRUCTORS, instructor(0), {"students": 7}),
        (INSTRUCTORS, instructor(0), {"revenue": {"USD": 1}}),
        ("users", instructor(0), {"stats.total_revenue": 3.5}),
        ("course_revenue", course(0), {"revenue": {"USD": 1}}),
        (
            "counted_payments",
            (await database.billing_transactions.find_one({}) or {})["_id"],
            {"counted": {"USD": 1}},
        ),
    )
    for collection, identity, change in damages:
        changed = database.collection(collection)
        await changed.update_one({"_id": identity}, {"$set": change}, bypass_document_validation=True)
        assert (await verify(database, quiescent=True)).finding_counts != known, (collection, change)
        await recount(database)
        assert (await verify(database, quiescent=True)).finding_counts == known, (collection, change)
        await assert_counted(database)
    assert not await snapshot(database)


async def recount(database: Database) -> None:
    """`rebuild counts`, without its job."""
    given = dependencies(database)
    try:
        rebuild = Recount(given, EVER, ["counts", "revenue"])
        for _ in range(2):  # of what was paid, counts knows what revenue showed before
            async for _ in rebuild.everything(None):
                pass
    finally:
        await given.transactions.close()
