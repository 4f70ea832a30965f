"""What a contestant has stored: how far it is, when it wrote last, and in the end whether all of it is there."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bench.contestants.field import Contestant, Stage
from bench.expected import Expected
from worker.errors import Fatal
from worker.storage import driver
from worker.storage.database import Collection, Database

_UNSENT = {"status": {"$in": ["pending", "taken"]}}
_NEVER_SENT = {"status": "suppressed", "channel": None}
_STAMPED = {"curriculum": {"$type": "object"}}


async def reached(database: Database, contestant: Contestant, events: int, payments: int = 0) -> int:
    """How many events have been through all of the contestant's stages; exact from `events` on.

    `payments` are stored beside them.

    Its stages are asked in their order, and the next one only when the one before has all: what watches must not slow
    down what it watches.
    """
    count = 0
    for stage in contestant.stages:
        count = await _reached(database, contestant, stage, events)
        if stage == "events":
            count -= payments
        if count < events:
            break
    return count


async def _reached(database: Database, contestant: Contestant, stage: Stage, events: int) -> int:
    match stage:
        case "events":
            return await database.course_events.estimated_document_count()
        case "rows":
            return await _rows(database, plain=contestant.plain)
        case "records":
            return await _sum(database.user_progress, contestant.counted)
        case "counts":
            return await _sum(database.user_progress_projections, "last_event_version")
        case "outbox":
            return 0 if await database.notifications.count_documents(_UNSENT, limit=1) else events


async def _rows(database: Database, *, plain: bool) -> int:
    """Rows of `user_interactions`, from the server's own counting: reading a time series would cost the run."""
    if plain:
        return await database.user_interactions.estimated_document_count()
    statistics = await database.analytics.command("collStats", "user_interactions")
    return int(statistics["timeseries"].get("numMeasurementsCommitted", 0))


async def _sum(collection: Collection, field: str) -> int:
    found = await driver.aggregate(collection, [{"$group": {"_id": None, "sum": {"$sum": f"${field}"}}}])
    return int(found[0]["sum"]) if found else 0


async def last_writes(database: Database, contestant: Contestant) -> dict[Stage, datetime]:
    """When each stage wrote last, as the server logged it: exact, and nothing has to look while it works.

    A stage that has written nothing is left out.
    """
    oplog, found = database.client.get_database("local").get_collection("oplog.rs"), {}
    for stage in contestant.stages:
        name = _namespace(database, contestant, stage)
        query = {"$or": [{"ns": name}, {"o.applyOps.ns": name}]}  # by itself, or within a transaction
        last = await oplog.find_one(query, {"wall": 1}, sort=[("$natural", -1)])
        if last is not None:
            found[stage] = last["wall"]
    return found


def _namespace(database: Database, contestant: Contestant, stage: Stage) -> str:
    rows = "user_interactions" if contestant.plain else "system.buckets.user_interactions"
    collections: Mapping[Stage, str] = {
        "events": f"{database.content.name}.course_events",
        "rows": f"{database.analytics.name}.{rows}",
        "records": f"{database.content.name}.user_progress",
        "counts": f"{database.content.name}.user_progress_projections",
        "outbox": f"{database.content.name}.notifications",
    }
    return collections[stage]


async def bytes_per_event(database: Database, events: int) -> float:
    """On disk, of both collections with their indexes, once everything is written out."""
    await database.client.admin.command("fsync")
    homes = ((database.content, "course_events"), (database.analytics, "user_interactions"))
    sizes = [int((await home.command("collStats", name))["totalSize"]) for home, name in homes]
    return sum(sizes) / events


async def differences(
    database: Database,
    contestant: Contestant,
    expected: Expected,
    before: int = 0,
    payments: int = 0,
    *,
    present: bool = False,
) -> list[str]:
    """What is not as it must be after the end, counted in full. `before` is what the collections held already.

    `payments` are stored beside the events, those of before included.

    `present`: course documents stand in the store, so that statistics must have arrived in them.
    """
    found = []
    for stage in contestant.stages:
        async for what, is_there, must_be in _counted(
            database, contestant, stage, expected, before, payments
        ):
            if is_there != must_be:
                found.append(f"{what}: {is_there} of {must_be}")
    if present:
        stamped = await database.course_events.count_documents(_STAMPED)
        must_be = expected.events if contestant.stamps else 0
        if stamped != must_be:
            found.append(f"events that say what is known of their course: {stamped} of {must_be}")
    if present and "records" in contestant.stages:
        enrolments = await _sum(database.courses, "stats.enrollments.total")
        # The worker counts learners in a course, the spec's loop every enrolment that passes.
        must_be = expected.records if "counts" in contestant.stages else expected.enrolments
        if enrolments != must_be:
            found.append(f"enrolments in course statistics: {enrolments} of {must_be}")
    return found


async def _counted(
    database: Database, contestant: Contestant, stage: Stage, expected: Expected, before: int, payments: int
) -> AsyncIterator[tuple[str, int, int]]:
    """What is counted of a stage, what is there, and what must be."""
    events = before + expected.events
    records, counts, outbox = (
        database.user_progress,
        database.user_progress_projections,
        database.notifications,
    )
    match stage:
        case "events":
            stored = await database.course_events.count_documents({})
            yield "course_events", stored, events + payments
        case "rows":
            yield "user_interactions", await database.user_interactions.count_documents({}), events
        case "records":
            yield "user_progress", await records.count_documents({}), expected.records
            yield "events in records", await _sum(records, contestant.counted), expected.events
            yield "learners who left", await records.count_documents({"status": "dropped"}), expected.dropped
            yield "quizzes in records", await _quizzes(records, contestant), expected.quizzes
        case "counts":
            yield "user_progress_projections", await counts.count_documents({}), expected.records
            yield "events counted", await _sum(counts, "last_event_version"), expected.events
            yield "learners counted", await _sum(counts, "counted.enrolled"), expected.records
        case "outbox":
            yield "welcomes", await outbox.count_documents({"kind": "welcome"}), expected.enrolled
            yield "rows that wait", await outbox.count_documents(_UNSENT), 0
            yield "rows never to be sent", await outbox.count_documents(_NEVER_SENT), 0


def paid(contestant: Contestant, expected: Expected) -> int:
    """How many events of payments the contestant stores beside those that were published."""
    return expected.payments if contestant.pays else 0


async def _quizzes(records: Collection, contestant: Contestant) -> int:
    """How many the records show: the worker by lesson, the spec's loop as one number."""
    if "counts" not in contestant.stages:
        return await _sum(records, "performance.quiz_count")
    attempts: Sequence[dict[str, Any]] = [
        {"$unwind": "$lesson_progress"},
        {"$group": {"_id": None, "sum": {"$sum": "$lesson_progress.quiz_results.attempts"}}},
    ]
    found = await driver.aggregate(records, attempts)
    return int(found[0]["sum"]) if found else 0


def seconds_since(begin: datetime, writes: Mapping[Stage, datetime]) -> dict[Stage, float]:
    """How long after the begin each stage wrote last; Fatal where none wrote at all."""
    if not writes:
        raise Fatal("nothing was written")
    return {stage: (at - begin).total_seconds() for stage, at in writes.items()}
