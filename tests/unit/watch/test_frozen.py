"""Who tells which learners stand still for a newer release."""

from bson import ObjectId

from tests.support.clocks import ManualClock
from tests.support.counts import counter, dependencies
from worker.storage.database import make_client, open_database
from worker.telemetry.metrics import Metrics


async def test_who_no_longer_counts_tells_of_nobody_that_stands_still() -> None:
    client, metrics = make_client("mongodb://127.0.0.1:1"), Metrics()
    counting = counter(dependencies(open_database(client), clock=ManualClock(), metrics=metrics))

    def told() -> float | None:
        name = "sevenp_worker_projection_frozen_streams"
        return metrics.registry.get_sample_value(name, {"projection": "counts"})

    counting.frozen.observe({ObjectId()})
    assert told() == 1
    counting.stand_by()
    assert told() == 0
    await client.close()
