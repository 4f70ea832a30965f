"""Checks contests: each document has what it must have beside all that it contends with, found a second way.

Which documents contend is taken from the keys that they have now. That they are kept as contenders under these keys,
and as one part, is checked of each document on the way, so that none is left out of what is decided.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from projections.contests import contending
from projections.kinds import Contest, Entry, StreamProjection
from worker.chunks import chunks
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.work_items import fold_item_id, fold_type
from worker.verify.contest_rules import Rule, rule_of
from worker.verify.findings import Fault, Finding, ProjectionCounts, Run, differs, subject_of
from worker.verify.queue_check import open_items
from worker.verify.reading import hashable
from worker.verify.sameness import differing, same
from worker.verify.snapshots import Snapshot, Snapshots

_DOCUMENTS_AT_ONCE = 200
# A change is decided within a second; a busy machine may take longer.
_SECOND_LOOK_S = 10.0


@dataclass(frozen=True, slots=True)
class Contending:
    """One document, its contender as kept, and what it must have, as one snapshot shows them.

    `expected` is None where nothing is expected, and for documents that make no sense. `apart`: it is kept as a part
    of its own, though it contends with documents of another.
    """

    identity: Any
    document: Document | None
    row: Document | None
    expected: Document | None = None
    apart: bool = False

    @property
    def revisions(self) -> tuple[Any, Any]:
        """What moves when the document is written, or decided."""
        return self.document, (self.row or {}).get("seen")


def audit(contest: Contest, collection: str, one: Contending) -> Iterator[Finding]:
    """What is wrong with one document, or with its contender."""
    subject, about = subject_of(collection, {"_id": one.identity}), (collection, one.identity)
    name, row = contest.name, one.row or {}
    if row.get("contest_version", 0) > contest.version:
        made_by = f"decided by version {row['contest_version']}; this code is {contest.version}"
        yield Finding(name, Fault.NEWER, subject, made_by, about=about)
        return
    if one.document is None:
        if one.row is not None:
            yield Finding(name, Fault.UNKNOWN, subject, "a contender that is no document", about=about)
        return
    since = one.document.get("recorded_at")
    try:
        entry = contending(contest, one.document)
        noted = contest.given(one.document, row.get("outcome"))
    except Exception as error:  # whatever it is, it concerns this document only
        yield Finding(
            name, Fault.BUILD_FAILED, subject, f"{type(error).__name__} while it was decided", about=about
        )
        return
    if not _is_noted(contest, entry, one.row):
        yield Finding(name, Fault.BEHIND, subject, "not decided since it changed", since, about)
        return
    wrong = [] if one.expected is None else differing(one.expected, one.document)
    yield from differs(name, subject, "has not what it must have in", wrong, about=about)
    if one.apart:
        yield Finding(name, Fault.DIFFERENT, subject, "is kept apart from what it contends with", about=about)
    elif noted is not None and not wrong:
        wrong = differing({path: noted.values.get(path) for path in contest.paths}, one.document)
        yield from differs(name, subject, "is noted to have something else in", wrong, about=about)


async def check_contest(run: Run, contest: Contest) -> None:
    """Put into the run's tally what is wrong. Only reads.

    1. every document, with all that it contends with, and every contender that is no document  2. a second look at
    those that seem wrong: what changed meanwhile may have been about to be decided.
    """
    counts, quiescent = run.tally.by_projection[contest.name], run.grace.quiescent
    source = next(each for each in run.database.catalogue.streams if each.name == contest.source)
    async with Snapshots.opened(run) as snapshots:
        suspects = await _Look(contest, source, rule_of(contest)).everything(snapshots, counts)  # 1
        if suspects and not quiescent:  # 2
            await run.clock.sleep(_SECOND_LOOK_S)
        second = _Look(contest, source, rule_of(contest))
        for some in chunks([before.identity for before in suspects.values()], _DOCUMENTS_AT_ONCE):
            async for one in second.through(snapshots, some):
                if (before := suspects.pop(hashable(one.identity), None)) is None:
                    continue
                findings = list(second.audit(one))
                counts.behind += bool(findings)
                item = fold_item_id(one.identity, contest.name)
                if findings and await open_items(run.database, fold_type(contest.name), [item]):
                    counts.quarantined += 1
                if quiescent or one.revisions == before.revisions:
                    run.tally.report(findings)


@dataclass(slots=True)
class _Look:
    """One look at all documents of a contest. Parts that are looked at as a whole are looked at once."""

    contest: Contest
    source: StreamProjection
    rule: Rule
    _noted: list[str | None] = field(default_factory=list)
    _done: set[Any] = field(default_factory=set)

    def audit(self, one: Contending) -> Iterator[Finding]:
        return audit(self.contest, self.source.target.collection, one)

    async def everything(self, snapshots: Snapshots, counts: ProjectionCounts) -> dict[Any, Contending]:
        """What seems wrong. Counts the contenders, and why they do not have what they ask for."""
        suspects: dict[Any, Contending] = {}
        database = snapshots.run.database
        for collection in (self.source.target.collection, self.contest.contenders.collection):
            async for ids in snapshots.ids(database.collection(collection), _DOCUMENTS_AT_ONCE):
                async for one in self.through(snapshots, ids):
                    suspects |= {hashable(one.identity): one} if any(self.audit(one)) else {}
            if collection == self.source.target.collection:  # each once
                counts.documents += len(self._noted)
                counts.refused(Counter(reason for reason in self._noted if reason is not None))
        return suspects

    async def through(self, snapshots: Snapshots, ids: Sequence[Any]) -> AsyncIterator[Contending]:
        """These documents, and those of their parts where the rule needs them whole."""
        named = [each for each in ids if isinstance(each, ObjectId)]
        found, labels, noted = await snapshots.read(self._contending, named)
        self._noted += noted
        self._done |= labels
        for one in found:
            yield one

    async def _contending(
        self, snapshot: Snapshot, ids: Sequence[Any]
    ) -> tuple[list[Contending], set[Any], list[str | None]]:
        """What is to be looked at, the labels of the parts that these are, and why contenders among the ids lost.

        May run twice.
        """
        documents, rows = await self._read(snapshot, ids)
        noted = [self._reason(documents[each], rows[each]) for each in rows.keys() & documents.keys()]
        wanted = [each for each in ids if _label(rows.get(each)) not in self._done]
        labels = {_label(rows[each]) for each in wanted if each in rows} - {None}
        keyed = await self._connected(snapshot, wanted, documents, rows)
        looked = sorted(documents.keys() | rows.keys()) if self.rule.whole else wanted
        parts: dict[Any, set[Any]] = {}
        for key, members in keyed.items():
            parts[key] = {_label(rows.get(each)) for each in members if each in rows}
        expected = self.rule.expected(documents.values())
        contending = [
            Contending(
                each,
                documents.get(each),
                rows.get(each),
                expected.get(each),
                any(len(parts.get(key, ())) > 1 for key in _row_keys(rows.get(each))),
            )
            for each in looked
            if _label(rows.get(each)) not in self._done
        ]
        return contending, labels if self.rule.whole else set(), noted

    async def _connected(
        self,
        snapshot: Snapshot,
        ids: Iterable[Any],
        documents: dict[Any, Document],
        rows: dict[Any, Document],
    ) -> dict[str, set[Any]]:
        """Read what these contend with, and, where the rule needs it, what that contends with, and so on.

        Returns who has which key.
        """
        contenders = snapshot.database.collection(self.contest.contenders.collection)
        keyed: dict[str, set[Any]] = {}
        asked, labels = set[str](), set[Any]()
        wanted = list(ids)
        while wanted:
            for each in wanted:
                for key in self._keys(documents.get(each), rows.get(each)):
                    keyed.setdefault(key, set()).add(each)
            query: list[Document] = [{"keys": {"$in": sorted(keyed.keys() - asked)}}]
            asked |= keyed.keys()
            if self.rule.whole:
                news = {_label(rows.get(each)) for each in wanted} - {None} - labels
                labels |= news
                query.append({"part": {"$in": sorted(news)}})
            more = await reading.find(contenders, {"$or": query}, session=snapshot.session)
            further = {row["_id"] for row in more.documents} - documents.keys() - rows.keys()
            for row in more.documents:
                for key in _row_keys(row):
                    keyed.setdefault(key, set()).add(row["_id"])
            rows |= {row["_id"]: row for row in more.documents}
            for some in chunks(further, _DOCUMENTS_AT_ONCE):
                read, _ = await self._read(snapshot, some, only_documents=True)
                documents |= read
            wanted = list(further) if self.rule.whole else []
        return keyed

    async def _read(
        self, snapshot: Snapshot, ids: Iterable[Any], *, only_documents: bool = False
    ) -> tuple[dict[Any, Document], dict[Any, Document]]:
        named = list(ids)
        paths = dict.fromkeys((*self.contest.reads, *self.contest.paths, "recorded_at"), 1)
        documents = snapshot.database.collection(self.source.target.collection)
        found = await snapshot.by_id(documents, named, paths)
        if only_documents:
            return found, {}
        contenders = snapshot.database.collection(self.contest.contenders.collection)
        return found, await snapshot.by_id(contenders, named, None)

    def _reason(self, document: Document, row: Mapping[str, Any]) -> str | None:
        """Why a contender does not have what it asks for; None where it does."""
        if row.get("reason") is not None:
            with suppress(Exception):  # one that makes no sense is a finding of its own
                decided = self.contest.given(document, row.get("outcome"))
                return None if decided is None else decided.reason
        return None

    def _keys(self, document: Document | None, row: Mapping[str, Any] | None) -> set[str]:
        """Those of the document, and those it was decided with."""
        known = set(_row_keys(row))
        try:
            return known | set(() if document is None else self.contest.keys(document))
        except Exception:  # it is a finding of its own when it is looked at
            return known


def _is_noted(contest: Contest, entry: Entry | None, row: Mapping[str, Any] | None) -> bool:
    """Whether a document was decided with what it contends with now, by this version."""
    if entry is None or row is None:
        return entry is None and row is None
    return row["contest_version"] == contest.version and all(
        same(value, row.get(name)) for name, value in entry.items()
    )


def _row_keys(row: Mapping[str, Any] | None) -> list[str]:
    keys = (row or {}).get("keys", ())
    return [each for each in keys if isinstance(each, str)]


def _label(row: Mapping[str, Any] | None) -> Any:
    label = (row or {}).get("part")
    return label if isinstance(label, ObjectId) else None
