"""Documents that were built beside the live ones take their place, and give it back.

Before a document is replaced, what stood in the paths that are set is kept, its before-image. A promotion raises the
revision by more than any other writes could, and by another number in each run, a rollback once more: so the revision
alone tells whether a live document was promoted or put back, wherever a run was killed and whatever came to it since.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import bson
from bson import ObjectId
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany
from pymongo.errors import BulkWriteError

from projections.paths import ABSENT, at, nested
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import CODEC_OPTIONS, Collection, Document
from worker.storage.errors import translated, write_failures
from worker.watch.folds.plan import number_in

Write: TypeAlias = InsertOne[Document] | UpdateMany | DeleteOne

# A document would have to be written two thousand million times to get there by itself: a promotion leaps over twice
# as many revisions, a rollback over half of that.
_LEAP = 2**32
_LEAP_BACK = _LEAP // 2
# Of what somebody else wrote there the next one must fit into BSON.
_REVISIONS = 2**62
PART = "part"
"""In the names of what is kept of parts: in order they come behind what is kept of the documents that name them."""

# Not among what differs, for it says nothing to whoever looks at the report.
_ALWAYS = ("recorded_at",)


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
    """One guarded write, and what it makes of the paths it sets: None where the document is removed.

    Whatever comes to the document afterwards, its revision is one of `revisions`: no other writes lead there.
    """

    identity: ObjectId
    stream: str
    write: Write
    wanted: Document | None
    revisions: range
    image: Document | None = None

    def is_made(self, document: Document | None) -> bool:
        """Whether the live document is as the write makes it, whoever made it so, or was, before more came to it."""
        if document is None:
            return self.wanted is None
        # Not `in`: of a number of BSON's own type a range asks each of its numbers.
        if self.revisions.start <= number_in(document, "rev") < self.revisions.stop:
            return True
        return self.wanted is not None and _encoded(document, self.wanted) == _encoded(
            self.wanted, self.wanted
        )


@dataclass(frozen=True, slots=True)
class Promotion:
    """One run's exchange of live documents; `images` is where they are kept, `paths` what the projection owns.

    `kind` is empty for the documents of streams, `PART` for parts, of which a stream has many. `unvalidated`: what is
    put back, which stood there before, goes past the server's validator, where this user is allowed to.
    Every call may be made twice: a document changes only from the revision that was read.
    """

    live: Collection
    images: Collection
    paths: tuple[str, ...]
    run: str
    unvalidated: bool = False
    kind: str = ""

    async def promote(self, built: Sequence[Document], now: datetime) -> Exchanged:
        """Put built documents in place of the live ones they were compared with.

        1. read of the live ones what differs  2. decide  3. keep what is there  4. replace, guarded by the revision
        5. look again where some may not have been  6. forget what was kept of those that were not
        """
        names = {name for each in built for name in each["built"]["differs"]} | {*_ALWAYS}
        live = await self._read([each["_id"] for each in built], names)  # 1
        result = Exchanged()
        changes: list[_Change] = []
        for each in built:  # 2
            document, change = live.get(each["_id"]), self._replacement(live.get(each["_id"]), each, now)
            if (document or {}).get("rev") == each["built"]["from_rev"]:
                changes.append(change)
            else:
                done = document is not None and change.is_made(document)
                (result.done if done else result.moved).append(change.stream)
        await self._keep(changes)  # 3
        lost = await self._exchange(changes, result)  # 4, 5
        await self._forget(lost)  # 6
        return result

    async def restore(self, images: Sequence[Document]) -> Exchanged:
        """Put back what was kept; a document that is not the promoted one any more stays, and is named.

        1. replace, guarded by the revision that the promotion gave, and remove what was not there before  2. look at
        them where some were not: a former attempt may have put them back.
        """
        result = Exchanged()
        await self._exchange([_restoration(each) for each in images], result, unvalidated=self.unvalidated)
        return result

    async def untouched(self, streams: Sequence[str]) -> list[str]:
        """Those of which nothing is kept: this run has certainly not exchanged their documents.

        Of the others it may have, before it was killed: what is kept of them must not be written over.
        """
        found = await reading.find(self.images, self._kept_of(streams), {"stream_id": 1})
        kept = {row["stream_id"] for row in found.documents}
        return [stream for stream in streams if stream not in kept]

    async def mark(self, result: Exchanged) -> None:
        """Note among what is kept which documents stay, and why, for whoever looks for all of them."""
        for left, streams in (("moved", result.moved), ("refused", result.refused)):
            if streams:
                with translated():
                    await self.images.update_many(self._kept_of(streams), {"$set": {"left": left}})

    def _kept_of(self, streams: Sequence[str]) -> Document:
        """What finds all that is kept of these streams' documents."""
        if not self.kind:
            return {"_id": {"$in": [self._name(stream_object_id(stream)) for stream in streams]}}
        first, behind = f"{self.run}:{self.kind}:", f"{self.run}:{self.kind};"  # ";" comes after ":"
        return {"_id": {"$gt": first, "$lt": behind}, "stream_id": {"$in": list(streams)}}

    def _name(self, identity: ObjectId) -> str:
        """`_id` of what is kept of a document."""
        return f"{self.run}:{self.kind}:{identity}" if self.kind else f"{self.run}:{identity}"

    @property
    def _leap(self) -> int:
        salt = hashlib.blake2b(self.run.encode(), digest_size=3).digest()
        return _LEAP + int.from_bytes(salt)

    def _replacement(self, document: Document | None, built: Document, now: datetime) -> _Change:
        """What differs was seen when it was built, from the revision the live document had then."""
        names = self.paths if document is None else (*built["built"]["differs"], *_ALWAYS)
        wanted = _fields(built, names)
        rev = max(0, number_in(document or {}, "rev")) % _REVISIONS + self._leap
        image = {
            "_id": self._name(built["_id"]),
            "run": self.run,
            "collection": self.live.name,
            "document": built["_id"],
            "stream_id": built["stream_id"],
            "changed": list(wanted),
            "before": None if document is None else _fields(document, wanted),
            "promoted_rev": rev,
            "promoted_at": now,
            "left": None,
        }
        write: Write = (
            InsertOne({"_id": built["_id"], "rev": rev, **nested(wanted)})
            if document is None
            else _guarded(built["_id"], document.get("rev"), {"$set": {**wanted, "rev": rev}})
        )
        return _Change(built["_id"], built["stream_id"], write, wanted, range(rev, rev + _LEAP_BACK), image)

    async def _exchange(
        self, changes: Sequence[_Change], result: Exchanged, *, unvalidated: bool = False
    ) -> list[_Change]:
        """Write, and sort in what came of each; returns the changes that were not made.

        Where the server cannot say of each that it was made, the documents are looked at again.
        """
        refused = await self._write(changes, unvalidated=unvalidated)
        if refused is None:
            result.done.extend(change.stream for change in changes)
            return []
        names = {name for change in changes for name in change.wanted or {}}
        there = await self._read([change.identity for change in changes], names)
        lost = [change for change in changes if not change.is_made(there.get(change.identity))]
        for change in lost:
            (result.refused if change.stream in refused else result.moved).append(change.stream)
        unmade = {change.stream for change in lost}
        result.done.extend(change.stream for change in changes if change.stream not in unmade)
        return lost

    async def _write(self, changes: Sequence[_Change], *, unvalidated: bool) -> set[str] | None:
        """The streams whose document the server refuses; None where every change was certainly made."""
        if not changes:
            return None
        try:
            with translated():
                made = await self.live.bulk_write(
                    [change.write for change in changes],
                    ordered=False,
                    bypass_document_validation=unvalidated or None,
                )
        except BulkWriteError as error:
            failures = write_failures(error)
            return {
                changes[each.index].stream
                for each in failures
                if not (each.duplicate and "_id" in each.key_pattern)
            }
        certain = made.matched_count + made.inserted_count + made.deleted_count == len(changes)
        return None if certain else set()

    async def _read(self, identities: Sequence[ObjectId], names: Iterable[str]) -> dict[ObjectId, Document]:
        """Of the live documents these paths. One that cannot be read is there, and is none that we know."""
        if not identities:
            return {}
        paths = dict.fromkeys((*names, "rev"), 1)
        found = await reading.find(self.live, {"_id": {"$in": list(identities)}}, paths)
        unreadable = {one.id: {"_id": one.id, "rev": None} for one in found.unreadable}
        return {**{each["_id"]: each for each in found.documents}, **unreadable}

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


async def images_of(images: Collection, run: str, after: str | None, most: int) -> list[Document]:
    """What a run has kept, a page of it behind `after`, the `_id` of the last one."""
    names = {"$gt": after or f"{run}:", "$lt": f"{run};"}  # ";" comes after ":"
    found = await reading.find(images, {"_id": names}, sort=[("_id", 1)], limit=most)
    return found.documents


def _restoration(image: Document) -> _Change:
    identity, stream, rev, before = (
        image[name] for name in ("document", "stream_id", "promoted_rev", "before")
    )
    if before is None:
        # One that is made anew counts from 1.
        removal = DeleteOne({"_id": identity, "rev": rev})
        return _Change(identity, stream, removal, None, range(1, rev))
    restored = range(rev + _LEAP_BACK, rev + _LEAP)
    update: Document = {"$set": {**before, "rev": restored.start}}
    if added := [name for name in image["changed"] if name not in before]:
        update["$unset"] = dict.fromkeys(added, "")
    wanted = {name: before.get(name) for name in image["changed"]}
    return _Change(identity, stream, _guarded(identity, rev, update), wanted, restored)


def _guarded(identity: ObjectId, rev: Any, update: Document) -> UpdateMany:
    """The update of one document, from the revision that was read. "Many": see `folds.writing`."""
    return UpdateMany({"_id": identity, "rev": {"$eq": rev}}, update)


def _encoded(document: Mapping[str, Any], names: Iterable[str]) -> bytes:
    """Equal only for documents that are equal in these paths, in value and in type."""
    fields = _fields(document, names)
    return bson.encode({name: fields.get(name) for name in names}, codec_options=CODEC_OPTIONS)


def _fields(document: Mapping[str, Any], names: Iterable[str]) -> Document:
    """What the document has in these paths: path by path, or, of what is by path already, as it is."""
    found = {name: document[name] if name in document else at(document, name) for name in names}
    return {name: value for name, value in found.items() if value is not ABSENT}
