"""A decision: what it is refused for, who is first, and that it is never half made."""

import asyncio
from dataclasses import replace

import pytest
from pymongo.errors import OperationFailure

from projections.kinds import Catalogue
from projections.progress.projection import PROGRESS
from tests.integration.skipping.blocked import BAD, blocked, broken
from tests.support.failpoints import failing
from tests.support.progress import documents, expected, projector
from tests.support.retry import LIMITS, folding, running, stored, with_status
from tests.support.settings import changed
from worker.errors import Refused
from worker.retry import skipping
from worker.retry.operate import discard_items, find_items
from worker.retry.queue import Outcome, Queue
from worker.retry.selection import Selection
from worker.retry.skipping import Asked, CannotSkip, Decided
from worker.storage.database import Database
from worker.storage.documents import void_document
from worker.storage.work_items import PROGRESS_FOLD, Failed
from worker.timing import SystemClock

CLOCK = SystemClock()


async def skip(database: Database, asked: Asked, *, dry_run: bool = False) -> Decided:
    return await skipping.skip_event(database, asked, "test", CLOCK, dry_run=dry_run)


async def test_the_decision_says_what_was_known(database: Database) -> None:
    one = await blocked(database)

    await skip(database, one.asked(), dry_run=True)
    assert await database.skipped_versions.count_documents({}) == 0
    await skip(database, replace(one.asked(), stream=f"progress:{one.stream}"))

    [decision] = await database.skipped_versions.find({}).to_list(None)
    event = one.events[BAD - 1]
    assert (decision["event_id"], decision["event_type"]) == (event["_id"], "quiz_submitted")
    assert (decision["who"], decision["reason"], decision["automatic"]) == ("anna@ops", "bad score", False)
    assert decision["failure"].startswith("ArithmeticError: ArithmeticError in _raise_at")
    assert decision["recorded_at"] == event["recorded_at"].replace(
        microsecond=event["recorded_at"].microsecond // 1000 * 1000
    )
    woken = await stored(database, f"progress:{one.stream}")
    assert (woken["status"], woken["retry_count"]) == ("pending", 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 99}, "its versions go to 6"),
        ({"version": 2}, "is in the document, which has come to 2"),
        ({"version": 4}, "stands at version 3, not here"),
        ({"version": 5}, "is a void"),
        ({"stream": "course_1_user_2"}, "no stream has the name"),
        ({"stream": f"course_{'a' * 24}_user_{'b' * 24}"}, "it has no events"),
        ({"stream": f"user_{'a' * 24}"}, "none folds it"),
        ({"projection": "counts"}, "which one is meant: progress"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words(
    database: Database, changes: dict[str, object], words: str
) -> None:
    one = await blocked(database)
    void = void_document(one.stream, 5, one.events[4]["recorded_at"])
    await database.course_events.delete_one({"_id": one.events[4]["_id"]})
    await database.course_events.insert_one(void)

    with pytest.raises(CannotSkip, match=words):
        await skip(database, replace(one.asked(), **changes))  # type: ignore[arg-type]
    assert await database.skipped_versions.count_documents({}) == 0


async def test_where_several_projections_fold_a_stream_one_must_be_named(database: Database) -> None:
    one = await blocked(database)
    two = Catalogue((PROGRESS, replace(PROGRESS, name="other")))
    of_two = replace(database, catalogue=two)

    with pytest.raises(CannotSkip, match="which one is meant: progress, other"):
        await skip(of_two, one.asked())
    named = await skip(of_two, replace(one.asked(), projection="progress"))
    again = await skip(of_two, replace(one.asked(), stream=f"progress:{one.stream}"))
    assert (named.before, again.before) == (False, True)


async def test_a_good_stream_whose_event_is_folded_is_refused(database: Database) -> None:
    one = await blocked(database)
    await projector(database).project({one.stream: 6})
    await database.analytics_queue.delete_many({})
    with pytest.raises(CannotSkip, match="which has come to 6"):
        await skip(database, one.asked())


async def test_a_stream_whose_item_was_discarded_can_be_woken(database: Database) -> None:
    one = await blocked(database)
    await discard_items(database, await find_items(database, Selection(stream=one.stream)))
    await skip(database, one.asked())
    async with running(database, folding(database, broken())) as retry:
        await retry.until_status("completed", 1)
    assert await documents(database) == await expected(database)


async def test_of_two_who_decide_at_once_one_does_and_the_other_is_shown_it(database: Database) -> None:
    one = await blocked(database)
    names = [f"operator-{n}" for n in range(4)]

    decided = await asyncio.gather(*(skip(database, one.asked(who=name)) for name in names))

    [decision] = await database.skipped_versions.find({}).to_list(None)
    assert {each.decision.who for each in decided} == {decision["who"]}
    assert [each.before for each in decided].count(False) == 1
    assert (await skip(database, one.asked(who=decision["who"]))).before


@pytest.mark.parametrize("command", ["update", "commitTransaction"])
async def test_a_server_that_fails_in_the_middle_leaves_nothing_half_done(
    database: Database, watched: Database, command: str
) -> None:
    one = await blocked(database)
    before = await stored(database, f"progress:{one.stream}")

    async with failing(watched, [command], code=2) as failed:
        with pytest.raises(Refused, match="BadValue"):
            await skip(watched, one.asked())
        assert await failed() == 1
    assert await database.skipped_versions.count_documents({}) == 0
    assert await stored(database, f"progress:{one.stream}") == before

    async with failing(watched, [command], code=11602, times=2):  # the server's own trouble: waited for
        assert not (await skip(watched, one.asked())).before
    assert await database.skipped_versions.count_documents({}) == 1


async def test_an_attempt_under_way_does_not_undo_the_wake(database: Database) -> None:
    """Nobody runs between decision and fold, either: the item waits for whoever comes."""
    one = await blocked(database)
    queue = Queue(database, [PROGRESS_FOLD], CLOCK, LIMITS, owner="slow")
    claim = await queue.claim(10)
    assert len(claim.taken) == 1

    await skip(database, one.asked())
    late = Outcome(claim.taken[0], Failed("ArithmeticError", "as before", BAD), 600.0, last=True)
    await queue.complete(claim.token, [late])

    assert await with_status(database, "pending") == 1
    async with running(database, folding(database, broken())) as retry:
        await retry.until_status("completed", 1)
    assert await documents(database) == await expected(database)


async def test_a_document_of_others_in_its_place_is_named(database: Database) -> None:
    one = await blocked(database)
    odd = {"_id": f"progress:{one.stream}:{BAD}", "stream_id": one.stream}
    await database.skipped_versions.insert_one(odd, bypass_document_validation=True)

    for act in (skipping.skip_event, skipping.unskip_event):
        with pytest.raises(
            CannotSkip, match=r"no decision in its place: remove .*skipped_versions progress:"
        ):
            await act(database, one.asked(), "test", CLOCK)


async def test_the_store_takes_no_decision_that_is_none(database: Database) -> None:
    with pytest.raises(OperationFailure, match="failed validation"):
        await database.skipped_versions.insert_one({"_id": "progress:x:1", "version": 1})


async def test_an_event_nobody_can_read_can_be_skipped(database: Database) -> None:
    one = await blocked(database)
    far = {"$set": {"occurred_at": {"$add": [one.events[0]["occurred_at"], 2**52]}}}
    await database.course_events.update_one(
        {"_id": one.events[BAD - 1]["_id"]}, [far], bypass_document_validation=True
    )
    await skip(database, one.asked())
    async with running(database, folding(database, PROGRESS)) as retry:
        await retry.until_status("completed", 1)
    found = (await documents(database))[one.stream]
    assert (found["version"], found["performance"]["quiz_average"]) == (6, None)


async def test_taken_back_it_counts_again(database: Database) -> None:
    one = await blocked(database)
    await skip(database, one.asked())
    async with running(database, folding(database, broken())) as retry:
        await retry.until_status("completed", 1)
        without = (await documents(database))[one.stream]

    with pytest.raises(CannotSkip, match=r"version 4 of .* is not skipped"):
        await skipping.unskip_event(database, one.asked(4), "test", CLOCK)
    await skipping.unskip_event(database, one.asked(), "test", CLOCK)
    async with running(database, folding(database)) as retry:
        await retry.until_status("completed", 1)

    found = await documents(database)
    assert found == await expected(database)
    assert (without["performance"]["quiz_average"], found[one.stream]["performance"]["quiz_average"]) == (
        None,
        69.5,
    )


async def test_taken_back_too_soon_the_document_stays_and_the_queue_says_so(database: Database) -> None:
    one = await blocked(database)
    limits = changed(LIMITS, max_attempts=2)
    await skip(database, one.asked())
    async with running(database, folding(database, broken()), limits=limits) as retry:
        await retry.until_status("completed", 1)
        before = await database.user_progress.find({}).to_list(None)
        await skipping.unskip_event(database, one.asked(), "test", CLOCK)
        await retry.until_status("failed", 1)
    assert await database.user_progress.find({}).to_list(None) == before
    failed = await stored(database, f"progress:{one.stream}")
    assert (failed["version"], failed["data"]["event_type"]) == (BAD, "quiz_submitted")
    assert not (await skip(database, one.asked())).before
