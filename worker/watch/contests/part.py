"""Documents that contend with each other, and what is to be done with them: values in, values out."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from projections.contests import contending
from projections.kinds import Contest, Decided, Entry
from worker.storage.database import Document
from worker.storage.encoding import encoded, same
from worker.storage.reading import Reading, Unreadable, senseless
from worker.watch.contests.labels import Labels, keys_of, labelled

_DIGEST_BYTES = 12


@dataclass(slots=True)
class Part:
    """Documents that were `asked` for, and all the contenders that they are connected with, as they were noted.

    What was asked for and is not among `documents` is gone, or unreadable: it contends for nothing. `rows` are the
    contenders of what was asked for, `known` those of all, by `_id`. `doubted`: what was noted is not believed, and
    all is decided from its documents; so it is where other code, or somebody else, has noted some of it.
    """

    contest: Contest
    doubted: bool = False
    documents: dict[Any, Document] = field(default_factory=dict)
    rows: dict[Any, Document] = field(default_factory=dict)
    asked: set[Any] = field(default_factory=set)
    entries: dict[Any, Entry] = field(default_factory=dict)
    known: dict[Any, Document] = field(default_factory=dict)
    newer: bool = False
    _keys: set[str] = field(default_factory=set)
    _labels: set[ObjectId] = field(default_factory=set)

    def take(self, ids: Iterable[Any], documents: Reading, rows: Reading) -> list[Unreadable]:
        """Take in what was read of these; returns documents of which the contest can make nothing."""
        self.asked.update(ids)
        self.note(rows)
        self.rows.update((row["_id"], row) for row in rows.documents)
        odd = list(documents.unreadable)
        for document in documents.documents:
            identity = document["_id"]
            try:
                entry = contending(self.contest, document)
            except Exception as error:  # one document's content: it contends for nothing
                odd.append(senseless(self.contest.source, identity, error))
                continue
            self.documents[identity] = document
            if entry is not None:
                self.entries[identity] = entry
        return odd

    def note(self, rows: Reading) -> None:
        """Take in contenders."""
        for row in rows.documents:
            version = version_of(row)
            self.newer |= version > self.contest.version
            self.known[row["_id"]] = row
            self.doubted |= version < self.contest.version or not _is_whole(row)
        for one in rows.unreadable:
            self.known[one.id] = {"_id": one.id}
            self.doubted = True

    def unasked_keys(self) -> list[str]:
        """Keys whose parts are not known yet: where documents meet others now, and, where it is noted, once met."""
        keys = {key for one in self.entries.values() for key in one["keys"]}
        for row in self.rows.values():
            if not isinstance(row.get("part"), ObjectId):
                keys.update(keys_of(row))  # of old code, which tells by nothing else what it had met
        news = keys - self._keys
        self._keys |= news
        return sorted(news)

    def unread_labels(self, found: Iterable[Any]) -> list[ObjectId]:
        """Labels of parts that are not read yet: the given ones, and those of what was asked for."""
        named = [*found, *(row.get("part") for row in self.rows.values())]
        news = {each for each in named if isinstance(each, ObjectId)} - self._labels
        self._labels |= news
        return sorted(news)

    def unread(self) -> set[Any]:
        """What has to be decided from its document, and was not asked for yet."""
        return self.known.keys() - self.asked if self.doubted else set()

    def changed(self) -> dict[Any, Entry | None]:
        """How those contend now that do it otherwise than was noted, or of whom nothing is believed."""
        return {
            each: self.entries.get(each) for each in self.asked if self.doubted or not self._is_as_noted(each)
        }

    def decided(self, changed: Mapping[Any, Entry | None]) -> Mapping[Any, Any]:
        """Outcomes of what changed, and of what these changes may have moved."""
        return self.contest.decide({} if self.doubted else self.known, changed)

    def moved(self, outcomes: Mapping[Any, Any]) -> set[Any]:
        """Those that get something else than was noted, and were not asked for yet."""
        return {
            each
            for each, outcome in outcomes.items()
            if each not in self.asked and outcome != self.known[each].get("outcome")
        }

    def outcome(self, identity: Any, outcomes: Mapping[Any, Any]) -> Any:
        """What was decided of a document, now or before; None for one that contends for nothing."""
        if identity not in self.entries:
            return None
        return outcomes[identity] if identity in outcomes else self.known[identity].get("outcome")

    def change(self, take: Mapping[Any, Document], give: Mapping[Any, Document]) -> None:
        """Take from documents, and give them, what was decided: who has a value no more meets nobody by it."""
        for identity in take.keys() | give.keys():
            taken, given = take.get(identity, {}), give.get(identity, {})
            kept = {name: value for name, value in self.documents[identity].items() if name not in taken}
            self.documents[identity] = document = {**kept, **given}
            entry = contending(self.contest, document)
            if entry is None:
                self.entries.pop(identity, None)
            else:
                self.entries[identity] = entry

    def labels(self, fresh: Callable[[], ObjectId]) -> Labels:
        """The labels to note of what was asked for, and what becomes of those of parts that have become one."""
        stay = (
            row
            for identity, row in self.known.items()
            if identity not in self.asked or self._is_as_noted(identity)
        )
        return labelled(self.entries.values(), stay, anew=self.doubted, fresh=fresh)

    def _is_as_noted(self, identity: Any) -> bool:
        one, row = self.entries.get(identity), self.known.get(identity)
        if one is None or row is None:
            return one is None and row is None
        return bool(one["keys"] == row.get("keys") and one["entry"] == row.get("entry"))


def differing(
    paths: Iterable[str], documents: Mapping[Any, Document], decided: Mapping[Any, Decided]
) -> tuple[dict[Any, Document], dict[Any, Document]]:
    """What to take from documents, and what to give them, by `_id`.

    A value that is replaced is taken as well: it may be given to another, and no index may see it twice meanwhile.
    """
    take: dict[Any, Document] = {}
    give: dict[Any, Document] = {}
    for identity, one in decided.items():
        document = documents[identity]
        for path in paths:
            wanted = path in one.values
            if wanted and path in document and same(document[path], one.values[path]):
                continue
            if path in document:
                take.setdefault(identity, {})[path] = ""
            if wanted:
                give.setdefault(identity, {})[path] = one.values[path]
    return take, give


def row_of(contest: Contest, document: Document, one: Entry, outcome: Any, part: Any) -> Document:
    """What to note of a document as it was decided; `reason` is still to be said."""
    return {
        "_id": document["_id"],
        **one,
        "outcome": outcome,
        "part": part,
        "seen": seen(contest, document),
        "contest_version": contest.version,
    }


def is_settled(contest: Contest, document: Document | None, row: Document | None) -> bool:
    """Whether a document is as it was decided by this version, or a newer one; what cannot be read is not."""
    if row is not None and version_of(row) > contest.version:
        return True
    if document is None:
        return row is None
    try:
        if row is None:
            return not contest.keys(document)
        return version_of(row) == contest.version and row.get("seen") == seen(contest, document)
    except Exception:  # whatever it is, deciding will say so
        return False


def seen(contest: Contest, document: Mapping[str, Any]) -> bytes:
    """A digest of all that the contest reads of a document."""
    names = (*contest.reads, *contest.paths)
    read = {name: document[name] for name in sorted(names) if name in document}
    raw = encoded(read)
    if raw is None:
        raise ValueError("values that BSON does not have")
    return hashlib.sha1(raw.raw, usedforsecurity=False).digest()[:_DIGEST_BYTES]


def version_of(row: Mapping[str, Any]) -> int:
    """0 where somebody put something else there."""
    version = row.get("contest_version")
    return version if isinstance(version, int) else 0


def _is_whole(row: Mapping[str, Any]) -> bool:
    """False for what other code has noted, or somebody else."""
    if not isinstance(row.get("part"), ObjectId) or "entry" not in row or "outcome" not in row:
        return False
    keys = keys_of(row)
    return bool(keys) and len(keys) == len(row["keys"])
