"""PyMongo's waits for a connection and for a server, made safe to be cancelled on Python 3.11.

PyMongo 4.20 waits by `asyncio.wait_for(condition.wait(), …)`. Before Python 3.12 that runs in a task of its own,
which takes the condition's lock again once it is told to end. Who is cancelled in that moment leaves at once: it
gives back a lock that it does not hold, and the task takes it afterwards and keeps it. From then on no operation of
the client gets a connection, or a server, until the process ends (docs/decisions/2026-11-30-locks-of-the-driver.md).
"""

import asyncio
import sys
from types import ModuleType
from typing import Any

from pymongo.asynchronous import pool, topology

_NAME = "_async_cond_wait"
_WAITING: tuple[ModuleType, ...] = (pool, topology)


def make_waits_safe() -> None:
    """Have the driver's pools and topologies wait without a task of their own, where Python 3.11 runs them.

    May be called twice. A release of PyMongo that has no such function is left as it is.
    """
    if sys.version_info >= (3, 12):
        return
    for module in _WAITING:
        if hasattr(module, _NAME):
            setattr(module, _NAME, _wait)


async def _wait(condition: Any, timeout: float | None) -> bool:  # noqa: ASYNC109  # as PyMongo calls it
    """Wait until the condition is notified; False where that took longer than `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return bool(await condition.wait())
    except TimeoutError:
        return False
