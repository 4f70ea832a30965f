"""A role that runs inside a test: its metrics, waiting while it runs, and its end in good order or by a kill."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tests.support.scraping import until_moved
from tests.support.waiting import LIMIT_S, until
from worker.telemetry.metrics import Metrics
from worker.timing import cancel_and_wait


def sample(metrics: Metrics, name: str, labels: Mapping[str, str]) -> float | None:
    """One sample, as `get_sample_value` has it, which asks all metrics for all they have: too much while waiting."""
    one = metrics.registry.restricted_registry([name])
    found = [each for metric in one.collect() for each in metric.samples]
    return next((each.value for each in found if each.name == name and each.labels == labels), None)


class Role(Protocol):
    """What runs until the event is set, and drains then."""

    async def run(self, stop: asyncio.Event) -> None: ...


@dataclass(slots=True)
class RunningRole:
    """A role in this process. The class of each kind of role has what its tests ask."""

    metrics: Metrics
    task: asyncio.Task[None]
    stop: asyncio.Event

    def value(self, name: str, **labels: str) -> float:
        """A metric's sample, 0 while there is none."""
        return sample(self.metrics, f"sevenp_worker_{name}", labels) or 0.0

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a condition while the role runs; raise what ended the role, if something did."""

        async def holds() -> Any:
            if self.task.done():
                self.task.result()
            result = condition()
            return await result if asyncio.iscoroutine(result) else result

        await until(holds, what)

    async def until_moved(self, *names: str) -> None:
        """Wait until each of these metrics has moved, as a scrape tells."""
        await until_moved(self.metrics, *names)

    async def lives_on(self, component: str, seconds: float = 1.0) -> None:
        """Wait until it has said that it moves so many seconds from now: it is alive, and had its turns."""
        then = time.time() + seconds
        name = "component_last_progress_timestamp_seconds"
        await self.until(lambda: self.value(name, component=component) >= then, f"{component} lives on")

    async def drain(self) -> None:
        """Stop it in good order."""
        self.stop.set()
        await asyncio.wait_for(self.task, LIMIT_S)

    async def kill(self) -> None:
        """End it where it stands: nothing is saved or given back."""
        await cancel_and_wait(self.task)


_Running = TypeVar("_Running", bound=RunningRole)


@contextlib.asynccontextmanager
async def run(
    role: Role, make: Callable[[asyncio.Task[None], asyncio.Event], _Running]
) -> AsyncIterator[_Running]:
    """Run a role until the block ends: it is drained then, unless the test has ended it; after a failure killed."""
    stop = asyncio.Event()
    running = make(asyncio.create_task(role.run(stop)), stop)
    try:
        yield running
        if not running.task.done():
            await running.drain()
    finally:
        await running.kill()
