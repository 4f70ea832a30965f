"""Each role of its settings and of what it needs of others; the only place that knows all of them."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from worker.app.dependencies import Probe, Readiness
from worker.app.ingest import ingest_options
from worker.app.notify import notify_senders
from worker.app.retry import retry_groups, retry_handlers
from worker.app.supervision import Role
from worker.ingest.service import Ingest
from worker.notify.service import Notifier
from worker.retry.processor import RetryProcessor
from worker.settings import RoleName, Settings
from worker.storage.database import Database
from worker.storage.transactions import Transactions
from worker.telemetry.health import Health
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


def build_roles(settings: Settings, given: Dependencies, probes: Sequence[Probe]) -> list[Role]:
    """The settings' roles and the one that keeps readiness, each with its component; nothing runs yet."""
    builders = {
        RoleName.INGEST: _ingest,
        RoleName.PROGRESS: _progress,
        RoleName.COUNTS: _counts,
        RoleName.NOTIFY: _notify,
        RoleName.RETRY: _retry,
    }
    return [
        *(builders[name](settings, given) for name in settings.process.roles),
        Readiness(probes, given.clock, given.health),
    ]


def _ingest(settings: Settings, given: Dependencies) -> Role:
    options = ingest_options(settings.kafka, settings.ingest)
    component = given.health.component(RoleName.INGEST)
    return Ingest(given.database, options, given.clock, given.metrics, component, uuid4)


def _progress(settings: Settings, given: Dependencies) -> Role:
    component = given.health.component(RoleName.PROGRESS)
    return event_follower(
        given.database, given.clock, component, given.metrics, settings.progress, owner=_owner()
    )


def _counts(settings: Settings, given: Dependencies) -> Role:
    component = given.health.component(RoleName.COUNTS)
    owner = _owner()
    sums = record_follower(
        given.database, given.clock, component, given.metrics, settings.counts, owner=owner
    )
    if not given.database.catalogue.models:
        return sums
    models = model_follower(
        given.database, given.clock, component, given.metrics, settings.counts, owner=owner
    )
    return Together(RoleName.COUNTS, [sums, models])


def _notify(settings: Settings, given: Dependencies) -> Role:
    return Notifier(
        given.database,
        given.clock,
        given.health.component(RoleName.NOTIFY),
        given.metrics,
        settings.notify,
        notify_senders(settings, given.clock),
        owner=_owner(),
    )


def _retry(settings: Settings, given: Dependencies) -> Role:
    retry = settings.retry
    component = given.health.component(RoleName.RETRY)
    groups = retry_groups(given.database, given.clock, component, given.metrics, retry, _owner())

    async def keep_alive() -> None:
        component.beat()

    refolds = {
        each.name: Refold(
            given.database,
            each,
            given.clock,
            given.metrics,
            barrier=groups.barrier,
            keep_alive=keep_alive,
            code_version=retry.code_version,
        )
        for each in given.database.catalogue.streams
    }
    transactions = Transactions(given.database.client)
    counter = Counter(
        given.database,
        transactions,
        given.clock,
        given.metrics,
        keep_alive=keep_alive,
        on_retry=retry_counter(given.metrics),
        notify_within=settings.counts.notify_within,
        code_version=retry.code_version,
    )
    committer = Committer(transactions, given.clock, keep_alive, retry_counter(given.metrics))
    vectors = vector_sums(given.database, committer, given.metrics, code_version=retry.code_version)
    rejected_rows = RejectedRows(given.database, given.metrics, settings.counts.notify_within)
    views = model_views(given.database, committer, given.metrics, code_version=retry.code_version)
    handlers = retry_handlers(given.database, refolds, counter, rejected_rows, vectors, views)
    return RetryProcessor(given.database, given.clock, component, given.metrics, retry, handlers, groups)


def _owner() -> str:
    """Readable for operators, and another one at every start: a lease of the former run is not this one's."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
