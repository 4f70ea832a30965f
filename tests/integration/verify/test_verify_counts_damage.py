"""One planted damage each to what was counted and put out, many in one store: each is found, and nothing else."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128

from projections.counts.activity import ENROLMENT
from tests.integration.verify.counted import INSTRUCTOR, counted, store_counted
from tests.integration.verify.history import COURSE, START, Learner, as_sent, learner, progress_of, store
from tests.integration.verify.test_verify_damage import Found, at, found, replace_one
from worker.contract.identity import foreign_object_id, stream_object_id
from worker.storage.database import Database, Document
from worker.storage.outbox import LATE, notification_id
from worker.verify.run import verify

Damages = Mapping[str, tuple[str, Callable[[Document], Document]]]
FAR = datetime(2100, 1, 1, tzinfo=UTC)
NEVER = DatetimeMS(253_402_300_800_000)
SENT = {"status": "sent", "attempts": 1, "channel": "log", "sent_at": START + timedelta(hours=2)}


def learners(damages: Damages) -> dict[str, Learner]:
    return {name: learner(name) for name in (*damages, "healthy", "well")}


async def stored(database: Database, everyone: Mapping[str, Learner]) -> None:
    """A store in which everything agrees."""
    await store(database, everyone.values())
    await store_counted(database, counted(everyone.values()), everyone.values())


PROJECTIONS: Damages = {
    "a revision that is a double": ("document_malformed", at("source_rev", 1.0)),
    "a vector of doubles": ("document_malformed", at("counted.progress", 3.0)),
    "a field of nobody": ("document_malformed", at("surprise", 1)),
    "a state of another type": ("projection_different", at("current_state.total_time_spent", 25)),
    "counted by newer code": ("projection_newer", at("counts_version", 99)),
    "counted by older code": ("projection_behind", at("counts_version", 1)),
}


async def test_each_damage_to_a_projection_is_found(database: Database) -> None:
    everyone = learners(PROJECTIONS)
    await stored(database, everyone)
    expected: Found = set()
    for name, (kind, damage) in PROJECTIONS.items():
        identity = everyone[name].progress["_id"]
        document = await database.user_progress_projections.find_one({"_id": identity}) or {}
        await replace_one(database.user_progress_projections, damage(document))
        malformed = kind == "document_malformed"
        subject = f"user_progress_projections {identity}" if malformed else everyone[name].stream
        expected.add((kind, subject))

    assert expected <= found(await verify(database, quiescent=True))


async def test_older_code_moves_no_projection_to_another_learner(database: Database) -> None:
    everyone = learners({})
    await stored(database, everyone)
    older = {"counts_version": 1, "user_id": ObjectId()}
    identity = everyone["well"].progress["_id"]
    await database.user_progress_projections.update_one({"_id": identity}, {"$set": older})

    assert ("projection_different", everyone["well"].stream) in found(await verify(database, quiescent=True))


ROWS: Damages = {
    "of no known kind": ("notification_unknown", at("kind", "birthday")),
    "of another kind": ("notification_unknown", at("kind", "completion")),
    "of another learner": ("notification_different", at("user_id", ObjectId())),
    "without data": ("notification_different", at("data", {})),
    "of another percentage": ("notification_different", at("data.percentage", 77.0)),
    "of a percentage that is no double": ("notification_different", at("data.percentage", 0)),
    "of another moment": ("notification_different", at("data.reached_at", START)),
    "with more data": ("notification_different", at("data.name", "somebody")),
    "sent without a date": ("notification_different", lambda it: {**it, **SENT, "sent_at": None}),
    "sent by nobody": ("notification_different", lambda it: {**it, **SENT, "channel": None}),
    "sent without an attempt": ("notification_different", lambda it: {**it, **SENT, "attempts": 0}),
    "dated without being sent": ("notification_different", at("sent_at", START)),
    "suppressed for nothing": ("notification_different", at("status", "suppressed")),
    "suppressed by switches nobody asked": (
        "notification_different",
        lambda it: {**it, "status": "suppressed", "channel": "log"},
    ),
    "failed for nothing": ("notification_different", at("status", "failed")),
    "failed without a refusal": (
        "notification_different",
        lambda it: {**it, "status": "failed", "attempts": 3, "channel": "log", "last_error": "no"},
    ),
    "taken by nobody": ("notification_different", lambda it: {**it, "status": "taken", "attempts": 1}),
    "due in 2100": ("notification_different", at("due_at", FAR)),
    "taken until 2100": (
        "notification_different",
        lambda it: {**it, "status": "taken", "attempts": 1, "lease_owner": "me", "lease_until": FAR},
    ),
    "attempts that are a double": ("document_malformed", at("attempts", 1.0)),
    "data that is text": ("document_malformed", at("data", "text")),
    "a date nobody can hold": ("document_unreadable", at("created_at", NEVER)),
}


async def test_each_damage_to_a_row_of_the_outbox_is_found(database: Database) -> None:
    everyone = learners(ROWS)
    await stored(database, everyone)
    await database.notifications.update_one(
        {"_id": notification_id("welcome", everyone["healthy"].stream)}, {"$set": SENT}
    )
    late = {"status": "suppressed", "last_error": LATE}
    await database.notifications.update_one(
        {"_id": notification_id("welcome", everyone["well"].stream)}, {"$set": late}
    )
    expected: Found = set()
    for name, (kind, damage) in ROWS.items():
        key = notification_id("welcome", everyone[name].stream)
        row = await database.notifications.find_one({"_id": key}) or {}
        await replace_one(database.notifications, damage(row))
        about_document = kind in ("document_malformed", "document_unreadable")
        expected.add((kind, f"notifications {key}" if about_document else everyone[name].stream))

    assert found(await verify(database, quiescent=True)) == expected


@pytest.mark.parametrize("identity", ["welcome:elsewhere", ObjectId()])
async def test_a_second_row_for_one_milestone_is_found(database: Database, identity: Any) -> None:
    everyone = learners({})
    await stored(database, everyone)
    key = notification_id("welcome", everyone["well"].stream)
    row = await database.notifications.find_one({"_id": key}) or {}
    await database.notifications.insert_one({**row, "_id": identity}, bypass_document_validation=True)

    verification = await verify(database, quiescent=True)

    kinds = {"notification_repeated"} if isinstance(identity, str) else {"document_malformed"}
    assert set(verification.finding_counts) == kinds


async def test_what_a_row_carries_may_have_been_true_before_an_earlier_event_came(database: Database) -> None:
    """The welcome went out when the second enrolment came, which says it was later than the first."""
    everyone = learners({})
    first, second = (learner(name).events[0] for name in ("one", "two"))
    late = _of(everyone["well"], second, version=1, occurred_at=START + timedelta(hours=2))
    early = _of(everyone["well"], first, version=2, occurred_at=START + timedelta(minutes=1))
    moved = Learner((late, early), progress_of([late, early]))
    await stored(database, {**everyone, "well": moved})
    key = {"_id": notification_id("welcome", moved.stream)}

    carried = {"percentage": 0.0, "reached_at": late["occurred_at"]}
    await database.notifications.update_one(key, {"$set": {"data": carried}})
    assert (await verify(database, quiescent=True)).ok

    never = {"percentage": 0.0, "reached_at": late["occurred_at"] + timedelta(minutes=1)}
    await database.notifications.update_one(key, {"$set": {"data": never}})
    assert (await verify(database, quiescent=True)).finding_counts == {"notification_different": 1}


def _of(learner: Learner, event: Document, *, version: int, occurred_at: datetime) -> Document:
    own = learner.events[0]
    return as_sent(
        {
            **event,
            "stream_id": own["stream_id"],
            "slot": own["slot"],
            "version": version,
            "event_data": {**event["event_data"], "user_id": own["event_data"]["user_id"]},
            "metadata": {**event["metadata"], "timestamp": occurred_at},
            "occurred_at": occurred_at,
        }
    )


# ---- billing ----


def paying(name: str, payments: int = 1) -> Learner:
    """A learner who enrols so many times, each with a payment."""
    events = []
    own = learner(name).events[0]
    for number in range(1, payments + 1):
        event = learner(f"{name}-{number}").events[0]
        paid = {"transaction_id": f"{name}-{number}", "amount": "49.90", "currency": "EUR", "method": "card"}
        data = {**own["event_data"], "details": {"total_lessons": 4, "payment": paid}}
        same = {name: own[name] for name in ("stream_id", "slot")}
        events.append(as_sent({**event, **same, "version": number, "event_data": data}))
    return Learner(tuple(events), progress_of(events))


def without(name: str) -> Callable[[Document], Document]:
    return lambda document: {key: value for key, value in document.items() if key != name}


BILLING: Damages = {
    "another amount": ("billing_different", at("amount", Decimal128("4.99"))),
    "no stream": ("billing_different", without("stream_id")),
    "another learner": ("billing_different", at("user_id", ObjectId())),
    "an amount that is a double": ("billing_different", at("amount", 49.9)),
    "an event that is text": ("billing_different", at("event_id", "text")),
}


async def test_each_damage_to_a_billing_row_is_found(database: Database) -> None:
    everyone = {name: paying(name) for name in (*BILLING, "healthy")}
    await stored_paying(database, everyone)
    expected: Found = set()
    for name, (kind, damage) in BILLING.items():
        identity = foreign_object_id(f"{name}-1")
        row = await database.billing_transactions.find_one({"_id": identity}) or {}
        await replace_one(database.billing_transactions, damage(row))
        expected.add((kind, f"transaction_{identity}"))

    assert without_sums(found(await verify(database, quiescent=True))) == expected


async def test_the_25th_payment_of_a_learner_must_have_its_row(database: Database) -> None:
    many = paying("many", 25)
    await stored_paying(database, {"many": many})
    assert (await verify(database, quiescent=True)).counts["billing_transactions"] == 25

    await database.billing_transactions.delete_one({"transaction_id": "many-3"})

    lost = f"transaction_{foreign_object_id('many-3')}"
    assert without_sums(found(await verify(database, quiescent=True))) == {("billing_missing", lost)}


def without_sums(findings: Found) -> Found:
    """But for what was counted of the same rows: it is wrong, too."""
    return {each for each in findings if not each[0].startswith("revenue")}


async def stored_paying(database: Database, everyone: Mapping[str, Learner]) -> None:
    await stored(database, everyone)


# ---- statistics and activity logs ----


def in_log(change: Callable[[list[Any]], list[Any]]) -> Callable[[Document], Document]:
    return lambda user: {**user, "activity_log": change(user["activity_log"])}


def phantom() -> Document:
    return {"action": ENROLMENT, "course_id": ObjectId(), "timestamp": START}


USERS: Damages = {
    "an entry that never was": ("activity_log_different", in_log(lambda log: [*log, phantom()])),
    "a lost entry": ("activity_log_different", in_log(lambda _: [])),
    "a log that is text": ("activity_log_different", at("activity_log", "text")),
    "a doubled entry": ("activity_log_different", in_log(lambda log: log * 2)),
    "an entry dated otherwise": (
        "activity_log_different",
        in_log(lambda log: [{**log[0], "timestamp": START}]),
    ),
    "sums that are doubles": ("statistics_different", at("stats.sums.learning.enrolled", 1.0)),
    "a count that is a double": ("statistics_different", at("stats.courses_enrolled", 1.0)),
    "statistics that are text": ("statistics_missing", at("stats", "text")),
}


async def test_each_damage_to_a_users_document_is_found(database: Database) -> None:
    everyone = learners(USERS)
    await stored(database, everyone)
    platforms = [
        {"action": "login", "timestamp": NEVER},
        {**phantom(), "by": "the platform"},
        {"odd": 1},
        "text",
    ]
    healthy = foreign_object_id("healthy")
    await database.users.update_one({"_id": healthy}, {"$push": {"activity_log": {"$each": platforms[1:]}}})
    expected: Found = set()
    for name, (kind, damage) in USERS.items():
        identity = foreign_object_id(name)
        user = await database.users.find_one({"_id": identity}) or {}
        await replace_one(database.users, damage(user))
        expected.add((kind, f"user {identity}"))

    assert found(await verify(database, quiescent=True)) == expected


async def test_entries_in_another_order_are_found(database: Database) -> None:
    everyone = learners({})
    await stored(database, everyone)
    user = foreign_object_id("well")
    identity = stream_object_id("another course's stream")
    other = await database.user_progress_projections.find_one({"user_id": user}) or {}
    course = ObjectId()
    later = {**other, "_id": identity, "stream_id": "another", "course_id": course, "enrolled_at": FAR}
    await database.user_progress_projections.insert_one(later)
    entry = {"action": ENROLMENT, "course_id": course, "timestamp": FAR}
    await database.users.update_one(
        {"_id": user}, {"$push": {"activity_log": {"$each": [entry], "$position": 0}}}
    )

    assert ("activity_log_different", f"user {user}") in found(await verify(database, quiescent=True))


@pytest.mark.parametrize(
    ("path", "value"),
    [("stats.sums.enrolled", 2.0), ("stats.enrollments.total", 2.0), ("stats.ratings.average", 0)],
)
async def test_statistics_of_a_course_in_another_type_are_found(
    database: Database, path: str, value: float
) -> None:
    await stored(database, learners({}))
    await database.courses.update_one({"_id": COURSE}, {"$set": {path: value}})

    assert found(await verify(database, quiescent=True)) == {("statistics_different", f"course {COURSE}")}


async def test_documents_of_the_platform_of_any_shape_are_findings_never_errors(database: Database) -> None:
    await stored(database, learners({}))
    odd = {"_id": {"an": "object"}, "instructor": "text", "stats": [], "activity_log": 5}
    await database.courses.insert_one(dict(odd), bypass_document_validation=True)
    await database.users.insert_one(dict(odd), bypass_document_validation=True)
    await database.courses.update_one(
        {"_id": COURSE}, {"$set": {"instructor": ["text"]}}, bypass_document_validation=True
    )
    await database.users.update_one({"_id": INSTRUCTOR}, {"$set": {"stats.sums": {"learning": NEVER}}})

    verification = await verify(database, quiescent=True)

    assert set(verification.finding_counts) <= {"document_unreadable", "statistics_different"}
