"""What follows from a document follows from the decision, too: statistics, milestones and money."""

import asyncio

from projections.progress.projection import PROGRESS
from tests.conftest import RunningMongo
from tests.integration.skipping.blocked import broken
from tests.oracle import check as oracle
from tests.support.counts import Learner, add_platform, assert_counted, count, course, user
from tests.support.progress import documents, expected, projector, store
from tests.support.retry import folding, running
from tests.unit.projections.events import arrive, course_event
from worker.contract.identity import stream_id
from worker.queries.explain import explain
from worker.queries.trace.log import Seen
from worker.queries.trace.run import trace
from worker.retry import skipping
from worker.retry.skipping import Asked
from worker.storage.database import Database
from worker.timing import SystemClock
from worker.verify.run import verify

OF_DOCUMENTS = {"progress", "counts", "statistics", "activity_log", "notification", "billing"}


async def test_an_enrolment_that_is_skipped_is_neither_counted_nor_announced(
    database: Database, mongodb: RunningMongo
) -> None:
    learner = Learner(course(0), user(0)).enrol().enrol(5).finish()
    stream = stream_id(course(0), user(0))
    first = str(learner.events[0].event_id)
    enrolment = Asked(stream, 1, "anna@ops", "wrong currency")
    await add_platform(database, courses=1, users=1)
    await store(database, map(course_event, arrive(learner.events)))
    await projector(database, projection=broken({1})).project({stream: 4})

    await skipping.skip_event(database, enrolment, "test", SystemClock())
    async with running(database, folding(database, broken({1}))) as retry:
        await retry.until_status("completed", 1)
        await count(database, [learner])

        assert await documents(database) == await expected(database)
        await assert_counted(database)
        assert not OF_DOCUMENTS & (await verify(database)).faults.keys()
        assert await asyncio.to_thread(oracle, mongodb.uri, database.prefix, [], invariants={5, 6, 7}) == []
        [remark] = (await explain(database, stream)).remarks
        assert (remark.version, remark.kind) == (1, "skipped")
        assert "anna@ops left its event out of progress: wrong currency" in remark.detail

        stops = {each.place: each.detail for each in (await trace(database, first, nobody_looks)).stops}
        assert stops["skipped_versions"].startswith("anna@ops left it out of progress: wrong currency")
        assert "user_progress" not in stops

    await skipping.unskip_event(database, enrolment, "test", SystemClock())
    async with running(database, folding(database, PROGRESS)) as retry:
        await retry.until_status("completed", 1)
        await count(database, [learner])

    assert await documents(database) == await expected(database)
    await assert_counted(database)
    assert not OF_DOCUMENTS & (await verify(database)).faults.keys()


async def nobody_looks(*_: object) -> Seen:
    return Seen(why="no log")
