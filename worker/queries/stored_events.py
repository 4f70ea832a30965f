"""The stored events of a stream as they lie in the event store; what producers wrote is withheld unless asked for."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from worker.contract.family import STREAM_IDS
from worker.contract.identity import parse_stream_id
from worker.errors import Refused
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.reading import Unreadable

_PAGE_EVENTS: Final = 1_000
_PAGE_BYTES: Final = 4_000_000
_IN_ORDER: Final = [("stream_id", 1), ("version", 1)]

WITHOUT_PAYLOAD: Final[Mapping[str, int]] = dict.fromkeys(
    (
        "_id",
        "stream_id",
        "version",
        "event_type",
        *(f"event_data.{name}" for name in ("course_id", "user_id", "lesson_id", *STREAM_IDS)),
        "metadata",
        "key_id",
        "curriculum",
        "slot",
        "occurred_at",
        "recorded_at",
        "schema_version",
    ),
    1,
)
"""What is shown of every event. All else is the producer's word about a person, or what sealed it."""


class NoSuchStream(Refused):
    """A text that names no stream, or a stream without events; the message says which."""


def require_stream(name: str) -> str:
    """The stream of that name; raises `NoSuchStream` for a text that names none."""
    if parse_stream_id(name) is None:
        raise NoSuchStream(
            f"{name!r} names no stream: a learner's in a course is course_<id>_user_<id>, a course's course_<id>, "
            "each id 24 hexadecimal digits in small letters"
        )
    return name


async def stored_events(
    database: Database, stream: str, *, version: int | None = None, payload: bool = False
) -> AsyncGenerator[Document]:
    """The stream's events by version, or that of one version, as they are stored, without payload unless asked for.

    Of one that cannot be read there are `_id`, `version` if that can be, and `unreadable`, the reason.
    """
    query: Document = {"stream_id": stream} | ({} if version is None else {"version": version})
    paths = None if payload else WITHOUT_PAYLOAD
    limits = {"most": _PAGE_EVENTS, "max_bytes": _PAGE_BYTES}
    found = reading.pages(database.course_events, query, paths, sort=_IN_ORDER, hint=_IN_ORDER, **limits)
    async with aclosing(found) as pages:
        async for page in pages:
            broken = [await _remains(database, each) for each in page.unreadable]
            for event in sorted([*page.documents, *broken], key=_place):
                yield event


async def _remains(database: Database, event: Unreadable) -> Document:
    found: Any = await reading.find_one(database.course_events, {"_id": event.id}, {"version": 1})
    known = found if isinstance(found, dict) else {}
    return {**known, "_id": event.name, "unreadable": event.reason}


def _place(event: Mapping[str, Any]) -> int:
    version = event.get("version")
    return version if isinstance(version, int) else 0
