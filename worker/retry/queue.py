"""`analytics_queue` for its processor: items in turns, and what became of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from types import NoneType
from typing import Any

import structlog

from worker.retry.policy import first_of_each, shared
from worker.settings import RetrySettings
from worker.storage import reading
from worker.storage.claims import DUE, RELEASED, Claim, Claims
from worker.storage.database import Database, Document
from worker.storage.quarantine import tried_also_by, tried_by
from worker.storage.reading import TEXT_OR_OBJECT_ID, Unreadable
from worker.storage.updating import in_s, update_each
from worker.storage.work_items import FROM_FIRST, INTERRUPTED, Failed, Item, ItemId, Postponed
from worker.timing import Clock

log = structlog.get_logger(__name__)

# Items read at once when looking for one of each stream; and how often a stream with more than that in a row is
# stepped over in one claim, before the claim is content with what it has.
_PAGE = 200
_STEPS = 8
# What an operator reads in a table; an error message has no need for more.
_LONGEST_MESSAGE = 1_000
_ABANDONED = "the worker ended or stalled before the outcome of the attempt was written"

# What handlers read of an item, whose `data` is somebody else's and may have 16 MB.
_READ = dict.fromkeys(
    (
        "event_type",
        "stream_id",
        "retry_count",
        "occurrences",
        *(f"data.{name}" for name in ("user_id", "course_id", "collection", "id", "stream_id", "version")),
        f"data.{FROM_FIRST}",
    ),
    1,
)
# An item whose stream is of a type that no stream has: in no turn, and not without a stream either.
_OF_NO_STREAM: Document = {"$not": [{"$in": [{"$type": "$stream_id"}, ["string", "null", "missing"]]}]}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: done if `verdict` is None, else due again after `wait_s` or, `last`, failed."""

    item: Item
    verdict: Failed | Postponed | None = None
    wait_s: float = 0.0
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
        clock: Clock,
        settings: RetrySettings,
        *,
        owner: str,
    ) -> None:
        self._items = database.analytics_queue
        self._types = frozenset(event_types)
        self._ours: Document = {"event_type": {"$in": sorted(self._types)}, "_id": TEXT_OR_OBJECT_ID}
        self._tried = self._ours
        self._claims = Claims(self._items, clock, "processing", owner, settings.item_lease_s)
        self._code_version = settings.code_version
        self._max_attempts = settings.max_attempts
        self._streams_first = False
        self._after = ""

    def leave_out(self, event_types: Iterable[str]) -> None:
        """Try no items of these types from now on: they are not due for anybody, and cost no attempts."""
        self._tried = {**self._ours, "event_type": {"$in": sorted(self._types.difference(event_types))}}

    async def take_back(self) -> int:
        """Open the items whose lease has run out; how many.

        A worker may have ended for any reason: an item fails by that alone when as many of its attempts were cut off
        as it has. Until then a last attempt that was cut off is made once more, for only one that comes to its end
        says what is wrong.
        """
        most = self._max_attempts
        cut_off = {"$add": [{"$cond": [{"$isNumber": "$cut_off"}, "$cut_off", 0]}, 1]}
        failed = {"$and": [{"$gte": ["$retry_count", most]}, {"$gte": [cut_off, most]}]}
        update = {
            "status": {"$cond": [failed, "failed", "pending"]},
            "retry_count": {"$cond": [failed, "$retry_count", {"$min": ["$retry_count", most - 1]}]},
            "cut_off": cut_off,
            "due_at": "$$NOW",
            "error_class": INTERRUPTED,
            "last_error": _ABANDONED,
            **RELEASED,
        }
        expired = {**self._ours, **self._claims.expired}
        return (await update_each(self._items, expired, [{"$set": update}])).changed

    async def reopen(self) -> int:
        """Open what ended as failed and this code has not tried: it may be the fix. Returns how many."""
        update = {
            "status": "pending",
            "retry_count": 0,
            "due_at": "$$NOW",
            "code_version": {"$literal": self._code_version},
        }
        others = {**self._ours, "status": "failed", "$expr": {"$not": [tried_by(self._code_version)]}}
        self._claims.pass_over_none()
        return (await update_each(self._items, others, [{"$set": update}])).changed

    async def due_in_s(self) -> float | None:
        """Seconds until the next pending item is due, 0 if one is; None without any."""
        return await self._claims.due_in_s(self._tried)

    async def claim(self, limit: int) -> Claim[Item]:
        """Take up to `limit` due items in hand, in turns: of each stream the oldest, stream after stream.

        A stream with a thousand items has one turn in a round, as every other. Items without a stream stand for
        themselves and get up to half. An item whose processor did not survive it is claimed alone: if it is the
        one that kills, no other pays with an attempt.
        """
        kinds = [await self._streamless(limit), await self._turns(limit)]
        if self._streams_first:  # of an odd number one kind gets one more: not always the same
            kinds.reverse()
        candidates = shared(kinds[0], kinds[1], limit) or await self._of_no_stream(limit)
        healthy = list(takewhile(lambda row: row.get("error_class") != INTERRUPTED, candidates))
        chosen = healthy or candidates[:1]
        if not chosen:
            self._after = ""
            return Claim("")
        self._streams_first = not self._streams_first
        token = self._claims.new_token()
        claim = await self._claims.claim(
            token, [row["_id"] for row in chosen], self._attempted(token), _item, _READ
        )
        self._pass_over(claim.refused)
        await self._give_up(token, claim.unreadable)
        streams = [row["stream_id"] for row in chosen if row.get("stream_id")]
        self._after = streams[-1] if streams else self._after
        return claim

    async def complete(self, token: str, outcomes: Sequence[Outcome]) -> None:
        """Write what became of claimed items. May run twice; refused for an item somebody else holds by now.

        Nor is one written that was put there again meanwhile, as `pending`: that asks for an attempt of its own.
        """
        released = await self._claims.release(token, {each.item.id: _next_state(each) for each in outcomes})
        # What somebody has made odd meanwhile is taken back when its lease ends, and passed over.
        self._pass_over(released.refused)

    def _pass_over(self, refused: Mapping[ItemId, int]) -> None:
        """Leave items alone that the server does not let us change: nothing can be said in them."""
        for identity, code in refused.items():
            log.warning("retry_item_cannot_be_changed", item=str(identity), code=code)
            self._claims.pass_over(identity)

    async def _give_up(self, token: str, unreadable: Sequence[Unreadable]) -> None:
        """Say in claimed items why nobody can try them."""
        states = {}
        for one in unreadable:
            failed = {"status": "failed", "error_class": "Unreadable", "last_error": one.reason}
            states[one.id] = {name: {"$literal": value} for name, value in failed.items()}
            log.warning("retry_item_unreadable", item=one.name, reason=one.reason)
        self._pass_over((await self._claims.release(token, states)).refused)

    async def _streamless(self, limit: int) -> list[Document]:
        query: Document = {**self._tried, "stream_id": {"$in": [None, ""]}, **DUE}
        return await self._claimable(query, limit)

    async def _of_no_stream(self, limit: int) -> list[Document]:
        """Items whose stream is none. They are claimed only for it to be said in them."""
        both = {"$and": [DUE["$expr"], _OF_NO_STREAM]}
        return await self._claimable({**self._tried, **DUE, "$expr": both}, limit)

    async def _claimable(self, query: Document, limit: int) -> list[Document]:
        """What can be claimed; one that cannot be read here is claimed, too: then it is said in it."""
        found = await self._claims.candidates(query, lambda row: row, limit, {"error_class": 1})
        unread: list[Document] = [{"_id": one.id} for one in found.unreadable]
        return [row for row in [*unread, *found.values] if isinstance(row["_id"], reading.IDENTITIES)]

    async def _turns(self, limit: int) -> list[Document]:
        """The oldest due item of the next streams, from where the last claim stopped round to there again."""
        chosen: list[Document] = []
        start, after, wrapped = self._after, self._after, False
        for _ in range(_STEPS):
            span: Document = {"$gt": after, "$lte": start} if wrapped else {"$gt": after}
            due = self._claims.narrowed({**self._tried, "stream_id": span, **DUE})
            order = [("stream_id", 1), ("due_at", 1)]
            paths = {"stream_id": 1, "error_class": 1}
            found = await reading.find(self._items, due, paths, sort=order, limit=_PAGE)
            page = [row for row in found.documents if type(row["stream_id"]) is str]
            due_now = [row for row in page if not self._claims.passes_over(row["_id"])]
            chosen += first_of_each(due_now, [row["stream_id"] for row in due_now])
            if len(chosen) >= limit:
                break
            if len(found.documents) + len(found.unreadable) == _PAGE and page:
                after = page[-1]["stream_id"]
            elif wrapped or not start:
                break
            else:
                after, wrapped = "", True
        return chosen[:limit]

    def _attempted(self, token: str) -> Document:
        """A claim counts an attempt; an item that has no attempts left under this code fails instead."""
        mine = {"$or": [{"$not": [{"$ifNull": ["$code_version", False]}]}, tried_by(self._code_version)]}
        counted = {"$cond": [{"$isNumber": "$retry_count"}, "$retry_count", 0]}
        count = {"$cond": [mine, counted, 0]}
        spent = {"$gte": [count, self._max_attempts]}
        return {
            "status": {"$cond": [spent, "failed", "processing"]},
            "retry_count": {"$cond": [spent, count, {"$add": [count, 1]}]},
            "last_retry": {"$cond": [spent, "$last_retry", "$$NOW"]},
            "cut_off": {"$cond": [{"$eq": [count, 0]}, "$$REMOVE", "$cut_off"]},  # who begins anew
            "code_version": {"$literal": self._code_version},
            "tried_by": tried_also_by(self._code_version),
            "lease_owner": {"$cond": [spent, None, {"$literal": token}]},
            "lease_until": {"$cond": [spent, None, self._claims.until]},
        }


def _next_state(outcome: Outcome) -> Document:
    match outcome.verdict:
        case None:
            return _done(outcome.item)
        case Postponed():
            return {"status": "pending", "retry_count": _one_less(), "due_at": in_s(outcome.wait_s)}
        case Failed(error_class, message, version, data):
            uncounted = {"retry_count": _one_less()} if error_class == INTERRUPTED else {}
            return {
                **uncounted,
                "status": "failed" if outcome.last else "pending",
                "due_at": in_s(outcome.wait_s),
                "error_class": {"$literal": error_class},
                "last_error": {"$literal": message[:_LONGEST_MESSAGE]},
                **({} if version is None else {"version": version}),
                **({} if data is None else {"data": {"$literal": dict(data)}}),
            }


def _one_less() -> Document:
    """The attempts without the one that its claim has counted."""
    return {"$max": [0, {"$subtract": ["$retry_count", 1]}]}


def _done(item: Item) -> Document:
    """Completed, unless a live step met another failure during the attempt: then it is open anew."""
    again = {"$ne": [{"$ifNull": ["$occurrences", 0]}, item.occurrences]}
    return {
        "status": {"$cond": [again, "pending", "completed"]},
        "retry_count": {"$cond": [again, 0, "$retry_count"]},
        "due_at": {"$cond": [again, "$$NOW", "$due_at"]},
        "processed_at": {"$cond": [again, None, "$$NOW"]},
    }


def _item(row: Mapping[str, Any]) -> Item:
    """TypeError or KeyError for an item that is none."""
    identity: ItemId = row["_id"]
    data, stream, attempt = row.get("data"), row.get("stream_id"), row["retry_count"]
    # Exactly: BSON's code is a text for Python, too, that no set takes.
    if not isinstance(data, Mapping | None) or type(stream) not in (str, NoneType):
        raise TypeError("an item that is about nothing")
    return Item(identity, row["event_type"], data or {}, stream, int(attempt), row.get("occurrences", 0))
