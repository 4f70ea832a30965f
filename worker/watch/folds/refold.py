"""Folding again what was quarantined: the same fold, past what a live projector remembers of its failures."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.skipped_versions import skips_of
from worker.watch.folds.catch_up import highest_versions
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.failed_streams import quarantine_streams
from worker.watch.folds.fold import Failure
from worker.watch.folds.projector import Projector


@dataclass(frozen=True, slots=True)
class RefoldResult:
    """`failed` streams stand where this code cannot go on; `foreign` documents were made by a newer fold.

    Every other stream's document has all events that were stored when the attempt began.
    """

    failed: dict[str, Failure] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refold:
    """Brings a projection's documents of streams up to the event store, in version order, however they failed.

    May run twice, and beside live projectors: a document changes only from the `rev` that was read.
    """

    given: FoldDependencies

    async def __call__(self, streams: Sequence[str], doubted: Sequence[str] = ()) -> RefoldResult:
        """Fold each stream as far as this code can. Raises Retryable while MongoDB is away.

        `doubted` streams are folded from their first event, and what differs in their documents is replaced. So are
        those whose fold fails: who wrote what it goes on from is not known. And those of which a version is skipped:
        somebody may have folded it before it was decided.

        1. ask how far each stream goes, and which have a decision  2. fold with a projector that remembers nothing
        3. fold from the first event  4. see whose document this code must not touch
        """
        heads = await highest_versions(self.given.database, [*streams, *doubted])  # 1
        doubted = [
            *doubted,
            *(await skips_of(self.given.database, self.given.projection.name, streams)).streams,
        ]
        failed = await self._project(
            {stream: head for stream, head in heads.items() if stream not in doubted}
        )  # 2
        rebuild = {stream: head for stream, head in heads.items() if stream in doubted or stream in failed}
        failed = await self._project(rebuild, doubting=True)  # 3
        return RefoldResult(failed, await self._foreign(heads))  # 4

    async def restore(self, streams: Collection[str]) -> None:
        """Make documents again that were lost; a stream whose fold fails gets its item in the queue."""
        result = await self([], doubted=list(streams))
        failures = list(result.failed.values())
        await quarantine_streams(
            self.given.database, self.given.projection.name, failures, code_version=self.given.code_version
        )

    async def _project(self, heads: Mapping[str, int], *, doubting: bool = False) -> dict[str, Failure]:
        """The streams that could not be folded as far as this."""
        failures: list[Failure] = []

        async def remember(some: Sequence[Failure]) -> None:
            failures.extend(some)

        projector = Projector(self.given, by="retry", on_failures=remember, doubting=doubting)
        await projector.project(heads)
        return {failure.stream: failure for failure in failures}

    async def _foreign(self, streams: Iterable[str]) -> frozenset[str]:
        by_id = {stream_object_id(stream): stream for stream in streams}
        newer = {
            "_id": {"$in": list(by_id)},
            "projection_version": {"$gt": self.given.projection.version},
        }
        found = await reading.find(
            self.given.database.collection(self.given.projection.target.collection), newer, {"_id": 1}
        )
        return frozenset(by_id[document["_id"]] for document in found.documents)
