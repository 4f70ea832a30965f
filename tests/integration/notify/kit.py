"""What notify tests share: rows as the counts transaction writes them, and a notify role that runs inside a test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from bson import ObjectId
from prometheus_client import CollectorRegistry

from tests.clocks import BUSY_LIMIT_S
from worker.contract.identity import stream_id
from worker.notify.delivery import Sender
from worker.notify.lane import LaneOptions
from worker.notify.policy import Policy
from worker.notify.service import NAME, Notifier, NotifyOptions
from worker.storage.database import Database, Document
from worker.storage.outbox import notification_row
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, SystemClock, cancel_and_wait

LIMIT_S = BUSY_LIMIT_S
POLL_S = 0.02
MADE = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)

_CLOCK: Clock = SystemClock()

# Short waits keep tests short; what is tested does not depend on their length.
QUICK = LaneOptions(
    lease_s=5.0,
    poll_s=0.2,
    policy=Policy(shortest_wait_s=0.05, longest_wait_away_s=0.5, longest_wait_refused_s=0.1),
)


def row(
    number: int, kind: str = "completion", by: Literal["live", "retry", "replay"] = "live", **data: Any
) -> Document:
    """The outbox row of one learner, told apart by `number`."""
    user, course = ObjectId(f"{number:024x}"), ObjectId("5f1d7f3e9d1c4b0001a0c001")
    return notification_row(
        kind,
        stream_id(course, user),
        user,
        course,
        by=by,
        data={"percentage": 100.0, "reached_at": MADE, **data},
        now=MADE,
    )


async def write(database: Database, rows: Iterable[Document]) -> list[str]:
    """Put rows into the outbox; their keys."""
    rows = list(rows)
    await database.notifications.insert_many(rows)
    return [each["_id"] for each in rows]


@dataclass(slots=True)
class RunningNotifier:
    """A notify role in this process."""

    database: Database
    metrics: Metrics
    health: Health
    task: asyncio.Task[None]
    stop: asyncio.Event

    def count(self, outcome: str, kind: str = "completion") -> int:
        return int(self.value("notifications_total", kind=kind, outcome=outcome))

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"sevenp_worker_{name}", labels) or 0.0

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        """Wait for a condition while the role runs."""

        async def holds() -> bool:
            if self.task.done():
                self.task.result()
            result = condition()
            return result if isinstance(result, bool) else await result

        await until(holds, what)

    async def until_status(self, status: str, count: int) -> None:
        """Wait until exactly `count` rows have a status."""

        async def holds() -> bool:
            return await self.database.notifications.count_documents({"status": status}) == count

        await self.until(holds, f"{count} rows {status}")

    async def drain(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, LIMIT_S)


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    end = _CLOCK.monotonic() + LIMIT_S
    while _CLOCK.monotonic() < end:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        await _CLOCK.sleep(POLL_S)
    raise AssertionError(f"not within {LIMIT_S:.0f} s: {what}")


@contextlib.asynccontextmanager
async def notifying(
    database: Database,
    senders: Mapping[str, Sender],
    routes: Mapping[str, str] | None = None,
    *,
    lane: LaneOptions = QUICK,
    clock: Clock = _CLOCK,
    **options: Any,
) -> AsyncIterator[RunningNotifier]:
    """Run a notify role, by default with both kinds on the only sender; drained at the end if the test did not."""
    (only, *_) = senders
    chosen = NotifyOptions(
        routes=routes or {"welcome": only, "completion": only},
        lane=lane,
        takeover_grace_s=0.5,
        look_every_s=0.1,
    )
    metrics = Metrics(CollectorRegistry())
    health = Health(clock)
    notifier = Notifier(
        database,
        clock,
        health.component(NAME),
        metrics,
        replace(chosen, **options),
        senders,
        owner=f"test:{uuid4().hex}",
        seed=7,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(notifier.run(stop))
    try:
        yield RunningNotifier(database, metrics, health, task, stop)
        if not task.done():
            stop.set()
            await asyncio.wait_for(task, LIMIT_S)
    finally:
        await cancel_and_wait(task)
