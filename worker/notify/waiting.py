"""MongoDB is waited for by every part of the role, until it is told to stop: then only what insists is."""

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.errors import Retryable
from worker.storage.errors import translated
from worker.storage.retrying import retrying
from worker.timing import Clock

T = TypeVar("T")


class MongoDBWaits:
    """Repeats a step for as long as MongoDB is away; `on_retry` is called before each wait, `on_answer` after any.

    Once `stopping`, a step that does not insist raises Retryable instead. `away_at` is when MongoDB was away last, in
    monotonic seconds.
    """

    def __init__(
        self,
        clock: Clock,
        on_retry: Callable[[Retryable], None],
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self.stopping = False
        self.away_at = -math.inf
        self._clock = clock
        self._on_retry = on_retry
        self._on_answer = on_answer

    async def until_answered(self, step: Callable[[], Awaitable[T]], *, insist: bool = False) -> T:
        """What the step returns. Raises what waiting cannot heal."""

        async def attempt() -> T:
            with translated():
                return await step()

        def on_unavailable(error: Retryable) -> None:
            self.away_at = self._clock.monotonic()
            self._on_retry(error)
            if self.stopping and not insist:
                raise error

        answer = await retrying(attempt, clock=self._clock, on_retry=on_unavailable)
        self._on_answer()
        return answer
