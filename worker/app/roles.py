"""Settings as the options of each role; the only place that knows both."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from uuid import uuid4

from worker.app.dependencies import Probe, Readiness
from worker.app.notify import notify_options, notify_senders
from worker.app.retry import code_version, retry_handlers, retry_leases, retry_options
from worker.app.supervision import Role
from worker.contract.codec import Limits
from worker.ingest.options import IngestOptions
from worker.ingest.pipeline import BATCHES_IN_HAND, PipelineOptions
from worker.ingest.service import Ingest
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.security import kafka_options
from worker.notify.service import Notifier
from worker.retry.processor import RetryProcessor
from worker.settings import HEARTBEATS_PER_SESSION, RoleName, Settings
from worker.storage.database import Database
from worker.storage.transactions import Transactions
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock
from worker.watch.folds.refold import Refold
from worker.watch.folds.service import ProgressWatcher, WatchOptions
from worker.watch.sums.counting import Counter
from worker.watch.sums.rejected_rows import RejectedRows
from worker.watch.sums.service import CountsOptions, CountsWatcher

# Renewals within one lease: one slow answer costs no lease.
_RENEWALS_PER_LEASE = 3
# A full batch is decoded, stored and written in so many parts beside each other.
_PARTS_OF_A_BATCH = 2


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every role is given."""

    database: Database
    clock: Clock
    metrics: Metrics
    health: Health


def build_roles(settings: Settings, given: Surroundings, probes: Sequence[Probe]) -> list[Role]:
    """The settings' roles and the one that keeps readiness, each with its component; nothing runs yet."""
    builders = {
        RoleName.INGEST: _ingest,
        RoleName.PROGRESS: _progress,
        RoleName.COUNTS: _counts,
        RoleName.NOTIFY: _notify,
        RoleName.RETRY: _retry,
    }
    return [
        *(builders[name](settings, given) for name in settings.roles),
        Readiness(probes, given.clock, given.health),
    ]


def _ingest(settings: Settings, given: Surroundings) -> Role:
    options = IngestOptions(
        consumer=ConsumerOptions(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=settings.kafka_group_id,
            group_instance_id=settings.kafka_group_instance_id,
            topics=(settings.topic,),
            max_records=settings.ingest_max_records,
            max_bytes=settings.ingest_max_bytes // BATCHES_IN_HAND,
            session_timeout_s=settings.session_timeout_ms / 1000,
            heartbeats_per_session=HEARTBEATS_PER_SESSION,
            rebalance_timeout_s=settings.rebalance_timeout_ms / 1000,
            kafka=kafka_options(settings),
        ),
        pipeline=PipelineOptions(
            limits=Limits(max_future=timedelta(hours=settings.max_future_hours)),
            part_records=ceil(settings.ingest_max_records / _PARTS_OF_A_BATCH),
            max_bytes=settings.ingest_max_bytes,
        ),
        start_policy=settings.start_policy.value,
        drain_deadline_s=settings.drain_deadline_s,
        position_check_interval_s=settings.position_check_interval_s,
    )
    component = given.health.component(RoleName.INGEST)
    return Ingest(given.database, options, given.clock, given.metrics, component, uuid4)


def _progress(settings: Settings, given: Surroundings) -> Role:
    options = WatchOptions(
        code_version=code_version(settings),
        lease_s=settings.watch_lease_s,
        renew_every_s=settings.watch_lease_s / _RENEWALS_PER_LEASE,
        drain_deadline_s=settings.drain_deadline_s,
    )
    component = given.health.component(RoleName.PROGRESS)
    return ProgressWatcher(given.database, given.clock, component, given.metrics, options, owner=_owner())


def _counts(settings: Settings, given: Surroundings) -> Role:
    options = CountsOptions(
        code_version=code_version(settings),
        lease_s=settings.watch_lease_s,
        renew_every_s=settings.watch_lease_s / _RENEWALS_PER_LEASE,
        notify_within=timedelta(hours=settings.notify_within_hours),
        drain_deadline_s=settings.drain_deadline_s,
    )
    component = given.health.component(RoleName.COUNTS)
    return CountsWatcher(given.database, given.clock, component, given.metrics, options, owner=_owner())


def _notify(settings: Settings, given: Surroundings) -> Role:
    return Notifier(
        given.database,
        given.clock,
        given.health.component(RoleName.NOTIFY),
        given.metrics,
        notify_options(settings),
        notify_senders(settings, given.clock),
        owner=_owner(),
    )


def _retry(settings: Settings, given: Surroundings) -> Role:
    options = retry_options(settings)
    component = given.health.component(RoleName.RETRY)
    leases = retry_leases(given.database, _owner(), options.lease_s)

    async def keep_alive() -> None:
        component.beat()

    refold = Refold(
        given.database,
        given.clock,
        given.metrics,
        barrier=leases.announce,
        keep_alive=keep_alive,
        code_version=options.code_version,
    )
    counter = Counter(
        given.database,
        Transactions(given.database.client),
        given.clock,
        given.metrics,
        keep_alive=keep_alive,
        on_retry=retry_counter(given.metrics),
        notify_within=timedelta(hours=settings.notify_within_hours),
        code_version=options.code_version,
    )
    rejected_rows = RejectedRows(given.database, given.metrics, timedelta(hours=settings.notify_within_hours))
    handlers = retry_handlers(given.database, refold, counter, rejected_rows)
    return RetryProcessor(given.database, given.clock, component, given.metrics, options, handlers, leases)


def _owner() -> str:
    """Readable for operators, and another one at every start: a lease of the former run is not this one's."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
