"""Who tells which learners stand still for a newer release."""

from datetime import timedelta

from bson import ObjectId

from tests.support.clocks import ManualClock
from worker.errors import Retryable
from worker.storage.database import make_client, open_database
from worker.storage.transactions import Transactions
from worker.telemetry.metrics import Metrics
from worker.watch.sums.counting import Counter


async def test_who_no_longer_counts_tells_of_nobody_that_stands_still() -> None:
    async def keep_alive() -> None: ...

    def on_retry(_: Retryable) -> None: ...

    client, metrics = make_client("mongodb://127.0.0.1:1"), Metrics()
    counter = Counter(
        open_database(client),
        Transactions(client),
        ManualClock(),
        metrics,
        keep_alive=keep_alive,
        on_retry=on_retry,
        notify_within=timedelta(days=2),
    )

    def told() -> float | None:
        name = "sevenp_worker_projection_frozen_streams"
        return metrics.registry.get_sample_value(name, {"projection": "counts"})

    counter.frozen.observe({ObjectId()})
    assert told() == 1
    counter.stand_by()
    assert told() == 0
    await client.close()
