"""The document of each version: the course as it was then, what changed since the version before, where it stands."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from bson import ObjectId

from projections.content.courses.content import (
    Content,
    empty_content,
    opened_copy,
    take,
    working_content,
)
from projections.content.versions.diff import changes
from projections.content.versions.fold import stored_history, version_id
from projections.content.versions.history import Version
from projections.event import StoredEvent
from projections.kinds import Document

MOST_CHANGES: Final = 1_000
"""A change of every lesson of the largest usual course, three times over; some 200 KB beside the snapshot."""


@dataclass(frozen=True, slots=True)
class _Carry:
    """The content so far, the snapshot of the version before, and the versions by the event that creates them."""

    content: Content
    before: Document
    created_by: Mapping[UUID, Version]


def make(
    document: Mapping[str, Any], due: Set[ObjectId], carry: Any, events: Sequence[StoredEvent]
) -> tuple[Any, Sequence[Document]]:
    """See `projections.kinds.MakeParts`: a version is the course as it was at the event that created it."""
    current: _Carry = carry or _begin(document)
    content, before = opened_copy(current.content), current.before
    made: list[Document] = []
    for event in events:
        take(content, event)
        if (version := current.created_by.get(event.event_id)) is not None:
            snapshot = working_content(content)
            if (identity := version_id(document["entity_id"], version.label)) in due:
                course = {"_id": identity, "course_id": document["entity_id"], "course_snapshot": snapshot}
                made.append({**course, **_told(version, event, content, before, snapshot)})
            before = snapshot
    return _Carry(content, before, current.created_by), made


def _begin(document: Mapping[str, Any]) -> _Carry:
    versions = stored_history(document).versions.values()
    return _Carry(empty_content(), {}, {each.event_id: each for each in versions})


def _told(
    version: Version, event: StoredEvent, content: Content, before: Document, snapshot: Document
) -> Document:
    """What the version's document says beside the snapshot."""
    told = {} if event.is_opening else event.details
    created_by = told.get("created_by")
    author = None if created_by is None else ObjectId(created_by)
    found = [] if event.is_opening else list(_changes(content, before, snapshot, author, event.occurred_at))
    breaking = list(told.get("breaking_changes") or [])
    return {
        "version": version.label,
        "changes": {
            "type": told.get("type"),
            "summary": told.get("summary"),
            "detailed_changes": found[:MOST_CHANGES],
            "total": len(found),
        },
        "metadata": {
            "created_by": author,
            "approved_by": version.approved_by,
            "migration_required": version.migrates,
            "backward_compatible": bool(told.get("backward_compatible", not breaking)),
            "breaking_changes": breaking,
        },
        "deployment": {
            "status": version.status,
            "deployed_at": version.deployed_at,
            "rollback_version": version.rollback_version,
        },
        "created_at": version.created_at,
    }


def _changes(
    content: Content, before: Document, snapshot: Document, author: ObjectId | None, created_at: datetime
) -> Iterator[Document]:
    """Each change with who made the version, and when the field it is in was changed last."""
    changed_at = _changed_at(content)
    for change in changes(before, snapshot):
        yield {
            "action": change.action,
            "path": change.path,
            "description": change.description,
            "author": author,
            "timestamp": changed_at.get(change.field, created_at),
        }


def _changed_at(content: Content) -> dict[str, datetime]:
    """When something was last said of each top-level field."""
    latest = {name: max(_moments(stamp)) for name, stamp in content["stamps"].items()}
    for said in islice(reversed(content["slugs"]), 1):
        latest["slug"] = said["at"]
    return latest


def _moments(stamp: Sequence[Any]) -> Iterator[datetime]:
    """When something was said of a path as a whole, and of each of its fields (see `projections.merging`)."""
    at, _, *fields = stamp
    if at is not None:
        yield at
    for inner in fields:
        for each in inner.values():
            yield from _moments(each)
