"""What cannot be counted, shown or built is quarantined, as an item, in the transaction that leaves it out.

While its item is open, a course or user is left alone by everything that only moves it, and is rebuilt once
somebody tries: the retry role when the item is due, counting itself when the document changes.
"""

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import Any

from bson import ObjectId

from worker.storage import reading
from worker.storage.database import Document
from worker.storage.errors import translated
from worker.storage.quarantine import Quarantined, quarantine
from worker.storage.reading import Unreadable
from worker.storage.transactions import Session
from worker.storage.work_items import OPEN, counts_item_id, fold_item_id, fold_type
from worker.watch.sums.attempt import Attempt, Keys, Reason, Rejections, Target
from worker.watch.sums.runner import Dependencies

_OPEN: Document = {"$in": list(OPEN)}
# Remembered to be closed as soon as they are counted; the others are closed when they are tried.
_MOST_REMEMBERED = 10_000
# As many ids are read in less than a command takes otherwise.
_FEW = 100


class Quarantine:
    """The items of what one projection leaves out; every call may be made twice.

    `kinds` are its collections by the kind of target. `by_kind`: the kind is a part of an item's `_id`.
    """

    def __init__(
        self, given: Dependencies, projection: str, kinds: Mapping[str, str], *, by_kind: bool
    ) -> None:
        self._items = given.database.analytics_queue
        self._positions = given.database.watch_positions
        self._code_version = given.code_version
        self._projection = projection
        self._kinds = kinds
        self._by_kind = by_kind

    def target_of(self, item_id: object, data: Mapping[str, Any]) -> Target | None:
        """What an item is about; None for one that is not one of these."""
        if self._by_kind:
            return named_target(self._projection, self._kinds, item_id)
        kind = next((kind for kind, name in self._kinds.items() if name == data.get("collection")), None)
        identity = data.get("id")
        return None if kind is None or not isinstance(identity, Hashable) else (kind, identity)

    async def open_among(self, targets: Iterable[Target], attempt: Attempt) -> set[Target]:
        """Those of the documents that are quarantined, as they were before this transaction changed any of them.

        All of the projection's are asked for, once in a transaction, where there are few: as a rule there are none.
        """
        names = {self._item_id(target): target for target in targets}
        if attempt.quarantined is None:
            query = {"event_type": fold_type(self._projection), "status": _OPEN, "_id": {"$type": "string"}}
            attempt.quarantined = await self._ids(query, attempt.session, limit=_FEW + 1)
        found = attempt.quarantined
        if len(found) > _FEW:
            query = {"_id": {"$in": list(names)}, "status": _OPEN}
            found = await self._ids(query, attempt.session)
        return {names[each] for each in names.keys() & found}

    async def open_items(self) -> Keys:
        """What is quarantined, up to some thousands of it."""
        query, paths = {"event_type": fold_type(self._projection), "status": _OPEN}, {"_id": 1, "data": 1}
        found = await reading.find(self._items, query, paths, limit=_MOST_REMEMBERED)
        taken = found.through(lambda row: self.target_of(row["_id"], row.get("data") or {}))
        return frozenset(target for target in taken.values if target is not None)

    async def put(self, rejections: Rejections, changed: Set[Target], session: Session) -> None:
        """Quarantine documents; those that `changed` meanwhile get new attempts if they had none left."""
        updates = [
            quarantine(self._item(target, reason), self._code_version, changed=target in changed)
            for target, reason in rejections.items()
        ]
        if updates:
            with translated():
                await self._items.bulk_write(updates, session=session)

    async def release(self, targets: Iterable[Target], session: Session) -> None:
        """Close the items of documents that are as they should be now, or gone."""
        names = [self._item_id(target) for target in targets]
        if not names:
            return
        done = {"status": "completed", "processed_at": "$$NOW", "lease_owner": None, "lease_until": None}
        with translated():
            await self._items.update_many(
                {"_id": {"$in": names}, "status": _OPEN}, [{"$set": done}], session=session
            )

    async def adopt(self) -> None:
        """Make items of what the code before had kept in a place of its own."""
        prefix = f"{self._projection}:refused:"
        former = {"_id": {"$gte": prefix, "$lt": f"{prefix}~"}}
        names = [row["_id"] for row in (await reading.find(self._positions, former, {"_id": 1})).documents]
        targets = [
            named_target(self._projection, self._kinds, name.replace(":refused:", ":", 1)) for name in names
        ]
        reason = Reason("Refused", "quarantined by an earlier version")
        updates = [
            quarantine(self._item(target, reason), self._code_version)
            for target in targets
            if target is not None
        ]
        with translated():
            if updates:
                await self._items.bulk_write(updates, ordered=False)
            if names:
                await self._positions.delete_many({"_id": {"$in": names}})

    async def _ids(self, query: Document, session: Session, **options: Any) -> frozenset[Any]:
        found = await reading.find(self._items, query, {"_id": 1}, session=session, **options)
        return frozenset(row["_id"] for row in found.documents)

    def _item_id(self, target: Target) -> str:
        return counts_item_id(*target) if self._by_kind else fold_item_id(target[1], self._projection)

    def _item(self, target: Target, reason: Reason) -> Quarantined:
        data: dict[str, Any] = {"collection": self._kinds[target[0]], "id": target[1]}
        event_type = fold_type(self._projection)
        return Quarantined(self._item_id(target), event_type, reason.error_class, reason.message, data=data)


def named_target(projection: str, kinds: Iterable[str], name: object) -> Target | None:
    """What stands in the `_id` of an item that names the kind; None for one that is not one of these."""
    parts = name.split(":") if isinstance(name, str) else []
    if len(parts) != 3 or parts[0] != projection or parts[1] not in kinds or not ObjectId.is_valid(parts[2]):
        return None
    return parts[1], ObjectId(parts[2])


def unreadable(kind: str, found: Iterable[Unreadable]) -> dict[Target, Reason]:
    """Why these documents are left out."""
    return {
        (kind, one.id): Reason("Unreadable", f"a document in {one.collection}: {one.reason}")
        for one in found
        if isinstance(one.id, ObjectId)
    }
