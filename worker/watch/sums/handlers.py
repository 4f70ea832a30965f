"""The retry of what sums and read models had quarantined."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from worker.storage.work_items import Failed, Item, ItemId, Verdict
from worker.watch.sums.attempt import Keys, Rejections
from worker.watch.sums.quarantine import Quarantine


@dataclass(frozen=True, slots=True)
class TargetHandler:
    """Tries again what items are about: `retry` is `recount` of a `Counter` or `Views`, which may run twice."""

    quarantine: Quarantine
    retry: Callable[[Keys], Awaitable[Rejections]]

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What still fails. Raises Retryable while MongoDB is away."""
        targets = {item.id: self.quarantine.target_of(item.id, item.data) for item in items}
        rejected = await self.retry(frozenset(target for target in targets.values() if target is not None))
        verdicts: dict[ItemId, Verdict] = {}
        for identity, target in targets.items():
            if target is None:
                verdicts[identity] = Failed("ValueError", "the item names no document")
            elif (reason := rejected.get(target)) is not None:
                verdicts[identity] = Failed(reason.error_class, reason.message)
        return verdicts
