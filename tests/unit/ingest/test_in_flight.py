"""What is told of batches that have been read: each record under the topic it came from."""

from tests.unit.ingest.samples import NOON, record
from worker.contract.source import Source
from worker.ingest.in_flight import BatchesInFlight
from worker.kafka.record import Batch
from worker.telemetry.metrics import Metrics


def test_a_batch_of_several_topics_is_counted_by_topic() -> None:
    metrics = Metrics()
    sources = [Source("one", 0, 0), Source("one", 1, 0), Source("other", 0, 0)]
    batch = Batch(
        tuple(record(source=each) for each in sources),
        {},
        generation=1,
        polled_at=0.0,
        read_at=NOON,
    )
    batches = BatchesInFlight(metrics, "ingest", 1_000)
    batches.add(batch)
    batches.complete(batch)
    name = "sevenp_worker_kafka_records_consumed_total"
    counted = [metrics.registry.get_sample_value(name, {"topic": each}) for each in ("one", "other")]
    assert counted == [2, 1]
