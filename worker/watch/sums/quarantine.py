"""What counting cannot read or write is quarantined in the transaction that leaves it out, as an item of the queue.

While its item is open, a course or user is left alone by everything that only moves it, and is rebuilt once
somebody tries: the retry role when the item is due, counting itself when the document changes.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, get_args

from bson import ObjectId

from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.quarantine import Quarantined, quarantine
from worker.storage.reading import Unreadable
from worker.storage.transactions import Session
from worker.storage.work_items import COUNTS_FOLD, OPEN, counts_item_id
from worker.watch.sums.plan import Kind, Target

_OPEN: Document = {"$in": list(OPEN)}
_COLLECTIONS: Mapping[Kind, str] = {"learner": "user_progress", "course": "courses", "user": "users"}
# Where the code before kept them.
_FORMER = "counts:refused:"
# Remembered to be closed as soon as they are counted; the others are closed when they are tried.
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a document is left out: no values of it."""

    error_class: str
    message: str


Rejections = Mapping[Target, Reason]


class Quarantine:
    """The items of what counting leaves out; every call may be made twice."""

    def __init__(self, database: Database, code_version: str) -> None:
        self._items = database.analytics_queue
        self._positions = database.watch_positions
        self._code_version = code_version

    async def open_among(self, targets: Iterable[Target], session: Session) -> set[Target]:
        """Those of the documents that are quarantined."""
        names = {counts_item_id(*target): target for target in targets}
        found = await reading.find(
            self._items, {"_id": {"$in": list(names)}, "status": _OPEN}, {"_id": 1}, session=session
        )
        return {names[row["_id"]] for row in found.documents}

    async def open_learners(self) -> frozenset[ObjectId]:
        """The learners that are quarantined, up to some thousands of them."""
        query = {"event_type": COUNTS_FOLD, "status": _OPEN}
        found = await reading.find(self._items, query, {"_id": 1}, limit=_MOST_REMEMBERED)
        targets = (target_of(row["_id"]) for row in found.documents)
        return frozenset(identity for kind, identity in filter(None, targets) if kind == "learner")

    async def put(self, rejections: Rejections, changed: Set[Target], session: Session) -> None:
        """Quarantine documents; those that `changed` meanwhile get new attempts if they had none left."""
        updates = [
            quarantine(_quarantined(target, reason), self._code_version, changed=target in changed)
            for target, reason in rejections.items()
        ]
        if updates:
            with translated():
                await self._items.bulk_write(updates, session=session)

    async def release(self, targets: Iterable[Target], session: Session) -> None:
        """Close the items of documents that are as they should be now, or gone."""
        names = [counts_item_id(*target) for target in targets]
        if not names:
            return
        done = {"status": "completed", "processed_at": "$$NOW", "lease_owner": None, "lease_until": None}
        with translated():
            await self._items.update_many(
                {"_id": {"$in": names}, "status": _OPEN}, [{"$set": done}], session=session
            )

    async def adopt(self) -> int:
        """Make items of what the code before had kept in a place of its own; returns how many there were."""
        former = {"_id": {"$gte": _FORMER, "$lt": f"{_FORMER}~"}}
        found = await reading.find(self._positions, former, {"_id": 1})
        names = [row["_id"] for row in found.documents]
        targets = {name: target_of(f"counts:{name.removeprefix(_FORMER)}") for name in names}
        updates = [
            quarantine(
                _quarantined(target, Reason("Refused", "quarantined by an earlier version")),
                self._code_version,
            )
            for target in targets.values()
            if target is not None
        ]
        with translated():
            if updates:
                await self._items.bulk_write(updates, ordered=False)
            if names:
                await self._positions.delete_many({"_id": {"$in": names}})
        return len(names)


def target_of(name: object) -> Target | None:
    """What an item is about; None for an `_id` that is not one of counting's."""
    parts = name.split(":") if isinstance(name, str) else []
    if len(parts) != 3 or parts[0] != "counts" or not ObjectId.is_valid(parts[2]):
        return None
    return next(((kind, ObjectId(parts[2])) for kind in get_args(Kind) if kind == parts[1]), None)


def unreadable(kind: Kind, found: Iterable[Unreadable]) -> dict[Target, Reason]:
    """Why these documents are left out."""
    return {
        (kind, one.id): Reason("Unreadable", f"a document in {one.collection}: {one.reason}")
        for one in found
        if isinstance(one.id, ObjectId)
    }


def _quarantined(target: Target, reason: Reason) -> Quarantined:
    kind, identity = target
    data: dict[str, Any] = {"collection": _COLLECTIONS[kind], "id": identity}
    return Quarantined(counts_item_id(*target), COUNTS_FOLD, reason.error_class, reason.message, data=data)
