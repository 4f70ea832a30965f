"""Each role of its settings and of what it needs of others; the only place that knows all of them."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import uuid4

from projections.kinds import StreamProjection
from worker.app.canary import make_canary
from worker.app.dependencies import Probe, Readiness
from worker.app.notify import notify_senders
from worker.app.presence import Presence, running_as
from worker.app.retry import retry_groups, retry_handlers, skips_by_setting
from worker.app.supervision import Role
from worker.backlog import Backlog
from worker.gate import Gate, Rate
from worker.ingest.options import IngestOptions
from worker.ingest.service import Ingest
from worker.notify.service import Notifier
from worker.operate.canary import NAME as CANARY
from worker.operate.control.gaps import StopAtGaps
from worker.retry.processor import RetryProcessor
from worker.settings import OnGap, RoleName, Settings, WatchSettings
from worker.storage.database import Database
from worker.storage.transactions import Transactions
from worker.telemetry.health import Component, Health
from worker.telemetry.metrics import Metrics
from worker.telemetry.tracing import UNTRACED, Tracing
from worker.timing import Clock
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.refold import Refold
from worker.watch.roles import (
    Together,
    Watcher,
    contenders,
    counters,
    event_follower,
    model_follower,
    model_views,
    record_follower,
)
from worker.watch.sums.rows import RejectedRows
from worker.watch.sums.runner import Dependencies as WatchDependencies

S = TypeVar("S", bound=WatchSettings)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What every role is given. Whoever reads what operators have paused turns the `gate`."""

    database: Database
    clock: Clock
    metrics: Metrics
    health: Health
    tracing: Tracing = UNTRACED
    gate: Gate = field(default_factory=Gate)


# What every role is made of first, in the order of its arguments.
_Parts = tuple[Database, Clock, Component, Metrics]


@dataclass(frozen=True, slots=True)
class _Run:
    """What concerns all roles of this run of the process.

    Where spans go, the gate, its name in leases and claims, and whether its ingest is behind.
    """

    tracing: Tracing
    gate: Gate
    owner: str
    backlog: Backlog


def build_roles(settings: Settings, given: Dependencies, probes: Sequence[Probe]) -> list[Role]:
    """The settings' roles, and those that say who is here and whether it is ready; nothing runs yet."""
    builders: Mapping[RoleName, Callable[[Settings, _Parts, _Run], Role]] = {
        RoleName.INGEST: _ingest,
        RoleName.PROGRESS: _progress,
        RoleName.COUNTS: _counts,
        RoleName.NOTIFY: _notify,
        RoleName.RETRY: _retry,
    }

    backlog = Backlog(given.clock)

    def built(name: RoleName) -> Role:
        parts = given.database, given.clock, given.health.component(name), given.metrics
        return builders[name](settings, parts, _Run(given.tracing, given.gate, _owner(), backlog))

    roles = [*map(built, settings.process.roles), *_canary(settings, given)]
    return [
        *roles,
        presence(settings, given, [role.name for role in roles]),
        Readiness(probes, given.clock, given.health),
    ]


def _canary(settings: Settings, given: Dependencies) -> list[Role]:
    """Nothing, unless somebody asked for it."""
    if not settings.canary.enabled:
        return []
    component = given.health.component(CANARY)
    return [make_canary(settings, given.database, given.clock, component, given.metrics, _owner())]


def presence(settings: Settings, given: Dependencies, roles: Sequence[str]) -> Presence:
    """The role that says who is here, with these other roles."""
    running = running_as(settings.role, _owner(), roles, settings.ownership.owned)
    return Presence(given.database, running, given.clock, given.health.component(Presence.name))


def _ingest(settings: Settings, parts: _Parts, run: _Run) -> Role:
    database, clock, component, metrics = parts
    options = IngestOptions.of(settings.kafka, settings.ingest)
    who = f"{RoleName.INGEST} {run.owner}"
    stops = settings.ingest.on_gap is OnGap.STOP
    on_gaps = StopAtGaps(database, settings.control.environment, who) if stops else None
    parts_of_ingest = database, options, clock, metrics, component, uuid4
    return Ingest(*parts_of_ingest, tracing=run.tracing, gate=run.gate, on_gaps=on_gaps, backlog=run.backlog)


def _progress(settings: Settings, parts: _Parts, run: _Run) -> Role:
    return event_follower(_watcher(settings.progress, parts, run))


def _counts(settings: Settings, parts: _Parts, run: _Run) -> Role:
    rate = Rate(parts[1], run.gate.rate(f"{RoleName.COUNTS}_per_s"))
    watcher = replace(_watcher(settings.counts, parts, run), rate=rate)
    if not (watcher.database.catalogue.models or watcher.database.catalogue.contests):
        return record_follower(watcher)
    of_each = [replace(watcher, component=watcher.component.part()) for _ in range(2)]
    return Together(RoleName.COUNTS, [record_follower(of_each[0]), model_follower(of_each[1])])


def _watcher(settings: S, parts: _Parts, run: _Run) -> Watcher[S]:
    return Watcher(*parts, settings, run.owner, tracing=run.tracing, gate=run.gate, backlog=run.backlog)


def _notify(settings: Settings, parts: _Parts, run: _Run) -> Role:
    _, clock, *_ = parts
    senders = notify_senders(settings, clock)
    given = *parts, settings.notify, senders
    return Notifier(*given, owner=run.owner, tracing=run.tracing, gate=run.gate)


def _retry(settings: Settings, parts: _Parts, run: _Run) -> Role:
    database, clock, component, metrics = parts
    code_version, notify_within = settings.retry.code_version, settings.counts.notify_within
    groups = retry_groups(*parts, settings.retry, run.owner)

    async def keep_alive() -> None:
        component.beat()

    def refold(projection: StreamProjection) -> Refold:
        return Refold(
            FoldDependencies(database, projection, clock, metrics, groups.barrier, keep_alive, code_version)
        )

    work = WatchDependencies(
        database,
        Transactions(database.client),
        clock,
        metrics,
        keep_alive,
        code_version,
        revenue_currency=settings.counts.revenue_currency,
    )
    handlers = retry_handlers(
        database,
        {each.name: refold(each) for each in database.catalogue.streams},
        [*counters(work, notify_within).values(), *model_views(work), *contenders(work)],
        RejectedRows(work, notify_within),
        skips_by_setting(database, clock, metrics, settings.retry, run.owner),
        run.gate,
    )
    return RetryProcessor(*parts, settings.retry, handlers, groups, gate=run.gate)


def _owner() -> str:
    """Readable for operators, and another one at every start: a lease of the former run is not this one's."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
