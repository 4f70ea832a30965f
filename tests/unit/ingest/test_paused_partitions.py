"""Which partitions are paused, as the gate and the breaker change their minds."""

from collections.abc import Collection
from typing import cast

from prometheus_client import CollectorRegistry

from tests.support.clocks import ManualClock
from tests.support.ingest import options
from tests.unit.ingest.samples import NOON, record
from worker.gate import OPEN, Gate, Switches
from worker.ingest.paused_partitions import PausedPartitions
from worker.kafka.consumer import EventConsumer
from worker.kafka.record import Batch, Partition
from worker.telemetry.metrics import Metrics

ONE, OTHER = (record(partition=number).partition for number in (0, 1))


class Consumer:
    """What a consumer does about pauses, without a broker."""

    def __init__(self) -> None:
        self.assigned = frozenset({ONE, OTHER})
        self.paused: frozenset[Partition] = frozenset()
        self.polling = False
        self.probed: list[Partition] = []

    def pause(self, partitions: Collection[Partition]) -> None:
        self.paused = frozenset(partitions)

    def half_open_probe(self, partition: Partition, most: int) -> None:
        self.probed.append(partition)

    def waiting(self, partition: Partition, position: int) -> None:
        """Nobody has asked."""


def _paused(gate: Gate) -> tuple[PausedPartitions, Consumer, ManualClock]:
    consumer, clock, metrics = Consumer(), ManualClock(), Metrics(CollectorRegistry())
    given = cast(EventConsumer, consumer), options("none:9092", "events"), gate, clock, metrics
    return PausedPartitions(*given), consumer, clock


def test_what_an_assignment_began_with_is_resumed_where_its_pause_is_over() -> None:
    gate = Gate(Switches(partitions=frozenset({ONE})))
    paused, consumer, _ = _paused(gate)
    paused.forget()
    consumer.pause({ONE})  # as the assignment does, by the gate
    gate.turn(OPEN)
    assert paused.any
    paused.before_poll()
    assert consumer.paused == frozenset()
    assert not paused.any


def test_a_probe_that_the_gate_has_ended_decides_nothing() -> None:
    gate = Gate()
    paused, consumer, clock = _paused(gate)
    poison = tuple(record(offset) for offset in range(200))
    paused.on_durable(Batch(poison, {ONE: 200}, 1, clock.monotonic(), NOON), {ONE: 200})
    assert consumer.paused == {ONE}
    clock.advance(31)
    paused.before_poll()
    assert consumer.probed == [ONE]
    consumer.polling = True
    gate.turn(Switches(partitions=frozenset({OTHER})))
    paused.before_poll()
    consumer.polling = False
    paused.nothing_read()
    assert consumer.paused == {ONE, OTHER}
    paused.before_poll()
    assert consumer.probed == [ONE, ONE]
    paused.nothing_read()
    assert consumer.paused == {OTHER}
