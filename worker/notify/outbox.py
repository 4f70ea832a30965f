"""The outbox as the notify role uses it: claim by server time, mark after sending, and nothing in between lost.

A claim is a lease: who does not renew it, because it died or was cut off, leaves the row to another. Every
operation waits for MongoDB, and may run twice: `_id`, status and the claim's own token decide.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import structlog

from worker.errors import Retryable
from worker.notify.policy import Settled
from worker.notify.rows import checked
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.quarantine import Quarantined, put_items, quarantine
from worker.storage.reading import Reading
from worker.storage.retrying import retrying
from worker.storage.updating import millis, send_each, update_each
from worker.storage.work_items import NOTIFICATION_SEND, notification_item_id
from worker.timing import Clock

log = structlog.get_logger(__name__)

T = TypeVar("T")

_OPEN = ["pending", "taken"]
# Rows that cannot be read or changed are passed over for so long, unless somebody writes to one.
_PASSED_OVER_S = 60.0
_MOST_PASSED_OVER = 10_000
# A row has some hundred bytes, unless somebody else wrote to it.
_MOST_BYTES = 4_000_000


@dataclass(eq=False, slots=True)
class _Mark:
    """What became of a claimed row, on its way into the row. `written` is None until that is known."""

    row: Document
    settled: Settled
    channel: str
    written: bool | None = None

    def update(self) -> tuple[str, Document, list[Document]]:
        """Guarded by the claim, but for what is true whoever owns the row."""
        if self.settled.status == "sent":
            ours: Document = {"_id": self.row["_id"], "status": {"$ne": "sent"}}
        else:
            ours = {"_id": self.row["_id"], "status": "taken", "lease_owner": self.row["lease_owner"]}
        return self.row["_id"], ours, [{"$set": _marked(self.settled, self.channel)}]


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
        code_version: str,
    ) -> None:
        self._rows = database.notifications
        self._items = database.analytics_queue
        self._code_version = code_version
        self._passed_over: dict[str, float] = {}
        self._aside: set[str] = set()
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

        Counts an attempt for each. A row that nobody can read or change is set aside: it stays as it is, and the
        queue says why. Raises only what waiting cannot heal.
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
        updated = await self._waiting(lambda: update_each(self._rows, free, [{"$set": taken}]))
        for key, code in updated.refused.items():
            await self.set_aside(key, "Refused", f"the server does not let the row be changed (code {code})")
        ours = {"_id": {"$in": ids}, "lease_owner": token}
        rows = (await self._waiting(lambda: reading.find(self._rows, ours))).through(checked).values
        await self._release([row["_id"] for row in rows])
        return rows

    async def set_aside(self, key: str, error_class: str, reason: str) -> None:
        """Pass over a row for a while, and say so in the queue. May run twice."""
        if len(self._passed_over) < _MOST_PASSED_OVER:
            self._passed_over[key] = self._clock.monotonic() + _PASSED_OVER_S
        item = Quarantined(
            notification_item_id(key),
            NOTIFICATION_SEND,
            error_class,
            reason,
            data={"collection": "notifications", "id": key},
        )
        upsert = quarantine(item, self._code_version)
        await self._waiting(lambda: put_items(self._items, [upsert]))
        if key not in self._aside:
            log.warning("notification_set_aside", key=key, error_class=error_class, reason=reason)
        self._aside.add(key)

    def look_again(self) -> None:
        """Somebody wrote to a row: what was passed over may be another by now."""
        self._passed_over.clear()

    async def _release(self, keys: Sequence[str]) -> None:
        """Close the items of rows that could be read after all."""
        mended = [notification_item_id(key) for key in keys if key in self._aside]
        if not mended:
            return
        self._aside.difference_update(keys)
        done = {"status": "completed", "processed_at": "$$NOW", "lease_owner": None, "lease_until": None}
        query = {"_id": {"$in": mended}, "status": {"$ne": "completed"}}
        await self._waiting(lambda: update_each(self._items, query, [{"$set": done}]))

    async def renew(self, rows: Sequence[Document]) -> None:
        """Extend the leases of claimed rows that are still ours."""
        ours = {
            "_id": {"$in": [row["_id"] for row in rows]},
            "status": "taken",
            "lease_owner": {"$in": sorted({row["lease_owner"] for row in rows})},
        }
        later = [{"$set": {"lease_until": self._later}}]
        await self._waiting(lambda: update_each(self._rows, ours, later))

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
        written = await self._waiting(lambda: send_each(self._rows, updates), insist=True)
        refused, matched = written.refused.keys(), written.matched
        # A repeat after a lost answer matches nothing and has been written: only a foreign owner is a loss.
        foreign = refused if matched == len(marks) - len(refused) else refused | await self._foreign(marks)
        for mark in marks:
            mark.written = mark.row["_id"] not in foreign
            self._marks.remove(mark)

    async def seconds_until_due(self, kinds: Collection[str]) -> float | None:
        """When the next pending row of these kinds is due by the server's time; None if none is pending."""
        pipeline: list[Document] = [
            {"$match": {**self._chosen(kinds), "status": "pending", "due_at": _DATED}},
            {"$sort": {"due_at": 1}},
            {"$limit": 1},
            {"$project": {"_id": 0, "wait_ms": millis("$due_at", "$$NOW", 0)}},
        ]
        rows = (await self._waiting(lambda: reading.aggregate(self._rows, pipeline))).documents
        return max(0.0, rows[0]["wait_ms"] / 1000) if rows else None

    async def depth(self) -> tuple[int, float]:
        """How many rows still have to be sent, and the age of the oldest in seconds, 0 if there is none."""
        pipeline: list[Document] = [
            {"$match": {"status": {"$in": _OPEN}, "created_at": _DATED}},
            {"$sort": {"created_at": 1}},
            {"$limit": 1},
            {"$project": {"_id": 0, "age_ms": millis("$$NOW", "$created_at", 0)}},
        ]
        pending = await self._waiting(lambda: self._rows.count_documents({"status": {"$in": _OPEN}}))
        oldest = (await self._waiting(lambda: reading.aggregate(self._rows, pipeline))).documents
        return pending, max(0.0, oldest[0]["age_ms"] / 1000) if oldest else 0.0

    async def _candidates(self, kinds: Collection[str], limit: int) -> list[str]:
        chosen = self._chosen(kinds)
        due = await reading.find(
            self._rows, {**chosen, **_due()}, sort=[("due_at", 1)], limit=limit, max_bytes=_MOST_BYTES
        )
        ids = await self._readable(due)
        if len(ids) < limit and self._clock.monotonic() >= self._takeover_at:
            expired = await reading.find(
                self._rows, {**chosen, **_expired()}, limit=limit - len(ids), max_bytes=_MOST_BYTES
            )
            ids += await self._readable(expired)
        return ids

    async def _readable(self, found: Reading) -> list[str]:
        """The rows that can be sent; the others are set aside before anybody claims them."""
        taken = found.through(checked)
        for one in taken.unreadable:
            if isinstance(one.id, str):
                await self.set_aside(one.id, "Unreadable", one.reason)
        return [row["_id"] for row in taken.values]

    def _chosen(self, kinds: Collection[str]) -> Document:
        """Rows of these kinds that are not passed over."""
        now = self._clock.monotonic()
        self._passed_over = {key: until for key, until in self._passed_over.items() if until > now}
        ours: Document = {"$type": "string"}
        if self._passed_over:
            ours["$nin"] = list(self._passed_over)
        return {"kind": {"$in": sorted(kinds)}, "_id": ours}

    async def _foreign(self, marks: Sequence[_Mark]) -> set[str]:
        """The rows that somebody else has claimed since."""
        attempts = {mark.row["_id"]: mark.row["attempts"] for mark in marks}
        mine = {"_id": {"$in": list(attempts)}}
        found = await self._waiting(lambda: reading.find(self._rows, mine, {"attempts": 1}), insist=True)
        return {row["_id"] for row in found.documents if row.get("attempts") != attempts[row["_id"]]}

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


_DATED: Document = {"$gte": reading.FIRST_DATE, "$lte": reading.LAST_DATE}


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
