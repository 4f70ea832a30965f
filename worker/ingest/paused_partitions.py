"""Which partitions are not read: those that hold mostly poison, by the breaker, and those an operator has paused.

The breaker's are probed from time to time. An operator's are left alone until the gate lets them through again.
"""

from collections import Counter
from collections.abc import Mapping

import structlog

from worker.gate import Gate
from worker.ingest.breaker import Breaker
from worker.ingest.options import IngestOptions
from worker.kafka.consumer import EventConsumer
from worker.kafka.record import Batch, Partition
from worker.telemetry.metrics import Metrics
from worker.timing import Clock

log = structlog.get_logger(__name__)

_ROLE = "ingest"


class PausedPartitions:
    """Pauses and probes the partitions of one consumer, in one assignment after the other."""

    def __init__(
        self, consumer: EventConsumer, options: IngestOptions, gate: Gate, clock: Clock, metrics: Metrics
    ) -> None:
        self._consumer = consumer
        self._options = options
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._breaker = Breaker(options.breaker)
        self._held: frozenset[tuple[str, int]] = frozenset()
        self._half_open: Partition | None = None

    @property
    def any(self) -> bool:
        """True while the breaker has paused or probes a partition, or the next poll is to pause other ones."""
        return self._half_open is not None or bool(self._breaker.open) or not self._stands(self._wanted())

    def forget(self) -> None:
        """Forget all partitions: the assignment is over."""
        self._breaker.forget()
        self._held = frozenset()
        self._half_open = None
        self.show()

    def before_poll(self) -> None:
        """Pause what the gate holds, resume what it lets through, and have a partition probed that is due for it."""
        wanted = self._wanted()
        if not self._stands(wanted):
            if wanted != self._held:
                log.info("partitions_held", partitions=len(wanted), before=len(self._held))
            self._held = wanted
            self._pause()
            # A probe that is under way may have been ended by that: finding nothing, it has proved nothing.
            self._half_open = None
        due = (
            None if self._consumer.polling else self._breaker.due(self._clock.monotonic(), besides=self._held)
        )
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
        """Set the gauges of partitions that are not read, and of those among them that the breaker has paused."""
        paused = Counter(topic for topic, _ in self._breaker.open | self._held)
        poisoned = Counter(partition.topic for partition in self._breaker.open)
        for topic in self._options.consumer.topics:
            self._metrics.kafka_paused_partitions.labels(topic).set(paused[topic])
            self._metrics.kafka_breaker_open_partitions.labels(topic).set(poisoned[topic])

    def _wanted(self) -> frozenset[tuple[str, int]]:
        """Those of the assignment that the gate holds now."""
        return self._gate.held(_ROLE, self._consumer.assigned)

    def _stands(self, wanted: frozenset[tuple[str, int]]) -> bool:
        """Whether just these and the breaker's are paused: a new assignment begins with pauses that may be over."""
        poisoned = self._breaker.open
        return wanted == self._held and self._consumer.paused == poisoned.union(Partition(*p) for p in wanted)

    def _pause(self) -> None:
        self._consumer.pause([*self._breaker.open, *(Partition(*each) for each in self._held)])
        self.show()

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
            self._pause()
