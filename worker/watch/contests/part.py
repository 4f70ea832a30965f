"""Documents that contend with each other, and what is to be done with them: values in, values out."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from projections.kinds import Contest, Decided
from worker.storage.database import Document
from worker.storage.encoding import encoded, same
from worker.storage.reading import Unreadable, senseless

_DIGEST_BYTES = 12


@dataclass(slots=True)
class Part:
    """Documents by `_id`, and their contenders as noted (`rows`); `asked` are all that were looked for.

    What was looked for and is not among `documents` is gone, or `unreadable`.
    """

    documents: dict[Any, Document] = field(default_factory=dict)
    rows: dict[Any, Document] = field(default_factory=dict)
    asked: set[Any] = field(default_factory=set)
    unreadable: set[Any] = field(default_factory=set)
    _keys: dict[Any, frozenset[str]] = field(default_factory=dict)

    def add(
        self, contest: Contest, ids: Iterable[Any], documents: Iterable[Document], rows: Iterable[Document]
    ) -> list[Unreadable]:
        """Take in what was read of these; returns documents of which the contest can make nothing."""
        odd = []
        wanted = set(ids)
        self.asked.update(wanted)
        self.rows.update((row["_id"], row) for row in rows)
        known = set()
        for document in documents:
            identity = document["_id"]
            known.add(identity)
            try:
                self._keys[identity] = frozenset(contest.keys(document))
            except Exception as error:  # one document's content: it contends for nothing
                odd.append(senseless(contest.source, identity, error))
                self.unreadable.add(identity)
                continue
            self.documents[identity] = document
        return odd

    def keys(self, ids: Iterable[Any]) -> set[str]:
        """Where these meet others: by what they are, and by what they were when they were decided."""
        found: set[str] = set()
        for each in ids:
            found |= self._keys.get(each, frozenset())
            found.update(self.rows.get(each, {}).get("keys", ()))
        return found

    def after(self, take: Mapping[Any, Document], give: Mapping[Any, Document]) -> "Part":
        """The documents as they are when this was taken from them, and that given to them."""
        documents = {}
        for identity, document in self.documents.items():
            kept = {name: value for name, value in document.items() if name not in take.get(identity, {})}
            documents[identity] = {**kept, **give.get(identity, {})}
        return replace(self, documents=documents)


def differing(
    contest: Contest, part: Part, decided: Mapping[Any, Decided]
) -> tuple[dict[Any, Document], dict[Any, Document]]:
    """What to take from documents, and what to give them, by `_id`.

    A value that is replaced is taken as well: it may be given to another, and no index may see it twice meanwhile.
    """
    take: dict[Any, Document] = {}
    give: dict[Any, Document] = {}
    for identity, one in decided.items():
        document = part.documents[identity]
        for path in contest.paths:
            wanted = path in one.values
            if wanted and path in document and same(document[path], one.values[path]):
                continue
            if path in document:
                take.setdefault(identity, {})[path] = ""
            if wanted:
                give.setdefault(identity, {})[path] = one.values[path]
    return take, give


def row_of(contest: Contest, document: Document, reason: str | None) -> Document | None:
    """What to note of a document as it was decided; None for one that contends for nothing."""
    keys = sorted(set(contest.keys(document)))
    if not keys:
        return None
    return {
        "_id": document["_id"],
        "keys": keys,
        "seen": seen(contest, document),
        "contest_version": contest.version,
        "reason": reason,
    }


def is_settled(contest: Contest, document: Document | None, row: Document | None) -> bool:
    """Whether a document is as it was decided by this version, or a newer one; what cannot be read is not."""
    if row is not None and _version(row) > contest.version:
        return True
    if document is None:
        return row is None
    try:
        if row is None:
            return not contest.keys(document)
        return _version(row) == contest.version and row.get("seen") == seen(contest, document)
    except Exception:  # whatever it is, deciding will say so
        return False


def newer(contest: Contest, part: Part) -> bool:
    """Whether newer code has decided one of them."""
    return any(_version(row) > contest.version for row in part.rows.values())


def seen(contest: Contest, document: Mapping[str, Any]) -> bytes:
    """A digest of all that the contest reads of a document."""
    names = (*contest.reads, *contest.paths)
    read = {name: document[name] for name in sorted(names) if name in document}
    raw = encoded(read)
    if raw is None:
        raise ValueError("values that BSON does not have")
    return hashlib.sha1(raw.raw, usedforsecurity=False).digest()[:_DIGEST_BYTES]


def _version(row: Mapping[str, Any]) -> int:
    """0 where somebody put something else there."""
    version = row.get("contest_version")
    return version if isinstance(version, int) else 0
