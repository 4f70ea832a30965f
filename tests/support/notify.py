"""What notify tests share: rows as the counts transaction writes them, and a notify role that runs inside a test."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from bson import ObjectId
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from tests.support.running import RunningRole, run
from tests.support.settings import changed
from worker.contract.identity import stream_id
from worker.gate import Gate
from worker.notify.delivery import Sender
from worker.notify.service import NAME, Notifier
from worker.settings import NotifySettings
from worker.storage.database import Database, Document
from worker.storage.outbox import UNSENT, notification_row
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, SystemClock

MADE = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)

_CLOCK: Clock = SystemClock()

# Short waits keep tests short; what is tested does not depend on their length.
QUICK = changed(
    NotifySettings(),
    lease_s=5.0,
    poll_s=0.2,
    pass_over_s=0.5,
    shortest_wait_s=0.05,
    longest_wait_unavailable_s=0.5,
    longest_wait_refused_s=0.1,
    longest_grace_s=0.5,
)


def hook(url: str, secret: str, **changes: Any) -> NotifySettings:
    """The settings of a webhook."""
    return changed(NotifySettings(), webhook_url=SecretStr(url), webhook_secret=SecretStr(secret), **changes)


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
class RunningNotifier(RunningRole):
    """A notify role in this process."""

    database: Database
    health: Health
    clock: Clock

    def count(self, outcome: str, kind: str = "completion") -> int:
        return int(self.value("notifications_total", kind=kind, outcome=outcome))

    async def until_status(self, status: str, count: int) -> None:
        """Wait until exactly `count` rows have a status."""

        async def holds() -> bool:
            return await self.database.notifications.count_documents({"status": status}) == count

        await self.until(holds, f"{count} rows {status}")

    async def until_unsent(self, count: int) -> None:
        """Wait until exactly `count` rows still have to be sent."""

        async def holds() -> bool:
            return await self.database.notifications.count_documents(UNSENT) == count

        await self.until(holds, f"{count} rows wait")


@contextlib.asynccontextmanager
async def notifying(
    database: Database,
    senders: Mapping[str, Sender],
    routes: Mapping[str, str] | None = None,
    *,
    clock: Clock = _CLOCK,
    gate: Gate | None = None,
    **changes: Any,
) -> AsyncIterator[RunningNotifier]:
    """Run a notify role, by default with both kinds on the only sender; drained at the end if the test did not."""
    (only, *_) = senders
    chosen = changed(QUICK, routes=routes or {"welcome": only, "completion": only}, **changes)
    metrics = Metrics(CollectorRegistry())
    health = Health(clock, metrics)
    notifier = Notifier(
        database,
        clock,
        health.component(NAME),
        metrics,
        chosen,
        senders,
        owner=f"test:{uuid4().hex}",
        seed=7,
        gate=gate,
    )
    async with run(
        notifier, lambda task, stop: RunningNotifier(metrics, task, stop, database, health, clock)
    ) as running:
        yield running
