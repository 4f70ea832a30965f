"""What the retry role does for read models."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from worker.storage.work_items import Failed, Item, ItemId, Verdict
from worker.telemetry.metrics import Mode
from worker.watch.models.views import Views


@dataclass(frozen=True, slots=True)
class ViewHandler:
    """Builds views that could not be built. It may run twice (see `Views.rebuild`)."""

    views: Views

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What still cannot be built. Raises Retryable while MongoDB is away."""
        keys = {item.id: item.data["id"] for item in items if isinstance(item.data.get("id"), Hashable)}
        failures = await self.views.rebuild(set(keys.values()), mode=Mode.RETRY)
        verdicts: dict[ItemId, Verdict] = {}
        for item in items:
            if item.id not in keys:
                verdicts[item.id] = Failed("ValueError", "the item names no view")
            elif (reason := failures.get(keys[item.id])) is not None:
                verdicts[item.id] = Failed("Unbuilt", reason)
        return verdicts
