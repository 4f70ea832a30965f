"""Publishes records to the run's servers, each to its topic, as a producer would."""

from collections.abc import Callable, Iterable

from worker.devstack.demo.options import DemoOptions
from worker.devstack.servers.stack import Stack
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.timing import Clock


async def publish(
    stack: Stack,
    options: DemoOptions,
    clock: Clock,
    records: Iterable[OutgoingRecord],
    *,
    on_start: Callable[[], None] = lambda: None,
    on_progress: Callable[[int], None] = lambda _count: None,
) -> int:
    """Publish all of them; their number. `on_start` is called when the producer is connected."""
    # The embedded broker cannot drop repeats; of others nothing is known, so they are asked.
    idempotent = stack.broker is None or stack.broker.knows_idempotence
    async with Publisher(
        stack.kafka_bootstrap_servers,
        options.names.topic,
        clock=clock,
        idempotent=idempotent,
        kafka=options.kafka,
    ) as publisher:
        on_start()
        report = await publisher.publish(records, on_progress=on_progress)
    return report.records
