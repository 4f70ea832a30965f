"""The outbox as the notify role uses it: claim by server time, mark after sending, and nothing in between lost.

A claim is a lease: who does not renew it, because it died or was cut off, leaves the row to another. Every
operation waits for MongoDB, and may run twice: `_id`, status and the claim's own token decide.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from pymongo import UpdateOne

from worker.errors import Retryable
from worker.notify.policy import Settled
from worker.storage import driver
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.retrying import retrying
from worker.timing import Clock

T = TypeVar("T")

_OPEN = ["pending", "taken"]


@dataclass(eq=False, slots=True)
class _Mark:
    """What became of a claimed row, on its way into the row. `written` is None until that is known."""

    row: Document
    settled: Settled
    channel: str
    written: bool | None = None

    def update(self) -> UpdateOne:
        """Guarded by the claim, but for what is true whoever owns the row."""
        if self.settled.status == "sent":
            ours: Document = {"_id": self.row["_id"], "status": {"$ne": "sent"}}
        else:
            ours = {"_id": self.row["_id"], "status": "taken", "lease_owner": self.row["lease_owner"]}
        return UpdateOne(ours, [{"$set": _marked(self.settled, self.channel)}])


class Outbox:
    """Claims and marks rows for one process; `owner` names this run of it and is never used again.

    `on_retry` is called before each wait for MongoDB. Once `stopping` says so, only a mark is still waited for:
    everything else raises Retryable.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        owner: str,
        lease_s: float,
        takeover_grace_s: float,
        on_retry: Callable[[Retryable], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._rows = database.notifications
        self._clock = clock
        self._owner = owner
        self._lease_ms = int(lease_s * 1000)
        self._grace_s = takeover_grace_s
        self._on_retry = on_retry
        self._stopping = stopping
        self._claims = count(1)
        self._marks: list[_Mark] = []
        self._marking = asyncio.Lock()
        # After MongoDB was away, rows whose lease ran out meanwhile are left to their owners for a moment: one that
        # has sent its row and could not mark it marks it now. The same at the start, when we know nothing.
        self._takeover_at = clock.monotonic() + takeover_grace_s

    async def claim(self, kinds: Collection[str], limit: int) -> list[Document]:
        """Take up to `limit` rows of these kinds: due ones, oldest first, then ones whose lease ran out.

        Counts an attempt for each. Raises only what waiting cannot heal.
        """
        ids = await self._waiting(lambda: self._candidates(kinds, limit))
        if not ids:
            return []
        token = f"{self._owner}:{next(self._claims)}"
        taken = {
            "status": "taken",
            "attempts": {"$add": ["$attempts", 1]},
            "lease_owner": {"$literal": token},
            "lease_until": self._later,
        }
        free = {"_id": {"$in": ids}, "$or": [_due(), _expired()]}
        await self._waiting(lambda: self._rows.update_many(free, [{"$set": taken}]))
        ours = {"_id": {"$in": ids}, "lease_owner": token}
        return await self._waiting(lambda: self._rows.find(ours).to_list(None))

    async def renew(self, rows: Sequence[Document]) -> None:
        """Extend the leases of claimed rows that are still ours."""
        ours = {
            "_id": {"$in": [row["_id"] for row in rows]},
            "status": "taken",
            "lease_owner": {"$in": sorted({row["lease_owner"] for row in rows})},
        }
        await self._waiting(lambda: self._rows.update_many(ours, [{"$set": {"lease_until": self._later}}]))

    async def mark(self, row: Document, settled: Settled, channel: str) -> bool:
        """Write what became of a claimed row; False where another owner has it by now and nothing was written.

        `sent` is true whoever owns the row, and is written in any case. Rows that are done at the same time share a
        command. Cancelled, the mark may be written or not.
        """
        mark = _Mark(row, settled, channel)
        self._marks.append(mark)
        async with self._marking:  # who waits here is marked by whoever is before, with all that wait
            if mark.written is None:
                await self._write(list(self._marks))
        return bool(mark.written)

    async def _write(self, marks: Sequence[_Mark]) -> None:
        """Write these marks in one command; they leave the list when that is done."""
        updates = [mark.update() for mark in marks]
        result = await self._waiting(lambda: self._rows.bulk_write(updates, ordered=False), insist=True)
        # A repeat after a lost answer matches nothing and has been written: only a foreign owner is a loss.
        foreign = set() if result.matched_count == len(marks) else await self._foreign(marks)
        for mark in marks:
            mark.written = mark.row["_id"] not in foreign
            self._marks.remove(mark)

    async def seconds_until_due(self, kinds: Collection[str]) -> float | None:
        """When the next pending row of these kinds is due by the server's time; None if none is pending."""
        pipeline: list[Document] = [
            {"$match": {"status": "pending", "kind": {"$in": sorted(kinds)}}},
            {"$sort": {"due_at": 1}},
            {"$limit": 1},
            {"$project": {"wait_ms": {"$subtract": ["$due_at", "$$NOW"]}}},
        ]
        rows = await self._waiting(lambda: driver.aggregate(self._rows, pipeline))
        return max(0.0, rows[0]["wait_ms"] / 1000) if rows else None

    async def depth(self) -> tuple[int, float]:
        """How many rows still have to be sent, and the age of the oldest in seconds, 0 if there is none."""
        pipeline: list[Document] = [
            {"$match": {"status": {"$in": _OPEN}}},
            {"$sort": {"created_at": 1}},
            {"$limit": 1},
            {"$project": {"age_ms": {"$subtract": ["$$NOW", "$created_at"]}}},
        ]
        pending = await self._waiting(lambda: self._rows.count_documents({"status": {"$in": _OPEN}}))
        oldest = await self._waiting(lambda: driver.aggregate(self._rows, pipeline))
        return pending, max(0.0, oldest[0]["age_ms"] / 1000) if oldest else 0.0

    async def _candidates(self, kinds: Collection[str], limit: int) -> list[str]:
        chosen = {"kind": {"$in": sorted(kinds)}}
        due = self._rows.find({**chosen, **_due()}, {"_id": 1}).sort("due_at", 1).limit(limit)
        ids = [row["_id"] for row in await due.to_list(None)]
        if len(ids) < limit and self._clock.monotonic() >= self._takeover_at:
            expired = self._rows.find({**chosen, **_expired()}, {"_id": 1}).limit(limit - len(ids))
            ids += [row["_id"] for row in await expired.to_list(None)]
        return ids

    async def _foreign(self, marks: Sequence[_Mark]) -> set[str]:
        """The rows that somebody else has claimed since."""
        attempts = {mark.row["_id"]: mark.row["attempts"] for mark in marks}
        mine = {"_id": {"$in": list(attempts)}}
        rows = await self._waiting(lambda: self._rows.find(mine, {"attempts": 1}).to_list(None), insist=True)
        return {row["_id"] for row in rows if row["attempts"] != attempts[row["_id"]]}

    async def _waiting(self, operation: Callable[[], Awaitable[T]], *, insist: bool = False) -> T:
        async def attempt() -> T:
            with translated():
                return await operation()

        def away(error: Retryable) -> None:
            self._takeover_at = self._clock.monotonic() + self._grace_s
            self._on_retry(error)
            if self._stopping() and not insist:
                raise error

        return await retrying(attempt, clock=self._clock, on_retry=away)

    @property
    def _later(self) -> Document:
        return {"$add": ["$$NOW", self._lease_ms]}


def _due() -> Document:
    return {"status": "pending", "$expr": {"$lte": ["$due_at", "$$NOW"]}}


def _expired() -> Document:
    return {"status": "taken", "$expr": {"$lte": ["$lease_until", "$$NOW"]}}


def _marked(settled: Settled, channel: str) -> dict[str, Any]:
    """The fields of the row's next state. A pending row keeps its last error for whoever looks."""
    changes: dict[str, Any] = {
        "status": settled.status,
        "channel": channel,
        "lease_owner": None,
        "lease_until": None,
        # A receiver's words may begin with a dollar sign: here they are words.
        "last_error": {"$literal": settled.error},
    }
    if settled.status == "sent":
        changes["sent_at"] = "$$NOW"
    if settled.status == "pending":
        changes["due_at"] = {"$add": ["$$NOW", int(settled.wait_s * 1000)]}
    if settled.refused:
        changes["refusals"] = {"$add": [{"$ifNull": ["$refusals", 0]}, 1]}
    return changes
