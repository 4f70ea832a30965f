"""Tests wait for conditions: one way to do that, with one limit that only failures reach."""

import asyncio
import inspect
import os
import time
from collections.abc import Callable
from typing import Any

# For one condition, most of which are met within a second: only a failure waits this long, also on a machine that has
# ten times as much to do as it can.
LIMIT_S = 240.0
# Between two looks: a tenth of what was waited already. Each look takes from those who work.
_POLL_S = 0.02
_LONGEST_POLL_S = 0.1
# Each look at a process is a request or a file.
_PROCESS_POLL_S = 0.05


def stretched(seconds: float) -> float:
    """A promised time, longer where more processes wait for a core than there are: they share the same seconds."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class NotInTime(AssertionError, TimeoutError):
    """The condition did not hold within the limit: a failed test, or a time-out to whoever handles one."""


async def until(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """Wait until `condition` (plain or async) returns something true, and return it. Raises NotInTime.

    Of Python 3.11 `asyncio.wait_for` may swallow a cancellation, and clients of servers are full of it: the time is
    looked at here as well.
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit_s) as limit:
            while not limit.expired():
                result = condition()
                if inspect.isawaitable(result):
                    result = await result
                if result:
                    return result
                waited = time.monotonic() - began
                await asyncio.sleep(min(max(_POLL_S, waited / 10), _LONGEST_POLL_S))
    except TimeoutError as error:
        if not limit.expired():  # the condition's own
            raise
        raise NotInTime(f"not within {limit_s:.0f} s: {what}") from error
    raise NotInTime(f"not within {limit_s:.0f} s: {what}")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """The same without an event loop: for tests of processes."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise NotInTime(f"not within {LIMIT_S:.0f} s: {what}")
        time.sleep(_PROCESS_POLL_S)
