"""What an operator means: which items or dead letters, and which of them are one and the same failure."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bson import ObjectId

from worker.storage.database import Document


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that meets all of what is given. `since` is about when it was made; `limit` takes the oldest."""

    ids: tuple[str, ...] = ()
    reason: str | None = None
    since: datetime | None = None
    stream: str | None = None
    fingerprint: str | None = None
    limit: int | None = None

    @property
    def everything(self) -> bool:
        """True if nothing is given that would leave anything out."""
        return not (self.ids or self.reason or self.since or self.stream or self.fingerprint or self.limit)

    def query(self, **paths: str) -> Document:
        """What of it the server can decide: `paths` says where reason, stream and fingerprint stand, if they do."""
        query = {path: given for name, path in paths.items() if (given := getattr(self, name))}
        if self.ids:
            query["_id"] = {"$in": identities(self.ids)}
        if self.since:
            query["created_at"] = {"$gte": self.since}
        return query


@dataclass(frozen=True, slots=True)
class Entry:
    """One item, notification or dead letter as a list shows it. `document` is as stored, without bytes."""

    id: Any
    fingerprint: str
    reason: str
    message: str
    created_at: datetime
    document: Document
    collection: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one fingerprint: most likely one cause."""

    fingerprint: str
    count: int
    reason: str
    message: str
    oldest: datetime
    newest: datetime
    example: str


def grouped(entries: Iterable[Entry], groups: Iterable[Group] = ()) -> list[Group]:
    """Groups by fingerprint, the largest first; `groups` are those of entries before these."""
    found = {group.fingerprint: group for group in groups}
    for entry in entries:
        known = found.get(entry.fingerprint)
        found[entry.fingerprint] = _group_of(entry) if known is None else _with(known, entry)
    return sorted(found.values(), key=lambda group: (-group.count, group.oldest, group.fingerprint))


async def grouped_in_pages(pages: AsyncIterator[Sequence[Entry]]) -> list[Group]:
    """`grouped`, of more entries than would fit into memory."""
    groups: list[Group] = []
    async for page in pages:
        groups = grouped(page, groups)
    return groups


def _group_of(entry: Entry) -> Group:
    return Group(
        fingerprint=entry.fingerprint,
        count=1,
        reason=entry.reason,
        message=entry.message,
        oldest=entry.created_at,
        newest=entry.created_at,
        example=str(entry.id),
    )


def _with(group: Group, entry: Entry) -> Group:
    """The group with one entry more; its words are those of the oldest."""
    first = _group_of(entry) if entry.created_at < group.oldest else group
    return replace(first, count=group.count + 1, newest=max(group.newest, entry.created_at))


def identities(ids: Iterable[str]) -> list[str | ObjectId]:
    """Each id as it may be stored: a text of 24 hexadecimal digits can be an ObjectId, too."""
    names: list[str | ObjectId] = []
    for name in ids:
        names.append(name)
        if ObjectId.is_valid(name):
            names.append(ObjectId(name))
    return names
