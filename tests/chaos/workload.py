"""Publishes what happens at a steady rate and watches it arrive: work is always in flight, an outage is a gap."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from aiokafka import AIOKafkaProducer
from pymongo.errors import PyMongoError

from tests.chaos.platform_scenarios import everything
from tests.chaos.steps import LEARNERS, Step
from tests.chaos.steps import PARTITIONS as PARTITIONS_OF
from tests.oracle import Entry, acknowledge, write_ledger
from worker.storage.database import Database
from worker.timing import SystemClock, cancel_and_wait

RATE_PER_S = 60
# Published together: a batch of the worker's, so that there is work in hand after each of them.
_BURST = 30
# A look is one small read; what is told is when something was stored, to a twentieth of a second.
_LOOK_EVERY_S = 0.05
# So that a look stays small when much waits.
_MOST_ASKED = 400
# Workers that keep dying fall behind; more than this would only be read at the end.
_MOST_WAITING = 1_000
# A broker that is away for minutes is none of the faults.
_REQUEST_TIMEOUT_MS = 180_000

PARTITIONS = PARTITIONS_OF[LEARNERS]
"""Of the learners' topic: whoever works has some of these."""

Place = tuple[str, int]
"""A partition, by its topic and number."""

_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Seen:
    """When an event was acknowledged, and when it was first seen in the event store."""

    place: Place
    published: float
    seen: float


@dataclass
class Workload:
    """What was published so far. Times are the wall clock's, in seconds.

    `waiting` are the events that were not seen in the store yet: partition, and when they were acknowledged. Of the
    partitions that are `unsure` only a further record tells where they end: of the learners' topic all are, where
    others publish `beside`. `rate_per_s` holds from the next burst on.
    """

    producer: AIOKafkaProducer
    ledger: Path
    steps: Iterator[Step]
    rate_per_s: float = RATE_PER_S
    acknowledged: dict[Place, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    waiting: dict[UUID, tuple[Place, float]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    unsure: set[Place] = field(default_factory=set)
    records: int = 0
    paused: bool = False
    beside: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def burst(self, count: int = _BURST) -> None:
        """Publish the next records and wait for their acknowledgements. Raises KafkaError."""
        async with self._lock:
            chosen = [next(self.steps) for _ in range(count)]
            write_ledger(self.ledger, [each.entry for each in chosen])
            first, self.records = self.records, self.records + count
            sent = [
                await self.producer.send(each.topic, value=each.record.value, key=each.record.key)
                for each in chosen
            ]
            for each, arrived in zip(chosen, await asyncio.gather(*sent), strict=True):
                now, place = time.time(), (each.topic, int(arrived.partition))
                # A broker that had it already, before it died, acknowledges without saying where.
                (self.unsure.discard if arrived.offset >= 0 else self.unsure.add)(place)
                self.acknowledged[place].append((arrived.offset, now))
                if each.entry.kind == "ok" and each.entry.event_id is not None:
                    self.waiting[each.entry.event_id] = (place, now)
            acknowledge(self.ledger, range(first, first + count))

    def unread(self, read: dict[str, int], at: float) -> int:
        """Records that were acknowledged by `at` and lie at or behind the next offsets to read."""
        return sum(
            offset >= read.get(f"{topic}:{partition}", 0) and moment <= at
            for (topic, partition), records in self.acknowledged.items()
            for offset, moment in records
        )

    def ends(self) -> Mapping[str, int]:
        """The next offset of each partition that has records, by `topic:partition`."""
        return {
            f"{topic}:{partition}": max(offset for offset, _ in records) + 1
            for (topic, partition), records in self.acknowledged.items()
        }

    async def promise(self, entries: Sequence[Entry]) -> None:
        """Note what somebody else publishes, all of it before the end."""
        async with self._lock:
            write_ledger(self.ledger, [replace(each, acknowledged=True) for each in entries])
            self.records += len(entries)
            self.beside = True

    async def end(self) -> None:
        """Publish no more, and know where every partition ends. Raises KafkaError."""
        self.paused = True
        if self.beside:
            self.unsure.update((LEARNERS, number) for number in range(PARTITIONS))
        await self.burst()
        while self.unsure:
            await self.burst()

    def stored_since(self, at: float) -> bool:
        """Whether an event published after `at` is stored. What is merely seen after it may be an earlier run's."""
        return any(each.published > at for each in reversed(self.seen))

    def recovered(self, at: float) -> float | None:
        """Seconds from `at` until every partition had an event that was published afterwards; None if not yet.

        Of the learners' topic: each has records all the time.
        """
        firsts: dict[Place, float] = {}
        for each in self.seen:
            if each.published > at and each.place[0] == LEARNERS:
                firsts.setdefault(each.place, each.seen)
        return max(firsts.values()) - at if len(firsts) == PARTITIONS else None

    def require_alive(self) -> None:
        """Raise what ended the publishing or the watching, if something did."""
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()


async def _publish(workload: Workload) -> None:
    due = _CLOCK.monotonic()
    while True:
        if not workload.paused and len(workload.waiting) < _MOST_WAITING:
            await workload.burst()
        every_s = _BURST / workload.rate_per_s
        # After an outage there is no catching up: the rate is a rate.
        due = max(due + every_s, _CLOCK.monotonic() - 4 * every_s)
        await _CLOCK.sleep(due - _CLOCK.monotonic())


async def _watch(workload: Workload, database: Database) -> None:
    """Ask for what is not stored yet: the oldest, and the newest."""
    while True:
        await _CLOCK.sleep(_LOOK_EVERY_S)
        open_ids = list(workload.waiting)
        asked = open_ids[:_MOST_ASKED] + open_ids[_MOST_ASKED:][-_BURST:]
        try:
            rows = await database.course_events.find({"_id": {"$in": asked}}, {"_id": 1}).to_list(None)
        except PyMongoError:
            continue
        now = time.time()
        for row in rows:
            workload.seen.append(Seen(*workload.waiting.pop(row["_id"]), now))


@asynccontextmanager
async def generating(
    kafka: str,
    database: Database,
    ledger: Path,
    *,
    seed: int,
    idempotent: bool,
    rate_per_s: float,
) -> AsyncIterator[Workload]:
    """Publish and watch until the block ends; what goes wrong in it ends the block, too."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        acks="all",
        enable_idempotence=idempotent,
        linger_ms=2,
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    await producer.start()
    workload = Workload(producer, ledger, everything(seed), rate_per_s)
    workload.tasks += [
        asyncio.create_task(_publish(workload)),
        asyncio.create_task(_watch(workload, database)),
    ]
    try:
        yield workload
        workload.require_alive()
    finally:
        await cancel_and_wait(*workload.tasks)
        await producer.stop()
