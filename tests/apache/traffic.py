"""Records that flow while brokers come and go: each is acknowledged by all copies, and stands in the log once."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.ingest import event, records
from tests.support.kafka import producing
from tests.support.waiting import until

_PAUSE_S = 0.01  # about a hundred records a second: enough to have some under way whenever a broker dies


@dataclass(slots=True)
class Traffic:
    """What was acknowledged so far, in order."""

    acknowledged: list[Mapping[str, Any]] = field(default_factory=list)

    async def goes_on(self, count: int = 50) -> None:
        """Return once `count` more records have been acknowledged."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted, f"{count} more records acknowledged", 120.0)


@asynccontextmanager
async def flowing(kafka: str, topic: str, partitions: Sequence[int]) -> AsyncIterator[Traffic]:
    """Publish one record after the other until the end of the block; all of them are acknowledged then."""
    traffic, ended = Traffic(), asyncio.Event()

    async def publish() -> None:
        number = 0
        while not ended.is_set():
            fields = event(number % 9)
            [record] = records([fields])
            partition = partitions[number % len(partitions)]
            await producer.send_and_wait(topic, record.value, key=record.key, partition=partition)
            traffic.acknowledged.append(fields)
            number += 1
            await asyncio.wait({asyncio.create_task(ended.wait())}, timeout=_PAUSE_S)

    async with producing(kafka, enable_idempotence=True, request_timeout_ms=90_000) as producer:
        task = asyncio.create_task(publish())
        try:
            yield traffic
        finally:
            ended.set()
            await task
