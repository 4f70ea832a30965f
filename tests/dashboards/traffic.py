"""What goes on in a run that is looked at: learners, records that are no events, poison, a stuck stream."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import cycle, islice
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from bench.records import Workload
from tests.integration.ingest.bad_records import bad_records
from tests.integration.verify.history import stored_events
from tests.support.ingest import Sent, send
from worker.contract.codec import encode
from worker.storage.database import Database
from worker.timing import cancel_and_wait

PARTITIONS = 4
POISONED = PARTITIONS - 1
_TURN_S = 0.25
# One in so many turns brings a record that is no event, and one an event that was sent before.
_BAD_EVERY = 4
_AGAIN_EVERY = 5
# More than the breaker lets pass.
_POISON = 400


@asynccontextmanager
async def publishing(kafka: str, topic: str, workload: Workload, per_s: float) -> AsyncIterator[None]:
    """Learners at a steady pace for as long as the block lasts; what they do, they do now."""
    task = asyncio.create_task(_publish(kafka, topic, workload, max(1, round(per_s * _TURN_S))))
    try:
        yield
        if task.done():
            task.result()
    finally:
        await cancel_and_wait(task)


async def _publish(kafka: str, topic: str, workload: Workload, per_turn: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=5)
    await producer.start()
    try:
        records, bad, due = workload.records(), _refused(), time.monotonic()
        for turn in cycle(range(_BAD_EVERY * _AGAIN_EVERY)):
            some = [(_now(record.value or b""), record.key) for record in islice(records, per_turn)]
            again = some[:1] if turn % _AGAIN_EVERY == 0 else []
            for value, key in [*some, *again]:
                await producer.send(topic, value, key=key)
            if turn % _BAD_EVERY == 0:
                await producer.send(topic, next(bad), partition=turn % POISONED)
            due += _TURN_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    finally:
        await producer.stop()


def _now(value: bytes) -> bytes:
    """The same event, happening now; it is another one than the last time it happened."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return encode({**json.loads(value), "occurred_at": now, "event_id": str(uuid4())})


def _refused() -> Iterator[bytes]:
    """Records that are no events, for many reasons, but for those that a broker does not take."""
    return cycle([value for _, value in bad_records() if 0 < len(value) < 100_000])


async def poison(kafka: str, topic: str) -> None:
    """Fill one partition with records that are no events: the breaker opens."""
    await send(kafka, topic, [Sent(b'{"event_id": ', None, POISONED)] * _POISON)


async def break_a_stream(database: Database) -> None:
    """Store an event that no contract let in: the fold of its stream fails."""
    enrolled, *others = stored_events(f"stuck-{uuid4()}", range(1, 4), datetime.now(UTC))
    enrolled["event_data"]["details"]["total_lessons"] = "four"
    await database.course_events.insert_many([enrolled, *others], bypass_document_validation=True)
