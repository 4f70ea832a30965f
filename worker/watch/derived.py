"""What is made of documents that say by themselves what they are a part of: the base of views and of contests."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from worker.telemetry.labels import Applied, Mode
from worker.watch.sums.attempt import Keys
from worker.watch.sums.runner import Dependencies


class Derived:
    """What whoever makes it again asks of it, where there is nothing to say, and what it counts of its work."""

    def __init__(self, given: Dependencies, name: str) -> None:
        self.name = name
        self._given = given
        self._changed: Counter[str] = Counter()

    async def concerned(self, identities: Iterable[Any]) -> dict[str, set[Any]]:
        """None: the documents say by themselves what they belong to."""
        return {}

    @property
    def keyed(self) -> Mapping[str, str]:
        """None: what keys mean only its value knows."""
        return {}

    async def gone(self) -> Keys:
        """None: what is left of documents that are gone stands in a collection that is walked over."""
        return frozenset()

    def take_changed(self) -> Mapping[str, int]:
        """How many documents of each collection were written since this was asked last."""
        changed, self._changed = self._changed, Counter()
        return changed

    def _count_applied(self, keys: Keys, failed: int, *, retrying: bool) -> None:
        mode = Mode.RETRY if retrying else Mode.LIVE
        applied = self._given.metrics.projection_events_applied_total
        applied.labels(self.name, mode, Applied.APPLIED).inc(len(keys) - failed)
        applied.labels(self.name, mode, Applied.FAILED).inc(failed)
