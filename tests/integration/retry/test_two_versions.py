"""Two code versions side by side: neither grants the other's items new attempts for ever."""

from tests.support.retry import limited
from worker.retry.queue import Outcome, Queue
from worker.storage.database import Database, Document
from worker.storage.work_items import PROGRESS_FOLD, Failed, fold_item_id
from worker.timing import SystemClock
from worker.watch.folds.failed_streams import quarantine_streams
from worker.watch.folds.fold import Failure

ATTEMPTS = 3
FAILURE = Failure("course_a_user_b", 4, "ValueError", "cannot be folded")


def queue(database: Database, version: str) -> Queue:
    settings = limited(release=version, max_attempts=ATTEMPTS, item_lease_s=60.0)
    return Queue(database, [PROGRESS_FOLD], SystemClock(), settings, owner=version)


async def attempt(items: Queue) -> int:
    """One claim, and what it has in hand fails; how many attempts that were."""
    claim = await items.claim(10)
    failed = Failed("ValueError", "cannot be folded", 4)
    await items.complete(
        claim.token,
        [Outcome(item, failed, last=item.attempt >= ATTEMPTS) for item in claim.taken],
    )
    return len(claim.taken)


async def item(database: Database) -> Document:
    found = await database.analytics_queue.find_one({"_id": fold_item_id(FAILURE.stream)})
    assert found is not None
    return found


async def test_two_processors_that_take_turns_end_after_the_attempts_of_each(database: Database) -> None:
    older, newer = queue(database, "1.0"), queue(database, "2.0")
    await quarantine_streams(database, "progress", [FAILURE], code_version="1.0")
    attempts = 0
    for _ in range(10):
        for turn in (older, newer):
            await turn.reopen()  # each got the lease
            attempts += await attempt(turn)
    assert attempts <= 2 * ATTEMPTS
    assert (await item(database))["status"] == "failed"


async def test_a_live_step_of_the_other_version_grants_no_new_attempts(database: Database) -> None:
    newer, attempts = queue(database, "2.0"), 0
    for _ in range(20):
        await quarantine_streams(
            database, "progress", [FAILURE], code_version="1.0"
        )  # its stream goes on moving
        attempts += await attempt(newer)
    assert attempts <= 2 * ATTEMPTS
    assert (await item(database))["status"] == "failed"


async def test_code_that_has_not_tried_opens_what_failed_and_code_that_has_does_not(
    database: Database,
) -> None:
    older, newer = queue(database, "1.0"), queue(database, "2.0")
    await quarantine_streams(database, "progress", [FAILURE], code_version="1.0")
    for _ in range(ATTEMPTS):
        await attempt(older)
    assert (await item(database))["status"] == "failed"
    assert await older.reopen() == 0
    assert await newer.reopen() == 1
    for _ in range(ATTEMPTS):
        assert await attempt(newer) == 1
    assert await older.reopen() == await newer.reopen() == 0
    assert await queue(database, "3.0").reopen() == 1
