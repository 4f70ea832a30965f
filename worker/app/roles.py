"""Each role of its settings and of what it needs of others; the only place that knows all of them."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from projections.kinds import StreamProjection
from worker.app.dependencies import Probe, Readiness
from worker.app.notify import notify_senders
from worker.app.retry import retry_groups, retry_handlers
from worker.app.supervision import Role
from worker.ingest.options import IngestOptions
from worker.ingest.service import Ingest
from worker.notify.service import Notifier
from worker.retry.processor import RetryProcessor
from worker.settings import RoleName, Settings
from worker.storage.database import Database
from worker.storage.transactions import Transactions
from worker.telemetry.health import Component, Health
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock
from worker.watch.folds.refold import Refold
from worker.watch.models.views import model_views
from worker.watch.roles import Together, event_follower, model_follower, record_follower
from worker.watch.sums.committer import Committer
from worker.watch.sums.counting import Counter
from worker.watch.sums.rejected_rows import RejectedRows
from worker.watch.sums.vectors import vector_sums


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What every role is given."""

    database: Database
    clock: Clock
    metrics: Metrics
    health: Health


# What every role is made of first, in the order of its arguments.
_Parts = tuple[Database, Clock, Component, Metrics]


def build_roles(settings: Settings, given: Dependencies, probes: Sequence[Probe]) -> list[Role]:
    """The settings' roles and the one that keeps readiness, each with its component; nothing runs yet."""
    builders: Mapping[RoleName, Callable[[Settings, _Parts, str], Role]] = {
        RoleName.INGEST: _ingest,
        RoleName.PROGRESS: _progress,
        RoleName.COUNTS: _counts,
        RoleName.NOTIFY: _notify,
        RoleName.RETRY: _retry,
    }

    def built(name: RoleName) -> Role:
        parts = given.database, given.clock, given.health.component(name), given.metrics
        return builders[name](settings, parts, _owner())

    return [*map(built, settings.process.roles), Readiness(probes, given.clock, given.health)]


def _ingest(settings: Settings, parts: _Parts, _owner: str) -> Role:
    database, clock, component, metrics = parts
    options = IngestOptions.of(settings.kafka, settings.ingest)
    return Ingest(database, options, clock, metrics, component, uuid4)


def _progress(settings: Settings, parts: _Parts, owner: str) -> Role:
    return event_follower(*parts, settings.progress, owner=owner)


def _counts(settings: Settings, parts: _Parts, owner: str) -> Role:
    database, *_ = parts
    sums = record_follower(*parts, settings.counts, owner=owner)
    if not database.catalogue.models:
        return sums
    return Together(RoleName.COUNTS, [sums, model_follower(*parts, settings.counts, owner=owner)])


def _notify(settings: Settings, parts: _Parts, owner: str) -> Role:
    _, clock, *_ = parts
    return Notifier(*parts, settings.notify, notify_senders(settings, clock), owner=owner)


def _retry(settings: Settings, parts: _Parts, owner: str) -> Role:
    database, clock, component, metrics = parts
    code_version, notify_within = settings.retry.code_version, settings.counts.notify_within
    groups = retry_groups(*parts, settings.retry, owner)
    transactions, count_retry = Transactions(database.client), retry_counter(metrics)

    async def keep_alive() -> None:
        component.beat()

    def refold(projection: StreamProjection) -> Refold:
        barrier = groups.barrier
        return Refold(
            database,
            projection,
            clock,
            metrics,
            barrier=barrier,
            keep_alive=keep_alive,
            code_version=code_version,
        )

    counter = Counter(
        database,
        transactions,
        clock,
        metrics,
        keep_alive=keep_alive,
        on_retry=count_retry,
        notify_within=notify_within,
        code_version=code_version,
    )
    committer = Committer(transactions, clock, keep_alive, count_retry)
    handlers = retry_handlers(
        database,
        {each.name: refold(each) for each in database.catalogue.streams},
        counter,
        RejectedRows(database, metrics, notify_within),
        vector_sums(database, committer, metrics, code_version=code_version),
        model_views(database, committer, metrics, code_version=code_version),
    )
    return RetryProcessor(*parts, settings.retry, handlers, groups)


def _owner() -> str:
    """Readable for operators, and another one at every start: a lease of the former run is not this one's."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
