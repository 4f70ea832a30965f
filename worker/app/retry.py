"""The handlers that the retry role is given: stages do not know each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bson import ObjectId

from projections.progress.projection import PROGRESS
from worker.contract.identity import stream_id
from worker.notify.rows import checked
from worker.retry.processor import NAME
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.leases import GroupLeases
from worker.storage.outbox import WAITS_FOR_DOCUMENT
from worker.storage.reading import Unreadable
from worker.storage.work_items import (
    COUNTS_FOLD,
    COUNTS_ROW,
    NOTIFICATION_SEND,
    PROGRESS_UPDATED,
    Failed,
    Handler,
    Item,
    ItemId,
    Postponed,
    Verdict,
    fold_type,
    notification_of,
)
from worker.watch.folds.refold import Refold
from worker.watch.sums.counting import Counter
from worker.watch.sums.quarantine import target_of
from worker.watch.sums.rejected_rows import RejectedRows


def retry_leases(database: Database, owner: str, lease_s: float) -> GroupLeases:
    """One worker of all retries."""
    return GroupLeases(database, owner, watcher=NAME, lease_s=lease_s, groups=1)


def retry_handlers(
    database: Database, refolds: Mapping[str, Refold], counter: Counter, rejected_rows: RejectedRows
) -> Mapping[str, Handler]:
    """Who does the work of each event type; `refolds` by stream projection."""
    return {
        **{fold_type(name): FoldHandler(refold) for name, refold in refolds.items()},
        PROGRESS_UPDATED: FoldHandler(refolds[PROGRESS.name], doubting=True),
        COUNTS_FOLD: CountHandler(counter),
        COUNTS_ROW: RowHandler(rejected_rows),
        NOTIFICATION_SEND: NotificationHandler(database),
    }


@dataclass(frozen=True, slots=True)
class RowHandler:
    """Puts out rows that the server had refused. They are upserts by their own keys, so that it may run twice."""

    rejected_rows: RejectedRows

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What is still refused. Raises Retryable while MongoDB is away."""
        reasons = {item.id: await self.rejected_rows(item.data) for item in items}
        return {
            identity: Failed(reason.error_class, reason.message)
            for identity, reason in reasons.items()
            if reason is not None
        }


@dataclass(frozen=True, slots=True)
class NotificationHandler:
    """Looks whether a quarantined row of the outbox waits for the same reason still. Only reads."""

    database: Database

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """Why rows still cannot be sent. Raises Retryable while MongoDB is away."""
        verdicts: dict[ItemId, Verdict] = {}
        for item in items:
            row = await reading.find_one(self.database.notifications, {"_id": notification_of(item.id)})
            reason = row.reason if isinstance(row, Unreadable) else row and _why_it_waits(row)
            if reason:
                verdicts[item.id] = Failed("Unreadable", reason)
        return verdicts


def _why_it_waits(row: Document) -> str | None:
    if row.get("status") not in ("pending", "taken"):
        return None
    try:
        last_error = checked(row)["last_error"]
    except (KeyError, TypeError) as error:
        return f"its values make no sense here ({type(error).__name__})"
    return last_error if isinstance(last_error, str) and last_error.startswith(WAITS_FOR_DOCUMENT) else None


@dataclass(frozen=True, slots=True)
class CountHandler:
    """Counts what counting had quarantined. Guarded by the revisions it reads, so that it may run twice."""

    counter: Counter

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What still cannot be counted. Raises Retryable while MongoDB is away."""
        targets = {item.id: target_of(item.id) for item in items}
        refused = await self.counter.recount({target for target in targets.values() if target is not None})
        verdicts: dict[ItemId, Verdict] = {}
        for identity, target in targets.items():
            if target is None:
                verdicts[identity] = Failed("ValueError", "the item names no document")
            elif (reason := refused.get(target)) is not None:
                verdicts[identity] = Failed(reason.error_class, reason.message)
        return verdicts


@dataclass(frozen=True, slots=True)
class FoldHandler:
    """Folds the streams that items name. Keyed by stream and guarded by `rev`, so that it may run twice.

    `doubting`: the learner's document is compared with all of its events, and replaced where it differs.
    """

    refold: Refold
    doubting: bool = False

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What could not be folded. Raises Retryable while MongoDB is away."""
        streams = {item.id: stream_of(item) for item in items}
        named = sorted({stream for stream in streams.values() if stream is not None})
        result = await (self.refold((), named) if self.doubting else self.refold(named))
        verdicts: dict[ItemId, Verdict] = {}
        for identity, stream in streams.items():
            if stream is None:
                verdicts[identity] = Failed("ValueError", "the item names no learner and course")
            elif (failure := result.failed.get(stream)) is not None:
                verdicts[identity] = Failed(failure.error_class, failure.message, failure.version)
            elif stream in result.foreign:
                verdicts[identity] = Postponed("the document was made by a newer fold")
        return verdicts


def stream_of(item: Item) -> str | None:
    """The stream an item is about: its own, or that of the learner and course in the platform's data."""
    if item.stream_id:
        return item.stream_id
    user, course = (_object_id(item.data.get(name)) for name in ("user_id", "course_id"))
    return None if user is None or course is None else stream_id(course, user)


def _object_id(value: object) -> ObjectId | None:
    if isinstance(value, ObjectId):
        return value
    return ObjectId(value) if isinstance(value, str) and ObjectId.is_valid(value) else None
