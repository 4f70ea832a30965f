"""Records that make no sense cost only themselves: each is set aside with its reason, and stays as it was."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId, Regex, encode
from bson.raw_bson import RawBSONDocument

from tests.integration.adopt.test_adopt import adopt, findings, record
from tests.support.platform import Platform, day, enrolled, full_record
from worker.contract.reserved import canary_learner
from worker.storage.database import Database
from worker.storage.elements import Element, elements, joined
from worker.storage.schema import apply_schema

LESSON = ObjectId()
FUTURE = datetime.now(UTC) + timedelta(days=800)

UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"progress": {"percentage": "65"}}, "progress.percentage must be a number"),
    ({"progress": {"percentage": float("nan")}}, "progress.percentage must be a number"),
    ({"progress": {"percentage": -1}}, "progress.percentage must be 0 or more"),
    ({"progress": {"percentage": True}}, "progress.percentage must be a number"),
    ({"progress": [1, 2]}, "progress must be an object"),
    ({"progress": {"total_lessons": 5_001}}, "progress.total_lessons must be at most 5000"),
    (
        {"progress": {"completed_lessons": 1.5}},
        "progress.completed_lessons must be a whole number from 0 to 2147483647",
    ),
    ({"progress": {"current_lesson_id": str(LESSON)}}, "progress.current_lesson_id must be an ObjectId"),
    ({"user_id": "65a4f0c2e13b7a0001c0ffee"}, "user_id must be an ObjectId"),
    ({"course_id": None}, "course_id is missing"),
    ({"status": "suspended"}, "status must be active, dropped or completed"),
    ({"enrollment_date": "2024-01-01"}, "enrollment_date must be a date"),
    ({"updated_at": FUTURE}, "updated_at lies in the future"),
    ({"time_tracking": {"total_seconds": Int64(2**62)}}, "time_tracking.total_seconds must lie between"),
    ({"lesson_progress": {"a": 1}}, "lesson_progress must be an array"),
    ({"lesson_progress": [{"lesson_id": LESSON}, "x"]}, "lesson_progress.1 must be an object"),
    (
        {"lesson_progress": 2 * [{"lesson_id": LESSON, "status": "completed"}]},
        "lesson_progress names a lesson twice",
    ),
    (
        {"lesson_progress": [{"lesson_id": LESSON, "quiz_results": {}}]},
        "lesson_progress.0.quiz_results.score is missing",
    ),
    ({"certificates": [{"_id": ObjectId()}]}, "certificates.0.issued_at is missing"),
    ({"payment_data": {"amount": "a lot"}}, "payment_data.amount must be a number"),
    ({"payment_data": {"amount": 0.00001}}, "payment_data.amount must be an amount"),
    ({"rating": {"value": 7}}, "rating.value must lie between 1 and 5"),
    ({"completion_notified": "yes"}, "completion_notified must be true or false"),
    ({"social": {"questions_asked": Regex(".*")}}, "social.questions_asked must be a number"),
]


def with_broken(document: dict[str, Any], name: bytes, kind: int, value: bytes) -> RawBSONDocument:
    """The document with one more element, of bytes that Python cannot decode."""
    return RawBSONDocument(joined([*elements(encode(document)), Element(kind, name, value)]))


async def test_each_broken_record_is_set_aside_with_its_reason_and_its_neighbours_are_adopted(
    platform: Platform, adopted: Database
) -> None:
    course = platform.add_course()["_id"]
    sound = [platform.add_user()["_id"] for _ in range(2)]
    platform.insert(enrolled(sound[0], course))
    expected: dict[str, str] = {}
    for changes, said in UNFIT:
        identity = platform.insert(enrolled(ObjectId(), course, **changes))
        expected[str(identity)] = said
    platform.insert(enrolled(sound[1], course))
    before = list(platform.db.user_progress.find({"_id": {"$in": [ObjectId(each) for each in expected]}}))
    await apply_schema(adopted)
    done = await adopt(adopted)
    assert done.run.counts["adopted"] == 2
    assert done.outcome["set_aside"] == {"unfit": len(UNFIT)}
    told = {each["record"]: each["detail"] for each in done.outcome["samples"]["unfit"]}
    assert len(told) == 20  # enough to look at
    assert {each: said for each, said in told.items() if not said.startswith(expected[each])} == {}
    left = list(platform.db.user_progress.find({"_id": {"$in": [ObjectId(each) for each in expected]}}))
    assert repr(left) == repr(before)
    # verify names what is not the worker's, and nothing else.
    named = [each.split()[0] for each in await findings(adopted)]
    assert sorted(set(named)) == ["document_malformed", "projection_missing"]


@pytest.mark.parametrize(
    ("changes", "said"), UNFIT[20:], ids=[str(number) for number in range(20, len(UNFIT))]
)
async def test_the_reasons_that_no_sample_had_room_for(
    platform: Platform, adopted: Database, changes: dict[str, Any], said: str
) -> None:
    identity = platform.insert(enrolled(ObjectId(), platform.add_course()["_id"], **changes))
    shown = await adopt(adopted, dry_run=True)
    [sample] = shown.outcome["samples"]["unfit"]
    assert sample["record"] == str(identity)
    assert sample["detail"].startswith(said)


async def test_what_bson_allows_and_python_does_not_stays_in_the_platform_s_own_fields(
    platform: Platform, adopted: Database
) -> None:
    course = platform.add_course()["_id"]
    user, other = platform.add_user()["_id"], platform.add_user()["_id"]
    far = (253_402_300_800_000).to_bytes(8, "little")  # the year 10000
    kept = with_broken({"_id": ObjectId(), **enrolled(user, course), "a.b": 1}, b"ends_at", 0x09, far)
    platform.db.user_progress.insert_one(kept)
    broken = with_broken({"_id": ObjectId(), **enrolled(other, course)}, b"updated_at", 0x09, far)
    platform.db.user_progress.insert_one(broken)
    twice = joined(
        [*elements(encode({"_id": 7, **enrolled(ObjectId(), course)})), *elements(encode({"progress": 1}))]
    )
    platform.db.user_progress.insert_one(RawBSONDocument(twice))
    platform.insert({"_id": {"a": 1}, **enrolled(ObjectId(), course)})
    platform.insert({"_id": "text", **enrolled(ObjectId(), course, notes_of_the_platform="x" * 3_000_000)})
    await apply_schema(adopted)
    done = await adopt(adopted)
    assert done.run.counts["adopted"] == 1
    assert done.outcome["set_aside"] == {"unfit": 2, "unreadable": 1, "too_large": 1}
    names = {each.name: each.value for each in elements(await _raw(adopted, user))}
    assert names[b"ends_at"] == far
    assert b"a.b" in names
    assert names[b"rev"] == (1).to_bytes(4, "little")


async def _raw(database: Database, user: ObjectId) -> bytes:
    batches: Any = database.user_progress.find_raw_batches({"user_id": user})
    return b"".join([batch async for batch in batches])


async def test_what_is_said_in_other_numbers_or_says_too_much_is_adopted_and_named(
    platform: Platform, adopted: Database
) -> None:
    course = platform.add_course(lessons=2)
    lessons = [each["_id"] for each in course["curriculum"][0]["lessons"]]
    users = [platform.add_user()["_id"] for _ in range(4)]
    over = platform.insert(enrolled(users[0], course["_id"], progress={"percentage": 104.2}))
    strange = full_record(users[1], course["_id"], [*lessons, ObjectId()])
    strange["lesson_progress"][0]["lesson_id"] = ObjectId()
    platform.insert(strange)
    exact = enrolled(
        users[2],
        course["_id"],
        progress={"percentage": Decimal128("66.666"), "completed_lessons": Int64(0), "total_lessons": 2.0},
        payment_data={
            "amount": Decimal128("1.50"),
            "currency": "EUR",
            "method": "card",
            "transaction_id": "t",
        },
        rating=4,
        updated_at=day(3),
    )
    platform.insert(exact)
    extra = platform.insert(
        enrolled(users[3], course["_id"], payment_data={"method": "free"}, version=17, social={"likes": 3})
    )
    await apply_schema(adopted)
    done = await adopt(adopted)
    assert (done.run.counts["adopted"], done.run.counts["changed"]) == (4, 2)
    changed = {each["record"]: each["paths"] for each in done.outcome["changed_samples"]}
    assert changed[str(over)] == ["progress.percentage"]
    assert changed[str(extra)] == ["payment_data.method", "social.likes", "version"]
    assert done.run.counts["lessons_outside_curriculum"] == 1
    document = await record(adopted, users[0], course["_id"])
    assert (document["progress"]["percentage"], document["milestones"]["completed"]["by"]) == (
        100.0,
        "replay",
    )
    document = await record(adopted, users[2], course["_id"])
    assert document["progress"]["percentage"] == 66.66
    assert document["rating"] == {"value": 4.0, "rated_at": day(3)}
    assert await findings(adopted) == []


async def test_what_the_server_refuses_is_set_aside_alone(platform: Platform, adopted: Database) -> None:
    course = platform.add_course()["_id"]
    users = [platform.add_user()["_id"] for _ in range(5)]
    for user in users:
        platform.insert(enrolled(user, course))
    await apply_schema(adopted)
    platform.db.command("collMod", "notifications", validator={"user_id": {"$ne": users[3]}})
    done = await adopt(adopted)
    assert (done.run.counts["adopted"], done.outcome["set_aside"]) == (4, {"refused": 1})
    [sample] = done.outcome["samples"]["refused"]
    assert sample["detail"] == "notifications: the server refuses the document (code 121)"
    assert await adopted.course_events.count_documents({}) == 4
    assert (
        platform.db.user_progress.count_documents({"user_id": users[3], "stream_id": {"$exists": False}}) == 1
    )


async def test_of_two_records_of_which_one_makes_no_sense_neither_is_adopted(
    platform: Platform, adopted: Database
) -> None:
    course, user = platform.add_course()["_id"], platform.add_user()["_id"]
    platform.insert(enrolled(user, course))
    platform.insert(enrolled(user, course, progress={"percentage": "x"}))
    shown = await adopt(adopted, dry_run=True)
    assert shown.outcome["set_aside"] == {"duplicate": 1, "unfit": 1}
    shown = await adopt(adopted, dry_run=True, duplicates="furthest")
    assert (shown.run.counts["adopted"], shown.outcome["set_aside"]) == (1, {"unfit": 1})


async def test_a_record_with_an_id_of_the_canary_is_set_aside(platform: Platform, adopted: Database) -> None:
    course, user = platform.add_course()["_id"], platform.add_user()["_id"]
    platform.insert(enrolled(user, course))
    platform.insert(enrolled(canary_learner(day(1)), course))
    await apply_schema(adopted)
    done = await adopt(adopted)

    assert (done.run.counts["adopted"], done.outcome["set_aside"]) == (1, {"reserved": 1})
