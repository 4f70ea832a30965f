"""The followers, one for each source: the event store for folds, the records for sums."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from projections.kinds import StreamProjection
from worker.held_groups import HeldGroups
from worker.settings import CountsSettings, WatchSettings
from worker.storage.database import Database
from worker.storage.leases import GroupLeases
from worker.storage.shares import GROUPS
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, cancel_and_wait_shielded
from worker.watch.folds.executor import EVENTS, Heads, StreamExecutor
from worker.watch.follower import Follower
from worker.watch.models.executor import NAME as MODELS
from worker.watch.models.executor import Dirty, ModelExecutor
from worker.watch.sums.counting import NAME
from worker.watch.sums.executor import Moved, SumExecutor


def event_follower(
    database: Database,
    clock: Clock,
    component: Component,
    metrics: Metrics,
    settings: WatchSettings,
    *,
    owner: str,
    projections: Sequence[StreamProjection] | None = None,
    seed: int | None = None,
) -> Follower[Heads]:
    """Follows the event store and keeps the documents of all stream projections; workers share the slots.

    `owner` names this run of the process in the leases; one that exists elsewhere would share its groups.
    """
    kept = database.catalogue.streams if projections is None else projections
    versions = {each.name: each.version for each in kept}
    groups = _groups(EVENTS, GROUPS, versions, database, clock, component, metrics, settings, owner)
    executor = StreamExecutor(
        database,
        kept,
        clock,
        metrics,
        barrier=groups.barrier,
        keep_alive=groups.keep_alive,
        code_version=settings.code_version,
    )
    return Follower(database, executor, groups, clock, component, metrics, settings, seed)


def record_follower(
    database: Database,
    clock: Clock,
    component: Component,
    metrics: Metrics,
    settings: CountsSettings,
    *,
    owner: str,
    seed: int | None = None,
) -> Follower[Moved]:
    """Follows the learners' records and keeps the statistics equal to their sum.

    One worker at a time: two on the same course would wait for each other. `owner` as above.
    """
    versions = {each.name: each.version for each in database.catalogue.sums}
    groups = _groups(NAME, 1, versions, database, clock, component, metrics, settings, owner)
    executor = SumExecutor(database, clock, metrics, groups, settings, seed)
    return Follower(database, executor, groups, clock, component, metrics, settings, seed)


def model_follower(
    database: Database,
    clock: Clock,
    component: Component,
    metrics: Metrics,
    settings: CountsSettings,
    *,
    owner: str,
    seed: int | None = None,
) -> Follower[Dirty]:
    """Follows what read models are made from, and rebuilds their views. `owner` as above."""
    versions = {each.name: each.version for each in database.catalogue.models}
    groups = _groups(MODELS, 1, versions, database, clock, component, metrics, settings, owner)
    executor = ModelExecutor(database, clock, metrics, groups, settings)
    return Follower(database, executor, groups, clock, component, metrics, settings, seed)


class Together:
    """Followers that ride on one role: when one ends with an error, so do all."""

    def __init__(self, name: str, followers: Sequence[Follower[Any]]) -> None:
        self.name = name
        self._followers = followers

    async def run(self, stop: asyncio.Event) -> None:
        tasks = [asyncio.create_task(each.run(stop)) for each in self._followers]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await cancel_and_wait_shielded(*tasks)


def _groups(
    watcher: str,
    number: int,
    versions: Mapping[str, int],
    database: Database,
    clock: Clock,
    component: Component,
    metrics: Metrics,
    settings: WatchSettings,
    owner: str,
) -> HeldGroups:
    # Every projection's version only goes up, and so does their sum: it tells the newer release.
    leases = GroupLeases(
        database,
        owner,
        watcher=watcher,
        lease_s=settings.lease_s,
        groups=number,
        version=sum(versions.values()),
    )
    return HeldGroups(leases, clock, component, metrics, settings.renew_every_s)
