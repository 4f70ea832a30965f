"""Who is notified: the learner's wishes and address, the course's title, read when a notification leaves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.errors import Retryable
from worker.notify import preferences
from worker.notify.delivery import Recipient
from worker.storage import reading
from worker.storage.database import Collection, Database, Document
from worker.storage.reading import Reading
from worker.storage.retrying import retrying
from worker.timing import Clock

ById = Mapping[Any, Document]


@dataclass(frozen=True, slots=True)
class LookupResult:
    """Whether the learner wants this channel, and where to reach them.

    `unreadable` says why that is not known, where the learner's document cannot be read.
    """

    wants: bool
    recipient: Recipient
    unreadable: str | None = None


class RecipientLookup:
    """Reads users, courses and tombstones; writes nothing. Documents that are not there say nothing."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        on_retry: Callable[[Retryable], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._database = database
        self._stopping = stopping
        self._clock = clock
        self._on_retry = on_retry

    async def of(self, rows: Sequence[Document], channel: str) -> dict[str, LookupResult]:
        """The recipient of each row by the row's `_id`. Waits for MongoDB, but raises Retryable when stopping."""
        if not rows or channel not in preferences.PREFERENCES:
            return {row["_id"]: LookupResult(True, Recipient()) for row in rows}
        users, unread = await self._found(self._database.users, rows, "user_id", preferences.FIELDS)
        erased, _ = await self._found(self._database.tombstones, rows, "user_id", ("_id",))
        courses: ById = {}
        if channel == "mail":
            courses, _ = await self._found(self._database.courses, rows, "course_id", ("title",))
        return {
            row["_id"]: LookupResult(
                wants=row["user_id"] not in erased and preferences.allows(users.get(row["user_id"]), channel),
                recipient=Recipient(
                    email=_text(users.get(row["user_id"]), "email"),
                    course_title=_text(courses.get(row["course_id"]), "title"),
                ),
                unreadable=unread.get(row["user_id"]),
            )
            for row in rows
        }

    async def _found(
        self, collection: Collection, rows: Sequence[Document], name: str, fields: Sequence[str]
    ) -> tuple[ById, Mapping[Any, str]]:
        """The documents that can be read, and why others cannot."""
        chosen = {"_id": {"$in": list({row[name] for row in rows})}}

        async def attempt() -> Reading:
            return await reading.find(collection, chosen, dict.fromkeys(fields, 1))

        found = await retrying(attempt, clock=self._clock, on_retry=self._on_unavailable)
        reasons = {one.id: f"a document in {one.collection}: {one.reason}" for one in found.unreadable}
        return {each["_id"]: each for each in found.documents}, reasons

    def _on_unavailable(self, error: Retryable) -> None:
        self._on_retry(error)
        if self._stopping():
            raise error


def _text(document: Document | None, name: str) -> str | None:
    value = (document or {}).get(name)
    return value if isinstance(value, str) else None
