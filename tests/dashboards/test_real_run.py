"""Every query of every dashboard, asked of a real Prometheus that scrapes real workers while things go wrong."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import RunningMongo
from tests.dashboards.answers import unanswered
from tests.dashboards.run import Servers, running
from tests.dashboards.traffic import poison
from tests.support.boards import queries
from tests.support.waiting import LIMIT_S, NotInTime, until
from worker.storage.database import Database

# (dashboard, panel): why a query of it is empty in this run. Each is asked all the same, and must be taken.
EMPTY: Mapping[tuple[str, str], str] = {
    ("failures", "Sent again"): "nobody sends dead letters again",
    ("failures", "Events without effect"): "every event fits to those before it",
    ("ingest", "Failed commands by collection"): "MongoDB is well",
    ("ingest", "Slow commands by collection"): "MongoDB is well",
    ("ingest", "Repeated operations by reason"): "MongoDB is well",
    ("ingest", "Rebalances and gaps"): "the log loses nothing, so there are no gaps",
    ("ingest", "Drains, 99 of 100"): "with little in hand a partition is given back at once",
    ("ingest", "Partitions by worker"): "a breaker may close again before it is seen",
    ("watchers", "Change streams opened again"): "leases move once, at the start",
    ("watchers", "Events folded again"): "a stream that is stuck is folded again without success",
}


@pytest.mark.slow
async def test_every_query_is_taken_and_has_data_or_a_reason(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> None:
    servers = Servers(mongodb.uri, kafka, topic, database, tmp_path)
    async with running(servers, per_s=120) as run:
        await poison(kafka, topic)
        await run.pause_by_hand()
        await run.start_and_pause_a_job()
        pending = list(queries())
        assert len(pending) > 80

        async def all_answered() -> bool:
            pending[:] = await unanswered(run.prometheus, pending, run.began_at)
            return all((each.board, each.panel) in EMPTY for each in pending)

        try:
            await until(all_answered, "every query has had an answer")
        except NotInTime:
            unexplained = [each for each in pending if (each.board, each.panel) not in EMPTY]
            pytest.fail(f"without data after {LIMIT_S:.0f} s: {unexplained}")
