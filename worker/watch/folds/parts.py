"""Parts of streams, written before the documents that name them: a reader finds every part that a document names.

A part changes only from the revision that was read, and only forward: one that a later event made, or a newer fold,
is never replaced by an older one, whoever was held up on the way.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from projections.kinds import Parts
from worker.storage import reading
from worker.storage.database import Collection, Document
from worker.storage.encoding import encoded, same
from worker.storage.errors import WriteFailure, translated, write_failures
from worker.storage.skipped_versions import skips_of
from worker.storage.stream_parts import PLACED, PartsFailed, make_parts
from worker.watch.folds.catch_up import highest_versions
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.fold import Failure, Folded, failure_at
from worker.watch.folds.plan import number_in

Write = InsertOne[Document] | ReplaceOne[Document]

# Parts are some 150 KB each: so many bytes of them are written at once.
_PART_BYTES = 4_000_000
# Of what somebody else wrote there the next one must fit into BSON.
_REVISIONS = 2**62


@dataclass(frozen=True, slots=True)
class PartsWritten:
    """What became of the parts of some streams, by stream.

    `changed` ones have a part that was written or removed. Of `lost` ones somebody else has changed a part meanwhile:
    they must be looked at again. A part of `rejected` ones cannot be made or stored. The documents of both must wait.
    """

    changed: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    rejected: list[Failure] = field(default_factory=list)

    @property
    def unready(self) -> Set[str]:
        return self.lost | {failure.stream for failure in self.rejected}


@dataclass(frozen=True, slots=True)
class PartsWriter:
    """Keeps the parts of a projection. May run twice, beside itself, and be killed anywhere."""

    given: FoldDependencies
    parts: Parts

    @property
    def collection(self) -> Collection:
        return self.given.database.collection(self.parts.target.collection)

    async def write(self, results: Sequence[Folded]) -> PartsWritten:
        """Write the parts that the folded documents name and that are to be made again, each stream's by itself."""
        written = PartsWritten()
        for folded in results:
            if due := self._due(folded):
                await self._write(folded, due, written)
        return written

    def leaves_some(self, folded: Folded) -> bool:
        """Whether there may be parts that the document named once, and does not name any more."""
        before, after = self._named(folded.task.document), self._named(folded.fields)
        return folded.task.refold or bool((before or {}).keys() - (after or {}).keys())

    async def remove(self, documents: Iterable[Mapping[str, Any]]) -> set[str]:
        """Remove the parts that documents, as they are stored now, do not name; returns the streams that had some.

        One that a later event or a newer fold made stays: it is about to be named.
        """
        changed: set[str] = set()
        for document in documents:
            removals = [
                DeleteOne({"_id": each["_id"], "rev": each.get("rev")})
                for each in await self._unnamed(document)
            ]
            if removals:
                with translated():
                    await self.collection.bulk_write(removals, ordered=False)
                changed.add(str(document["stream_id"]))
        return changed

    async def differing(self, folded: Folded) -> list[ObjectId]:
        """Which parts a refold of the stream would write or remove. Only reads. Raises PartsFailed."""
        found = [each["_id"] for each in await self._unnamed(folded.fields or {})]
        async with aclosing(self.made(folded, self.parts.named(folded.fields or {}).keys())) as pages:
            async for page in pages:
                stored = await self.stored(page, whole=True)
                found += [each["_id"] for each in page if not _is_current(each, stored.get(each["_id"]))]
        return found

    def _named(self, document: Mapping[str, Any] | None) -> Mapping[ObjectId, int] | None:
        """The parts of a document; None for one that makes no sense, because somebody else has written to it."""
        try:
            return {} if document is None else self.parts.named(document)
        except (
            Exception
        ):  # whatever it raises concerns this document: it is folded anew, or `verify` finds it
            return None

    def _due(self, folded: Folded) -> Set[ObjectId]:
        """The parts to make again: what the stored document says of the others is what the new one says of them."""
        before = None if folded.task.refold else self._named(folded.task.document)
        after, known = self.parts.named(folded.fields or {}), before or {}
        return {identity for identity, version in after.items() if known.get(identity) != version}

    async def _write(self, folded: Folded, due: Set[ObjectId], written: PartsWritten) -> None:
        """1. make some parts  2. read what stands there, decide, and write, guarded by `rev`; then the next ones."""
        stream, left = folded.task.stream, set(due)
        try:
            async with aclosing(self.made(folded, due)) as pages:
                async for page in pages:  # 1
                    await self._put(folded, page, written)  # 2
                    left -= {part["_id"] for part in page}
                    if stream in written.unready:
                        return
        except PartsFailed as failed:
            written.rejected.append(failure_at(stream, failed.event, failed.error))
            return
        if left:
            message = "the stream's events do not make all the parts that its document names"
            written.rejected.append(Failure(stream, folded.task.after + 1, "Parts", message))

    async def made(self, folded: Folded, due: Set[ObjectId]) -> AsyncGenerator[list[Document]]:
        """The parts in pages that fit into one write, of one part at least."""
        given, document = self.given, folded.fields or {}
        skips = await skips_of(given.database, given.projection.name, [folded.task.stream])
        page: list[Document] = []
        size_bytes = 0
        async with aclosing(make_parts(given.database, given.projection, document, due, skips)) as parts:
            async for part in parts:
                page.append(part)
                raw = encoded(part)
                size_bytes += 0 if raw is None else len(raw.raw)
                if size_bytes >= _PART_BYTES:
                    yield page
                    page, size_bytes = [], 0
                # Making one takes some milliseconds: others get their turn.
                await given.clock.sleep(0)
        if page:
            yield page

    async def _put(self, folded: Folded, page: Sequence[Document], written: PartsWritten) -> None:
        stream, whole = folded.task.stream, folded.task.refold
        stored = await self.stored(page, whole=whole)
        beyond = await self._beyond(folded, stored) if whole else None
        writes: list[Write] = []
        for part in page:
            there = stored.get(part["_id"])
            if (whole and _is_current(part, there)) or _is_newer(there, folded, beyond):
                continue
            if (write := _write_of(part, there)) is None:
                written.rejected.append(_rejection(folded, "a value of a part cannot be stored as BSON"))
                return
            writes.append(write)
        if not writes:
            return
        failures = await self._send(writes, stream, written)
        written.changed.add(stream)
        final = [each for each in failures if not (each.duplicate and "_id" in each.key_pattern)]
        if final:
            code = final[0].code
            why = (
                "another part has its key"
                if final[0].duplicate
                else f"the server refused a part (code {code})"
            )
            written.rejected.append(_rejection(folded, why))

    async def _send(
        self, writes: Sequence[Write], stream: str, written: PartsWritten
    ) -> Sequence[WriteFailure]:
        failures: Sequence[WriteFailure] = ()
        try:
            with translated():
                result = await self.collection.bulk_write(
                    writes, ordered=False, bypass_document_validation=self.given.database.unvalidated or None
                )
            matched = result.matched_count
        except BulkWriteError as error:
            failures = write_failures(error)
            matched = error.details["nMatched"]
        failed = {failure.index for failure in failures}
        replaced = sum(
            1 for index, write in enumerate(writes) if isinstance(write, ReplaceOne) and index not in failed
        )
        if matched != replaced or any(each.duplicate and "_id" in each.key_pattern for each in failures):
            written.lost.add(stream)
        return failures

    async def stored(self, page: Sequence[Document], *, whole: bool) -> dict[ObjectId, Document]:
        """What stands there: all of it, or what it says of itself. Of one that cannot be read the revision."""
        wanted = {"_id": {"$in": [part["_id"] for part in page]}}
        found = await reading.find(self.collection, wanted, None if whole else dict.fromkeys(PLACED, 1))
        stored: dict[Any, Document] = {each["_id"]: each for each in found.documents}
        for each in found.unreadable:
            revision = await reading.find_one(self.collection, {"_id": each.id}, {"rev": 1})
            stored[each.id] = revision if isinstance(revision, dict) else {"_id": each.id}
        return stored

    async def _beyond(self, folded: Folded, stored: Mapping[ObjectId, Document]) -> int | None:
        """The last version of the stream, where a part claims one that the document has not seen; else None.

        A part that claims more than is stored is nobody's.
        """
        upto = (folded.fields or {})["version"]
        if all(number_in(each, "event_version") <= upto for each in stored.values()):
            return None
        await self.given.barrier()
        stream = folded.task.stream
        return (await highest_versions(self.given.database, [stream])).get(stream, upto)

    async def _unnamed(self, document: Mapping[str, Any]) -> list[Document]:
        """The stored parts of the stream that its document does not name, though it has seen what made them."""
        named, of_stream = self._named(document), {"stream_id": document.get("stream_id")}
        if named is None:
            return []
        found = await reading.find(self.collection, of_stream, dict.fromkeys(PLACED, 1))
        return [
            each
            for each in found.documents
            if each["_id"] not in named
            and number_in(each, "projection_version") <= document["projection_version"]
            and number_in(each, "event_version") <= document["version"]
        ]


def _is_newer(stored: Document | None, folded: Folded, beyond: int | None) -> bool:
    """Whether a newer fold, or an event that was not folded here, made what is stored.

    No event is stored after version `beyond`. An event that was folded makes less than before where somebody has
    decided to skip another one.
    """
    if stored is None:
        return False
    fields = folded.fields or {}
    made_by, version = number_in(stored, "projection_version"), number_in(stored, "event_version")
    if made_by != fields["projection_version"]:
        return made_by > int(fields["projection_version"])
    return version > int(fields["version"]) and (beyond is None or version <= beyond)


def _is_current(part: Document, stored: Document | None) -> bool:
    """Whether the stored part is what was made, in value and type."""
    if stored is None or number_in(stored, "rev") < 1:
        return False
    return same({name: value for name, value in stored.items() if name != "rev"}, part)


def _write_of(part: Document, stored: Document | None) -> Write | None:
    """The guarded write of a part, or None where BSON cannot hold it."""
    rev = 0 if stored is None else max(0, number_in(stored, "rev")) % _REVISIONS
    raw: Any = encoded({**part, "rev": rev + 1})
    if raw is None:
        return None
    if stored is None:
        return InsertOne(raw)
    return ReplaceOne({"_id": part["_id"], "rev": {"$eq": stored.get("rev")}}, raw)


def _rejection(folded: Folded, message: str) -> Failure:
    """Which event of the run is to blame is not known: the run as a whole waits at its first one."""
    return Failure(folded.task.stream, folded.task.after + 1, "Refused", message)
