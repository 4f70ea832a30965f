"""Folding as a follower drives it: of every stream that moved in the event store, the document."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

from projections import progress
from worker.chunks import chunks
from worker.contract.identity import stream_slot
from worker.storage.database import Database, Document
from worker.storage.leases import Token, group_slots, slot_group
from worker.telemetry.metrics import Metrics
from worker.timing import Clock
from worker.watch.folds.catch_up import behind
from worker.watch.folds.changes import follow_events, highest
from worker.watch.folds.fold import Projection
from worker.watch.folds.projector import NAME, Projector
from worker.watch.follower import Page
from worker.watch.stream.change_stream import ChangeStream

# Catching up folds this many streams, a second of work at most, before live changes get their turn.
_STREAMS_PER_CHUNK = 500

Heads = Mapping[str, int]


class StreamExecutor:
    """Folds streams up to the versions seen; `barrier` and `keep_alive` are those of `Projector`."""

    name = NAME

    def __init__(
        self,
        database: Database,
        clock: Clock,
        metrics: Metrics,
        *,
        barrier: Callable[[], Awaitable[None]],
        keep_alive: Callable[[], Awaitable[None]],
        code_version: str,
        projection: Projection = progress,
    ) -> None:
        self._database = database
        self._projector = Projector(
            database,
            projection,
            clock,
            metrics,
            code_version=code_version,
            barrier=barrier,
            keep_alive=keep_alive,
        )
        self._held: frozenset[int] = frozenset()
        self.versions: Mapping[str, int] = {NAME: projection.PROJECTION_VERSION}

    async def open(self, groups: Iterable[int], after: Token | None) -> ChangeStream:
        slots = [slot for group in groups for slot in group_slots(group)]
        return await follow_events(self._database, slots, after)

    def keys(self, changes: Sequence[Document], before: Token) -> Heads:
        return highest(changes)

    async def apply(self, keys: Heads, *, live: bool) -> None:
        """Fold each stream up to its version. May run twice (see `Projector.project`)."""
        await self._projector.project(keys)

    async def missed(
        self, stale: Mapping[int, frozenset[str]], resumed: Mapping[int, str]
    ) -> AsyncGenerator[Page[Heads], None]:
        """The groups' streams whose document is missing, behind, or made by an older fold."""
        async for page in behind(self._database, stale, self.versions[NAME], resumed):
            heads = page.heads
            # An empty page is one chunk, too, so that the live changes get their turn.
            parts = [*chunks(heads, _STREAMS_PER_CHUNK)] or [[]]
            yield Page([{stream: heads[stream] for stream in part} for part in parts], page.below)

    def covered(self, token: Token) -> Token:
        return token

    def holds(self, groups: Mapping[int, int]) -> None:
        """Streams of other groups are told of by whoever holds them."""
        if self._held != groups.keys():
            self._held = frozenset(groups)
            self._projector.frozen.retain(lambda stream: slot_group(stream_slot(str(stream))) in self._held)

    async def tidy(self) -> None:
        """Nothing is kept beside the documents."""

    async def leave(self) -> None:
        """Nothing is left open."""
