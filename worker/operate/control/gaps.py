"""Stopping at a gap: the partition is paused by the same document that `control pause` writes, and shown like it."""

from collections.abc import Sequence

import structlog

from worker.kafka.positions import Gap
from worker.operate.control.targets import Target
from worker.storage import audit
from worker.storage.control_documents import put_control
from worker.storage.database import Database

log = structlog.get_logger(__name__)


class StopAtGaps:
    """Pauses the partitions of gaps in its environment; one that is paused without end stays as it was said.

    May run twice. `who` names this worker in the audit.
    """

    def __init__(self, database: Database, environment: str, who: str) -> None:
        self._database = database
        self._environment = environment
        self._who = who

    async def __call__(self, gaps: Sequence[Gap]) -> None:
        """Return when each partition is paused for all workers. Raises Retryable while MongoDB is away."""
        for gap in gaps:
            await self._stop(gap)

    async def _stop(self, gap: Gap) -> None:
        target = Target("partition", gap.partition.topic, gap.partition.number)
        reason = f"offsets {gap.first_offset} to {gap.last_offset} are gone unread ({gap.reason.value})"
        said = {"who": self._who, "reason": reason}
        if not await put_control(self._database, self._environment, target.key, said, keep=True):
            return
        log.error("partition_stopped_at_gap", what=str(target), reason=reason)
        arguments = {"what": str(target), "environment": self._environment, "reason": reason}
        outcome = {"paused": True}
        await audit.record(
            self._database, command="control pause", who=self._who, arguments=arguments, outcome=outcome
        )
