"""When mongod wrote a checkpoint: once a minute it writes out what has changed, with a core of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.fixture import CLOCK
from worker.storage.database import Client
from worker.timing import run_until_stopped

_LOOK_EVERY_S = 0.1
# What waited for a checkpoint is caught up with by then.
SETTLED_AFTER_S = 1.0
_SECTIONS_LEFT_OUT = ("metrics", "locks", "repl", "opLatencies", "tcmalloc", "indexStats", "transactions")


@dataclass
class Checkpoints:
    """`spans` are (began, ended), monotonic seconds, to a tenth of a second."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long all of them took."""
        return sum(ended - began for began, ended in self.spans)

    def touch(self, since: float, until: float) -> bool:
        """True if one was being written between the two times, or shortly before."""
        return any(since <= ended + SETTLED_AFTER_S and began <= until for began, ended in self.spans)


@asynccontextmanager
async def checkpoints(client: Client) -> AsyncIterator[Checkpoints]:
    """Look while the block runs. Raises what looking raised: no checkpoint seen must not mean not looked."""
    seen, stop = Checkpoints(), asyncio.Event()
    looking = asyncio.create_task(_look(client, seen, stop))
    try:
        yield seen
    finally:
        stop.set()  # not cancelled: the client is used on
        await looking


async def _look(client: Client, seen: Checkpoints, stop: asyncio.Event) -> None:
    """A span begins with the last look that saw nothing yet."""
    last, within = CLOCK.monotonic(), False
    while not stop.is_set():
        asked, running = CLOCK.monotonic(), await _is_running(client)
        if within:
            seen.spans[-1] = (seen.spans[-1][0], CLOCK.monotonic())
        elif running:
            seen.spans.append((last, CLOCK.monotonic()))
        last, within = asked, running
        await run_until_stopped(CLOCK.sleep(_LOOK_EVERY_S), stop)


async def _is_running(client: Client) -> bool:
    status = await client.admin.command({"serverStatus": 1, **dict.fromkeys(_SECTIONS_LEFT_OUT, 0)})
    return bool(status["wiredTiger"]["transaction"]["transaction checkpoint currently running"])
