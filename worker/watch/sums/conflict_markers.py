"""Small documents in `projection_state` by which transactions on statistics meet, and remember."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne

from worker.errors import Fatal, Retryable
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.projection_state import (
    SESSION,
    Place,
    Places,
    finish_migration,
    forget_the_version_before,
)
from worker.storage.transactions import Session

log = structlog.get_logger(__name__)

# The server ends a transaction after a minute; a marker older than this cannot meet one that still runs.
_FORGET_MS = 3_600_000


def marker_name(kind: str, identity: ObjectId | str) -> str:
    """`_id` of the document on which transactions about one course or user meet, or all of one sum projection."""
    return f"counts:{kind}:{identity}"


class WriteConflictMarkers:
    """All that counting keeps beside the resume token; every call may be made twice.

    While a worker of the version before lives, it stands where that one looks for it (see `Places`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places = Places(database)

    async def touch(
        self,
        kind: str,
        identities: Iterable[ObjectId | str],
        session: Session,
        *,
        taught_by: Mapping[ObjectId, ObjectId | None] | None = None,
    ) -> None:
        """Write each marker, so that no two transactions that do it both commit unless one saw the other.

        `taught_by` names the instructors that courses are counted for from now on.
        """
        place = await self._places.find(session)
        updates = [
            UpdateOne(
                {"_id": marker_name(kind, identity)}, _touch(place, identity, taught_by or {}), upsert=True
            )
            for identity in identities
        ]
        if updates:
            await self._places.hold(place, session)
            with translated():
                await place.collection.bulk_write(updates, session=session)

    async def credited(
        self, courses: Iterable[ObjectId], session: Session, *, instructors: Iterable[ObjectId] = ()
    ) -> dict[ObjectId, ObjectId | None]:
        """The instructor each of the courses is counted for; absent if it is counted for nobody yet.

        All courses that are counted for one of these `instructors` are among them.
        """
        names = [marker_name("course", course) for course in courses]
        named: Document = {"_id": {"$in": names}}
        if others := list(instructors):
            place = await self._places.find(session)
            return await self._credits({"$or": [named, _counted_for(place, others)]}, session)
        return await self._credits(named, session)

    async def taught(self, instructors: Iterable[ObjectId], session: Session) -> dict[ObjectId, ObjectId]:
        """The courses counted for one of these instructors."""
        place = await self._places.find(session)
        return await self._credits(_counted_for(place, list(instructors)), session)

    async def credited_courses(self) -> list[ObjectId]:
        """Every course that is counted for an instructor, whether it still exists or not."""
        place = await self._places.find()
        return [
            *await self._credits({**_prefix("counts:course:"), place.instructor_path: {"$type": "objectId"}})
        ]

    async def exchange_session(self, session_id: UUID) -> UUID | None:
        """Note whose transactions count from now on; returns the session noted before, if it was another."""
        place = await self._places.find()
        change = {
            "$inc": {place.counter: 1},
            "$set": {**place.first("session"), **place.naming(place.session_path, session_id)},
            "$currentDate": {"saved_at": True},
        }
        with translated():
            before = await place.collection.find_one_and_update(
                {"_id": SESSION}, change, upsert=True, return_document=ReturnDocument.BEFORE
            )
        former = place.value(before or {}, place.session_path)
        return former if isinstance(former, UUID) and former != session_id else None

    async def release_session(self, session_id: UUID) -> None:
        """Say that the session ended in good order: nobody needs to end it, and others may use it."""
        place = await self._places.find()
        with translated():
            await place.collection.update_one(
                {"_id": SESSION, place.session_path: session_id},
                {"$set": place.naming(place.session_path, None), "$currentDate": {"saved_at": True}},
            )

    async def forget(self) -> None:
        """Delete markers that no transaction can still need; take over the version before once it has ended."""
        try:
            await finish_migration(self._database)
        except Retryable as error:  # a conflict with a transaction: the next time will do
            log.info("projection_state_moves_later", reason=str(error))
        except Fatal as error:
            # A worker's user may not be allowed to change collections, and needs it for nothing else.
            log.warning("projection_state_waits_for_schema_apply", reason=str(error))
        await forget_the_version_before(self._database)
        place = await self._places.find()
        nobody = {place.instructor_path: None}
        old = {"$expr": {"$lt": ["$saved_at", {"$subtract": ["$$NOW", _FORGET_MS]}]}, **nobody}
        with translated():
            for kind in ("course", "user"):
                await place.collection.delete_many({**_prefix(f"counts:{kind}:"), **old})

    async def _credits(self, query: Document, session: Session | None = None) -> dict[ObjectId, Any]:
        place = await self._places.find(session)
        with translated():
            rows = await place.collection.find(query, session=session).to_list(None)
        return {_identity(row): place.value(row, place.instructor_path) for row in rows}


def _touch(place: Place, identity: ObjectId | str, taught_by: Mapping[ObjectId, ObjectId | None]) -> Document:
    change: Document = {"$inc": {place.counter: 1}, "$currentDate": {"saved_at": True}}
    first = place.first("marker")
    if not isinstance(identity, ObjectId) or identity not in taught_by:
        return {**change, "$setOnInsert": {**first, **place.naming(place.instructor_path, None)}}
    return {**change, "$set": {**first, **place.naming(place.instructor_path, taught_by[identity])}}


def _counted_for(place: Place, instructors: Sequence[ObjectId]) -> Document:
    """Markers of these instructors' courses; without `$type` the server would not take the index of just these."""
    return {**_prefix("counts:course:"), place.instructor_path: {"$in": instructors, "$type": "objectId"}}


def _prefix(prefix: str) -> Document:
    return {"_id": {"$gte": prefix, "$lt": f"{prefix}~"}}


def _identity(row: Mapping[str, Any]) -> ObjectId:
    return ObjectId(row["_id"].rpartition(":")[2])
