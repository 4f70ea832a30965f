"""Parts built beside the live ones, by the same fold or another, each with what it was compared with."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ReplaceOne

from worker.storage import reading
from worker.storage.database import Collection, Document
from worker.storage.encoding import encoded, same
from worker.storage.errors import translated
from worker.storage.stream_parts import PLACED
from worker.watch.folds.fold import Folded
from worker.watch.folds.parts import PartsWriter

# Of built parts, some 150 KB each, so many are exchanged at once.
_MOST = 100
_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class ShadowParts:
    """The parts of documents built under a name, in `collection`; `writer` makes them, and knows the live ones."""

    writer: PartsWriter
    collection: Collection

    @property
    def paths(self) -> tuple[str, ...]:
        """All that a part has, but for its revision."""
        return (*self.writer.parts.paths, *(name for name in (*PLACED, "slot") if name != "rev"))

    async def begin(self) -> None:
        """What was built under this name before is gone."""
        with translated():
            await self.collection.drop()
            await self.collection.create_index("stream_id")

    async def build(self, folded: Folded, now: datetime) -> bool:
        """Make the parts of a document that was built, compare them with the live ones, and store them.

        True if one differs. What was built of the stream before, and is not named any more, is gone.
        """
        named, differs = self.writer.parts.named(folded.fields or {}), False
        async with aclosing(self.writer.made(folded, named.keys())) as pages:
            async for page in pages:
                live = await self.writer.stored(page, whole=True)
                built = [_built(part, live.get(part["_id"]), now) for part in page]
                differs |= any(each["built"]["differs"] for each in built)
                await self._put(built)
        with translated():
            of_stream = {"stream_id": folded.task.stream, "_id": {"$nin": [*named]}}
            await self.collection.delete_many(of_stream)
        return differs

    async def differing(self, streams: Sequence[str]) -> AsyncGenerator[list[Document]]:
        """The built parts of these streams that differ from the live ones, in pages."""
        query: Document = {"stream_id": {"$in": list(streams)}, "built.differs": {"$ne": []}}
        async with aclosing(reading.pages(self.collection, query, most=_MOST, max_bytes=_BYTES)) as pages:
            async for page in pages:
                yield page.documents

    async def _put(self, built: Sequence[Document]) -> None:
        writes: list[ReplaceOne[Document]] = []
        for each in built:
            whole: Any = encoded(each)
            writes.append(ReplaceOne({"_id": each["_id"]}, each if whole is None else whole, upsert=True))
        with translated():
            await self.collection.bulk_write(writes, ordered=False)


def _built(part: Document, live: Mapping[str, Any] | None, now: datetime) -> Document:
    there = live or {}
    differs = [
        name
        for name, value in part.items()
        if name != "_id" and not (name in there and same(there[name], value))
    ]
    return {**part, "built": {"from_rev": there.get("rev"), "differs": differs, "at": now}}
