"""A reader that never stops looking: documents stay, and what may only rise never falls."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from worker.storage.database import Collection
from worker.timing import Clock, SystemClock, cancel_and_wait

_EVERY_S = 0.1


@dataclass
class Reader:
    """Looks at all documents of a collection until it is left.

    `version` and all of `rising` only ever rise. `faults` are the breaches seen; `looks` how often it looked,
    `mixed` how often documents of several versions stood there.
    """

    collection: Collection
    version: str
    rising: Sequence[str]
    faults: list[str] = field(default_factory=list)
    looks: int = 0
    mixed: int = 0
    _seen: Mapping[Any, Mapping[str, int]] = field(default_factory=dict)
    _clock: Clock = field(default_factory=SystemClock)
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look once more; raises what ended the reading before."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            if not self._task.cancelled():
                self._task.result()
        await self.look()

    async def look(self) -> None:
        """Read everything and compare it with the last look."""
        names = (self.version, *self.rising)
        rows = await self.collection.find({}, dict.fromkeys(names, 1)).to_list(None)
        found = {row["_id"]: {name: int(row[name]) for name in names} for row in rows}
        for identity, before in self._seen.items():
            now = found.get(identity)
            if now is None:
                self.faults.append(f"{identity} is gone; it was {before}")
            elif any(now[name] < before[name] for name in names):
                self.faults.append(f"{identity} fell from {before} to {now}")
        self.looks += 1
        self.mixed += len({each[self.version] for each in found.values()}) > 1
        self._seen = found

    async def _run(self) -> None:
        while True:
            await self.look()
            await self._clock.sleep(_EVERY_S)
