"""Who is notified: the learner's wishes and address, the course's title, read when a notification leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.notify import preferences
from worker.notify.delivery import Recipient
from worker.notify.waiting import MongoDBWaits
from worker.storage import reading
from worker.storage.database import Collection, Database, Document

ById = Mapping[Any, Document]


@dataclass(frozen=True, slots=True)
class RecipientLookup:
    """Reads users, courses and tombstones; writes nothing. Documents that are not there say nothing."""

    database: Database
    waits: MongoDBWaits

    async def of(self, rows: Sequence[Document], channel: str) -> dict[str, Recipient]:
        """The recipient of each row by the row's `_id`. Waits for MongoDB, but raises Retryable when stopping."""
        if not rows or channel not in preferences.PREFERENCES:
            return {row["_id"]: Recipient() for row in rows}
        users, unread = await self._found(self.database.users, rows, "user_id", preferences.FIELDS)
        erased, _ = await self._found(self.database.tombstones, rows, "user_id", ("_id",))
        courses: ById = {}
        if channel == "mail":
            courses, _ = await self._found(self.database.courses, rows, "course_id", ("title",))
        return {
            row["_id"]: Recipient(
                email=_text(users.get(row["user_id"]), "email"),
                course_title=_text(courses.get(row["course_id"]), "title"),
                wants=row["user_id"] not in erased and preferences.allows(users.get(row["user_id"]), channel),
                unreadable=unread.get(row["user_id"]),
            )
            for row in rows
        }

    async def _found(
        self, collection: Collection, rows: Sequence[Document], name: str, fields: Sequence[str]
    ) -> tuple[ById, Mapping[Any, str]]:
        """The documents that can be read, and why others cannot."""
        chosen, paths = {"_id": {"$in": list({row[name] for row in rows})}}, dict.fromkeys(fields, 1)
        found = await self.waits.until_answered(lambda: reading.find(collection, chosen, paths))
        reasons = {one.id: f"a document in {one.collection}: {one.reason}" for one in found.unreadable}
        return {each["_id"]: each for each in found.documents}, reasons


def _text(document: Document | None, name: str) -> str | None:
    value = (document or {}).get(name)
    return value if isinstance(value, str) else None
