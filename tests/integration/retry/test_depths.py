"""What waits on the whole platform, shown by the one worker that holds the lease."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.jobs import job_run
from tests.support.notify import row, write
from tests.support.retry import EVENT_TYPE, Noting, RunningRetry, item, put, running
from tests.support.waiting import until
from worker.storage.database import Database

WHOLE_PLATFORM = (
    "retry_queue_events",
    "retry_oldest_age_seconds",
    "retry_blocked_streams",
    "outbox_pending_events",
    "outbox_oldest_age_seconds",
    "depths_updated_timestamp_seconds",
    "replay_progress_ratio",
    "replay_remaining_streams",
)


def shown(retry: RunningRetry) -> set[str]:
    """The metrics of the whole platform that a worker shows."""
    families = retry.metrics.registry.collect()
    names = {sample.name.removeprefix("sevenp_worker_") for family in families for sample in family.samples}
    return names & set(WHOLE_PLATFORM)


async def test_depths_are_shown_by_the_one_that_holds_the_lease_and_by_nobody_else(
    database: Database,
) -> None:
    now = datetime.now(UTC)
    later, long_ago = now + timedelta(hours=1), now - timedelta(days=1)
    await put(database, [item("done", "s0"), item("wait", "s1", due_at=later, created_at=long_ago)])
    await put(database, [item("failed", "s2", status="failed"), item("loose", due_at=later)])
    await write(database, [row(1)])
    run = {**job_run("rebuild-progress", 1), "progress": {"done": 3, "total": 12}}
    await database.job_runs.insert_one(run)
    handlers = {EVENT_TYPE: Noting()}
    async with running(database, handlers) as retry:
        await retry.until_moved(
            "retry_queue_events",
            "retry_oldest_age_seconds",
            "retry_blocked_streams",
            "retry_attempts_total",
            "outbox_pending_events",
            "outbox_oldest_age_seconds",
            "depths_updated_timestamp_seconds",
            "replay_progress_ratio",
            "replay_remaining_streams",
        )
        await until(lambda: retry.value("retry_queue_events", state="completed") == 1, "measured")
        assert retry.value("retry_queue_events", state="pending") == 2
        assert retry.value("retry_queue_events", state="failed") == 1
        assert retry.value("retry_blocked_streams") == 2
        assert retry.value("retry_oldest_age_seconds") == pytest.approx(86_400, abs=60)
        assert retry.value("outbox_pending_events") == 1
        assert retry.value("replay_remaining_streams", job="rebuild-progress") == 9
        assert shown(retry) == set(WHOLE_PLATFORM)
        async with running(database, handlers) as standby:
            assert shown(standby) == set()
            await retry.drain()
            assert shown(retry) == set()
            await until(lambda: shown(standby) == set(WHOLE_PLATFORM), "the next one shows them")
