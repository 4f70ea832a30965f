"""What the release before `projection_state` did in its transactions and with its positions, kept as it was.

Workers of both releases run side by side while one is replaced by the other. Everything of theirs that stands in
`watch_positions` is written here exactly as that release wrote it; the rest of its code is that of today.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from uuid import UUID

from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne

from tests.support.counts import counting
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.leases import Token, group_name
from worker.storage.transactions import Session
from worker.watch.sums.counting import Counter

SESSION = "counts:session"


@contextlib.asynccontextmanager
async def counting_before(database: Database) -> AsyncIterator[Counter]:
    """Counting as the release before did it."""
    async with counting(database) as counter:
        counter._showing._markers = MarkersBefore(database)  # type: ignore[attr-defined]  # noqa: SLF001
        yield counter


async def announce_before(database: Database, owner: str, expires_in_ms: int = 60_000) -> None:
    """Say that a worker of the release before lives."""
    member = {
        "kind": "member",
        "owner": owner,
        "version": 2,
        "since": "$$NOW",
        "holds_since": None,
        "proved": True,
        "expires_at": {"$add": ["$$NOW", expires_in_ms]},
    }
    with translated():
        await database.leases.update_one({"_id": f"member:counts:{owner}"}, [{"$set": member}], upsert=True)


class MarkersBefore:
    """Its markers."""

    def __init__(self, database: Database) -> None:
        self._positions = database.watch_positions

    async def touch(
        self,
        kind: str,
        identities: Iterable[ObjectId],
        session: Session,
        *,
        taught_by: Mapping[ObjectId, ObjectId | None] | None = None,
    ) -> None:
        updates = [
            UpdateOne({"_id": f"counts:{kind}:{each}"}, _touch(each, taught_by or {}), upsert=True)
            for each in identities
        ]
        if updates:
            with translated():
                await self._positions.bulk_write(updates, session=session)

    async def credited(
        self, courses: Iterable[ObjectId], session: Session, *, instructors: Iterable[ObjectId] = ()
    ) -> dict[ObjectId, ObjectId | None]:
        names = [f"counts:course:{course}" for course in courses]
        with translated():
            rows = await self._positions.find({"_id": {"$in": names}}, session=session).to_list(None)
        named = {_identity(row): (row["token"] or {}).get("instructor_id") for row in rows}
        return {**named, **await self.taught(instructors, session)}

    async def taught(self, instructors: Iterable[ObjectId], session: Session) -> dict[ObjectId, ObjectId]:
        prefix = {"_id": {"$gte": "counts:course:", "$lt": "counts:course:~"}}
        query = {**prefix, "token.instructor_id": {"$in": list(instructors)}}
        with translated():
            rows = await self._positions.find(query, session=session).to_list(None)
        return {_identity(row): row["token"]["instructor_id"] for row in rows}

    async def exchange_session(self, session_id: UUID) -> UUID | None:
        change = {
            "$inc": {"epoch": 1},
            "$set": {"token": {"lsid": session_id}},
            "$currentDate": {"saved_at": True},
        }
        with translated():
            before = await self._positions.find_one_and_update(
                {"_id": SESSION}, change, upsert=True, return_document=ReturnDocument.BEFORE
            )
        former = ((before or {}).get("token") or {}).get("lsid")
        return former if isinstance(former, UUID) and former != session_id else None


class PositionsBefore:
    """Its positions."""

    def __init__(self, database: Database, *, watcher: str = "progress", version: int = 0) -> None:
        self._positions = database.watch_positions
        self._watcher = watcher
        self._version = version

    async def take(self, held: Mapping[int, int]) -> dict[int, tuple[Token | None, int | None]]:
        names = {group_name(self._watcher, group): group for group in held}
        await self._positions.bulk_write(
            [
                UpdateOne({"_id": name}, [{"$set": _fence(held[group])}], upsert=True)
                for name, group in names.items()
            ],
            ordered=False,
        )
        rows = await self._positions.find({"_id": {"$in": list(names)}}).to_list(None)
        return {
            names[row["_id"]]: (row["token"], row.get("version"))
            for row in rows
            if row["epoch"] == held[names[row["_id"]]]
        }

    async def save(self, held: Mapping[int, int], token: Token) -> int:
        position = {"token": dict(token), "version": self._version}
        ours = [{"_id": group_name(self._watcher, group), "epoch": epoch} for group, epoch in held.items()]
        result = await self._positions.update_many(
            {"$or": ours}, {"$set": position, "$currentDate": {"saved_at": True}}
        )
        return len(held) - result.matched_count


def _touch(identity: ObjectId, taught_by: Mapping[ObjectId, ObjectId | None]) -> Document:
    change: Document = {"$inc": {"epoch": 1}, "$currentDate": {"saved_at": True}}
    if identity not in taught_by:
        return {**change, "$setOnInsert": {"token": None}}
    instructor = taught_by[identity]
    return {**change, "$set": {"token": None if instructor is None else {"instructor_id": instructor}}}


def _fence(epoch: int) -> Document:
    return {
        "epoch": {"$max": ["$epoch", epoch]},
        "token": {"$ifNull": ["$token", None]},
        "saved_at": {"$ifNull": ["$saved_at", "$$NOW"]},
    }


def _identity(row: Mapping[str, Any]) -> ObjectId:
    return ObjectId(row["_id"].rpartition(":")[2])
