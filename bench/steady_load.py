"""A steady stream of events, and when each was seen in the event store: an outage shows as a gap."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError

from bench.house import PARTITIONS, TOPIC, House
from worker.contract.codec import encode
from worker.timing import SystemClock, cancel_and_wait

CLOCK = SystemClock()
RATE_PER_S = 100
LEARNERS = 200
_POLL_S = 0.02
_LIMIT_S = 300.0


@dataclass
class SteadyLoad:
    """`published` and `stored`: monotonic seconds by event id; `partition` of each. Stored is when we saw it."""

    published: dict[UUID, float] = field(default_factory=dict)
    stored: dict[UUID, float] = field(default_factory=dict)
    partition: dict[UUID, int] = field(default_factory=dict)
    open: set[UUID] = field(default_factory=set)

    def first_stored(self, after: float, partition: int) -> float | None:
        """When the first event of the partition that was published after this time was seen."""
        seen = (
            at
            for event, at in self.stored.items()
            if self.partition[event] == partition and self.published[event] > after
        )
        return min(seen, default=None)

    async def recovered(self, after: float, partitions: range = range(PARTITIONS)) -> float:
        """Wait for an event of every partition that was published after this time; seconds until the last one.

        Raises TimeoutError after minutes: then a worker has not come back at all.
        """
        while CLOCK.monotonic() - after < _LIMIT_S:
            firsts = [self.first_stored(after, partition) for partition in partitions]
            known = [first for first in firsts if first is not None]
            if len(known) == len(firsts):
                return max(known) - after
            await CLOCK.sleep(_POLL_S)
        raise TimeoutError(f"no new events of every partition within {_LIMIT_S:.0f} s")

    def slowest(self, begin: float, end: float) -> float:
        """Longest time from published to stored of the events published between these times."""
        return max(
            self.stored[event] - at
            for event, at in self.published.items()
            if begin <= at <= end and event in self.stored
        )

    async def caught_up(self) -> None:
        """Wait until everything published so far is stored."""
        waiting = set(self.open)
        while waiting & self.open:
            await CLOCK.sleep(_POLL_S)


@asynccontextmanager
async def steady_load(house: House, rate_per_s: int = RATE_PER_S) -> AsyncIterator[SteadyLoad]:
    """Publish at this rate over all partitions, and watch, until the block ends."""
    load = SteadyLoad()
    producer = AIOKafkaProducer(
        bootstrap_servers=house.kafka.bootstrap_servers, acks="all", enable_idempotence=True, linger_ms=5
    )
    await producer.start()
    tasks = [
        asyncio.create_task(_publish(producer, load, rate_per_s)),
        asyncio.create_task(_watch(house, load)),
    ]
    try:
        yield load
    finally:
        await cancel_and_wait(*tasks)
        await producer.stop()


async def _publish(producer: AIOKafkaProducer, load: SteadyLoad, rate_per_s: int) -> None:
    began = CLOCK.monotonic()
    for number in count():
        await CLOCK.sleep(began + number / rate_per_s - CLOCK.monotonic())
        event, partition = uuid4(), number % PARTITIONS
        load.partition[event], load.published[event] = partition, CLOCK.monotonic()
        load.open.add(event)
        try:
            sent = await producer.send(TOPIC, _value(event, number), partition=partition)
        except KafkaError:
            load.open.discard(event)
        else:
            sent.add_done_callback(partial(_not_published, load, event))


def _not_published(load: SteadyLoad, event: UUID, sent: "asyncio.Future[object]") -> None:
    """A broker that is away longer than the producer waits never got it: nobody needs to wait for it."""
    if sent.cancelled() or sent.exception() is not None:
        load.open.discard(event)


def _value(event: UUID, number: int) -> bytes:
    return encode(
        {
            "event_id": str(event),
            "event_type": "lesson_view",
            "occurred_at": CLOCK.now().isoformat(timespec="milliseconds"),
            "course_id": f"{1:024x}",
            "user_id": f"{number % LEARNERS:024x}",
            "lesson_id": f"{1:024x}",
        }
    )


async def _watch(house: House, load: SteadyLoad) -> None:
    """Ask for what is not stored yet: the oldest, and the newest of each partition."""
    while True:
        await CLOCK.sleep(_POLL_S)
        waiting = sorted(load.open, key=load.published.__getitem__)
        asked = waiting[:400] + waiting[400:][-40:]
        try:
            found = house.database.course_events.find({"_id": {"$in": asked}}, {"_id": 1})
            ids = [document["_id"] for document in await found.to_list(None)]
        except PyMongoError:
            continue
        now = CLOCK.monotonic()
        for event in ids:
            load.stored[event] = now
            load.open.discard(event)
