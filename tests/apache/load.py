"""A publisher that sends simulated traffic at a steady rate for as long as it is wanted, and keeps the ledger."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.chaos.traffic import traffic
from tests.oracle import Entry
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.timing import Clock, SystemClock, cancel_and_wait

# Made at once, in half a second: some hundred learners, each chunk others.
_CHUNK = 10_000
_SLICE_S = 0.1
# A broker that is killed is back long before; the producer must not give up, or it would not know what was stored.
_LONGEST_WAIT_MS = 600_000


class Load:
    """Publishes until `stop`, which raises what ended it before. Every record is in `ledger` before it is sent.

    `acknowledged` are safe in Kafka, `in_flight` handed to the producer and not yet safe. After `at_full_rate`
    records a tenth of the rate goes on, so that a slow machine has an end in sight.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, *, seed: int, per_s: int, at_full_rate: int = 150_000
    ) -> None:
        self.ledger: list[Entry] = []
        self.acknowledged = 0
        self._seed = seed
        self._per_s = per_s
        self._at_full_rate = at_full_rate
        self._clock: Clock = SystemClock()
        self._publisher = Publisher(
            bootstrap_servers, topic, clock=self._clock, kafka={"request_timeout_ms": _LONGEST_WAIT_MS}
        )
        self._waiting: list[tuple[OutgoingRecord, Entry]] = []
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        return len(self.ledger) - self.acknowledged

    @property
    def _rate(self) -> float:
        return self._per_s if len(self.ledger) < self._at_full_rate else self._per_s / 10

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def stop(self) -> None:
        """Return when the last record is acknowledged."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        async with self._publisher as publisher:
            last = self._clock.monotonic()
            while not self._stop.is_set():
                began = self._clock.monotonic()
                # A second's worth at most: what a slow machine or a dead broker held up does not come as a flood.
                due = min(1.0, max(_SLICE_S, began - last)) * self._rate
                last = began
                records = await self._next(round(due))
                await publisher.publish(records)
                self.acknowledged += len(records)
                await self._clock.sleep(max(0.0, began + _SLICE_S - self._clock.monotonic()))

    async def _next(self, count: int) -> Sequence[OutgoingRecord]:
        while len(self._waiting) < count:
            made = await asyncio.to_thread(traffic, self._seed, _CHUNK)
            self._seed += 1
            self._waiting += zip(made.records, made.ledger, strict=True)
        some, self._waiting = self._waiting[:count], self._waiting[count:]
        self.ledger += [entry for _, entry in some]
        return [record for record, _ in some]
