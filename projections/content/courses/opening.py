"""What an opening event says of a course: the document as the platform kept it, in the fold's own words."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pydantic import BaseModel, ConfigDict

from projections.content.courses.content import FIELDS
from projections.content.courses.document import Status
from projections.paths import ABSENT, at
from projections.unfit import Unfit

Document = dict[str, Any]

_SLUG: Final = re.compile(r"[a-z0-9-]+")
_STATUSES: Final = ("draft", "review", "published", "archived")
_OF_INSTRUCTOR: Final = ("bio", "credentials")
_OBJECTS: Final = ("description", "metadata", "pricing", "media", "learning", "seo", "location", "instructor")
_TITLE_LETTERS: Final = range(3, 201)


class CourseLife(BaseModel):
    """Where the course stood; of a changelog the entries are as they were."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    status: Status
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    published_at: datetime | None
    version: str | None
    last_updated: datetime | None
    next_update_scheduled: datetime | None
    changelog: list[dict[str, Any]]


class CourseOpening(BaseModel):
    """`personal.details.record` of an opening event of a course. `content` has the document's fields and the slug."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    content: dict[str, Any]
    life: CourseLife


def opening_record(document: Mapping[str, Any]) -> Document:
    """The record of a document that the platform kept. Raises `Unfit` where it makes no sense as a course."""
    title, instructor = document.get("title"), _instructor(document)
    if not isinstance(title, str) or len(title) not in _TITLE_LETTERS:
        raise Unfit("title must be a text of 3 to 200 letters")
    if instructor is None:
        raise Unfit("instructor_id must be an ObjectId")
    content = {name: document[name] for name in FIELDS if document.get(name) is not None}
    for name in _OBJECTS:
        if name in content and not isinstance(content[name], Mapping):
            raise Unfit(f"{name} must be a document")
    if not isinstance(content.get("curriculum", []), list):
        raise Unfit("curriculum must be a list")
    if (slug := document.get("slug")) is not None:
        if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
            raise Unfit("slug must be of small letters, digits and dashes")
        content["slug"] = slug
    presented = content.pop("instructor", {})
    parts = {name: presented[name] for name in _OF_INSTRUCTOR if presented.get(name) is not None}
    content |= {"instructor_id": instructor, **({"instructor": parts} if parts else {})}
    return {"content": content, "life": _life(document)}


def _instructor(document: Mapping[str, Any]) -> ObjectId | None:
    candidates = (document.get("instructor_id"), at(document, "instructor.user_id"))
    return next((each for each in candidates if isinstance(each, ObjectId)), None)


def _life(document: Mapping[str, Any]) -> Document:
    status = document.get("status")
    if status is None:
        status = at(document, "publication.status")
    if status not in _STATUSES:
        raise Unfit(f"status must be one of {', '.join(_STATUSES)}")
    created_at = _date(document, "created_at")
    if created_at is None:
        raise Unfit("created_at must be a date")
    version = at(document, "publication.version")
    if version is not ABSENT and not isinstance(version, str | None):
        raise Unfit("publication.version must be a text")
    return {
        "status": status,
        "created_at": created_at,
        "updated_at": _date(document, "updated_at") or created_at,
        "deleted_at": _date(document, "deleted_at"),
        "published_at": _date(document, "publication.published_at"),
        "version": None if version is ABSENT else version,
        "last_updated": _date(document, "publication.last_updated"),
        "next_update_scheduled": _date(document, "publication.next_update_scheduled"),
        "changelog": _changelog(document),
    }


def _date(document: Mapping[str, Any], path: str) -> datetime | None:
    value = at(document, path)
    if value is ABSENT or value is None:
        return None
    if not isinstance(value, datetime):
        raise Unfit(f"{path} must be a date")
    return value


def _changelog(document: Mapping[str, Any]) -> list[Document]:
    """Entries with what a reader needs of one; the last are kept."""
    entries = at(document, "publication.changelog")
    if entries is ABSENT or entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(each, Mapping) for each in entries):
        raise Unfit("publication.changelog must be a list of documents")
    return [_entry(each) for each in entries]


def _entry(entry: Mapping[str, Any]) -> Document:
    version, date, changes = entry.get("version"), entry.get("date"), entry.get("changes")
    author = entry.get("author")
    sound = isinstance(version, str) and isinstance(date, datetime) and isinstance(author, ObjectId | None)
    if not sound or not isinstance(changes, list) or not all(isinstance(each, str) for each in changes):
        raise Unfit("publication.changelog must name version, date and changes in each entry")
    return {**entry, "author": author}
