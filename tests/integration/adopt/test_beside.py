"""A worker runs while records are adopted, and learners go on learning: nothing is lost, counted twice, or stuck."""

import asyncio
from datetime import timedelta

import pytest

from tests.integration.adopt.test_adopt import adopt, findings, oracle, store_event
from tests.oracle.progress import document_differences
from tests.support import counts, progress
from tests.support.platform import Platform, enrolled
from worker.adopt import scan
from worker.contract.identity import stream_id, stream_object_id
from worker.storage.database import Database
from worker.storage.schema import apply_schema
from worker.timing import SystemClock

LEARNERS = 120


@pytest.mark.slow
async def test_live_workers_and_learners_beside_an_adoption(
    platform: Platform, adopted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_MOST_RECORDS", 5)
    course = platform.add_course()
    lessons = [str(each["_id"]) for each in course["curriculum"][0]["lessons"]]
    users = [platform.add_user()["_id"] for _ in range(LEARNERS)]
    for user in users:
        platform.insert(enrolled(user, course["_id"], progress={"percentage": 12.5}))
    await apply_schema(adopted)
    now = SystemClock().now()

    async def live() -> None:
        for lesson in lessons[:2]:
            for user in users:
                await store_event(adopted, user, course["_id"], now, "complete", lesson_id=lesson)

    async with progress.running(adopted) as folding, counts.running(adopted) as counting:
        await folding.until_following()
        await asyncio.gather(live(), adopt(adopted, counted_until=now - timedelta(minutes=1)))
        # Those whose events came first, in the middle of it.
        await adopt(adopted, counted_until=now - timedelta(minutes=1))

        async def folded() -> bool:
            done = {"version": 3, "progress.completed_lessons": 2}
            return await adopted.user_progress.count_documents(done) == LEARNERS

        await folding.until(folded, "every learner has both lessons")

        async def counted() -> bool:
            found = await adopted.courses.find_one({"_id": course["_id"]})
            sums = (found or {}).get("stats", {}).get("sums", {})
            return (sums.get("enrolled"), sums.get("progress")) == (LEARNERS, LEARNERS * 5_000)

        await counting.until(counted, "all is counted")
    assert await adopted.course_events.count_documents({"event_type": "opening"}) == LEARNERS
    for user in users[:10]:
        stream = stream_id(course["_id"], user)
        events = await adopted.course_events.find({"stream_id": stream}).sort("version", 1).to_list(None)
        document = await adopted.user_progress.find_one({"_id": stream_object_id(stream)})
        assert document is not None
        assert list(document_differences(document, events)) == []
    assert await findings(adopted) == []
    assert oracle(platform) == []
