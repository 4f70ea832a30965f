"""Making lost documents again, but for those that an operator has paused: they wait until they are resumed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from projections.kinds import StreamProjection
from worker.gate import Gate
from worker.storage.database import Database
from worker.watch.folds.catch_up import highest_versions
from worker.watch.folds.failed_streams import let_streams_wait
from worker.watch.folds.refold import Refold


class Restore(Protocol):
    """Who makes documents of streams again."""

    async def restore(self, streams: Collection[str]) -> None:
        """Return when each document stands, or an item of the queue says why not. May run twice."""


@dataclass(frozen=True, slots=True)
class RestoreUnlessPaused:
    """Restores what the gate does not hold; the rest becomes items of the queue."""

    database: Database
    projection: StreamProjection
    refold: Refold
    gate: Gate
    code_version: str

    async def restore(self, streams: Collection[str]) -> None:
        """Raises Retryable while MongoDB is away."""
        switches, name = self.gate.switches, self.projection.name
        held = set(streams) if name in switches.projections else switches.streams.intersection(streams)
        if held:
            waiting = await highest_versions(self.database, sorted(held))
            await let_streams_wait(self.database, name, waiting, code_version=self.code_version)
        if left := [stream for stream in streams if stream not in held]:
            await self.refold.restore(left)
