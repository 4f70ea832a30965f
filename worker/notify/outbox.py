"""The outbox as the notify role uses it: claim by server time, mark after sending, and nothing in between lost.

A claim is a lease: who does not renew it, because it died or was cut off, leaves the row to another. Every
operation waits for MongoDB, and may run twice: `_id`, status and the claim's own token decide.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from worker.contract.trace_context import TraceContext
from worker.notify.policy import RowState
from worker.notify.rows import checked
from worker.notify.waiting import MongoDBWaits
from worker.settings import NotifySettings
from worker.storage import reading
from worker.storage.claims import DUE, RELEASED, Claims
from worker.storage.database import Database, Document
from worker.storage.event_traces import trace_at
from worker.storage.quarantine import Quarantined, put_items, quarantine
from worker.storage.updating import Updated, in_s, send_each, update_each
from worker.storage.work_items import NOTIFICATION_SEND, notification_item_id
from worker.timing import Clock

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Mark:
    """What became of a claimed row, on its way into the row. `written` is None until that is known."""

    row: Document
    state: RowState
    channel: str
    written: bool | None = None

    def update(self, claims: Claims) -> tuple[str, Document, list[Document]]:
        """Guarded by the claim."""
        key = self.row["_id"]
        held = claims.held(key, self.row["lease_owner"])
        return key, held, [{"$set": _marked(self.state, self.channel)}]


class Outbox:
    """Claims and marks rows for one process; `owner` names this run of it and is never used again.

    Once its waits are `stopping`, only a mark is still waited for: everything else raises Retryable.
    """

    def __init__(
        self, database: Database, clock: Clock, waits: MongoDBWaits, settings: NotifySettings, *, owner: str
    ) -> None:
        self._database = database
        self._rows = database.notifications
        self._items = database.analytics_queue
        self._code_version = settings.code_version
        self._claims = Claims(self._rows, clock, "taken", owner, settings.lease_s, settings.pass_over_s)
        self._quarantined: set[str] = set()
        self._clock = clock
        self._began_at = clock.monotonic()
        self._grace_s = settings.takeover_grace_s
        self._waits = waits
        self._waiting = waits.until_answered
        self._marks: list[_Mark] = []
        self._marking = asyncio.Lock()

    async def claim(self, kinds: Collection[str], limit: int, *, expired: bool = True) -> list[Document]:
        """Take up to `limit` rows of these kinds: if `expired`, those whose lease ran out; then due ones by age.

        Counts an attempt for each. A row that nobody can read or change is quarantined: it stays as it is, and the
        queue says why. Raises only what waiting cannot heal.
        """
        ids = await self._waiting(lambda: self._candidates(kinds, limit, expired=expired))
        if not ids:
            return []
        token, attempt = self._claims.new_token(), {"attempts": {"$add": ["$attempts", 1]}}
        claim = await self._waiting(lambda: self._claims.claim(token, ids, attempt, checked, expired=True))
        why = "the server does not let the row be changed (code {})"
        await self.quarantine("Refused", {key: why.format(code) for key, code in claim.refused.items()})
        await self._close_items([row["_id"] for row in claim.taken])
        return [*claim.taken]

    async def quarantine(self, error_class: str, reasons: Mapping[str, str]) -> None:
        """Pass over rows for a while, and say why in the queue. May run twice."""
        if not reasons:
            return
        upserts = []
        for key, reason in reasons.items():
            self._claims.pass_over(key)
            if key not in self._quarantined:
                log.warning("notification_quarantined", key=key, error_class=error_class, reason=reason)
            data = {"collection": "notifications", "id": key}
            item = Quarantined(notification_item_id(key), NOTIFICATION_SEND, error_class, reason, data=data)
            upserts.append(quarantine(item, self._code_version))
        await self._waiting(lambda: put_items(self._items, upserts))
        self._quarantined.update(reasons)

    async def _close_items(self, keys: Sequence[str]) -> None:
        """Close the items of rows that could be read after all."""
        mended = [notification_item_id(key) for key in keys if key in self._quarantined]
        if not mended:
            return
        self._quarantined.difference_update(keys)
        done = {"status": "completed", "processed_at": "$$NOW", **RELEASED}
        query = {"_id": {"$in": mended}, "status": {"$ne": "completed"}}
        await self._waiting(lambda: update_each(self._items, query, [{"$set": done}]))

    async def trace_of(self, row: Document) -> TraceContext | None:
        """The trace of the event that reached the row's milestone; None where that is not known, or has none."""
        data = row.get("data")
        moment = data.get("reached_at") if isinstance(data, Mapping) else None
        return await trace_at(self._database, row.get("stream_id"), moment)

    async def renew(self, rows: Sequence[Document]) -> None:
        """Extend the leases of claimed rows that are still ours."""
        tokens, ids = {row["lease_owner"] for row in rows}, [row["_id"] for row in rows]
        await self._waiting(lambda: self._claims.renew(tokens, ids))

    async def mark(self, row: Document, state: RowState, channel: str) -> bool:
        """Write what became of a claimed row; False where another owner has it by now and nothing was written.

        `sent` is true whoever owns the row, and is written in any case. Rows that are done at the same time share a
        command. Cancelled, the mark may be written or not.
        """
        mark = _Mark(row, state, channel)
        self._marks.append(mark)
        async with self._marking:  # who waits here is marked by whoever is before, with all that wait
            if mark.written is None:
                await self._write(list(self._marks))
        return bool(mark.written)

    async def _write(self, marks: Sequence[_Mark]) -> None:
        """Write these marks; they leave the list when that is done.

        That rows were sent is true whoever owns them: it is written into all of them at once.
        """
        sent: dict[tuple[RowState, str], list[str]] = defaultdict(list)
        for mark in marks:
            if mark.state.status == "sent":
                sent[mark.state, mark.channel].append(mark.row["_id"])
        others = [mark.update(self._claims) for mark in marks if mark.state.status != "sent"]
        written = [
            await self._waiting(partial(self._write_sent, keys, state, channel), insist=True)
            for (state, channel), keys in sent.items()
        ]
        written.append(await self._waiting(lambda: send_each(self._rows, others), insist=True))
        refused = {key for each in written for key in each.refused}
        matched = sum(each.matched for each in written)
        # A repeat after a lost answer matches nothing and has been written: only a foreign owner is a loss.
        foreign = refused if matched == len(marks) - len(refused) else refused | await self._foreign(marks)
        for mark in marks:
            mark.written = mark.row["_id"] not in foreign
            self._marks.remove(mark)

    async def _write_sent(self, keys: Sequence[str], state: RowState, channel: str) -> Updated:
        unsent = {"_id": {"$in": keys}, "status": {"$ne": "sent"}}
        return await update_each(self._rows, unsent, [{"$set": _marked(state, channel)}])

    async def _candidates(self, kinds: Collection[str], limit: int, *, expired: bool) -> list[str]:
        ids: list[str] = []
        # After MongoDB was away, rows whose lease ran out meanwhile are left to their owners for a moment: one that
        # has sent its row and could not mark it marks it now. The same at the start, when we know nothing.
        since = max(self._began_at, self._waits.away_at)
        if expired and self._clock.monotonic() >= since + self._grace_s:
            ids = await self._readable({**_of(kinds), **self._claims.expired}, limit, sort=None)
        if len(ids) < limit:
            ids += await self._readable({**_of(kinds), **DUE}, limit - len(ids), sort=[("due_at", 1)])
        return ids

    async def _readable(
        self, query: Document, limit: int, *, sort: Sequence[tuple[str, int]] | None
    ) -> list[str]:
        """The rows that can be sent; the others are quarantined before anybody claims them."""
        found = await self._claims.candidates(query, checked, limit, sort=sort)
        unreadable = {one.id: one.reason for one in found.unreadable if isinstance(one.id, str)}
        await self.quarantine("Unreadable", unreadable)
        return [row["_id"] for row in found.values]

    async def _foreign(self, marks: Sequence[_Mark]) -> set[str]:
        """The rows that somebody else has claimed since."""
        attempts = {mark.row["_id"]: mark.row["attempts"] for mark in marks}
        mine = {"_id": {"$in": list(attempts)}}
        found = await self._waiting(lambda: reading.find(self._rows, mine, {"attempts": 1}), insist=True)
        return {row["_id"] for row in found.documents if row.get("attempts") != attempts[row["_id"]]}


def _of(kinds: Collection[str]) -> Document:
    return {"kind": {"$in": sorted(kinds)}, "_id": {"$type": "string"}}


def _marked(state: RowState, channel: str) -> dict[str, Any]:
    """The fields of the row's next state. A pending row keeps its last error for whoever looks."""
    changes: dict[str, Any] = {
        "status": state.status,
        "channel": channel,
        **RELEASED,
        # A receiver's words may begin with a dollar sign: here they are words.
        "last_error": {"$literal": state.error},
    }
    if state.status == "sent":
        changes["sent_at"] = "$$NOW"
    if state.status == "pending":
        changes["due_at"] = in_s(state.wait_s)
    if state.refused:
        changes["refusals"] = {"$add": [{"$ifNull": ["$refusals", 0]}, 1]}
    return changes
