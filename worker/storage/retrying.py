"""Repeat one step for as long as its dependency is away: nothing is skipped because a server was busy."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.errors import Retryable
from worker.timing import LONGEST_BACKOFF_S, SHORTEST_BACKOFF_S, Clock, backoff_s

T = TypeVar("T")


async def retrying(
    operation: Callable[[], Awaitable[T]], *, clock: Clock, on_retry: Callable[[Retryable], None]
) -> T:
    """Await `operation` until it returns; `Retryable` is waited out, every other error is raised at once.

    Waits are exponential with full jitter between 0.05 and 5 s, without a last attempt: a caller that must
    give up cancels. `on_retry` is called before each wait. The operation must be one that may run twice.
    """
    attempt = 0
    while True:
        try:
            return await operation()
        except Retryable as error:
            on_retry(error)
        attempt += 1
        jitter = random.random()  # noqa: S311  # not a secret
        wait_s = backoff_s(attempt, 2 * SHORTEST_BACKOFF_S, LONGEST_BACKOFF_S, jitter)
        await clock.sleep(max(SHORTEST_BACKOFF_S, wait_s))


async def retrying_for(
    limit_s: float,
    operation: Callable[[], Awaitable[T]],
    *,
    clock: Clock,
    on_retry: Callable[[Retryable], None] = lambda _error: None,
) -> T:
    """`retrying`, but the last `Retryable` is raised once `limit_s` are over; an attempt under way is not cut off."""
    end = clock.monotonic() + limit_s

    async def attempt() -> T | Retryable:
        try:
            return await operation()
        except Retryable as error:
            if clock.monotonic() >= end:
                return error
            raise

    result = await retrying(attempt, clock=clock, on_retry=on_retry)
    if isinstance(result, Retryable):
        raise result
    return result
