"""Time as a value that is handed in: a clock for waiting and stamping, a deadline that is passed down."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What the worker knows of time. Tests hand in one they move by hand."""

    def now(self) -> datetime:
        """Wall clock: aware, UTC, whole milliseconds (what BSON can hold)."""

    def monotonic(self) -> float:
        """Seconds that never go backwards and count while the machine sleeps; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Wait; never blocks the event loop."""


# Linux's monotonic clock stands still while the machine is suspended, and nobody else waits: a lease would seem held,
# and a batch young, hours after the server forgot them. Where there is no such clock, the monotonic one counts sleep.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        return time.clock_gettime(_CLOCK)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """One point in monotonic time that a whole piece of work shares, however many steps it takes."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        return cls(clock, clock.monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        return self.clock.monotonic() >= self.at

    async def bound(self, work: Awaitable[T]) -> T:
        """Await `work` for at most the remaining time; raises TimeoutError when it runs out."""
        return await asyncio.wait_for(work, self.remaining_s)


# Python 3.11 can lose a cancellation that meets an answer: it is sent again after this long. Not sooner than a busy
# machine needs: a second one in the middle of the first can cost PyMongo a lock (see `storage.driver.close`).
_CANCEL_AGAIN_S = 2.0


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when all are over; what they returned or raised is left in them.

    Errors count as seen: asyncio does not report the ones that nobody asks for, behind the one that ended it all.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def cancel_within(limit_s: float, *tasks: asyncio.Task[Any]) -> None:
    """`cancel_and_wait`, but a task that ignores its cancellation for so long is left behind."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await cancel_and_wait(*tasks)


async def cancel_and_wait_shielded(*tasks: asyncio.Task[Any]) -> None:
    """Like `cancel_and_wait`, where nothing may be left running by whoever is cancelled again meanwhile.

    That cancellation is raised when all are over.
    """
    ending = asyncio.create_task(cancel_and_wait(*tasks))
    cancelled: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.wait({ending})
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled


async def complete(work: Coroutine[Any, Any, T], limit_s: float = 10.0) -> T:
    """Await what must be told before we end, whoever cancels us meanwhile; that cancellation is raised afterwards.

    Raises what `work` raises, and TimeoutError for work that is not over after `limit_s`.
    """
    working = asyncio.create_task(asyncio.wait_for(work, limit_s))
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        if not working.cancelled():
            working.exception()  # counts as seen
        raise cancelled
    return working.result()


async def in_thread(call: Callable[[], T]) -> T:
    """What `call` returns or raises, run beside the event loop: for what may wait for a file, or a silent pipe.

    Whoever is cancelled meanwhile leaves it behind: its thread keeps no process alive.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(answer: Callable[[], None]) -> None:
        if not done.cancelled():
            answer()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # it is raised where it is awaited
            answer = partial(done.set_exception, error)
        else:
            answer = partial(done.set_result, result)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, answer)

    Thread(target=work, daemon=True).start()
    return await done


async def run_until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Await work that may take for ever; False, with the work cancelled, when `stop` is set first.

    Raises what `work` raises.
    """
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        await cancel_and_wait(working, stopping)


class Pace:
    """The shortest time between the beginnings of two turns: what comes meanwhile is done together.

    Where turns are long, or seldom have work, it costs nothing: the first after a pause begins at once.
    """

    def __init__(self, clock: Clock, shortest_s: float) -> None:
        self._clock = clock
        self._shortest_s = shortest_s
        self._next_at = clock.monotonic()

    async def keep(self, stop: asyncio.Event) -> None:
        """Wait for the next turn, or until `stop`."""
        rest_s = self._next_at - self._clock.monotonic()
        if rest_s > 0:
            await run_until_stopped(self._clock.sleep(rest_s), stop)
        self._next_at = self._clock.monotonic() + self._shortest_s


class Throttle:
    """At most `per_s` things a second on average, however many are done at once; without a number, any."""

    def __init__(self, clock: Clock, per_s: float | None) -> None:
        self._clock = clock
        self._per_s = per_s
        self._free_at = clock.monotonic()

    async def wait_for(self, number: int) -> None:
        """Wait until so many may be done: those before have had their time."""
        if self._per_s is None:
            return
        rest_s = self._free_at - self._clock.monotonic()
        if rest_s > 0:
            await self._clock.sleep(rest_s)
        self._free_at = max(self._free_at, self._clock.monotonic()) + number / self._per_s


# 2^30 is beyond every limit; a larger power would only overflow.
_MOST_DOUBLINGS = 30


def backoff_s(attempt: int, shortest_s: float, longest_s: float, jitter: float = 1.0) -> float:
    """Seconds to wait after failed attempt number `attempt` (1, 2, 3 ...): exponential with full jitter.

    Between 0 and `shortest_s` x 2^(attempt - 1), at most `longest_s`; `jitter` is uniform in 0-1.
    """
    return jitter * min(longest_s, shortest_s * 2.0 ** min(max(attempt - 1, 0), _MOST_DOUBLINGS))


# Long enough to let a primary step down in peace, short enough that recovery is noticed at once.
SHORTEST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 5.0


class Backoff:
    """The waits of a role between failures in a row, in which it goes on beating and ends at once when told to."""

    def __init__(self, clock: Clock, beat: Callable[[], None], seed: int | None = None) -> None:
        self._clock = clock
        self._beat = beat
        self._random = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self._failures = 0

    def reset(self) -> None:
        """Something succeeded: the next wait is the shortest again."""
        self._failures = 0

    async def wait(self, stop: asyncio.Event) -> None:
        """Wait 0.05 to 5 s, longer with each failure in a row; ends at once with `stop`."""
        self._failures += 1
        wait_s = backoff_s(self._failures, SHORTEST_BACKOFF_S, LONGEST_BACKOFF_S, self._random.random())
        await self.pause(stop, max(SHORTEST_BACKOFF_S, wait_s))

    async def pause(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait so long; ends at once with `stop`."""
        self._beat()
        await run_until_stopped(self._clock.sleep(seconds), stop)
        self._beat()
