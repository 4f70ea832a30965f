"""Acts on the breaker's decisions: partitions that hold mostly poison are paused, and probed from time to time."""

from collections import Counter
from collections.abc import Mapping

import structlog

from worker.ingest.breaker import Breaker
from worker.ingest.options import IngestOptions
from worker.kafka.consumer import EventConsumer
from worker.kafka.record import Batch, Partition
from worker.telemetry.metrics import Metrics
from worker.timing import Clock

log = structlog.get_logger(__name__)


class PausedPartitions:
    """Pauses and probes the partitions of one consumer, in one assignment after the other."""

    def __init__(
        self, consumer: EventConsumer, options: IngestOptions, clock: Clock, metrics: Metrics
    ) -> None:
        self._consumer = consumer
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._breaker = Breaker(options.breaker)
        self._half_open: Partition | None = None

    @property
    def any(self) -> bool:
        """True while a partition is paused or probed."""
        return self._half_open is not None or bool(self._breaker.open)

    def forget(self) -> None:
        """Forget all partitions: the assignment is over."""
        self._breaker.forget()
        self._half_open = None
        self.show()

    def before_poll(self) -> None:
        """Have the next poll read some records of a partition that has been paused long enough."""
        due = None if self._consumer.polling else self._breaker.due(self._clock.monotonic())
        if due is not None:
            self._consumer.half_open_probe(due, self._options.breaker.probe_records)
            self._half_open = due

    def nothing_read(self) -> None:
        """Note that a poll found no records: if it was a probe, the partition is read as usual from now on."""
        if self._half_open is not None and not self._consumer.polling:
            self._decide({self._half_open: 0}, {}, {})

    def on_durable(self, batch: Batch, dead_letters: Mapping[Partition, int]) -> None:
        """Have the breaker decide by what became of a durable batch."""
        records = Counter(record.partition for record in batch.records)
        self._decide(records, dead_letters, batch.positions)

    def show(self) -> None:
        """Set the gauges of paused partitions to what the breaker has paused."""
        paused = Counter(partition.topic for partition in self._breaker.open)
        for topic in self._options.consumer.topics:
            self._metrics.kafka_paused_partitions.labels(topic).set(paused[topic])
            self._metrics.kafka_breaker_open_partitions.labels(topic).set(paused[topic])

    def _decide(
        self,
        records: Mapping[Partition, int],
        dead_letters: Mapping[Partition, int],
        positions: Mapping[Partition, int],
    ) -> None:
        self._half_open = None
        changes = self._breaker.note(self._clock.monotonic(), records, dead_letters)
        for partition, is_open in changes.items():
            if is_open:
                log.error(
                    "breaker_opened",
                    topic=partition.topic,
                    partition=partition.number,
                    records=records[partition],
                    dead_letters=dead_letters[partition],
                    waiting=self._consumer.waiting(partition, positions[partition]),
                )
            else:
                log.info("breaker_closed", topic=partition.topic, partition=partition.number)
        if changes or self._breaker.open:
            self._consumer.pause(self._breaker.open)
            self.show()
