"""The rows of one batch, written behind the event store: what is stored is written while the next part is."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from worker.ingest.record import BatchOutcome


class SeriesWriteBehind:
    """Writes rows behind the event store: one `write` at a time, of everything that was stored since the last.

    The first one waits for `before`, the batch before: its rows and offsets come first. If that fails, so does this.
    """

    def __init__(
        self,
        write: Callable[[BatchOutcome], Coroutine[Any, Any, object]],
        before: asyncio.Task[None] | None = None,
    ) -> None:
        self._write = write
        self._before = before
        self._waiting: BatchOutcome | None = None
        self._writing: asyncio.Task[None] | None = None

    def add(self, part: BatchOutcome) -> None:
        """Write this part's rows now, or with those of the next parts if a write is under way.

        Raises what an earlier write raised.
        """
        if self._waiting is None:
            self._waiting = BatchOutcome()
        self._waiting.add(part)
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._writing is None:
            self._writing = self._begin()

    async def finish(self) -> None:
        """Return when the batch before is durable and all rows are written. Raises what one of them raised."""
        await self._wait_for_the_batch_before()
        while self._writing is not None:
            await self._writing
            self._writing = self._begin()

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """The write under way, if any; whoever cancels it gives up what is not written."""
        return [self._writing] if self._writing is not None else []

    def _begin(self) -> asyncio.Task[None] | None:
        parts, self._waiting = self._waiting, None
        return asyncio.create_task(self._write_in_turn(parts)) if parts is not None else None

    async def _write_in_turn(self, parts: BatchOutcome) -> None:
        await self._wait_for_the_batch_before()
        await self._write(parts)

    async def _wait_for_the_batch_before(self) -> None:
        if self._before is not None:
            await asyncio.wait({self._before})  # not cancelled with us
            self._before.result()
