"""The retry of what sums had quarantined: learners, courses and users, documents that made no vector, and rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId

from worker.storage.work_items import Failed, Item, ItemId, Verdict
from worker.telemetry.metrics import Mode
from worker.watch.sums.counting import Counter
from worker.watch.sums.quarantine import target_of
from worker.watch.sums.rejected_rows import RejectedRows
from worker.watch.sums.vectors import VectorSums


@dataclass(frozen=True, slots=True)
class CountHandler:
    """Counts what counting had quarantined. Guarded by the revisions it reads, so that it may run twice."""

    counter: Counter

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What still cannot be counted. Raises Retryable while MongoDB is away."""
        targets = {item.id: target_of(item.id) for item in items}
        rejected = await self.counter.recount({target for target in targets.values() if target is not None})
        verdicts: dict[ItemId, Verdict] = {}
        for identity, target in targets.items():
            if target is None:
                verdicts[identity] = Failed("ValueError", "the item names no document")
            elif (reason := rejected.get(target)) is not None:
                verdicts[identity] = Failed(reason.error_class, reason.message)
        return verdicts


@dataclass(frozen=True, slots=True)
class VectorHandler:
    """Counts source documents that had made no vector. It may run twice (see `VectorSums.count`)."""

    sums: VectorSums

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What still makes no vector. Raises Retryable while MongoDB is away."""
        identities = {
            item.id: identity for item in items if isinstance(identity := item.data.get("id"), ObjectId)
        }
        failures = await self.sums.count(set(identities.values()), mode=Mode.RETRY)
        verdicts: dict[ItemId, Verdict] = {
            item.id: Failed("ValueError", "the item names no document")
            for item in items
            if item.id not in identities
        }
        for name, identity in identities.items():
            if identity in failures:
                verdicts[name] = Failed("Unreadable", failures[identity])
        return verdicts


@dataclass(frozen=True, slots=True)
class RowHandler:
    """Writes rows that the server had refused. They are upserts by their own keys, so that it may run twice."""

    rejected_rows: RejectedRows

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What is still refused. Raises Retryable while MongoDB is away."""
        reasons = {item.id: await self.rejected_rows(item.data) for item in items}
        return {
            identity: Failed(reason.error_class, reason.message)
            for identity, reason in reasons.items()
            if reason is not None
        }
