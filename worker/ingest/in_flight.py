"""Batches that have been read and are not durable yet: how many bytes they take, and what the latest of them was."""

from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime

from worker.kafka.record import Batch, Partition
from worker.telemetry.metrics import Metrics


class BatchesInFlight:
    """Counts them for the gauge `buffer_bytes`. `records` and `polled_at` are those of the latest batch."""

    def __init__(self, metrics: Metrics, stage: str, limit_bytes: int) -> None:
        self.records = 0
        self.polled_at = 0.0
        self._metrics = metrics
        self._stage = stage
        self._bytes = 0
        self._first_times: deque[Mapping[Partition, datetime | None]] = deque()
        metrics.buffer_limit_bytes.labels(stage).set(limit_bytes)

    def add(self, batch: Batch) -> None:
        """Note a batch that has been read."""
        self._metrics.ingest_batch_events.observe(len(batch.records))
        self.records, self.polled_at = len(batch.records), batch.polled_at
        self._first_times.append(_first_times(batch))
        self._hold(self._bytes + batch.size_bytes)

    def complete(self, batch: Batch) -> None:
        """Note that a batch is durable; they become so in their order."""
        # One poll has records of several topics.
        for topic, number in Counter(record.source.topic for record in batch.records).items():
            self._metrics.kafka_records_consumed_total.labels(topic).inc(number)
        if self._first_times:
            self._first_times.popleft()
        self._hold(max(0, self._bytes - batch.size_bytes))

    def clear(self) -> None:
        """Note that whatever was not completed has been given up."""
        self._first_times.clear()
        self._hold(0)

    def first_time(self, partition: Partition) -> datetime | None:
        """Kafka's time of the first record in hand of a partition; None without a record, or a time."""
        return next((times[partition] for times in self._first_times if partition in times), None)

    def _hold(self, size_bytes: int) -> None:
        self._bytes = size_bytes
        self._metrics.buffer_bytes.labels(self._stage).set(size_bytes)


def _first_times(batch: Batch) -> dict[Partition, datetime | None]:
    """Of the first record of each partition: a poll's records come partition by partition."""
    times: dict[Partition, datetime | None] = {}
    for record in batch.records:
        if record.partition not in times:
            times[record.partition] = record.timestamp
            if len(times) == len(batch.positions):
                break
    return times
