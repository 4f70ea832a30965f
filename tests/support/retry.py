"""A retry processor in this process, handlers that note what they are given, and items to give them."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from structlog.testing import capture_logs
from typer.testing import CliRunner

from projections.kinds import StreamProjection
from projections.progress.projection import PROGRESS
from tests.support.counts import dependencies
from tests.support.progress import fold_dependencies
from tests.support.running import RunningRole, run
from tests.support.settings import changed
from worker.app.retry import retry_groups, retry_handlers, skips_by_setting
from worker.cli.commands import app
from worker.gate import Gate
from worker.retry.processor import RetryProcessor
from worker.settings import RetrySettings, variable
from worker.storage.database import Database, Document
from worker.storage.work_items import PROGRESS_FOLD, Handler, Item, ItemId, Verdict
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, SystemClock
from worker.watch.folds.refold import Refold
from worker.watch.roles import counters
from worker.watch.sums.rows import RejectedRows

QUICK = {
    "release": "test",
    "lease_s": 3.0,
    "renewals_per_lease": 15.0,
    "poll_every_s": 0.05,
    "measure_every_s": 0.2,
    "take_back_every_s": 0.05,
}
EVENT_TYPE = PROGRESS_FOLD


def limited(**limits: Any) -> RetrySettings:
    """The settings of a role that looks often, with these limits."""
    return changed(RetrySettings(), **{**QUICK, **limits})


LIMITS = limited(rate_per_s=1_000, backoff_s=0.05, longest_backoff_s=0.1, item_lease_s=5.0)


@dataclass
class Noting:
    """A handler that notes when it was given which items, and answers with `verdicts`."""

    clock: Clock = field(default_factory=SystemClock)
    verdict: Callable[[Item], Verdict | None] = lambda _item: None
    calls: list[tuple[float, list[Item]]] = field(default_factory=list)

    async def __call__(self, items: Sequence[Item]) -> Mapping[ItemId, Verdict]:
        self.calls.append((self.clock.monotonic(), list(items)))
        verdicts = {item.id: self.verdict(item) for item in items}
        return {identity: verdict for identity, verdict in verdicts.items() if verdict is not None}

    @property
    def items(self) -> list[Item]:
        return [item for _, items in self.calls for item in items]


def item(name: str, stream: str | None = None, **changes: Any) -> Document:
    """A due item."""
    now = datetime.now(UTC)
    return {
        "_id": name,
        "event_type": EVENT_TYPE,
        "data": {},
        "status": "pending",
        "retry_count": 0,
        "created_at": now,
        "due_at": now - timedelta(seconds=1),
        "last_error": None,
        "last_retry": None,
        "processed_at": None,
        "stream_id": stream,
        "code_version": "test",
        "lease_owner": None,
        "lease_until": None,
        **changes,
    }


async def put(database: Database, items: Iterable[Document]) -> None:
    await database.analytics_queue.insert_many(list(items), ordered=False)


async def stored(database: Database, name: Any) -> Document:
    found = await database.analytics_queue.find_one({"_id": name})
    assert found is not None
    return found


async def with_status(database: Database, status: str) -> int:
    return await database.analytics_queue.count_documents({"status": status})


@dataclass(slots=True)
class RunningRetry(RunningRole):
    """A retry role in this process."""

    role: RetryProcessor
    database: Database

    async def until_status(self, status: str, count: int) -> None:
        async def reached() -> bool:
            return await with_status(self.database, status) == count

        await self.until(reached, f"{count} items {status}")


def processor(
    database: Database,
    handlers: Mapping[str, Handler],
    *,
    clock: Clock | None = None,
    limits: RetrySettings = LIMITS,
    owner: str = "",
    metrics: Metrics | None = None,
    gate: Gate | None = None,
    **changes: Any,
) -> RetryProcessor:
    used = clock or SystemClock()
    settings = changed(limits, **changes)
    measured = metrics or Metrics()
    component = Health(used, measured).component("retry")
    groups = retry_groups(database, used, component, measured, settings, owner or uuid.uuid4().hex)
    seed = random.Random().randrange(10**6)  # noqa: S311 - jitter
    parts = database, used, component, measured, settings, handlers, groups
    return RetryProcessor(*parts, seed=seed, gate=gate)


@contextlib.asynccontextmanager
async def running(
    database: Database, handlers: Mapping[str, Handler], **changes: Any
) -> AsyncIterator[RunningRetry]:
    """Run a retry role; it is drained at the end, unless the test has ended it."""
    metrics = Metrics()
    role = processor(database, handlers, metrics=metrics, **changes)
    async with run(role, lambda task, stop: RunningRetry(metrics, task, stop, role, database)) as started:
        yield started


def folding(
    database: Database,
    projection: StreamProjection = PROGRESS,
    metrics: Metrics | None = None,
    limits: RetrySettings = LIMITS,
    gate: Gate | None = None,
) -> dict[str, Handler]:
    """The handlers of the real worker, with a fold of the test's choice."""
    metrics = metrics or Metrics()
    refold = Refold(fold_dependencies(database, projection, metrics=metrics))
    given = dependencies(database, metrics=metrics)
    rejected_rows = RejectedRows(given, timedelta.max)
    return dict(
        retry_handlers(
            database,
            {projection.name: refold},
            counters(given, timedelta.max).values(),
            rejected_rows,
            skips_by_setting(database, SystemClock(), metrics, limits, "test"),
            gate,
        )
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What a command answered."""

    exit_code: int
    stdout: str
    stderr: str


Run = Callable[..., Awaitable[Said]]


def command_line(group: str, **settings: str) -> Run:
    """One group of the command line; in a thread, since each command has an event loop of its own."""
    environment = {variable(name): value for name, value in settings.items()}

    def invoke(arguments: Sequence[str]) -> Said:
        # A role of the test that runs meanwhile would log to the stdout that is caught here.
        with capture_logs():
            result = CliRunner(env=environment).invoke(app, [group, *arguments])
        return Said(result.exit_code, result.stdout, result.stderr)

    async def run(*arguments: str) -> Said:
        return await asyncio.to_thread(invoke, arguments)

    return run
