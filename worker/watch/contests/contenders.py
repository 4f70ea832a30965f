"""A contest as its value declares it: documents are decided together with all that they contend with.

Which documents these are is kept beside them, as contenders: the keys that a document was decided with stand there
when it has changed them, or is gone. So nobody has to remember what a document was, and no order of changes, and
nothing that is done twice, makes another decision.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from bson import ObjectId
from pymongo import DeleteOne, ReplaceOne, UpdateOne

from projections.kinds import Contest, StreamProjection
from worker.chunks import chunks
from worker.errors import Retryable
from worker.settings import CoolDownSettings
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.errors import translated
from worker.storage.leases import Token
from worker.storage.work_items import UNDECIDED
from worker.telemetry.labels import Applied, Mode
from worker.watch.contests.part import Part, differing, is_settled, newer, row_of
from worker.watch.sums.attempt import Attempt, Keys, Reason, RejectedWrite, Target, Write, ids_of
from worker.watch.sums.catch_up import pages
from worker.watch.sums.changes import updated
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.cool_down import CoolDown
from worker.watch.sums.quarantine import Quarantine, unreadable
from worker.watch.sums.runner import Dependencies, Runner

log = structlog.get_logger(__name__)

DOCUMENT = "document"
# Documents of one transaction; those that they contend with come on top.
_PER_TRANSACTION = 100
# Documents asked at a time whether they are as they were decided.
_AT_A_TIME = 1_000
# How often is counted what has lost: a look at an index that holds nothing else.
_COUNT_EVERY_S = 10.0


class Contenders:
    """Keeps the decisions of one contest; safe beside any number of others like it, and beside the fold.

    Every transaction writes the contest's one marker before it reads: they follow each other. A document that the
    fold changes meanwhile either ends the transaction, or is told of again. What has lost is an item of the queue, in
    the same transaction, until it gets what it asks for; its `error_class` is the reason.

    `doubting`: nothing is believed to be as it was decided.
    """

    def __init__(
        self, given: Dependencies, contest: Contest, source: StreamProjection, *, doubting: bool = False
    ) -> None:
        self.name, self.version = contest.name, contest.version
        self._contest = contest
        self._given = given
        self._doubting = doubting
        self._documents = given.database.collection(source.target.collection)
        self._contenders = given.database.collection(contest.contenders.collection)
        self.sources: frozenset[str] = frozenset()
        self.shown = frozenset({self._documents.name})
        self.cool_down = CoolDown(CoolDownSettings())  # nothing is ever admitted: nothing waits
        self.quarantine = Quarantine(given, contest.name, {DOCUMENT: self._documents.name}, by_kind=False)
        self._markers = WriteConflictMarkers(given.database)
        self._runner = Runner(given, _PER_TRANSACTION)
        self._paths = dict.fromkeys((*contest.reads, *contest.paths), 1)
        self._changed: Counter[str] = Counter()
        self._lost = given.metrics.contest_lost_documents.labels(contest.name)
        self._count_at = given.clock.monotonic()

    def rules(self, own: Iterable[UUID]) -> Sequence[Document]:
        """A document is gone, or somebody wrote to what is read of it; what comes back of our own is as decided."""
        names = "|".join(self._paths)
        collection = self._documents.name
        return [
            {"collection": collection, "operationType": "delete"},
            updated(collection, rf"({names})(\..+)?"),
        ]

    def keys(self, changes: Sequence[Document]) -> Keys:
        """What changes are about, each document once."""
        return frozenset(
            (DOCUMENT, change["identity"])
            for change in changes
            if change["collection"] == self._documents.name and isinstance(change["identity"], ObjectId)
        )

    async def bring(self, keys: Keys, before: Token | None) -> None:
        """Decide what is not as it was decided; `before` is the token before it moved, None after a comparison."""
        if before is not None:
            keys = await self._unsettled(ids_of(DOCUMENT, keys))
        await self.decide(keys)
        await self._count()

    async def missed(self) -> AsyncGenerator[Keys]:
        """Pages of documents that are not as they were decided, then those that are gone."""
        async for page in pages(self._documents, most=_AT_A_TIME):
            yield await self._unsettled(page)
        async for page in pages(self._contenders, most=_AT_A_TIME):
            yield await self._unsettled(page)

    def stand_by(self) -> None:
        """Say that somebody else decides: what has lost is theirs to count."""
        self._lost.set(0)

    async def decide(self, keys: Keys, *, retrying: Keys = frozenset()) -> dict[Target, Reason]:
        """Return when each document has what it can have; returns why not, of those that do not have it.

        May run twice, at the same time, anywhere. Raises Retryable while MongoDB is away.
        """
        lost: dict[Target, Reason] = {}
        for some in chunks(keys, _PER_TRANSACTION):
            async for attempt, _ in self._runner.run(frozenset(some), self._transact, retrying):
                lost |= attempt.rejected
                self._changed.update(attempt.changed)
        mode = Mode.RETRY if retrying else Mode.LIVE
        applied = self._given.metrics.projection_events_applied_total
        losing = keys & lost.keys()
        failed = sum(lost[each].error_class in UNDECIDED for each in losing)
        applied.labels(self.name, mode, Applied.APPLIED).inc(len(keys) - failed)
        applied.labels(self.name, mode, Applied.FAILED).inc(failed)
        if losing:
            log.info(f"{self.name}_lost", documents=len(losing))
        return lost

    @property
    def walked(self) -> list[tuple[str, str]]:
        """The documents that contend, and the contenders: what is gone stands among these only."""
        return [(self._documents.name, DOCUMENT), (self._contenders.name, DOCUMENT)]

    async def unseen(self, collection: str, identities: Iterable[ObjectId]) -> list[ObjectId]:
        """Those that the walk over the documents leaves out: contenders that are gone."""
        some = list(identities)
        if collection != self._contenders.name:
            return some
        there = await reading.find(self._documents, {"_id": {"$in": some}}, {"_id": 1})
        present = {row["_id"] for row in there.documents} | {one.id for one in there.unreadable}
        return [each for each in some if each not in present]

    async def remake(self, kind: str, identities: Iterable[Any]) -> int:
        """Decide these documents again; returns how many nobody can decide. To have lost is no failure."""
        lost = await self.decide(frozenset((kind, each) for each in identities))
        return sum(reason.error_class in UNDECIDED for reason in lost.values())

    async def concerned(self, identities: Iterable[Any]) -> dict[str, set[Any]]:
        """None: what contends with a document is decided with it."""
        return {}

    @property
    def keyed(self) -> Mapping[str, str]:
        """None: where documents meet only the contest knows."""
        return {}

    async def gone(self) -> Keys:
        """None: what is gone is among the contenders."""
        return frozenset()

    def take_changed(self) -> Mapping[str, int]:
        """How many documents of each collection were written since this was asked last."""
        changed, self._changed = self._changed, Counter()
        return changed

    async def recount(self, keys: Keys) -> dict[Target, Reason]:
        """Decide again what has lost; returns what still has."""
        lost = await self.decide(keys, retrying=keys)
        return {target: reason for target, reason in lost.items() if target in keys}

    async def _unsettled(self, identities: Iterable[Any]) -> Keys:
        """Those that changed since they were decided, or were never, or are gone."""
        found: set[Any] = set()
        for some in chunks(list(identities), _AT_A_TIME):
            wanted = {"_id": {"$in": some}}
            read = await reading.find(self._documents, wanted, self._paths)
            rows = await reading.find(self._contenders, wanted)
            known = {row["_id"]: row for row in rows.documents}
            documents = {document["_id"]: document for document in read.documents}
            found |= {one.id for one in [*read.unreadable, *rows.unreadable]}
            found |= {
                each for each in some if not is_settled(self._contest, documents.get(each), known.get(each))
            }
        return frozenset((DOCUMENT, each) for each in found)

    async def _transact(self, attempt: Attempt) -> None:
        """One transaction.

        1. write the marker  2. read the documents with all that they contend with  3. decide  4. take away what
        nobody has any more, then give it to whom it belongs  5. note what each was decided with
        6. quarantine what has lost, and release what has not
        """
        await self._markers.touch("sum", [self.name], attempt.session)  # 1
        part = await self._read(attempt)  # 2
        if newer(self._contest, part):
            return  # a newer release decides: hands off
        try:
            decided = self._contest.decide(list(part.documents.values()))  # 3
        except Exception as error:  # its documents make no sense to it: the others must not wait for them
            reason = Reason("Undecided", f"{type(error).__name__} while it was decided")
            attempt.rejected.update(dict.fromkeys(attempt.keys, reason))
            await self._quarantine(attempt, part)
            return
        attempt.rejected.update(
            {
                (DOCUMENT, each): Reason(one.reason, one.message)
                for each, one in decided.items()
                if one.reason is not None
            }
        )
        take, give = differing(self._contest, part, decided)
        barred = {
            each: attempt.cooling[DOCUMENT, each] for each in give if (DOCUMENT, each) in attempt.cooling
        }
        attempt.rejected.update({(DOCUMENT, each): reason for each, reason in barred.items()})
        give = {each: values for each, values in give.items() if each not in barred}
        await self._write(take, "$unset", attempt)  # 4
        await self._write(give, "$set", attempt)
        await self._note(attempt, part.after(take, give))  # 5
        await self._quarantine(attempt, part)  # 6

    async def _read(self, attempt: Attempt) -> Part:
        """The documents with everything that is connected to them by keys, those that they had before included."""
        part = Part()
        ids, asked = ids_of(DOCUMENT, attempt.keys), set[str]()
        while ids:
            found = await attempt.read(self._documents, ids, self._paths)
            rows = await attempt.read(self._contenders, ids - part.rows.keys(), {})
            attempt.rejected.update(unreadable(DOCUMENT, [*found.unreadable, *rows.unreadable]))
            odd = part.add(self._contest, ids, found.documents, rows.documents)
            attempt.rejected.update(unreadable(DOCUMENT, odd))
            keys = part.keys(ids) - asked
            asked |= keys
            if not keys:
                break
            more = await attempt.find(
                self._contenders, {"keys": {"$in": sorted(keys)}}, {}, asked=max(len(keys), len(ids))
            )
            part.rows.update((row["_id"], row) for row in more.documents)
            ids = part.rows.keys() - part.asked
        return part

    async def _write(self, changes: Mapping[Any, Document], operator: str, attempt: Attempt) -> None:
        """Send the changes; one that another document is in the way of is tried once more from what is there then."""
        writes: list[tuple[Target | None, Write]] = [
            ((DOCUMENT, each), UpdateOne({"_id": each}, {operator: values}))
            for each, values in sorted(changes.items())
        ]
        try:
            await attempt.write(self._documents, writes)
        except RejectedWrite as error:
            if not error.duplicate or error.target in attempt.locked:
                raise
            attempt.concerned.add(error.target)
            raise Retryable(f"another document of {self._documents.name} was faster") from error

    async def _note(self, attempt: Attempt, part: Part) -> None:
        writes: list[tuple[Target | None, Write]] = []
        for each in sorted(part.asked):
            target, known = (DOCUMENT, each), part.rows.get(each)
            document, reason = part.documents.get(each), attempt.rejected.get((DOCUMENT, each))
            row = (
                None
                if document is None
                else row_of(self._contest, document, None if reason is None else reason.message)
            )
            if row is None and known is not None and each not in part.unreadable:
                writes.append((target, DeleteOne({"_id": each})))
            elif row is not None and row != known:
                writes.append((target, ReplaceOne({"_id": each}, row, upsert=True)))
        await attempt.write(self._contenders, writes)

    async def _quarantine(self, attempt: Attempt, part: Part) -> None:
        """Items of what has lost since, or for another reason; none is left of what has got what it asks for."""
        known = {(DOCUMENT, each): row.get("reason") for each, row in part.rows.items()}
        news = {
            target: reason
            for target, reason in attempt.rejected.items()
            if target not in attempt.retrying and (self._doubting or known.get(target) != reason.message)
        }
        await self.quarantine.put(news, news.keys(), attempt.session)
        here = frozenset((DOCUMENT, each) for each in part.asked)
        had = {each for each in here if each in attempt.keys or known.get(each) is not None}
        await self.quarantine.release(had - attempt.rejected.keys(), attempt.session)

    async def _count(self) -> None:
        """Tell now and then how many have lost."""
        if self._given.clock.monotonic() < self._count_at:
            return
        self._count_at = self._given.clock.monotonic() + _COUNT_EVERY_S
        with translated():
            self._lost.set(await self._contenders.count_documents({"reason": {"$gt": ""}}))
