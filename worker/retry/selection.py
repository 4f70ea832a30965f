"""What an operator means: which items or letters, and which of them are one and the same failure."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One item or letter as a list shows it. `document` is as stored, without bytes."""

    id: Any
    fingerprint: str
    reason: str
    message: str
    created_at: datetime
    document: Document


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


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """Groups by fingerprint, the largest first."""
    by_fingerprint: dict[str, list[Entry]] = {}
    for entry in entries:
        by_fingerprint.setdefault(entry.fingerprint, []).append(entry)
    groups = [_group(some) for some in by_fingerprint.values()]
    return sorted(groups, key=lambda group: (-group.count, group.oldest, group.fingerprint))


def _group(entries: Sequence[Entry]) -> Group:
    oldest = min(entries, key=lambda entry: entry.created_at)
    return Group(
        fingerprint=oldest.fingerprint,
        count=len(entries),
        reason=oldest.reason,
        message=oldest.message,
        oldest=oldest.created_at,
        newest=max(entry.created_at for entry in entries),
        example=str(oldest.id),
    )


def identities(ids: Iterable[str]) -> list[str | ObjectId]:
    """Each id as it may be stored: a text of 24 hexadecimal digits can be an ObjectId, too."""
    names: list[str | ObjectId] = []
    for name in ids:
        names.append(name)
        if ObjectId.is_valid(name):
            names.append(ObjectId(name))
    return names


def failure_fingerprint(*parts: str | None) -> str:
    """One value per kind of failure."""
    return hashlib.sha256("|".join(part or "" for part in parts).encode()).hexdigest()[:16]
