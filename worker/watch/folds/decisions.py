"""Which decisions to skip a version a fold has to heed, asked for as rarely as is safe.

A fold from the first event asks each time. One that goes on from a document asks only while there are decisions at
all, which is looked up once a second. A decision that is made meanwhile wakes its stream: whoever folds that from the
first event puts right what was folded without it. So live work asks nothing where nothing is skipped.
"""

from collections.abc import Sequence

from worker.storage import reading
from worker.storage.database import Database
from worker.storage.skipped_versions import NO_SKIPS, STANDING, Skips, skips_of
from worker.timing import Clock
from worker.watch.folds.plan import Task

_LOOK_EVERY_S = 1.0


class Decisions:
    """The decisions about one projection. To be asked after the documents of the tasks were read."""

    def __init__(self, database: Database, projection: str, clock: Clock) -> None:
        self._database = database
        self._projection = projection
        self._clock = clock
        self._look_at = clock.monotonic()
        self._any = True

    async def about(self, tasks: Sequence[Task]) -> Skips:
        """Those about the streams of the tasks."""
        whole = [task.stream for task in tasks if task.refold or task.after == 0]
        streams = whole
        if len(whole) < len(tasks) and await self._exist():
            streams = [task.stream for task in tasks]
        return await skips_of(self._database, self._projection, streams) if streams else NO_SKIPS

    async def _exist(self) -> bool:
        now = self._clock.monotonic()
        if now >= self._look_at:
            wanted = {"projection": self._projection, **STANDING}
            found = await reading.find(self._database.skipped_versions, wanted, {"_id": 1}, limit=1)
            self._any = bool(found.documents or found.unreadable)
            self._look_at = now + _LOOK_EVERY_S
        return self._any
