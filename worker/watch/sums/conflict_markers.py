"""Small documents in `watch_positions` by which transactions on statistics meet, and remember."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne

from worker.storage.database import Collection, Document
from worker.storage.errors import translated
from worker.storage.transactions import Session
from worker.watch.sums.plan import Kind

_SESSION = "counts:session"
# The server ends a transaction after a minute; a marker older than this cannot meet one that still runs.
_FORGET_MS = 3_600_000


def marker_name(kind: str, identity: ObjectId) -> str:
    """`_id` of the document on which transactions about one course or user meet."""
    return f"counts:{kind}:{identity}"


class WriteConflictMarkers:
    """All that counting keeps beside the resume token; every call may be made twice."""

    def __init__(self, positions: Collection) -> None:
        self._positions = positions

    async def touch(
        self,
        kind: Kind,
        identities: Iterable[ObjectId],
        session: Session,
        *,
        taught_by: Mapping[ObjectId, ObjectId | None] | None = None,
    ) -> None:
        """Write each marker, so that no two transactions that do it both commit unless one saw the other.

        `taught_by` names the instructors that courses are counted for from now on.
        """
        updates = [
            UpdateOne({"_id": marker_name(kind, identity)}, _touch(identity, taught_by or {}), upsert=True)
            for identity in identities
        ]
        if updates:
            with translated():
                await self._positions.bulk_write(updates, session=session)

    async def credited(
        self, courses: Iterable[ObjectId], session: Session
    ) -> dict[ObjectId, ObjectId | None]:
        """The instructor each of the courses is counted for; absent if it is counted for nobody yet."""
        names = [marker_name("course", course) for course in courses]
        with translated():
            rows = await self._positions.find({"_id": {"$in": names}}, session=session).to_list(None)
        return {_identity(row): _instructor(row) for row in rows}

    async def taught(self, instructors: Iterable[ObjectId], session: Session) -> dict[ObjectId, ObjectId]:
        """The courses counted for one of these instructors."""
        query = {**_prefix("counts:course:"), "token.instructor_id": {"$in": list(instructors)}}
        with translated():
            rows = await self._positions.find(query, session=session).to_list(None)
        return {_identity(row): row["token"]["instructor_id"] for row in rows}

    async def credited_courses(self) -> list[ObjectId]:
        """Every course that is counted for an instructor, whether it still exists or not."""
        query = {**_prefix("counts:course:"), "token.instructor_id": {"$type": "objectId"}}
        with translated():
            return [_identity(row) for row in await self._positions.find(query, {"_id": 1}).to_list(None)]

    async def exchange_session(self, session_id: UUID) -> UUID | None:
        """Note whose transactions count from now on; returns the session noted before, if it was another."""
        change = {
            "$inc": {"epoch": 1},
            "$set": {"token": {"lsid": session_id}},
            "$currentDate": {"saved_at": True},
        }
        with translated():
            before = await self._positions.find_one_and_update(
                {"_id": _SESSION}, change, upsert=True, return_document=ReturnDocument.BEFORE
            )
        token = (before or {}).get("token") or {}
        former = token.get("lsid")
        return former if isinstance(former, UUID) and former != session_id else None

    async def release_session(self, session_id: UUID) -> None:
        """Say that the session ended in good order: nobody needs to end it, and others may use it."""
        with translated():
            await self._positions.update_one(
                {"_id": _SESSION, "token.lsid": session_id},
                {"$set": {"token": None}, "$currentDate": {"saved_at": True}},
            )

    async def forget(self) -> None:
        """Delete markers that no transaction can still need."""
        old = {"$expr": {"$lt": ["$saved_at", {"$subtract": ["$$NOW", _FORGET_MS]}]}, "token": None}
        with translated():
            for kind in ("course", "user"):
                await self._positions.delete_many({**_prefix(f"counts:{kind}:"), **old})


def _touch(identity: ObjectId, taught_by: Mapping[ObjectId, ObjectId | None]) -> Document:
    change: Document = {"$inc": {"epoch": 1}, "$currentDate": {"saved_at": True}}
    if identity not in taught_by:
        return {**change, "$setOnInsert": {"token": None}}
    instructor = taught_by[identity]
    return {**change, "$set": {"token": None if instructor is None else {"instructor_id": instructor}}}


def _prefix(prefix: str) -> Document:
    return {"_id": {"$gte": prefix, "$lt": f"{prefix}~"}}


def _identity(row: Mapping[str, Any]) -> ObjectId:
    return ObjectId(row["_id"].rpartition(":")[2])


def _instructor(row: Mapping[str, Any]) -> ObjectId | None:
    token = row["token"] or {}
    return token.get("instructor_id")
