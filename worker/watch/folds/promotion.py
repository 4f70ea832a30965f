"""Documents that were built beside the live ones take their place, and give it back.

Before a document is replaced it is kept as it was. Whether a live document is still the one that was promoted is told
by its content, not by a note of ours: whoever is killed in between two writes leaves nothing that could mislead.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import bson
from bson import ObjectId
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany
from pymongo.errors import BulkWriteError

from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import CODEC_OPTIONS, Collection, Document
from worker.storage.encoding import encoded, same
from worker.storage.errors import translated, write_failures
from worker.watch.folds.plan import number_in

Write: TypeAlias = InsertOne[Document] | UpdateMany | DeleteOne

_DIGEST_BYTES = 16
# Of what somebody else wrote there the next one must fit into BSON.
_REVISIONS = 2**62


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What became of some documents: `done` are as they should be now, `moved` have changed meanwhile and stay.

    `refused` are those that the server does not take. All by stream.
    """

    done: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Change:
    """One guarded write: `image` is what is kept before it."""

    identity: ObjectId
    stream: str
    write: Write
    image: Document | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """One run's exchange of live documents; `images` is where they are kept, `paths` what the projection owns.

    Every call may be made twice: a document changes only from the revision that was read.
    """

    live: Collection
    images: Collection
    paths: tuple[str, ...]
    run: str

    async def promote(self, built: Sequence[Document], now: datetime) -> Exchanged:
        """Put built documents in place of the live ones they were compared with.

        1. read the live ones  2. decide  3. keep what is there  4. replace, guarded by the revision  5. look again
        where some may not have been  6. forget what was kept of those that were not
        """
        result = Exchanged()
        live = await self._read([each["_id"] for each in built])  # 1
        changes: list[_Change] = []
        for each in built:  # 2
            document = live.get(each["_id"])
            if document is not None and self._is(document, each):
                result.done.append(each["stream_id"])
            elif (document or {}).get("rev") != each["built"]["from_rev"]:
                result.moved.append(each["stream_id"])
            elif (change := self._replacement(document, each, now)) is None:
                result.refused.append(each["stream_id"])
            else:
                changes.append(change)
        await self._keep(changes)  # 3
        wanted = {each["_id"]: each for each in built}
        lost = await self._exchange(  # 4, 5
            changes, lambda each, there: there is not None and self._is(there, wanted[each]), result
        )
        await self._forget(lost)  # 6
        return result

    async def restore(self, images: Sequence[Document]) -> Exchanged:
        """Put back what was kept; a document that is not the promoted one any more stays, and is named.

        1. read the live ones  2. decide  3. replace, guarded by the revision, and remove what was not there before
        4. look again where some may not have been
        """
        result = Exchanged()
        live = await self._read([each["document"] for each in images])  # 1
        changes: list[_Change] = []
        for each in images:  # 2
            document = live.get(each["document"])
            if self._is_former(document, each):
                result.done.append(each["stream_id"])
            elif document is None or self._digest(document) != each["promoted"]:
                result.moved.append(each["stream_id"])
            else:
                changes.append(self._restoration(document, each))
        former = {each["document"]: each for each in images}
        await self._exchange(  # 3, 4
            changes, lambda each, there: self._is_former(there, former[each]), result
        )
        return result

    async def _exchange(
        self,
        changes: Sequence[_Change],
        is_done: Callable[[ObjectId, Document | None], bool],
        result: Exchanged,
    ) -> list[_Change]:
        """Write, and sort in what came of each; returns the changes that were not made.

        Where the server cannot say of each that it was made, the documents are looked at again.
        """
        refused = await self._write(changes)
        if refused is None:
            result.done.extend(change.stream for change in changes)
            return []
        there = await self._read([change.identity for change in changes])
        lost = [change for change in changes if not is_done(change.identity, there.get(change.identity))]
        for change in lost:
            (result.refused if change.stream in refused else result.moved).append(change.stream)
        unmade = {change.stream for change in lost}
        result.done.extend(change.stream for change in changes if change.stream not in unmade)
        return lost

    async def untouched(self, streams: Sequence[str]) -> list[str]:
        """Those of which nothing is kept: this run has certainly not exchanged their documents.

        Of the others it may have, before it was killed: what is kept of them must not be written over.
        """
        names = {self._name(stream): stream for stream in streams}
        found = await reading.find(self.images, {"_id": {"$in": list(names)}}, {"_id": 1})
        kept = {names[row["_id"]] for row in found.documents}
        return [stream for stream in streams if stream not in kept]

    async def mark(self, result: Exchanged) -> None:
        """Note among what is kept which documents stay, and why, for whoever looks for all of them."""
        for left, streams in (("moved", result.moved), ("refused", result.refused)):
            if streams:
                ours = {"run": self.run, "_id": {"$in": [self._name(stream) for stream in streams]}}
                with translated():
                    await self.images.update_many(ours, {"$set": {"left": left}})

    def _name(self, stream: str) -> str:
        """`_id` of what is kept of a stream's document."""
        return f"{self.run}:{stream_object_id(stream)}"

    async def _read(self, identities: Sequence[ObjectId]) -> dict[ObjectId, Document]:
        if not identities:
            return {}
        paths = dict.fromkeys((*self.paths, "rev"), 1)
        found = await reading.find(self.live, {"_id": {"$in": list(identities)}}, paths)
        # One that cannot be read is there, and is none that we know.
        unreadable = {one.id: {"_id": one.id, "rev": None} for one in found.unreadable}
        return {**{each["_id"]: each for each in found.documents}, **unreadable}

    def _replacement(self, document: Document | None, built: Document, now: datetime) -> _Change | None:
        """None for what BSON cannot hold."""
        wanted = self._owned(built)
        rev = _next_rev(document)
        before = None if document is None else self._owned(document)
        image = {
            "_id": self._name(built["stream_id"]),
            "run": self.run,
            "collection": self.live.name,
            "document": built["_id"],
            "stream_id": built["stream_id"],
            "before": before,
            "promoted": self._digest({**(before or {}), **_changed(before or {}, wanted)}),
            "promoted_at": now,
            "left": None,
        }
        if encoded(image) is None or encoded(wanted) is None:
            return None
        if document is None:
            whole: Document = {"_id": built["_id"], "rev": rev, **wanted}
            return _Change(built["_id"], built["stream_id"], InsertOne(whole), image)
        return _Change(built["_id"], built["stream_id"], _update(document, wanted, rev), image)

    def _restoration(self, document: Document, image: Document) -> _Change:
        identity, stream = document["_id"], image["stream_id"]
        if image["before"] is None:
            return _Change(
                identity, stream, DeleteOne({"_id": identity, "rev": {"$eq": document.get("rev")}})
            )
        return _Change(identity, stream, _update(document, image["before"], _next_rev(document)))

    async def _keep(self, changes: Iterable[_Change]) -> None:
        images = [change.image for change in changes if change.image is not None]
        if images:
            with translated():
                await self.images.bulk_write(
                    [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in images], ordered=False
                )

    async def _forget(self, changes: Sequence[_Change]) -> None:
        names = [change.image["_id"] for change in changes if change.image is not None]
        if names:
            with translated():
                await self.images.delete_many({"_id": {"$in": names}})

    async def _write(self, changes: Sequence[_Change]) -> set[str] | None:
        """The streams whose document the server refuses; None where every change was certainly made."""
        if not changes:
            return None
        try:
            with translated():
                made = await self.live.bulk_write([change.write for change in changes], ordered=False)
        except BulkWriteError as error:
            failures = write_failures(error)
            return {
                changes[each.index].stream
                for each in failures
                if not (each.duplicate and "_id" in each.key_pattern)
            }
        certain = made.matched_count + made.inserted_count + made.deleted_count == len(changes)
        return None if certain else set()

    def _is(self, document: Document, wanted: Mapping[str, Any]) -> bool:
        """Whether a live document is what was built, in every path that is owned."""
        return same(self._owned(document), self._owned(wanted))

    def _is_former(self, document: Document | None, image: Document) -> bool:
        if document is None or image["before"] is None:
            return document is None and image["before"] is None
        return self._digest(document) == self._digest(image["before"])

    def _owned(self, document: Mapping[str, Any]) -> Document:
        return {path: document[path] for path in self.paths if path in document}

    def _digest(self, document: Mapping[str, Any]) -> bytes:
        """Equal only for documents that are equal in every owned path, to the byte."""
        raw = bson.encode(self._owned(document), codec_options=CODEC_OPTIONS)
        return hashlib.blake2b(raw, digest_size=_DIGEST_BYTES).digest()


async def images_of(images: Collection, run: str, after: str | None, most: int) -> list[Document]:
    """What a run has kept, a page of it behind `after`, the `_id` of the last one."""
    names = {"$gt": after or f"{run}:", "$lt": f"{run};"}  # ";" comes after ":"
    found = await reading.find(images, {"_id": names}, sort=[("_id", 1)], limit=most)
    return found.documents


def _changed(document: Mapping[str, Any], wanted: Mapping[str, Any]) -> Document:
    return {
        path: value
        for path, value in wanted.items()
        if not (path in document and same(document[path], value))
    }


def _update(document: Document, wanted: Mapping[str, Any], rev: int) -> UpdateMany:
    """The guarded update that makes the owned paths what is wanted, and no other one."""
    update: Document = {"$set": {**_changed(document, wanted), "rev": rev}}
    if gone := [path for path in document if path not in wanted and path not in ("_id", "rev")]:
        update["$unset"] = dict.fromkeys(gone, "")
    return UpdateMany({"_id": document["_id"], "rev": {"$eq": document.get("rev")}}, update)


def _next_rev(document: Document | None) -> int:
    return 1 if document is None else max(0, number_in(document, "rev")) % _REVISIONS + 1
