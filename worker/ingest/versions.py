"""Step 3: the highest version of each stream, remembered for one assignment."""

from collections import OrderedDict
from collections.abc import Iterable

from worker.chunks import chunks
from worker.storage import driver
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.stream_versions import highest_of

_STREAMS_PER_QUERY = 2_000
# A stream id and its place in the cache take about 200 bytes: 20 MB when full.
_CACHED_STREAMS = 100_000


class StreamVersions:
    """A cache that may be stale: another writer's version shows up as a duplicate key and is then read again."""

    def __init__(self, database: Database) -> None:
        self._events = database.course_events
        self._cache: OrderedDict[str, int] = OrderedDict()

    async def highest(self, streams: Iterable[str]) -> dict[str, int]:
        """Highest version of each stream, 0 for a new one; read at majority where it is not cached."""
        wanted = dict.fromkeys(streams)
        unknown = [stream for stream in wanted if stream not in self._cache]
        for some in chunks(unknown, _STREAMS_PER_QUERY):
            await self._read(some)
        return {stream: self._cache[stream] for stream in wanted}

    async def _read(self, streams: list[str]) -> None:
        with translated():
            found = await driver.aggregate(self._events, highest_of(streams))
        self._cache.update(dict.fromkeys(streams, 0))
        self._cache.update({row["_id"]: row["version"] for row in found})

    def reached(self, stream: str, version: int) -> None:
        """Note that this version is in the store."""
        self._cache[stream] = max(version, self._cache.get(stream, 0))
        self._cache.move_to_end(stream)

    def forget(self, streams: Iterable[str]) -> None:
        """Have these streams read again: somebody else moved them, or an insert failed."""
        for stream in streams:
            self._cache.pop(stream, None)

    def clear(self) -> None:
        """Forget all streams: a new assignment begins, and others wrote in the meantime."""
        self._cache.clear()

    def trim(self) -> None:
        """Keep the most recently used; called between batches, so that no batch loses what it has just read."""
        while len(self._cache) > _CACHED_STREAMS:
            self._cache.popitem(last=False)
