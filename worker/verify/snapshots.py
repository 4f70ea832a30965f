"""Reads within one transaction, so that whatever is compared is of one time; right while the worker writes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias, TypeVar

from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Collection, Database, Document
from worker.storage.reading import Unreadable
from worker.storage.transactions import Session, Transactions
from worker.verify.findings import Run
from worker.verify.reading import PAGE_BYTES, hashable, pages

T = TypeVar("T")
Reads: TypeAlias = Callable[["Snapshot", Sequence[Any]], Awaitable[T]]
"""What is made of a snapshot and some ids."""

PAGE = 1_000  # documents: some tenths of a second in one transaction
_ID_AND_SIZE: Mapping[str, Any] = {"_id": 1, "size": {"$bsonSize": "$$ROOT"}}
_ATTEMPTS = 5  # a snapshot can be lost to an election or to a new index


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Reads of one transaction: all of them show the same time. Use it within `Snapshots.read`.

    Ids may be of any type; of documents that whole pages name, each page is of bounded size (`Snapshots.ids`).
    What nobody can read is left out and stands in `unreadable`.
    """

    database: Database
    session: Session
    unreadable: list[Unreadable] = field(default_factory=list)

    async def by_id(
        self,
        collection: Collection,
        ids: Iterable[Any],
        paths: Mapping[str, int] | None,
        *,
        key: str = "_id",
        kept: Sequence[str] = (),
    ) -> dict[Any, Document]:
        """Those of the documents that there are, by `_id` or another unique field."""
        named = list(ids)
        if not named:
            return {}
        wanted = {key: {"$in": named}}
        found = await reading.find(collection, wanted, paths, session=self.session, kept=kept)
        self.unreadable.extend(found.unreadable)
        return {hashable(document[key]): document for document in found.documents}


async def _never(_collection: str, _identity: object) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Snapshots:
    """One session's transactions, each of which reads a page of documents and all that they are compared with."""

    run: Run
    transactions: Transactions
    refused: Callable[[str, object], Awaitable[bool]] = _never
    """Whether it is known of a collection's document that it cannot be written, and waits for people."""

    @classmethod
    @asynccontextmanager
    async def opened(cls, run: Run, **options: Any) -> AsyncIterator[Self]:
        """Give the session back in the end."""
        transactions = Transactions(run.database.client)
        try:
            yield cls(run, transactions, **options)
        finally:
            await transactions.close()

    async def ids(self, collection: Collection, most: int) -> AsyncIterator[list[Any]]:
        """All `_id`s in order, in pages whose whole documents stay within `PAGE_BYTES`.

        Of any type: a query for what comes behind an id sees only ids of its type.
        """
        ids: list[Any] = []
        size_bytes = 0
        async for page in pages(collection, {}, _ID_AND_SIZE, most=most, sort=[("_id", 1)]):
            for document in self.run.tally.readable(page):
                if ids and (len(ids) >= most or size_bytes + document["size"] > PAGE_BYTES):
                    yield ids
                    ids, size_bytes = [], 0
                ids.append(document["_id"])
                size_bytes += document["size"]
        if ids:
            yield ids

    async def pages(self, collection: Collection, read: Reads[list[T]]) -> AsyncIterator[list[T]]:
        """What `read` makes of a snapshot and a page of ids, page after page."""
        async for ids in self.ids(collection, PAGE):
            yield await self.read(read, ids)

    async def read(self, work: Reads[T], ids: Sequence[Any]) -> T:
        """What `work` reads of these ids in one transaction; repeated when the server could not keep its snapshot."""

        async def within(session: Session) -> tuple[T, Snapshot]:
            snapshot = Snapshot(self.run.database, session)
            return await work(snapshot, ids), snapshot

        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                result, snapshot = await self.transactions.run(within)
                break
            except Retryable:
                if not attempts_left:
                    raise
        for each in snapshot.unreadable:
            if await self.refused(each.collection, each.name):
                self.run.tally.counts["statistics_refused"] += 1
            else:
                self.run.tally.unreadable([each])
        return result
