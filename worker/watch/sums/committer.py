"""Transactions of sums and read models, each run until it commits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from worker.errors import Retryable
from worker.storage.transactions import Session, Transactions
from worker.timing import Clock

T = TypeVar("T")

_ATTEMPTS = 5
_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Committer:
    """`keep_alive` is awaited after every attempt; `on_retry` hears of each one that MongoDB failed."""

    transactions: Transactions
    clock: Clock
    keep_alive: Callable[[], Awaitable[None]]
    on_retry: Callable[[Retryable], None]

    async def run(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run one transaction until it commits. Raises Retryable after five attempts, else what `work` raises."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self.transactions.run(work)
            except Retryable as error:
                self.on_retry(error)
                if attempt + 1 == _ATTEMPTS:
                    raise
            finally:
                await self.keep_alive()
            await self.clock.sleep(_WAIT_S)
        raise AssertionError("unreachable")
