"""Reads within one transaction, so that whatever is compared is of one time; right while the worker writes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Collection, Database, Document
from worker.storage.reading import Unreadable
from worker.storage.transactions import Session, Transactions
from worker.verify.findings import Tally
from worker.verify.reading import id_pages

T = TypeVar("T")
S = TypeVar("S", bound="Snapshot")

PAGE = 1_000  # documents: some tenths of a second in one transaction
_ATTEMPTS = 5  # a snapshot can be lost to an election or to a new index


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Reads of one transaction: all of them show the same time. Use it within `Snapshots.read`.

    Ids may be of any type; of documents that whole pages name, each page is of bounded size (`reading.id_pages`).
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
        kept: Sequence[str] = (),
    ) -> dict[Any, Document]:
        """Those of the documents that there are."""
        named = list(ids)
        if not named:
            return {}
        found = await reading.find(
            collection, {"_id": {"$in": named}}, paths, session=self.session, kept=kept
        )
        self.unreadable.extend(found.unreadable)
        return {hashable(document["_id"]): document for document in found.documents}

    async def sums(
        self, collection: Collection, path: str, keys: Iterable[Any], fields: Mapping[str, str]
    ) -> dict[Any, Document]:
        """Sums of the fields, by the value at `path`."""
        group: Document = {"_id": f"${path}", **{name: {"$sum": f"${of}"} for name, of in fields.items()}}
        pipeline = [{"$match": {path: {"$in": list(keys)}}}, {"$group": group}]
        rows = await reading.aggregate(collection, pipeline, session=self.session)
        return {hashable(row["_id"]): row for row in rows.documents}


@dataclass(frozen=True, slots=True)
class Snapshots(Generic[S]):
    """One session's transactions, each of which reads a page of documents and all that they are compared with."""

    database: Database
    tally: Tally
    make: Callable[[Database, Session], S]
    report: Callable[[Unreadable], Awaitable[None]]
    """What is done about a document that nobody can read."""
    transactions: Transactions

    async def ids(self, collection: Collection, most: int) -> AsyncIterator[list[Any]]:
        """All `_id`s of the collection, page by page."""
        async for ids, unreadable in id_pages(collection, most):
            self.tally.unreadable(unreadable)
            if ids:
                yield ids

    async def pages(
        self, collection: Collection, read: Callable[..., Awaitable[list[T]]]
    ) -> AsyncIterator[list[T]]:
        """What `read` makes of a snapshot and a page of `ids`, page after page."""
        async for ids in self.ids(collection, PAGE):
            yield await self.read(partial(read, ids=ids))

    async def read(self, work: Callable[[S], Awaitable[T]]) -> T:
        """One transaction; repeated when the server could not keep its snapshot."""

        async def within(session: Session) -> tuple[T, S]:
            snapshot = self.make(self.database, session)
            return await work(snapshot), snapshot

        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                result, snapshot = await self.transactions.run(within)
                break
            except Retryable:
                if not attempts_left:
                    raise
        for each in snapshot.unreadable:
            await self.report(each)
        return result


def hashable(identity: Any) -> Any:
    """An id is a key here; one that is a document has no place among those that are looked up."""
    return identity if isinstance(identity, Hashable) else repr(identity)
