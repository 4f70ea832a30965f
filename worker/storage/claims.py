"""Documents that one process at a time works on: claimed by server time, held under a lease, given back.

The queue and the outbox are claimed like this, and so is whatever else must be done once by one of many workers. A
document is `pending` until it is due at `due_at`. A claim gives it the status of what is in hand, the claim's token
as `lease_owner`, and `lease_until`; who dies or is cut off leaves it to others when that has passed. Every comparison
with time is the server's, every step may run twice, and a document that nobody can read or change stops no other.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from typing import Any, Generic, TypeVar

from worker.storage import reading
from worker.storage.database import Collection, Document
from worker.storage.reading import Taken, Unreadable
from worker.storage.updating import Updated, in_s, millis, send_each, update_each
from worker.timing import Clock

T = TypeVar("T")

RELEASED: Document = {"lease_owner": None, "lease_until": None}
"""What a document says of its lease that nobody holds."""
DUE: Document = {"status": "pending", "$expr": {"$lte": ["$due_at", "$$NOW"]}}
"""What may be claimed; without a date, too: the platform's items have none."""

# So many of those that are passed over are left out by the query; the others are skipped when they were read.
_MOST_IN_A_QUERY = 10_000
_MOST_REMEMBERED = 100_000
# What is read at once when everything that a claim found is passed over.
_PAGE = 1_000
_PAGE_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """What a claim has in hand. `token` stands in the documents while it has: whoever writes must find it there.

    `unreadable` is in hand, too, and cannot be worked on. `refused` are those the server did not let be claimed.
    """

    token: str
    taken: Sequence[T] = ()
    unreadable: Sequence[Unreadable] = ()
    refused: Mapping[Any, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Claims:
    """Claims in one collection. `in_hand` is the status of what is held; `owner` names this run of the process.

    What was passed over is left alone for `pass_over_s`, in this process.
    """

    documents: Collection
    clock: Clock
    in_hand: str
    owner: str
    lease_s: float
    pass_over_s: float = math.inf
    _passed_over: dict[Any, float] = field(default_factory=dict, init=False)
    _numbers: Iterator[int] = field(default_factory=partial(count, 1), init=False)

    @property
    def expired(self) -> Document:
        """What is in hand of somebody whose lease has run out."""
        return {"status": self.in_hand, "$expr": {"$lte": ["$lease_until", "$$NOW"]}}

    @property
    def until(self) -> Document:
        """When a lease that begins now ends."""
        return in_s(self.lease_s)

    def held(self, identity: Any, token: str) -> Document:
        """The document, if this claim still has it."""
        return {"_id": identity, "status": self.in_hand, "lease_owner": token}

    def new_token(self) -> str:
        """The name of a claim, which no other one has."""
        return f"{self.owner}/{next(self._numbers)}"

    # ---- what can be claimed ----

    async def candidates(
        self,
        query: Document,
        check: Callable[[Document], Document],
        limit: int,
        paths: Mapping[str, Any] | None = None,
        *,
        sort: Sequence[tuple[str, int]] | None = (("due_at", 1),),
    ) -> Taken[Document]:
        """Up to `limit` documents that pass the check, the first one due first; and those that do not.

        Behind documents that are passed over, or that do not pass, it looks further until one does: however many
        they are, they keep no other from being claimed.
        """
        order: dict[str, Any] = {"sort": list(sort)} if sort else {}
        wanted = self.narrowed(query)
        found = await reading.find(self.documents, wanted, paths, limit=limit, max_bytes=_PAGE_BYTES, **order)
        taken = self._left(found.through(check))
        exhausted = found.complete and len(found.documents) + len(found.unreadable) < limit
        if taken.values or exhausted:
            return taken
        taken = Taken()
        pages = reading.pages(self.documents, wanted, paths, most=_PAGE, max_bytes=_PAGE_BYTES, **order)
        async with aclosing(pages):
            async for page in pages:
                more = self._left(page.through(check))
                taken.unreadable.extend(more.unreadable)
                taken.values.extend(more.values[:limit])
                if taken.values:
                    break
        return taken

    async def due_in_s(self, query: Document) -> float | None:
        """Seconds until the first of the pending documents is due, 0 if one is; None where none will be."""
        late: Document = {"$cond": [DUE["$expr"], 0, millis("$due_at", "$$NOW")]}
        pending = {**self.narrowed(query), "status": "pending"}
        return await _of_first_s(self.documents, pending, "due_at", late)

    # ---- what is in hand ----

    async def claim(
        self,
        token: str,
        ids: Sequence[Any],
        changes: Document,
        read: Callable[[Document], T],
        paths: Mapping[str, Any] | None = None,
        *,
        expired: bool = False,
    ) -> Claim[T]:
        """Take these documents in hand, those that are still due, or whose lease has run out if `expired`.

        `changes` are further fields to write, expressions over the document: the attempt is counted here, so that
        work which kills its process is counted, too. With the same token it may run twice.
        """
        free: Document = {"_id": {"$in": list(ids)}, **({"$or": [DUE, self.expired]} if expired else DUE)}
        taken = {"status": self.in_hand, "lease_owner": {"$literal": token}, "lease_until": self.until}
        updated = await update_each(self.documents, free, [{"$set": {**taken, **changes}}])
        ours = {"_id": {"$in": list(ids)}, "lease_owner": token}
        found = (await reading.find(self.documents, ours, paths)).through(read)
        return Claim(token, found.values, found.unreadable, updated.refused)

    async def renew(self, tokens: Iterable[str], ids: Sequence[Any]) -> None:
        """Extend the leases of those documents that these claims still have."""
        ours = {
            "_id": {"$in": list(ids)},
            "status": self.in_hand,
            "lease_owner": {"$in": sorted(set(tokens))},
        }
        await update_each(self.documents, ours, [{"$set": {"lease_until": self.until}}])

    async def release(self, token: str, states: Mapping[Any, Document]) -> Updated:
        """Write next states, expressions over the documents, and give back all that are not another's by now."""
        return await send_each(
            self.documents,
            [
                (identity, self.held(identity, token), [{"$set": {**RELEASED, **state}}])
                for identity, state in states.items()
            ],
        )

    # ---- what nobody can read or change ----

    def pass_over(self, identity: Any) -> None:
        """Leave a document alone for a while: it must not take the place of others."""
        if len(self._passed_over) < _MOST_REMEMBERED:
            self._passed_over[identity] = self.clock.monotonic() + self.pass_over_s

    def pass_over_none(self) -> None:
        """Look at everything again."""
        self._passed_over.clear()

    def narrowed(self, query: Document) -> Document:
        """The query without what is passed over, as far as a query can say it."""
        now = self.clock.monotonic()
        self._passed_over = {name: until for name, until in self._passed_over.items() if until > now}
        if not self._passed_over:
            return query
        others = {"$nin": list(islice(self._passed_over, _MOST_IN_A_QUERY))}
        return {**query, "_id": {**query.get("_id", {}), **others}}

    def _left(self, found: Taken[Document]) -> Taken[Document]:
        """What of it is not passed over."""
        return Taken(
            [each for each in found.values if not self.passes_over(each["_id"])],
            [each for each in found.unreadable if not self.passes_over(each.id)],
        )

    def passes_over(self, identity: object) -> bool:
        """True for a document that is left alone."""
        return type(identity) in reading.IDENTITIES and identity in self._passed_over


async def age_s(collection: Collection, query: Document) -> float:
    """Age of the oldest document in seconds, by the server's time and its `created_at`; 0 without any."""
    # Only what is a date: of anything else nobody knows how old it is.
    dated = {**query, "created_at": {"$gte": reading.FIRST_DATE, "$lte": reading.LAST_DATE}}
    return await _of_first_s(collection, dated, "created_at", millis("$$NOW", "$created_at")) or 0.0


async def _of_first_s(collection: Collection, query: Document, path: str, ms: Document) -> float | None:
    """Seconds, of the milliseconds that an expression gives for the first document by this path; never below 0."""
    first: list[Document] = [
        {"$match": query},
        {"$sort": {path: 1}},
        {"$limit": 1},
        {"$project": {"_id": 0, "ms": ms}},
    ]
    rows = (await reading.aggregate(collection, first)).documents
    return max(0.0, rows[0]["ms"] / 1000) if rows and rows[0]["ms"] is not None else None
