"""Checks contests: each document has what it must have beside all that it contends with, decided once more.

Which documents contend is taken from the keys that they have now. That they are kept as contenders under these keys
is checked of each document on the way, so that none is left out of what is decided.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bson import ObjectId

from projections.kinds import Contest, StreamProjection
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.work_items import fold_item_id, fold_type
from worker.verify.findings import Fault, Finding, ProjectionCounts, Run, differs, subject_of
from worker.verify.queue_check import open_items
from worker.verify.reading import hashable
from worker.verify.sameness import differing
from worker.verify.snapshots import Snapshot, Snapshots

_DOCUMENTS_AT_ONCE = 200
# A change is decided within a second; a busy machine may take longer.
_SECOND_LOOK_S = 10.0


@dataclass(frozen=True, slots=True)
class Contending:
    """One document, its contender as kept, and all that it contends with, as one snapshot shows them."""

    identity: Any
    document: Document | None
    row: Document | None
    others: Sequence[Document] = field(default=())

    @property
    def revisions(self) -> tuple[Any, Any]:
        """What moves when the document is written, or decided."""
        return self.document, (self.row or {}).get("seen")


def audit(contest: Contest, collection: str, one: Contending) -> Iterator[Finding]:
    """What is wrong with one document, or with its contender."""
    subject, about = subject_of(collection, {"_id": one.identity}), (collection, one.identity)
    name = contest.name
    if one.row is not None and one.row["contest_version"] > contest.version:
        made_by = f"decided by version {one.row['contest_version']}; this code is {contest.version}"
        yield Finding(name, Fault.NEWER, subject, made_by, about=about)
        return
    if one.document is None:
        if one.row is not None:
            yield Finding(name, Fault.UNKNOWN, subject, "a contender that is no document", about=about)
        return
    since = one.document.get("recorded_at")
    try:
        keys = sorted(set(contest.keys(one.document)))
        decided = contest.decide(one.others).get(one.identity)
    except Exception as error:  # whatever it is, it concerns these documents only
        yield Finding(
            name, Fault.BUILD_FAILED, subject, f"{type(error).__name__} while it was decided", about=about
        )
        return
    if keys != ([] if one.row is None else list(one.row["keys"])):
        yield Finding(name, Fault.BEHIND, subject, "not decided since it changed", since, about)
    elif decided is not None:
        wrong = differing({path: decided.values.get(path) for path in contest.paths}, one.document)
        yield from differs(name, subject, "has not what it must have in", wrong, about=about)


async def check_contest(run: Run, contest: Contest) -> None:
    """Put into the run's tally what is wrong. Only reads.

    1. every document, with all that it contends with, and every contender that is no document  2. a second look at
    those that seem wrong: what changed meanwhile may have been about to be decided.
    """
    counts, quiescent = run.tally.by_projection[contest.name], run.grace.quiescent
    source = next(each for each in run.database.catalogue.streams if each.name == contest.source)
    read = partial(_contending, contest=contest, source=source)
    check = partial(audit, contest, source.target.collection)
    suspects: dict[Any, Contending] = {}
    async with Snapshots.opened(run) as snapshots:
        for collection in (source.target.collection, contest.contenders.collection):  # 1
            async for ids in snapshots.ids(run.database.collection(collection), _DOCUMENTS_AT_ONCE):
                for one in await snapshots.read(read, [each for each in ids if isinstance(each, ObjectId)]):
                    _count(counts, contest, one, collection == source.target.collection)
                    if any(check(one)):
                        suspects[hashable(one.identity)] = one
        if suspects and not quiescent:  # 2
            await run.clock.sleep(_SECOND_LOOK_S)
        for before in suspects.values():
            for one in await snapshots.read(read, [before.identity]):
                findings = list(check(one))
                counts.behind += bool(findings)
                item = fold_item_id(one.identity, contest.name)
                if findings and await open_items(run.database, fold_type(contest.name), [item]):
                    counts.quarantined += 1
                if quiescent or one.revisions == before.revisions:
                    run.tally.report(findings)


def _count(counts: ProjectionCounts, contest: Contest, one: Contending, by_document: bool) -> None:
    """Count a document that contends, and why it does not have what it asks for; once, by the document."""
    if not by_document or one.row is None:
        return
    counts.documents += 1
    if one.row.get("reason") is not None:
        with suppress(Exception):  # one that makes no sense is a finding of its own
            decided = contest.decide(one.others)[one.identity]
            counts.refused({} if decided.reason is None else {decided.reason: 1})


async def _contending(
    snapshot: Snapshot, ids: Sequence[Any], contest: Contest, source: StreamProjection
) -> list[Contending]:
    """These documents, each with the whole part that is connected with it."""
    documents = snapshot.database.collection(source.target.collection)
    contenders = snapshot.database.collection(contest.contenders.collection)
    paths = dict.fromkeys((*contest.reads, *contest.paths, "recorded_at"), 1)
    found: dict[Any, Document] = {}
    rows: dict[Any, Document] = {}
    keyed: dict[str, set[Any]] = {}
    wanted, asked = set(ids), set[str]()
    while wanted:
        read = await snapshot.by_id(documents, wanted, paths)
        found |= read
        rows |= await snapshot.by_id(contenders, wanted - rows.keys(), None)
        keys = set()
        for identity in wanted:
            for key in _keys(contest, read.get(identity), rows.get(identity)):
                keyed.setdefault(key, set()).add(identity)
                keys.add(key)
        news, asked = keys - asked, asked | keys
        more = await reading.find(contenders, {"keys": {"$in": sorted(news)}}, session=snapshot.session)
        rows |= {row["_id"]: row for row in more.documents}
        wanted = rows.keys() - found.keys() - {each for known in keyed.values() for each in known}
    return [Contending(each, found.get(each), rows.get(each), _part(each, found, keyed)) for each in ids]


def _keys(contest: Contest, document: Document | None, row: Mapping[str, Any] | None) -> set[str]:
    """Those of the document, and those it was decided with."""
    known = {each for each in (row or {}).get("keys", ()) if isinstance(each, str)}
    try:
        return known | set(() if document is None else contest.keys(document))
    except Exception:  # it is a finding of its own when it is looked at
        return known


def _part(identity: Any, found: Mapping[Any, Document], keyed: Mapping[str, set[Any]]) -> list[Document]:
    """All documents that are connected with one by keys, itself first."""
    keys_of: dict[Any, list[str]] = {}
    for key, members in keyed.items():
        for each in members:
            keys_of.setdefault(each, []).append(key)
    waiting, part = [identity], {identity}
    while waiting:
        for key in keys_of.get(waiting.pop(), ()):
            news = keyed[key] - part
            part |= news
            waiting += news
    return [found[each] for each in part if each in found]
