"""`analytics_queue` for its processor: claim, settle, take back; every comparison with time is the server's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile
from types import NoneType
from typing import Any

import structlog

from worker.retry.policy import first_of_each, shared
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.quarantine import tried_also_by, tried_by
from worker.storage.reading import TEXT_OR_OBJECT_ID, Reading, Unreadable
from worker.storage.updating import millis, send_each, update_each
from worker.storage.work_items import INTERRUPTED, Failed, Item, ItemId, Postponed

log = structlog.get_logger(__name__)

# Items read at once when looking for one of each stream; and how often a stream with more than that in a row is
# stepped over in one claim, before the claim is content with what it has.
_PAGE = 200
_STEPS = 8
# What an operator reads in a table; an error message has no need for more.
_LONGEST_MESSAGE = 1_000
_ABANDONED = "the worker ended or stalled before the attempt was settled"

# Items nobody can change are passed over by this process, up to so many: they must not take the place of others.
_MOST_PASSED_OVER = 1_000

_DUE: Document = {"$lte": ["$due_at", "$$NOW"]}  # true without a date, too: the platform's items have none
_NOT_HELD: Document = {"lease_owner": None, "lease_until": None}


# What handlers read of an item, whose `data` is somebody else's and may have 16 MB.
_READ = dict.fromkeys(
    (
        "event_type",
        "stream_id",
        "retry_count",
        "occurrences",
        *(f"data.{name}" for name in ("user_id", "course_id", "collection", "id", "stream_id", "version")),
    ),
    1,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Items in hand. `token` stands in them while they are: whoever settles must find it there."""

    token: str
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of one item: done if `verdict` is None, else due again after `wait` or, `last`, failed."""

    item: Item
    verdict: Failed | Postponed | None = None
    wait: timedelta = timedelta()
    last: bool = False


class Queue:
    """The items of some event types. `owner` names this run of the process.

    An item's `retry_count` is raised by its claim, so that work which kills the process is counted, too; under
    another code version it starts again, once: `tried_by` has the versions that had their attempts, so that two of
    them side by side do not grant each other new ones for ever.
    """

    def __init__(
        self,
        database: Database,
        event_types: Iterable[str],
        *,
        owner: str,
        code_version: str,
        max_attempts: int,
        lease_s: float,
    ) -> None:
        self._items = database.analytics_queue
        self._ours: Document = {"event_type": {"$in": sorted(event_types)}, "_id": TEXT_OR_OBJECT_ID}
        self._passed_over: set[ItemId] = set()
        self._owner = owner
        self._code_version = code_version
        self._max_attempts = max_attempts
        self._lease_ms = int(lease_s * 1000)
        self._claims = 0
        self._after = ""

    async def take_back(self) -> int:
        """Open the items whose lease has run out, or end them if that was the last attempt; how many."""
        spent = {"$gte": ["$retry_count", self._max_attempts]}
        update = {
            "status": {"$cond": [spent, "failed", "pending"]},
            "due_at": "$$NOW",
            "error_class": INTERRUPTED,
            "last_error": _ABANDONED,
            **_NOT_HELD,
        }
        overdue = {**self._ours, "status": "processing", "$expr": {"$lte": ["$lease_until", "$$NOW"]}}
        return (await update_each(self._items, overdue, [{"$set": update}])).changed

    async def reopen(self) -> int:
        """Open what ended as failed and this code has not tried: it may be the fix. Returns how many."""
        update = {"status": "pending", "retry_count": 0, "due_at": "$$NOW", "code_version": self._version}
        others = {**self._ours, "status": "failed", "$expr": {"$not": [tried_by(self._code_version)]}}
        self._passed_over.clear()
        return (await update_each(self._items, others, [{"$set": update}])).changed

    async def due_in_s(self) -> float | None:
        """Seconds until the next pending item is due, 0 if one is; None without any."""
        soonest: list[Document] = [
            {"$match": {**self._open(), "status": "pending"}},
            {"$sort": {"due_at": 1}},
            {"$limit": 1},
            {"$project": {"_id": 0, "ms": millis("$due_at", "$$NOW", 0)}},
        ]
        found = await reading.aggregate(self._items, soonest)
        return max(0.0, found.documents[0]["ms"] / 1000) if found.documents else None

    async def claim(self, limit: int) -> Claim:
        """Take up to `limit` due items in hand, in turns: of each stream the oldest, stream after stream.

        A stream with a thousand items has one turn in a round, as every other. Items without a stream stand for
        themselves and get up to half. An item whose processor did not survive it is claimed alone: if it is the
        one that kills, no other pays with an attempt.
        """
        kinds = [await self._streamless(limit), await self._turns(limit)]
        if self._claims % 2:  # of an odd number one kind gets one more: not always the same
            kinds.reverse()
        candidates = shared(kinds[0], kinds[1], limit)
        healthy = list(takewhile(lambda row: row.get("error_class") != INTERRUPTED, candidates))
        chosen = healthy or candidates[:1]
        if not chosen:
            self._after = ""
            return Claim("", ())
        self._claims += 1
        token = f"{self._owner}/{self._claims}"
        ids = [row["_id"] for row in chosen]
        waiting = {"_id": {"$in": ids}, "status": "pending", "$expr": _DUE}
        updated = await update_each(self._items, waiting, [{"$set": self._taken(token)}])
        self._pass_over(updated.refused)
        found = await reading.find(self._items, {"_id": {"$in": ids}, "lease_owner": token}, _READ)
        taken = found.through(_item)
        await self._give_up(token, taken.unreadable)
        streams = [row["stream_id"] for row in chosen if row.get("stream_id")]
        self._after = streams[-1] if streams else self._after
        return Claim(token, taken.values)

    async def settle(self, token: str, settlements: Sequence[Settlement]) -> None:
        """Write what became of claimed items. May run twice; refused for an item somebody else holds by now.

        Nor is one settled that was put there again meanwhile, as `pending`: that asks for an attempt of its own.
        """
        if not settlements:
            return
        in_hand = {"status": "processing", "lease_owner": token}
        updates = [
            (each.item.id, {"_id": each.item.id, **in_hand}, [{"$set": self._settled(each)}])
            for each in settlements
        ]
        # What somebody has made odd meanwhile is taken back when its lease ends, and passed over.
        self._pass_over((await send_each(self._items, updates)).refused)

    def _open(self) -> Document:
        """Items of ours that can be worked on, as far as is known."""
        if not self._passed_over:
            return self._ours
        return {**self._ours, "_id": {**TEXT_OR_OBJECT_ID, "$nin": list(self._passed_over)}}

    def _pass_over(self, refused: Mapping[ItemId, int]) -> None:
        """Leave items alone that the server does not let us change: nothing can be said in them."""
        for identity, code in refused.items():
            log.warning("retry_item_cannot_be_changed", item=str(identity), code=code)
            if len(self._passed_over) < _MOST_PASSED_OVER:
                self._passed_over.add(identity)

    async def _give_up(self, token: str, unreadable: Sequence[Unreadable]) -> None:
        """Say in claimed items why nobody can try them."""
        for one in unreadable:
            failed = {"status": "failed", "error_class": "Unreadable", "last_error": one.reason, **_NOT_HELD}
            query = {"_id": one.id, "lease_owner": token}
            updated = await update_each(self._items, query, [{"$set": _literal(failed)}])
            log.warning("retry_item_unreadable", item=one.name, reason=one.reason)
            self._pass_over(updated.refused)

    async def _streamless(self, limit: int) -> list[Document]:
        none: Document = {"$in": [None, ""]}
        due = {**self._open(), "status": "pending", "stream_id": none, "$expr": _DUE}
        found = await reading.find(self._items, due, {"error_class": 1}, sort=[("due_at", 1)], limit=limit)
        return _candidates(found)

    async def _turns(self, limit: int) -> list[Document]:
        """The oldest due item of the next streams, from where the last claim stopped round to there again."""
        chosen: list[Document] = []
        start, after, wrapped = self._after, self._after, False
        for _ in range(_STEPS):
            span: Document = {"$gt": after, "$lte": start} if wrapped else {"$gt": after}
            due = {**self._open(), "status": "pending", "stream_id": span, "$expr": _DUE}
            order = [("stream_id", 1), ("due_at", 1)]
            paths = {"stream_id": 1, "error_class": 1}
            found = await reading.find(self._items, due, paths, sort=order, limit=_PAGE)
            page = _candidates(found, stream=True)
            chosen += first_of_each(page, [row["stream_id"] for row in page])
            if len(chosen) >= limit:
                break
            if len(found.documents) + len(found.unreadable) == _PAGE and page:
                after = page[-1]["stream_id"]
            elif wrapped or not start:
                break
            else:
                after, wrapped = "", True
        return chosen[:limit]

    @property
    def _version(self) -> Document:
        return {"$literal": self._code_version}

    def _taken(self, token: str) -> Document:
        mine = {"$or": [{"$not": [{"$ifNull": ["$code_version", False]}]}, tried_by(self._code_version)]}
        counted = {"$cond": [{"$isNumber": "$retry_count"}, "$retry_count", 0]}
        count = {"$cond": [mine, counted, 0]}
        spent = {"$gte": [count, self._max_attempts]}
        return {
            "status": {"$cond": [spent, "failed", "processing"]},
            "retry_count": {"$cond": [spent, count, {"$add": [count, 1]}]},
            "last_retry": {"$cond": [spent, "$last_retry", "$$NOW"]},
            "code_version": self._version,
            "tried_by": tried_also_by(self._code_version),
            "lease_owner": {"$cond": [spent, None, {"$literal": token}]},
            "lease_until": {"$cond": [spent, None, {"$add": ["$$NOW", self._lease_ms]}]},
        }

    def _settled(self, settlement: Settlement) -> Document:
        match settlement.verdict:
            case None:
                return {**_done(settlement.item), **_NOT_HELD}
            case Postponed():
                count = {"$max": [0, {"$subtract": ["$retry_count", 1]}]}
                return {
                    "status": "pending",
                    "retry_count": count,
                    "due_at": _after(settlement.wait),
                    **_NOT_HELD,
                }
            case Failed(error_class, message, version):
                return {
                    "status": "failed" if settlement.last else "pending",
                    "due_at": _after(settlement.wait),
                    "error_class": {"$literal": error_class},
                    "last_error": {"$literal": message[:_LONGEST_MESSAGE]},
                    **({} if version is None else {"version": version}),
                    **_NOT_HELD,
                }


def _done(item: Item) -> Document:
    """Completed, unless a live step met another failure during the attempt: then it is open anew."""
    again = {"$ne": [{"$ifNull": ["$occurrences", 0]}, item.occurrences]}
    return {
        "status": {"$cond": [again, "pending", "completed"]},
        "retry_count": {"$cond": [again, 0, "$retry_count"]},
        "due_at": {"$cond": [again, "$$NOW", "$due_at"]},
        "processed_at": {"$cond": [again, None, "$$NOW"]},
    }


def _after(wait: timedelta) -> Document:
    return {"$add": ["$$NOW", int(wait.total_seconds() * 1000)]}


def _literal(fields: Mapping[str, Any]) -> Document:
    return {name: {"$literal": value} for name, value in fields.items()}


def _candidates(found: Reading, *, stream: bool = False) -> list[Document]:
    """What can be claimed. One that cannot be read by what is read here is claimed, too: then it is said in it."""
    unread = [] if stream else [{"_id": one.id} for one in found.unreadable]
    rows = [row for row in found.documents if not stream or type(row["stream_id"]) is str]
    return [row for row in [*unread, *rows] if isinstance(row["_id"], reading.IDENTITIES)]


def _item(row: Mapping[str, Any]) -> Item:
    """TypeError or KeyError for an item that is none."""
    identity: ItemId = row["_id"]
    data, stream, attempt = row.get("data"), row.get("stream_id"), row["retry_count"]
    # Exactly: BSON's code is a text for Python, too, that no set takes.
    if not isinstance(data, Mapping | None) or type(stream) not in (str, NoneType):
        raise TypeError("an item that is about nothing")
    return Item(identity, row["event_type"], data or {}, stream, int(attempt), row.get("occurrences", 0))
