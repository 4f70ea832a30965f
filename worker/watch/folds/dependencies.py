"""What folds of one projection work with, whoever folds: live, again, or beside the live documents."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from projections.kinds import StreamProjection
from worker import __version__
from worker.storage.database import Database
from worker.telemetry.metrics import Metrics
from worker.timing import Clock


@dataclass(frozen=True, slots=True)
class FoldDependencies:
    """`barrier` returns once everything stored before it has a majority.

    `keep_alive` is awaited after every round, a second of work at most: to beat, to renew leases. `code_version`
    stands in the items of streams whose fold fails.
    """

    database: Database
    projection: StreamProjection
    clock: Clock
    metrics: Metrics
    barrier: Callable[[], Awaitable[None]]
    keep_alive: Callable[[], Awaitable[None]]
    code_version: str = __version__
