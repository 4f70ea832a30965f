"""Batches that have been read and are not durable yet: how many bytes they take, and what the latest of them was."""

from worker.kafka.record import Batch
from worker.telemetry.metrics import Metrics


class BatchesInFlight:
    """Counts them for the gauge `buffer_bytes`. `records` and `polled_at` are those of the latest batch."""

    def __init__(self, metrics: Metrics, stage: str, limit_bytes: int) -> None:
        self.records = 0
        self.polled_at = 0.0
        self._metrics = metrics
        self._stage = stage
        self._bytes = 0
        metrics.buffer_limit_bytes.labels(stage).set(limit_bytes)

    def add(self, batch: Batch) -> None:
        """Note a batch that has been read."""
        self._metrics.ingest_batch_events.labels(batch.records[0].source.topic).observe(len(batch.records))
        self.records, self.polled_at = len(batch.records), batch.polled_at
        self._hold(self._bytes + batch.size_bytes)

    def complete(self, batch: Batch) -> None:
        """Note that a batch is durable."""
        topic = batch.records[0].source.topic
        self._metrics.kafka_records_consumed_total.labels(topic).inc(len(batch.records))
        self._hold(max(0, self._bytes - batch.size_bytes))

    def clear(self) -> None:
        """Note that whatever was not completed has been given up."""
        self._hold(0)

    def _hold(self, size_bytes: int) -> None:
        self._bytes = size_bytes
        self._metrics.buffer_bytes.labels(self._stage).set(size_bytes)
