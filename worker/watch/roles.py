"""The followers, one for each source: the event store for folds, the content database for sums and read models."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

from projections.counts.projection import COUNTS
from projections.kinds import Contest, ReadModel, StreamProjection, SumProjection
from worker.backlog import Backlog
from worker.gate import Gate, Rate
from worker.held_groups import HeldGroups
from worker.settings import CoolDownSettings, CountsSettings, RoleName, WatchSettings
from worker.storage.database import Database
from worker.storage.leases import GroupLeases
from worker.storage.shares import GROUPS
from worker.storage.transactions import Transactions
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.telemetry.tracing import UNTRACED, Tracing
from worker.timing import Clock, cancel_and_wait_shielded
from worker.watch.content import ContentExecutor, Moved
from worker.watch.contests.contenders import Contenders
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.executor import EVENTS, Heads, StreamExecutor
from worker.watch.folds.refold import Refold
from worker.watch.folds.restoring import Restore, RestoreUnlessPaused
from worker.watch.follower import Executor, Follower
from worker.watch.models.views import Views
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.counting import Counter
from worker.watch.sums.declared import DeclaredSums
from worker.watch.sums.runner import Dependencies
from worker.watch.sums.statistics import Statistics

MODELS = "models"

S_co = TypeVar("S_co", bound=WatchSettings, covariant=True)
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Watcher(Generic[S_co]):
    """What a follower is made of, whatever it keeps.

    `owner` names this run of the process in the leases; one that exists elsewhere would share its groups. The `gate`
    tells what operators have paused. Followers of one role are given one `rate`; alone, one has its own. `backlog` is
    that of ingest in the same process.
    """

    database: Database
    clock: Clock
    component: Component
    metrics: Metrics
    settings: S_co
    owner: str
    seed: int | None = None
    tracing: Tracing = UNTRACED
    gate: Gate = field(default_factory=Gate)
    rate: Rate | None = None
    backlog: Backlog | None = None

    def groups(
        self, name: str, number: int, kept: Sequence[StreamProjection | SumProjection | ReadModel | Contest]
    ) -> HeldGroups:
        """The share of so many groups."""
        leases = GroupLeases(
            self.database,
            self.owner,
            watcher=name,
            lease_s=self.settings.lease_s,
            groups=number,
            # Every projection's version only goes up, and so does their sum: it tells the newer release.
            version=sum(each.version for each in kept),
        )
        renew_every_s = self.settings.renew_every_s
        return HeldGroups(leases, self.clock, self.component, self.metrics, renew_every_s)

    def dependencies(self, groups: HeldGroups) -> Dependencies:
        """What sums and read models work with."""
        transactions, version = Transactions(self.database.client), self.settings.code_version
        return Dependencies(
            self.database, transactions, self.clock, self.metrics, groups.keep_alive, version, self.seed
        )

    def follower(self, executor: Executor[K], groups: HeldGroups, role: RoleName) -> Follower[K]:
        parts = self.clock, self.component, self.metrics, self.settings, self.seed
        return Follower(
            self.database,
            executor,
            groups,
            *parts,
            role=role,
            gate=self.gate,
            rate=self.rate,
            backlog=self.backlog,
        )


def event_follower(
    watcher: Watcher[WatchSettings], projections: Sequence[StreamProjection] | None = None
) -> Follower[Heads]:
    """Follows the event store and keeps the documents of all stream projections; workers share the slots."""
    kept = watcher.database.catalogue.streams if projections is None else projections
    groups = watcher.groups(EVENTS, GROUPS, kept)
    executor = StreamExecutor(
        watcher.database,
        kept,
        watcher.clock,
        watcher.metrics,
        barrier=groups.barrier,
        keep_alive=groups.keep_alive,
        code_version=watcher.settings.code_version,
        tracing=watcher.tracing,
        gate=watcher.gate,
    )
    return watcher.follower(executor, groups, RoleName.PROGRESS)


def record_follower(watcher: Watcher[CountsSettings]) -> Follower[Moved]:
    """Follows the learners' records, and what else is counted, and keeps every sum equal to what it is the sum of.

    One worker at a time: two on the same course would wait for each other.
    """
    database, settings = watcher.database, watcher.settings
    groups = watcher.groups(COUNTS.name, 1, database.catalogue.sums)
    source = next(each for each in database.catalogue.streams if each.name == COUNTS.source)
    refold = Refold(
        FoldDependencies(
            database,
            source,
            watcher.clock,
            watcher.metrics,
            groups.barrier,
            groups.keep_alive,
            settings.code_version,
        )
    )
    given = replace(watcher.dependencies(groups), revenue_currency=settings.revenue_currency)
    restore = RestoreUnlessPaused(database, source, refold, watcher.gate, settings.code_version)
    kept = counters(given, settings.notify_within, refold=restore, rhythm=settings.cool_down)
    noted = WriteConflictMarkers(database)
    executor = ContentExecutor(
        COUNTS.name, given, kept.values(), noted=noted, forget_every_s=settings.forget_every_s
    )
    return watcher.follower(executor, groups, RoleName.COUNTS)


def model_follower(watcher: Watcher[CountsSettings]) -> Follower[Moved]:
    """Follows what read models are made from, and rebuilds their views; follows what contends, and decides it."""
    catalogue = watcher.database.catalogue
    groups = watcher.groups(MODELS, 1, [*catalogue.models, *catalogue.contests])
    given = watcher.dependencies(groups)
    # It has little to do, and who asks for a name waits for it.
    watcher = replace(watcher, backlog=None)
    kept: list[Views | Contenders] = [*model_views(given), *contenders(given)]
    return watcher.follower(ContentExecutor(MODELS, given, kept), groups, RoleName.COUNTS)


def counters(
    given: Dependencies,
    notify_within: timedelta,
    *,
    refold: Restore | None = None,
    rhythm: CoolDownSettings | None = None,
    doubting: bool = False,
) -> dict[str, Counter]:
    """What keeps each sum of the catalogue, by its name. Only `counts` shows more than its value says.

    `doubting`: what was counted before is compared with what it was counted of, and replaced where it differs.
    """
    sources = {each.name: each for each in given.database.catalogue.streams}
    further = [each for each in given.database.catalogue.sums if each.name != COUNTS.name]
    statistics = Statistics(given, COUNTS, sources[COUNTS.source], notify_within, doubting=doubting)
    declared = [DeclaredSums(given, each, sources[each.source], doubting=doubting) for each in further]
    kept = [Counter(given, each, rhythm=rhythm) for each in declared]
    return {each.name: each for each in [Counter(given, statistics, refold=refold, rhythm=rhythm), *kept]}


def model_views(given: Dependencies, *, doubting: bool = False) -> list[Views]:
    """What keeps each read model of the catalogue; `doubting`: of which a view that is right is left as it stands."""
    return [Views(given, each, doubting=doubting) for each in given.database.catalogue.models]


def contenders(given: Dependencies, *, doubting: bool = False) -> list[Contenders]:
    """What keeps the decisions of each contest of the catalogue; `doubting`: none is believed to be made."""
    catalogue = given.database.catalogue
    sources = {each.name: each for each in catalogue.streams}
    return [Contenders(given, each, sources[each.source], doubting=doubting) for each in catalogue.contests]


class Together:
    """Followers that ride on one role: when one ends with an error, so do all.

    Each has a part of the role's component: what a server answers to one is no sign of life of the other.
    """

    def __init__(self, name: str, followers: Sequence[Follower[Any]]) -> None:
        self.name = name
        self.followers = followers

    async def run(self, stop: asyncio.Event) -> None:
        async def run(follower: Follower[Any]) -> None:
            with follower.component.acting():
                await follower.run(stop)

        tasks = [asyncio.create_task(run(each)) for each in self.followers]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await cancel_and_wait_shielded(*tasks)
