"""Questions to servers: each is asked at most once, and some are not answered."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from worker.errors import WorkerError

T = TypeVar("T")


class NotTold(WorkerError):
    """A server does not tell what somebody wants to know, or not this user: the message says what stays unknown."""


class Once(Generic[T]):
    """Called, it gives the one answer, or raises the one error, to everybody who asks.

    Where the one who asks is cancelled, the next one asks anew.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._answer: tuple[T] | WorkerError | None = None

    async def __call__(self) -> T:
        async with self._lock:
            if self._answer is None:
                try:
                    self._answer = (await self._ask(),)
                except WorkerError as error:
                    self._answer = error
        if isinstance(self._answer, WorkerError):
            raise self._answer
        return self._answer[0]
