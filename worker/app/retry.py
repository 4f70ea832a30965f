"""The handlers that the retry role is given: stages do not know each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from projections.counts.projection import COUNTS
from projections.progress.projection import PROGRESS
from worker.gate import Gate
from worker.held_groups import HeldGroups
from worker.notify.rows import checked
from worker.retry.processor import NAME
from worker.settings import RetrySettings
from worker.storage import reading, work_items
from worker.storage.database import Database, Document
from worker.storage.leases import GroupLeases
from worker.storage.outbox import WAITS_FOR_DOCUMENT
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.timing import Clock
from worker.watch.contests.contenders import Contenders
from worker.watch.folds.giving_up import GivingUp
from worker.watch.folds.handler import FoldHandler, Skip, never, stream_of
from worker.watch.folds.refold import Refold
from worker.watch.models.views import Views
from worker.watch.sums.counting import Counter
from worker.watch.sums.handlers import TargetHandler
from worker.watch.sums.rows import RejectedRows

NOTHING_IS_SKIPPED: Mapping[str, Skip] = MappingProxyType({})


def retry_groups(
    database: Database,
    clock: Clock,
    component: Component,
    metrics: Metrics,
    settings: RetrySettings,
    owner: str,
) -> HeldGroups:
    """One worker of all retries."""
    leases = GroupLeases(database, owner, watcher=NAME, lease_s=settings.lease_s, groups=1)
    return HeldGroups(leases, clock, component, metrics, settings.renew_every_s)


def skips_by_setting(
    database: Database, clock: Clock, metrics: Metrics, settings: RetrySettings, owner: str
) -> Mapping[str, Skip]:
    """Who gives up the events at which folds fail: nobody, unless the settings say so."""
    if not settings.skip_bad_events:
        return NOTHING_IS_SKIPPED
    return {
        each.name: GivingUp(
            database,
            each.name,
            clock,
            metrics,
            max_attempts=settings.max_attempts,
            code_version=settings.code_version,
            who=f"{NAME} {owner}",
        )
        for each in database.catalogue.streams
    }


def retry_handlers(
    database: Database,
    refolds: Mapping[str, Refold],
    kept: Iterable[Counter | Views | Contenders],
    rejected_rows: RejectedRows,
    skips: Mapping[str, Skip] = NOTHING_IS_SKIPPED,
    gate: Gate | None = None,
) -> Mapping[str, work_items.Handler]:
    """Who does the work of each event type; `refolds`, and who gives events up, by the names of their projections.

    What the `gate` holds is left for later.
    """
    passing = gate or Gate()
    again = {
        work_items.fold_type(each.name): UnlessPaused(
            TargetHandler(each.quarantine, each.recount), passing, each.name
        )
        for each in kept
    }
    return {
        **{
            work_items.fold_type(name): UnlessPaused(
                FoldHandler(refold, skip=skips.get(name, never)), passing, name
            )
            for name, refold in refolds.items()
        },
        **again,
        work_items.PROGRESS_UPDATED: UnlessPaused(
            FoldHandler(refolds[PROGRESS.name], doubting=True), passing, PROGRESS.name
        ),
        work_items.COUNTS_ROW: UnlessPaused(rejected_rows, passing, COUNTS.name),
        work_items.NOTIFICATION_SEND: NotificationHandler(database),
    }


@dataclass(frozen=True, slots=True)
class UnlessPaused:
    """Lets a handler have the items of what is not paused; the others are due again soon, and no attempt counts."""

    handler: work_items.Handler
    gate: Gate
    projection: str

    async def __call__(self, items: Sequence[work_items.Item]) -> dict[work_items.ItemId, work_items.Verdict]:
        """What the handler says, and what waits for somebody to resume it."""
        paused = work_items.Postponed("somebody has paused it")
        waiting: dict[work_items.ItemId, work_items.Verdict] = {
            item.id: paused for item in items if self._holds(item)
        }
        left = [item for item in items if item.id not in waiting]
        return {**waiting, **(await self.handler(left) if left else {})}

    def _holds(self, item: work_items.Item) -> bool:
        switches = self.gate.switches
        if self.projection in switches.projections:
            return True
        return bool(switches.streams) and stream_of(item) in switches.streams


@dataclass(frozen=True, slots=True)
class NotificationHandler:
    """Looks whether a quarantined row of the outbox waits for the same reason still. Only reads."""

    database: Database

    async def __call__(self, items: Sequence[work_items.Item]) -> dict[work_items.ItemId, work_items.Verdict]:
        """Why rows still cannot be sent. Raises Retryable while MongoDB is away."""
        verdicts: dict[work_items.ItemId, work_items.Verdict] = {}
        for item in items:
            named = {"_id": work_items.notification_of(item.id)}
            found = (await reading.find(self.database.notifications, named)).through(_why_it_waits)
            reasons = [*(one.reason for one in found.unreadable), *filter(None, found.values)]
            if reasons:
                verdicts[item.id] = work_items.Failed("Unreadable", reasons[0])
        return verdicts


def _why_it_waits(row: Document) -> str | None:
    """KeyError or TypeError for a row that is none."""
    if row.get("status") not in ("pending", "taken"):
        return None
    last_error = checked(row)["last_error"]
    return last_error if isinstance(last_error, str) and last_error.startswith(WAITS_FOR_DOCUMENT) else None
