"""Documents made again from all of their events: in place where they differ, or only looked at.

A reader never sees less than before: a document is replaced from the revision that was read, never deleted, and what
the platform keeps in the same document is not touched.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from projections.kinds import By
from worker.storage.stream_parts import PartsFailed
from worker.watch.folds.catch_up import highest_versions
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.failed_streams import quarantine_streams
from worker.watch.folds.fold import Failure, Folded, failure_at, not_adopted
from worker.watch.folds.lost_milestones import met_by_replay
from worker.watch.folds.parts import PartsWriter
from worker.watch.folds.projector import Projector, Tally
from worker.watch.folds.writing import differing


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of the documents of some streams: which were replaced, and which were right.

    `failed` streams stand where this code cannot go on, and have their item in the queue. The document of a stream
    in none of the three was made by a newer fold, and is left alone.
    """

    streams: int
    done: Tally
    failed: Sequence[Failure]

    def counts(self) -> dict[str, int]:
        """The numbers, by the names they have wherever they are shown."""
        failed = {failure.stream for failure in self.failed}
        dealt_with = self.done.changed | self.done.unchanged | failed
        return {
            "streams": self.streams,
            "events": self.done.events,
            "changed": len(self.done.changed - failed),
            "unchanged": len(self.done.unchanged - failed),
            "failed": len(failed),
            "newer": self.streams - len(dealt_with),
        }


@dataclass(slots=True)
class Compared:
    """What a rebuild would find: streams without a document, and documents that differ, by the paths that do.

    `differing` counts the missing ones, too. Each is compared up to its own version: one that waits for further
    events is `behind`, and differs only where it is wrong as far as it has come.
    """

    streams: int = 0
    events: int = 0
    differing: int = 0
    missing: int = 0
    behind: int = 0
    failed: list[Failure] = field(default_factory=list)
    paths: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def take(self, folded: Folded, head: int, parts: Sequence[str] = ()) -> None:
        """One stream's fold, beside its document; `parts` names the collection of its parts where these differ."""
        self.events += folded.count
        if folded.failure is not None:
            self.failed.append(folded.failure)
        elif folded.theirs:
            self.failed.append(not_adopted(folded))
        elif folded.fields is not None and not folded.unbegun:
            wrong = [*differing(folded), *parts]
            self.differing += bool(wrong)
            self.missing += folded.task.document is None
            self.behind += folded.task.document is not None and folded.task.upto < head
            self.paths.update(wrong if folded.task.document is not None else ())
            self.examples += [folded.task.stream] if wrong else []


@dataclass(frozen=True, slots=True)
class DocumentRebuild:
    """Makes the documents of streams again. May run twice, beside itself and beside live projectors."""

    given: FoldDependencies

    async def __call__(self, streams: Sequence[str]) -> Rebuilt:
        """Fold each stream from its first event, as far as it goes, and replace what differs.

        1. ask how far each stream goes  2. ask the outbox whose milestones a replay has met  3. fold  4. quarantine
        the streams whose fold fails. A milestone that its document tells of keeps who met it.
        """
        heads = await highest_versions(self.given.database, streams)  # 1
        replayed = await met_by_replay(self.given.database, self.given.projection, heads)  # 2
        failed: list[Failure] = []
        result = Rebuilt(len(heads), Tally(), failed)
        parts: list[tuple[By, set[str]]] = [("replay", replayed), ("retry", heads.keys() - replayed)]
        for by, some in parts:  # 3
            projector = self.projector(by, failed, result.done)
            await projector.project({stream: heads[stream] for stream in heads if stream in some})
        name = self.given.projection.name
        await quarantine_streams(  # 4
            self.given.database, name, failed, code_version=self.given.code_version
        )
        return result

    async def compare(self, streams: Sequence[str]) -> Compared:
        """What differs from its events. Only reads."""
        heads = await highest_versions(self.given.database, streams)
        compared = Compared(streams=len(heads))
        async for folded in self.projector("replay", compared.failed).preview(heads):
            try:
                compared.take(folded, heads[folded.task.stream], await self._parts_differing(folded))
            except PartsFailed as failed:
                compared.failed.append(failure_at(folded.task.stream, failed.event, failed.error))
        return compared

    async def _parts_differing(self, folded: Folded) -> Sequence[str]:
        parts = self.given.projection.parts
        if parts is None or folded.failure is not None or folded.fields is None:
            return ()
        return [parts.target.collection] if await PartsWriter(self.given, parts).differing(folded) else ()

    def projector(self, by: By, failed: list[Failure], tally: Tally | None = None) -> Projector:
        """One that believes no document, and remembers no failure of others."""

        async def remember(failures: Sequence[Failure]) -> None:
            failed.extend(failures)

        return Projector(self.given, by=by, on_failures=remember, doubting=True, tally=tally)
