"""Lists of lessons, each stored once by its content; events name them by their id.

An enrolment and the first event of a stream name the list of their course's lessons: 16 bytes instead of 12 for each
lesson. The id is made of the list's bytes, so a list never changes, may be kept in memory for ever, and whoever
reads it sees whether it is the one that was meant. A list is durable before an event that names it is stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from worker.chunks import chunks_within
from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated, write_failures
from worker.storage.transactions import Session

LIST_ID_BYTES = 16
# Of one command; 5,000 lessons take 60 kB.
_BYTES_AT_ONCE = 4_000_000


def lesson_list_id(lessons: bytes) -> bytes:
    """`_id` of a list: the first 16 bytes of its SHA-256."""
    return sha256(lessons).digest()[:LIST_ID_BYTES]


async def store_lists(database: Database, lists: Iterable[bytes], now: datetime) -> None:
    """Have these lists stored, durable when this returns. May run twice, and beside others: `_id` decides.

    One that was altered is what it was again. Raises Retryable while the server is away, or refuses one.
    """
    for some in chunks_within(dict.fromkeys(lists), _BYTES_AT_ONCE, len):
        try:
            with translated():
                await database.lesson_lists.bulk_write(
                    [_put(lessons, now) for lessons in some], ordered=False
                )
        except BulkWriteError as error:
            # Twins that came at once, too: only the repeat has waited until the other's is durable.
            first = write_failures(error)[0]
            raise Retryable(f"the server refuses a list of lessons (code {first.code})") from error


def _put(lessons: bytes, now: datetime) -> UpdateOne:
    """Where the list stands already, the server writes nothing, and answers when that one is durable."""
    content: Document = {"$set": {"lessons": lessons}, "$setOnInsert": {"recorded_at": now}}
    return UpdateOne({"_id": lesson_list_id(lessons)}, content, upsert=True)


async def with_lists(
    database: Database, events: Sequence[Document], *, session: Session | None = None
) -> list[Document]:
    """The events, each that names a list with the list itself in `curriculum.lessons`, as events of before have it.

    Where the list is not stored, or is not what its id says, the event stays without it: no fold takes it then.
    Lists are taken from `database.known_lists`; one query reads all that are missing there.
    """
    named = [list_named(event) for event in events]
    wanted = {each for each in named if each is not None}
    if not wanted:  # nearly always, in live work
        return [*events]
    lists = await _read(database, wanted, session)
    return [
        _with(event, lists[list_id]) if list_id in lists else event
        for event, list_id in zip(events, named, strict=True)
    ]


def list_named(event: Mapping[str, Any]) -> bytes | None:
    """The id of the list that a stored event names, None for nearly every event."""
    curriculum = event.get("curriculum")
    list_id = curriculum.get("lesson_list") if isinstance(curriculum, dict) else None
    return list_id if isinstance(list_id, bytes) else None


def _with(event: Document, lessons: bytes) -> Document:
    return {**event, "curriculum": {**event["curriculum"], "lessons": lessons}}


async def _read(database: Database, wanted: Iterable[bytes], session: Session | None) -> dict[bytes, bytes]:
    lists, missing = database.known_lists.look(wanted)
    if missing:
        query = {"_id": {"$in": missing}}
        found = await reading.find(database.lesson_lists, query, {"lessons": 1}, session=session)
        read = {each["_id"]: each["lessons"] for each in found.documents if _is_whole(each)}
        database.known_lists.put(read)
        lists |= read
    return lists


def _is_whole(stored: Mapping[str, Any]) -> bool:
    lessons = stored.get("lessons")
    return isinstance(lessons, bytes) and lesson_list_id(lessons) == stored["_id"]
