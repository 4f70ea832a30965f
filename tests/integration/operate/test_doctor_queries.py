"""What the profiler recorded becomes advice that names the query, its index, and no value of anybody."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.doctor import Ahead, Doctor
from worker.operate.doctor.scanning_queries import SCANNING_QUERIES
from worker.operate.doctor.slow_queries import SLOW_QUERIES


@pytest.fixture
async def profiled(doctor: Doctor) -> AsyncIterator[Doctor]:
    """Everything that is asked of the content database is recorded."""
    await doctor.database.content.command({"profile": 2})
    yield doctor
    await doctor.database.content.command({"profile": 0})


async def test_slow_queries(profiled: Doctor) -> None:
    await profiled.database.cache.insert_one({"owner": "x"})
    assert await profiled.sees(SLOW_QUERIES) == []
    await profiled.database.cache.find({"owner": "x", "$where": "sleep(1200) || true"}).to_list(None)
    [found] = await profiled.sees(SLOW_QUERIES)
    assert found.seen.subject == f"{profiled.database.content.name}.cache"
    assert re.match(r"find \{owner: \?, \$where: \?\}: 1 time, [\d,]+ ms at most", found.seen.words)
    assert "1 document examined for each returned (COLLSCAN)" in found.seen.words
    assert found.fix.startswith("Look at the plan of find {owner: ?, $where: ?}")
    # An hour later it is history.
    assert await profiled.but(clock=Ahead(timedelta(hours=2))).sees(SLOW_QUERIES) == []


async def test_scanning_queries(profiled: Doctor) -> None:
    courses = profiled.database.courses
    await courses.insert_many(
        [{"title": f"course {n}", "level": n} for n in range(1_500)], bypass_document_validation=True
    )
    await courses.find({"title": "course 7"}).limit(1).to_list(None)
    assert await profiled.sees(SCANNING_QUERIES) == []
    for number in (1_400, 1_401):
        wanted = {"title": f"course {number}", "level": {"$gt": 3}}
        assert len(await courses.find(wanted).sort({"metadata.created": -1}).to_list(None)) == 1
    summed = await courses.aggregate([{"$match": {"level": {"$gte": 0}}}, {"$group": {"_id": None}}])
    assert len(await summed.to_list(None)) == 1  # sums read all on purpose
    [found] = await profiled.sees(SCANNING_QUERIES)
    query = 'find {title: ?, level: {$gt: ?}} sort {"metadata.created": -1}'
    assert found.seen.words.startswith(f"{query}: 2 times")
    assert "1,500 documents examined for each returned (COLLSCAN)" in found.seen.words
    index = 'db.courses.createIndex({title: 1, "metadata.created": -1, level: 1})'
    assert found.fix == f"An index would serve {query}: {index}."
    assert "course 14" not in f"{found.seen.words} {found.fix}"
    # Made, it does.
    await courses.create_index({"title": 1, "metadata.created": -1, "level": 1})
    await profiled.database.content.command({"profile": 0})
    await profiled.database.content.drop_collection("system.profile")
    await profiled.database.content.command({"profile": 2})
    await courses.find({"title": "course 1400", "level": {"$gt": 3}}).to_list(None)
    assert await profiled.sees(SCANNING_QUERIES) == []


async def test_change_streams_wait_on_purpose_and_are_not_slow(profiled: Doctor) -> None:
    async with await profiled.database.courses.watch(max_await_time_ms=1_500) as stream:
        await stream.try_next()
    assert await profiled.sees(SLOW_QUERIES) == []


async def test_without_a_profiler_nobody_claims_that_nothing_is_slow(doctor: Doctor) -> None:
    for finding in (SLOW_QUERIES, SCANNING_QUERIES):
        assert "db.setProfilingLevel(1" in await doctor.cannot_tell(finding)
