"""`rebuild progress --into`, `promote`, `rollback`: what is built is looked at first, and can be taken back."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from tests.support.jobs import runner
from tests.support.progress import histories, projector, store
from tests.support.waiting import until
from worker.contract.identity import stream_object_id
from worker.errors import Misconfigured
from worker.jobs import operate
from worker.jobs.context import JobContext
from worker.jobs.errors import Cancelled
from worker.jobs.promotion import PROMOTE, ROLLBACK, Promote, Rollback
from worker.jobs.rebuild_into import REBUILD_INTO, RebuildInto
from worker.jobs.runner import Result
from worker.storage.database import Collection, Database, Document
from worker.watch.folds.promotion import Promotion

FOLD = "tests.support.wrong_fold:WRONG"


async def stored(database: Database, learners: int = 20, events: int = 9) -> list[str]:
    """Histories, folded, with something of the platform's; those of whom the wrong fold says something else."""
    streams = histories(learners, events)
    await store(database, [event for each in streams.values() for event in each])
    await projector(database).project(dict.fromkeys(streams, events))
    await database.user_progress.update_many({}, {"$set": {"bookmarked": True}})
    return sorted(stream for stream in streams if int(stream[-24:], 16) % 2)


async def live(database: Database) -> dict[str, Document]:
    """All documents, but for what a write always changes."""
    found = await database.user_progress.find({}).to_list(None)
    return {
        each["stream_id"]: {name: each[name] for name in each if name not in ("rev", "recorded_at")}
        for each in found
    }


async def build(database: Database, **more: Any) -> Result:
    return await runner(database).run(REBUILD_INTO, RebuildInto(into="trial", **more))


async def promoted(database: Database) -> Result:
    return await runner(database).run(PROMOTE, Promote(into="trial"))


async def rolled_back(database: Database, promotion: Result) -> Result:
    return await runner(database).run(ROLLBACK, Rollback(promotion=promotion.run.id))


async def test_a_right_fold_built_beside_differs_in_nothing(database: Database) -> None:
    await stored(database)
    result = await build(database)
    assert (result.run.counts["streams"], result.outcome["differing"]) == (20, 0)
    assert not REBUILD_INTO.differs(result.outcome)
    assert (await promoted(database)).run.counts == {}


async def test_a_wrong_fold_shows_in_the_report_and_is_taken_back_whole(database: Database) -> None:
    wrong = await stored(database)
    before = await live(database)

    built = await build(database, fold=FOLD)

    assert await live(database) == before
    assert built.outcome["differing"] == len(wrong)
    assert built.outcome["paths"] == {"progress": len(wrong), "rating": len(wrong)}
    samples = {each["stream"]: each["places"] for each in built.outcome["samples"]}
    assert sorted(samples) == wrong
    shown = samples[wrong[0]]["progress.percentage"]
    assert shown == {"live": before[wrong[0]]["progress"]["percentage"], "built": 98.5}
    assert REBUILD_INTO.differs(built.outcome)

    promotion = await promoted(database)

    assert promotion.run.counts["promoted"] == len(wrong)
    after = await live(database)
    assert sorted(stream for stream in after if after[stream] != before[stream]) == wrong
    assert all(after[stream]["progress"]["percentage"] == 98.5 for stream in wrong)
    assert all(each["bookmarked"] for each in after.values())

    undone = await rolled_back(database, promotion)

    assert undone.run.counts == {"restored": len(wrong), "moved": 0, "refused": 0}
    assert await live(database) == before


async def test_what_moved_since_the_promotion_is_not_restored_but_named(database: Database) -> None:
    wrong = await stored(database)
    before = await live(database)
    await build(database, fold=FOLD)
    promotion = await promoted(database)
    more = histories(20, 10)
    await store(database, [more[wrong[0]][9]])
    await projector(database).project({wrong[0]: 10})
    moved = (await live(database))[wrong[0]]

    undone = await rolled_back(database, promotion)

    assert undone.outcome == {"moved_streams": [wrong[0]]}
    assert ROLLBACK.differs(undone.outcome)
    assert await live(database) == {**before, wrong[0]: moved}
    marked = await database.before_images.find({"left": "moved"}).to_list(None)
    assert [each["stream_id"] for each in marked] == [wrong[0]]


async def test_what_moved_since_it_was_built_is_built_again_and_promoted(database: Database) -> None:
    wrong = await stored(database)
    await build(database, fold=FOLD)
    more = histories(20, 10)
    await store(database, [more[wrong[0]][9]])
    await projector(database).project({wrong[0]: 10})

    promotion = await promoted(database)

    assert promotion.run.counts == {"promoted": len(wrong), "moved": 0, "refused": 0}
    document = (await live(database))[wrong[0]]
    assert (document["version"], document["progress"]["percentage"]) == (10, 98.5)


async def test_documents_that_were_missing_are_put_there_and_taken_away(database: Database) -> None:
    wrong = await stored(database)
    await database.user_progress.delete_one({"_id": stream_object_id(wrong[1])})
    before = await live(database)
    built = await build(database, fold=FOLD)
    assert built.run.counts["missing"] == 1
    promotion = await promoted(database)
    assert (await live(database))[wrong[1]]["progress"]["percentage"] == 98.5
    await rolled_back(database, promotion)
    assert await live(database) == before


Arrives = Callable[[], Awaitable[Any]]


async def nothing() -> None:
    """Comes to a document that nobody changes."""


class Busy:
    """The live documents, to which something comes just before and just after they are exchanged first."""

    def __init__(self, live: Collection, before: Arrives, after: Arrives) -> None:
        self._live, self._arriving = live, [before, after]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)

    async def bulk_write(self, *writes: Any, **options: Any) -> Any:
        arriving, self._arriving = self._arriving, []
        for arrives in arriving[:1]:
            await arrives()
        result = await self._live.bulk_write(*writes, **options)
        for arrives in arriving[1:]:
            await arrives()
        return result


async def test_what_moves_right_behind_its_promotion_keeps_its_before_image(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = await stored(database)
    before = await live(database)
    await build(database, fold=FOLD)
    more = histories(20, 10)
    await store(database, [more[stream][9] for stream in wrong[:2]])

    def folds(stream: str) -> Arrives:
        return lambda: projector(database).project({stream: 10})

    def busy(documents: Collection, *rest: Any, **more: Any) -> Promotion:
        return Promotion(cast(Any, Busy(documents, folds(wrong[1]), folds(wrong[0]))), *rest, **more)

    monkeypatch.setattr("worker.jobs.promotion.Promotion", busy)
    promotion = await promoted(database)
    monkeypatch.undo()

    assert promotion.run.counts == {"promoted": len(wrong), "moved": 0, "refused": 0}
    kept = await database.before_images.find_one({"stream_id": wrong[0]})
    assert kept is not None
    assert kept["before"]["progress"] == before[wrong[0]]["progress"]
    assert (await rolled_back(database, promotion)).outcome == {"moved_streams": [wrong[0]]}


async def test_what_moves_right_behind_its_rollback_was_put_back_and_is_not_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live folds go on: one document moves before it is put back, one right after, and one is made anew."""
    wrong = await stored(database)
    await database.user_progress.delete_one({"_id": stream_object_id(wrong[2])})
    await build(database, fold=FOLD)
    promotion = await promoted(database)
    more = histories(20, 10)
    await store(database, [more[stream][9] for stream in wrong[:2]])

    def folds(**heads: int) -> Arrives:
        return lambda: projector(database).project(heads)

    def busy(documents: Collection, *rest: Any, **more: Any) -> Promotion:
        after = folds(**{wrong[0]: 10, wrong[2]: 9})
        return Promotion(cast(Any, Busy(documents, folds(**{wrong[1]: 10}), after)), *rest, **more)

    monkeypatch.setattr("worker.jobs.promotion.Promotion", busy)
    undone = await rolled_back(database, promotion)
    monkeypatch.undo()

    assert undone.outcome == {"moved_streams": [wrong[1]]}
    assert undone.run.counts == {"restored": len(wrong) - 1, "moved": 1, "refused": 0}
    after = await live(database)
    assert [after[stream]["version"] for stream in wrong[:3]] == [10, 10, 9]
    assert all(after[stream]["progress"]["percentage"] != 98.5 for stream in (wrong[0], wrong[2]))
    again = await runner(database).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    assert again.outcome == undone.outcome


async def test_a_promotion_at_work_is_ended_before_it_is_rolled_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.jobs.promotion._AT_ONCE", 2)
    await stored(database)
    before = await live(database)
    await build(database, fold=FOLD)
    goes_on = asyncio.Event()

    def busy(documents: Collection, *rest: Any, **more: Any) -> Promotion:
        return Promotion(cast(Any, Busy(documents, goes_on.wait, nothing)), *rest, **more)

    monkeypatch.setattr("worker.jobs.promotion.Promotion", busy)
    running = asyncio.create_task(promoted(database))
    await until(lambda: database.before_images.find_one({}), "the first page is about to be promoted")
    monkeypatch.undo()
    [promotion] = await database.job_runs.find({"job": "promote"}).to_list(None)
    undo = Rollback(promotion=promotion["_id"])
    with pytest.raises(Misconfigured, match=f"still at work.*jobs cancel {promotion['_id']}"):
        await runner(database).run(ROLLBACK, undo)

    await operate.cancel(database, promotion["_id"], "anna", datetime.now(UTC))
    goes_on.set()
    with pytest.raises(Cancelled):
        await running
    assert await live(database) != before
    await runner(database).run(ROLLBACK, undo)
    assert await live(database) == before


async def test_a_promotion_that_was_killed_does_not_go_on_behind_its_rollback(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.jobs.promotion._AT_ONCE", 2)
    await stored(database)
    before = await live(database)
    await build(database, fold=FOLD)
    advance = JobContext.advance

    async def killing(context: JobContext, steps: int, saved: Any, **counts: int) -> None:
        await advance(context, steps, saved, **counts)
        if steps:
            raise Killed

    monkeypatch.setattr(JobContext, "advance", killing)
    with pytest.raises(Killed):
        await promoted(database)
    monkeypatch.setattr(JobContext, "advance", advance)
    [promotion] = await database.job_runs.find({"job": "promote"}).to_list(None)
    assert await live(database) != before

    await runner(database).run(ROLLBACK, Rollback(promotion=promotion["_id"]))
    assert await live(database) == before
    ended = await database.job_runs.find_one({"_id": promotion["_id"]})
    assert ended is not None
    assert (ended["status"], ended["error"]) == ("cancelled", "it was rolled back")
    again = await promoted(database)
    assert again.run.id != promotion["_id"]


async def test_a_rollback_says_that_before_images_have_begun_to_expire(database: Database) -> None:
    """What was promoted first has none any more, and stays as it was promoted."""
    wrong = await stored(database)
    before = await live(database)
    await build(database, fold=FOLD)
    promotion = await promoted(database)
    began = datetime.now(UTC) - timedelta(days=31)
    await database.job_runs.update_one({"_id": promotion.run.id}, {"$set": {"started_at": began}})
    gone = await database.before_images.find_one_and_delete({})
    assert gone is not None

    result = await rolled_back(database, promotion)
    assert ROLLBACK.differs(result.outcome)
    assert began < datetime.fromisoformat(result.outcome["expired_before"])
    after = await live(database)
    assert [stream for stream in wrong if after[stream] != before[stream]] == [gone["stream_id"]]


class Killed(Exception):
    """Ends a run right where it stands."""


async def kills(job: Any, arguments: Any, database: Database, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run until it is done; each attempt is killed behind its first page, by turns before and after it is saved."""
    advance, killed = JobContext.advance, 0
    while True:

        async def killing(
            context: JobContext, steps: int, saved: Any, killed: int = killed, **counts: int
        ) -> None:
            if not steps or killed % 2:
                await advance(context, steps, saved, **counts)
            if steps:
                raise Killed

        monkeypatch.setattr(JobContext, "advance", killing)
        try:
            await runner(database).run(job, arguments)
        except Killed:
            killed += 1
        else:
            monkeypatch.setattr(JobContext, "advance", advance)
            return killed


async def test_killed_with_every_page_both_go_on_and_end_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.jobs.promotion._AT_ONCE", 2)
    wrong = await stored(database)
    before = await live(database)
    await build(database, fold=FOLD)
    pages = (len(wrong) + 1) // 2
    assert await kills(PROMOTE, Promote(into="trial"), database, monkeypatch) == 2 * pages
    [promotion] = await database.job_runs.find({"job": "promote"}).to_list(None)
    after = await live(database)
    assert sorted(stream for stream in after if after[stream] != before[stream]) == wrong
    assert await database.before_images.count_documents({}) == len(wrong)

    assert await kills(ROLLBACK, Rollback(promotion=promotion["_id"]), database, monkeypatch) == 2 * pages
    [rollback] = await database.job_runs.find({"job": "rollback"}).to_list(None)
    assert (rollback["status"], rollback["outcome"]) == ("succeeded", {})
    assert await live(database) == before


async def test_documents_of_a_fold_that_the_server_refuses_are_named(database: Database) -> None:
    wrong = await stored(database)
    await build(database, fold=FOLD)
    built = database.content.get_collection("user_progress__trial")
    odd = {"$set": {"status": "asleep"}, "$push": {"built.differs": "status"}}
    await built.update_one({"_id": stream_object_id(wrong[0])}, odd)
    promotion = await promoted(database)
    assert promotion.outcome["refused_streams"] == [wrong[0]]
    assert promotion.run.counts == {"promoted": len(wrong) - 1, "moved": 0, "refused": 1}
    assert PROMOTE.differs(promotion.outcome)
    assert await database.before_images.count_documents({}) == len(wrong) - 1


async def test_whoever_asks_for_what_there_is_not_is_told_what_to_do(database: Database) -> None:
    await stored(database, learners=1)
    for fold in ("nowhere.at_all:FOLD", f"{__name__}:FOLD", "no name"):
        with pytest.raises(Misconfigured, match=r"package\.module:NAME|is no StreamProjection"):
            await build(database, fold=fold)
    with pytest.raises(Misconfigured, match="is failed: `sevenp-worker rebuild progress --into trial`"):
        await promoted(database)
    with pytest.raises(Misconfigured, match="nothing was built under the name other"):
        await runner(database).run(PROMOTE, Promote(into="other"))
    with pytest.raises(Misconfigured, match="'promote-1' is no run of promote"):
        await runner(database).run(ROLLBACK, Rollback(promotion="promote-1"))


@pytest.mark.parametrize(
    ("job", "arguments"),
    [
        (REBUILD_INTO, RebuildInto(into="trial")),
        (PROMOTE, Promote(into="trial")),
        (ROLLBACK, Rollback(promotion="promote-1")),
    ],
)
async def test_what_has_no_dry_run_is_not_run_for_one(database: Database, job: Any, arguments: Any) -> None:
    with pytest.raises(Misconfigured, match=f"{job.name} has no dry run"):
        await runner(database).run(job, arguments, dry_run=True)
    assert await database.job_runs.count_documents({}) == 0


async def test_a_building_does_not_go_on_in_what_another_has_built_since(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(database)
    advance = JobContext.advance

    async def killing(context: JobContext, steps: int, saved: Any, **counts: int) -> None:
        await advance(context, steps, saved, **counts)
        raise Killed

    monkeypatch.setattr(JobContext, "advance", killing)
    with pytest.raises(Killed):
        await build(database, fold=FOLD)
    monkeypatch.undo()
    [first] = await database.job_runs.find({}).to_list(None)
    await build(database)

    with pytest.raises(Misconfigured, match=f"jobs cancel {first['_id']}"):
        await build(database, fold=FOLD)

    await operate.cancel(database, first["_id"], "anna", datetime.now(UTC))
    again = await build(database, fold=FOLD)
    assert again.run.counts["streams"] == 20


async def test_readers_miss_no_document_while_it_is_promoted_and_taken_back(database: Database) -> None:
    await stored(database, learners=60)
    await build(database, fold=FOLD)
    missed: set[int] = set()
    going = True

    async def read() -> None:
        while going:
            missed.add(60 - await database.user_progress.count_documents({}))

    reader = asyncio.create_task(read())
    try:
        await rolled_back(database, await promoted(database))
    finally:
        going = False
        await reader
    assert missed == {0}
