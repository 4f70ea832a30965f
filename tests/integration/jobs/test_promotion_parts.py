"""Parts that are built beside the live ones are looked at, promoted before what names them, and put back."""

from collections.abc import AsyncIterator

import pytest

from tests.support.jobs import runner
from tests.support.progress import histories, projector, store
from tests.support.stream_parts import LESSONS, documents, own_database, part_id, parts
from worker.contract.identity import foreign_object_id
from worker.jobs.promotion import PROMOTE, ROLLBACK, Promote, Rollback
from worker.jobs.rebuild_into import REBUILD_INTO, RebuildInto
from worker.jobs.runner import Result
from worker.storage.database import Database

EVENTS = 24
INTO = {"into": "trial", "projection": LESSONS.name}
WRONG = "tests.support.stream_parts:WRONG"


@pytest.fixture
async def own(database: Database) -> AsyncIterator[Database]:
    streams = histories(learners=6, events=EVENTS)
    async with own_database(database) as opened:
        await store(opened, [event for events in streams.values() for event in events])
        await projector(opened, projection=LESSONS).project(dict.fromkeys(streams, EVENTS))
        yield opened


async def build(database: Database, **more: str) -> Result:
    return await runner(database).run(REBUILD_INTO, RebuildInto.model_validate({**INTO, **more}))


async def wrong_ones(database: Database) -> list[str]:
    return sorted(stream for stream in await documents(database) if int(stream[-24:], 16) % 2)


async def test_parts_of_another_fold_show_in_the_report_are_promoted_and_taken_back_whole(
    own: Database,
) -> None:
    before, named_before, wrong = await parts(own), await documents(own), await wrong_ones(own)
    assert 0 < len(wrong) < len(named_before)
    assert (await build(own)).outcome["differing"] == 0

    built = await build(own, fold=WRONG)

    assert (built.outcome["differing"], built.outcome["paths"]) == (len(wrong), {"parts": len(wrong)})
    assert await parts(own) == before
    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
    assert promotion.run.counts == {"promoted": len(wrong), "moved": 0, "refused": 0}
    after = await parts(own)
    assert {each["stream_id"] for key, each in after.items() if each != before[key]} == {*wrong}
    assert {each["stream_id"] for each in after.values() if not each["before"]} >= {*wrong}

    undone = await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))

    assert not ROLLBACK.differs(undone.outcome)
    assert (await parts(own), await documents(own)) == (before, named_before)


async def test_parts_that_were_missing_are_put_there_before_their_document_and_taken_away_after_it(
    own: Database,
) -> None:
    [stream, *_] = await documents(own)
    of_stream = {"stream_id": stream}
    await own.collection("lesson_beginnings").delete_many(of_stream)
    await own.collection("lessons").delete_many(of_stream)
    before = await parts(own)
    await build(own)

    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))

    assert len(await parts(own)) == len(before) + 4
    assert stream in await documents(own)
    await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    assert await parts(own) == before
    assert stream not in await documents(own)


async def test_a_part_that_moved_since_it_was_built_is_built_again(own: Database) -> None:
    [stream, *_] = await wrong_ones(own)
    await build(own, fold=WRONG)
    lesson = part_id(stream, foreign_object_id("lesson-2"))
    beginnings = own.collection("lesson_beginnings")
    await beginnings.update_one({"_id": lesson}, {"$set": {"padding": "changed"}, "$inc": {"rev": 1}})

    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))

    assert promotion.run.counts["moved"] == 0 or promotion.outcome["moved_streams"] == [stream]
    found = await beginnings.find_one({"_id": lesson})
    assert found is not None
    assert found["padding"] == ("" if promotion.run.counts["moved"] == 0 else "changed")
