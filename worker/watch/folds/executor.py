"""Folding as a follower drives it: of every stream that moved in the event store, the documents."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing

from projections.kinds import StreamProjection, by_kind
from worker.chunks import chunks, split_by_name
from worker.contract.identity import stream_slot
from worker.gate import Gate
from worker.storage.database import Database, Document
from worker.storage.leases import Token, group_slots, slot_group
from worker.telemetry.metrics import Metrics
from worker.telemetry.tracing import UNTRACED, Tracing
from worker.timing import Clock
from worker.watch.folds.catch_up import behind
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.failed_streams import let_streams_wait
from worker.watch.folds.projector import Projector
from worker.watch.follower import Page
from worker.watch.stream.change_stream import ChangeStream
from worker.watch.stream.resume_token import token_moment

EVENTS = "progress"
"""The watcher of the event store: in leases, positions and metrics it has the name of its first projection."""

# Catching up folds this many streams, a second of work at most, before live changes get their turn.
_STREAMS_PER_CHUNK = 500

# A turn may end behind so many.
_STREAMS_PER_PART = 5_000

Heads = Mapping[str, Mapping[str, int]]
"""By projection the streams that moved, with the versions seen."""


class StreamExecutor:
    """Keeps the documents of all stream projections; `barrier` and `keep_alive` are those of `FoldDependencies`.

    One change stream wakes them all, so its token is as far as the slowest of them. A stream that the gate holds is
    not folded: an item of the queue says that it waits, and outlives whoever put it there.
    """

    def __init__(
        self,
        database: Database,
        projections: Sequence[StreamProjection],
        clock: Clock,
        metrics: Metrics,
        *,
        barrier: Callable[[], Awaitable[None]],
        keep_alive: Callable[[], Awaitable[None]],
        code_version: str,
        tracing: Tracing = UNTRACED,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate or Gate()
        self._code_version = code_version
        self._left_out: frozenset[str] = frozenset()
        self.name = EVENTS
        self.versions: Mapping[str, int] = {each.name: each.version for each in projections}
        self._database = database
        self._projections = projections
        self._projectors = {
            each.name: Projector(
                FoldDependencies(database, each, clock, metrics, barrier, keep_alive, code_version),
                tracing=tracing,
            )
            for each in projections
        }
        self._held: frozenset[int] = frozenset()

    async def open(self, groups: Iterable[int], after: Token | None) -> ChangeStream:
        slots = [slot for group in groups for slot in group_slots(group)]
        return await follow_events(self._database, slots, after)

    def keys(self, changes: Sequence[Document], before: Token) -> Heads:
        moved = by_kind(highest(changes))
        return {each.name: moved.get(each.about, {}) for each in self._projections}

    def leave_out(self, projections: frozenset[str]) -> None:
        self._left_out = projections

    def joined(self, first: Heads, second: Heads) -> Heads:
        return {name: _newest(heads, second[name]) for name, heads in first.items()}

    def parts(self, keys: Heads) -> Iterator[Heads]:
        rest: Heads | None = keys
        while rest is not None:
            some, rest = self.split(rest, _STREAMS_PER_PART)
            yield some

    def size(self, keys: Heads) -> int:
        return sum(map(len, keys.values()))

    def split(self, keys: Heads, most: int) -> tuple[Heads, Heads | None]:
        if self.size(keys) <= most:
            return keys, None
        first, others = split_by_name(keys, most)
        return (
            {name: {stream: keys[name][stream] for stream in some} for name, some in first.items()},
            {name: {stream: keys[name][stream] for stream in some} for name, some in others.items()},
        )

    async def apply(self, keys: Heads, *, live: bool) -> None:
        """Fold each stream up to its version, or let it wait. May run twice (see `Projector.project`)."""
        for name, heads in keys.items():
            if name in self._left_out:
                continue
            held = heads.keys() & self._gate.switches.streams
            if held:
                waiting = {stream: heads[stream] for stream in held}
                await let_streams_wait(self._database, name, waiting, code_version=self._code_version)
                heads = {stream: heads[stream] for stream in heads if stream not in held}
            await self._projectors[name].project(heads)

    async def missed(
        self, stale: Mapping[int, frozenset[str]], resumed: Mapping[int, str]
    ) -> AsyncGenerator[Page[Heads], None]:
        """Streams whose document is missing, behind, or made by an older fold."""
        async with aclosing(behind(self._database, self._projections, stale, resumed)) as pages:
            async for page in pages:
                parts: list[Heads] = [
                    {name: {stream: heads[stream] for stream in part}}
                    for name, heads in page.heads.items()
                    for part in chunks(heads, _STREAMS_PER_CHUNK)
                ]
                # An empty page is one chunk, too, so that the live changes get their turn.
                yield Page(parts or [{}], page.below)

    def covered(self, token: Token) -> Token:
        return token

    def holds(self, groups: Mapping[int, int]) -> None:
        """Streams of other groups are told of by whoever holds them."""
        if self._held == groups.keys():
            return
        self._held = frozenset(groups)
        for projector in self._projectors.values():
            projector.frozen.retain(lambda stream: slot_group(stream_slot(str(stream))) in self._held)

    async def tidy(self) -> None:
        """Nothing is kept beside the documents."""

    async def leave(self) -> None:
        """Nothing is left open."""


async def follow_events(database: Database, slots: Iterable[int], after: Token | None) -> ChangeStream:
    """Open the stream of the inserts into some slots of `course_events`. Raises HistoryLost (see `ChangeStream`)."""
    return await ChangeStream.open(database.course_events, _pipeline(slots, after), after=after)


def _pipeline(slots: Iterable[int], after: Token | None) -> list[Document]:
    # By time, not by token: a token may be that of one event, and a stream that filters this event out, because its
    # slot is another worker's now, cannot resume after it (code 280). Time is inclusive; repeats are harmless.
    moment = None if after is None else token_moment(after)
    start: Document = {} if moment is None else {"startAtOperationTime": moment}
    return [
        {"$changeStream": start},
        {"$match": {"operationType": "insert", "fullDocument.slot": {"$in": list(slots)}}},
        {"$project": {"stream_id": "$fullDocument.stream_id", "version": "$fullDocument.version"}},
    ]


def _newest(first: Mapping[str, int], second: Mapping[str, int]) -> Mapping[str, int]:
    """The higher version of each stream; streams that moved first stay in front."""
    return {**first, **{stream: max(version, first.get(stream, 0)) for stream, version in second.items()}}


def highest(changes: Sequence[Document]) -> dict[str, int]:
    """The highest version of each stream among the changes; those that name no stream or version are left out."""
    heads: dict[str, int] = {}
    for change in changes:
        stream, version = change.get("stream_id"), change.get("version")
        if isinstance(stream, str) and isinstance(version, int) and version > heads.get(stream, 0):
            heads[stream] = version
    return heads
