"""The platform specification's own way, batched: events, rows, records and course counters, one write each per poll.

Four writes per 500 events: `insert_many` twice, one `bulk_write` of upserts into `user_progress`, one of increments
of `courses.stats`. Nothing is validated, nothing is found to be a duplicate, versions are offsets; whatever is read a
second time counts a second time, and a crash between two writes leaves them at odds. No notifications, no percentages
but those that are reported, no progress by lesson.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from bson import ObjectId
from pymongo import UpdateOne

from bench.contestants.first_fetch import say_first_fetch
from bench.contestants.opening import opened
from bench.contestants.shapes import documents, record_update
from bench.contestants.task import Task, given

POLL = 500


def counters(batch: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """By course what its `stats` grow by, as far as a single event tells it."""
    found: dict[str, Counter[str]] = {}
    for fields in batch:
        grows = found.setdefault(fields["course_id"], Counter())
        match fields["event_type"]:
            case "course_enrolled":
                grows["stats.enrollments.total"] += 1
                grows["stats.enrollments.active"] += 1
            case "course_unenrolled":
                grows["stats.enrollments.active"] -= 1
            case "course_rated":
                grows["stats.ratings.total_reviews"] += 1
                grows[f"stats.ratings.distribution.{fields['value']:.0f}"] += 1
            case "discussion_posted":
                grows["stats.engagement.discussion_posts"] += 1
            case "question_asked":
                grows["stats.engagement.questions_asked"] += 1
    return {course: grows for course, grows in found.items() if grows}


async def loop(task: Task) -> None:
    """For ever."""
    events, rows, consumer = await opened(task)
    records, courses = events.database["user_progress"], events.database["courses"]
    while True:
        polled = await consumer.getmany(timeout_ms=500, max_records=POLL)
        read = [
            (orjson.loads(record.value), record.offset + 1) for part in polled.values() for record in part
        ]
        if not read:
            continue
        made = [documents(fields, offset) for fields, offset in read]
        await events.insert_many([event for event, _ in made], ordered=False)
        await rows.insert_many([row for _, row in made], ordered=False)
        upserts = [UpdateOne(*record_update(fields), upsert=True) for fields, _ in read]
        await records.bulk_write(upserts, ordered=False)
        grown = counters(fields for fields, _ in read)
        if increments := [
            UpdateOne({"_id": ObjectId(course)}, {"$inc": grows}) for course, grows in grown.items()
        ]:
            await courses.bulk_write(increments, ordered=False)
        await consumer.commit()


if __name__ == "__main__":
    say_first_fetch()
    asyncio.run(loop(given()))
