"""A contest as its value declares it: documents are decided together with all that they contend with.

How each document contends is kept beside it, as a contender: with what it was decided, under which keys, and to which
part of all that are connected it belongs. So nobody has to remember what a document was, and a change is decided from
one read of its part: only documents that get something else by it are read themselves. No order of changes, and
nothing that is done twice, makes another decision.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import structlog
from bson import ObjectId
from pymongo import DeleteOne, ReplaceOne, UpdateMany, UpdateOne

from projections.kinds import Contest, Decided, StreamProjection
from worker.chunks import chunks
from worker.errors import Retryable
from worker.settings import CoolDownSettings
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.errors import translated
from worker.storage.leases import Token
from worker.storage.work_items import UNDECIDED
from worker.watch.contests.part import Part, differing, is_settled, row_of
from worker.watch.derived import Derived
from worker.watch.sums.attempt import Attempt, Keys, Reason, RejectedWrite, Target, Write, ids_of
from worker.watch.sums.catch_up import pages
from worker.watch.sums.changes import updated
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.cool_down import CoolDown
from worker.watch.sums.quarantine import Quarantine, unreadable
from worker.watch.sums.runner import Dependencies, Runner

log = structlog.get_logger(__name__)

DOCUMENT = "document"
# Documents of one transaction; those that get something else by it come on top.
_PER_TRANSACTION = 500
# Documents asked at a time whether they are as they were decided.
_AT_A_TIME = 1_000
# How often is counted what has lost: a look at an index that holds nothing else.
_COUNT_EVERY_S = 10.0


class Contenders(Derived):
    """Keeps the decisions of one contest; safe beside any number of others like it, and beside the fold.

    Every transaction writes the contest's one marker before it reads: they follow each other, and each finds what
    the one before has noted. What was noted of a document that has changed since is decided again when that is told.
    A document that the fold changes meanwhile ends the transaction. What has lost is an item of the queue, in the
    same transaction, until it gets what it asks for; its `error_class` is the reason.

    `doubting`: nothing is believed to be as it was decided.
    """

    def __init__(
        self, given: Dependencies, contest: Contest, source: StreamProjection, *, doubting: bool = False
    ) -> None:
        super().__init__(given, contest.name)
        self.version = contest.version
        self._contest = contest
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

        A document that was decided on the way, with others, is not decided once more. May run twice, at the same
        time, anywhere. Raises Retryable while MongoDB is away.
        """
        lost: dict[Target, Reason] = {}
        left = set(keys)
        while left:
            some = frozenset(islice(left, _PER_TRANSACTION))
            async for attempt, done in self._runner.run(some, self._transact, retrying):
                lost |= attempt.rejected
                self._changed.update(attempt.changed)
                left -= done
            left -= some
        losing = keys & lost.keys()
        failed = sum(lost[each].error_class in UNDECIDED for each in losing)
        self._count_applied(keys, failed, retrying=bool(retrying))
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
            rows = await reading.find(self._contenders, wanted, {"seen": 1, "contest_version": 1})
            known = {row["_id"]: row for row in rows.documents}
            documents = {document["_id"]: document for document in read.documents}
            found |= {one.id for one in [*read.unreadable, *rows.unreadable]}
            found |= {
                each for each in some if not is_settled(self._contest, documents.get(each), known.get(each))
            }
        return frozenset((DOCUMENT, each) for each in found)

    async def _transact(self, attempt: Attempt) -> Keys:
        """One transaction; returns what is decided by it.

        1. write the marker  2. read the documents, and the contenders that they are connected with  3. decide, and
        read the documents that get something else by it  4. take away what nobody has any more, then give it to whom
        it belongs  5. note what each was decided with  6. quarantine what has lost, and release what has not
        """
        await self._markers.touch("sum", [self.name], attempt.session)  # 1
        part = Part(self._contest, doubted=self._doubting)
        try:
            outcomes = await self._outcomes(part, attempt)  # 2, 3
        except _Undecided as error:  # its documents make no sense to it: the others must not wait for them
            attempt.rejected.update(dict.fromkeys(attempt.keys, Reason("Undecided", str(error))))
            await self._quarantine(attempt, part)
            return attempt.keys
        if part.newer:
            return attempt.keys  # a newer release decides: hands off
        decided = self._given_by(part, outcomes)
        attempt.rejected.update(
            {
                (DOCUMENT, each): Reason(one.reason, one.message)
                for each, one in decided.items()
                if one.reason is not None
            }
        )
        take, give = differing(self._contest.paths, part.documents, decided)
        barred = {
            each: attempt.cooling[DOCUMENT, each] for each in give if (DOCUMENT, each) in attempt.cooling
        }
        attempt.rejected.update({(DOCUMENT, each): reason for each, reason in barred.items()})
        give = {each: values for each, values in give.items() if each not in barred}
        await self._write(take, "$unset", attempt)  # 4
        await self._write(give, "$set", attempt)
        part.change(take, give)
        await self._note(attempt, part, outcomes)  # 5
        await self._quarantine(attempt, part)  # 6
        return frozenset((DOCUMENT, each) for each in part.asked)

    async def _outcomes(self, part: Part, attempt: Attempt) -> Mapping[Any, Any]:
        """What is decided, with all documents read that get something else by it, or have what another gets.

        What a document is now may be another thing than what was noted of it: then all is decided once more. Raises
        `_Undecided`.
        """
        await self._take(part, ids_of(DOCUMENT, attempt.keys), attempt)
        while True:
            await self._connect(part, attempt)
            if part.newer:
                return {}
            if unread := part.unread():
                await self._take(part, unread, attempt)
                continue
            changed = part.changed()
            try:
                outcomes = part.decided(changed)
            except Exception as error:
                if part.doubted:
                    raise _Undecided(f"{type(error).__name__} while it was decided") from error
                part.doubted = True  # what was noted makes no sense: the documents may
                continue
            while wanted := part.moved(outcomes) or await self._in_the_way(part, outcomes, attempt):
                await self._take(part, wanted, attempt)
                if part.changed().keys() != changed.keys() or part.doubted:
                    break
            else:
                return outcomes

    async def _take(self, part: Part, ids: Collection[Any], attempt: Attempt) -> None:
        """Read these documents and their contenders."""
        wanted = {"_id": {"$in": sorted(ids)}}
        if part.asked:  # one that follows from others cannot be left to the next transaction
            documents = await reading.find(self._documents, wanted, self._paths, session=attempt.session)
        else:
            documents = await attempt.find(self._documents, wanted, self._paths, asked=len(ids))
        rows = await reading.find(self._contenders, wanted, session=attempt.session)
        attempt.rejected.update(unreadable(DOCUMENT, part.take(ids, documents, rows)))

    async def _connect(self, part: Part, attempt: Attempt) -> None:
        """Read the contenders of all parts that the documents are in by their keys, or were in.

        Whoever has a key in common has the same label; contenders of old code have none.
        """
        found: list[Any] = []
        if keys := part.unasked_keys():
            meeting: list[Document] = [
                {"$match": {"keys": {"$in": keys}}},
                {"$group": {"_id": {"$cond": [{"$eq": [{"$type": "$part"}, "objectId"]}, "$part", "$_id"]}}},
            ]
            labels = await reading.aggregate(self._contenders, meeting, session=attempt.session)
            found = [row["_id"] for row in labels.documents]
        if labels_to_read := part.unread_labels(found):
            wanted = {"$or": [{"part": {"$in": labels_to_read}}, {"_id": {"$in": labels_to_read}}]}
            part.note(await reading.find(self._contenders, wanted, _NOTED, session=attempt.session))

    def _given_by(self, part: Part, outcomes: Mapping[Any, Any]) -> dict[Any, Decided]:
        """What each document that was read gets; those of the platform are left out."""
        given = {
            each: self._contest.given(document, part.outcome(each, outcomes))
            for each, document in part.documents.items()
        }
        return {each: one for each, one in given.items() if one is not None}

    async def _in_the_way(self, part: Part, outcomes: Mapping[Any, Any], attempt: Attempt) -> set[Any]:
        """Documents that have a value which only another may have, and of which that was not noted yet."""
        if not self._contest.unique:
            return set()
        _, give = differing(self._contest.paths, part.documents, self._given_by(part, outcomes))
        found: set[Any] = set()
        for path in self._contest.paths:
            values = sorted(values[path] for values in give.values() if path in values)
            if values:
                wanted = {path: {"$in": values}}
                holding = await reading.find(self._documents, wanted, {"_id": 1}, session=attempt.session)
                found.update(row["_id"] for row in holding.documents)
        return {each for each in found - part.asked if isinstance(each, ObjectId)}

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

    async def _note(self, attempt: Attempt, part: Part, outcomes: Mapping[Any, Any]) -> None:
        """Keep how each document contends now; parts that have become one get one label."""
        labels = part.labels(ObjectId)
        writes: list[tuple[Target | None, Write]] = [
            (None, UpdateMany({"part": former}, {"$set": {"part": label}}))
            for former, label in labels.merged.items()
        ]
        for each in sorted(part.asked):
            target: Target = (DOCUMENT, each)
            one, known = part.entries.get(each), part.rows.get(each)
            if one is None:
                if each in part.known:
                    writes.append((target, DeleteOne({"_id": each})))
                continue
            reason = attempt.rejected.get(target)
            outcome, label = part.outcome(each, outcomes), labels.of_key[one["keys"][0]]
            row = row_of(self._contest, part.documents[each], one, outcome, label)
            row["reason"] = None if reason is None else reason.message
            if known is not None and labels.merged:  # then each of them is whole
                known = {**known, "part": labels.merged.get(known["part"], known["part"])}
            if row != known:
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


class _Undecided(Exception):
    """The contest's function raised something for what its own functions have made of documents."""


_NOTED = {"keys": 1, "entry": 1, "outcome": 1, "part": 1, "contest_version": 1}
"""What is read of contenders that are only decided with."""
