"""Stopping at a gap: the partition is paused by the same document that `control pause` writes, and shown like it."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

import structlog
from bson import ObjectId

from worker.kafka.positions import Gap
from worker.operate.control.commands import paused
from worker.operate.control.targets import Target
from worker.storage import audit
from worker.storage.control_documents import put_control
from worker.storage.database import Database

log = structlog.get_logger(__name__)


class StopAtGaps:
    """Pauses the partitions of gaps in its environment; one that is paused without end stays as it was said.

    May run twice: each pause has one row in the audit, whose id follows from it. `who` names this worker there.
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
        """1. the pause  2. over what means nothing to a worker  3. the row and the line, once for each pause."""
        target = Target("partition", gap.partition.topic, gap.partition.number)
        reason = f"offsets {gap.first_offset} to {gap.last_offset} are gone unread ({gap.reason.value})"
        said = {"who": self._who, "reason": reason}
        is_new = await put_control(self._database, self._environment, target.key, said, keep=True)  # 1
        stands = await paused(self._database, self._environment, target)
        if stands is None and not is_new:  # 2
            await put_control(self._database, self._environment, target.key, said)
            stands = await paused(self._database, self._environment, target)
        if stands is None or stands.reason != reason or stands.since is None:
            return  # somebody ended it at this moment, or had stopped it before
        arguments = {"what": str(target), "environment": self._environment, "reason": reason}
        is_told = await audit.record(  # 3
            self._database,
            command="control pause",
            who=stands.who or self._who,
            arguments=arguments,
            outcome={"paused": True},
            row=self._row(target, stands.since),
        )
        if is_told:
            log.error("partition_stopped_at_gap", what=str(target), reason=reason)

    def _row(self, target: Target, since: datetime) -> ObjectId:
        """The id of the row of one pause."""
        named = f"{self._environment} {target.key} {since.isoformat()}"
        return ObjectId(hashlib.sha1(named.encode(), usedforsecurity=False).digest()[:12])
