"""Counting: what moved goes in; out come sums that equal the sum over all that is counted.

It is the same for every sum projection. What of each document of the source has been counted is kept in a collection
of the projection's own; one transaction replaces it from the revision that was read, together with everything that
follows from it. What follows is a `Showing`: `statistics` for `counts`, `declared` for every other projection.
"""

from collections import Counter as Tally
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from bson import ObjectId
from pymongo import InsertOne, ReplaceOne

from worker.chunks import chunks
from worker.contract.reserved import is_reserved
from worker.errors import Retryable
from worker.settings import CoolDownSettings
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.leases import Token
from worker.storage.reading import Reading
from worker.telemetry.labels import Applied, Mode
from worker.watch.folds.restoring import Restore
from worker.watch.frozen import Frozen
from worker.watch.sums.attempt import Attempt, Keys, Reason, Rejections, Target, Write, ids_of
from worker.watch.sums.catch_up import pages
from worker.watch.sums.cool_down import CoolDown
from worker.watch.sums.quarantine import unreadable
from worker.watch.sums.runner import Dependencies, Runner
from worker.watch.sums.showing import Counting, Showing

log = structlog.get_logger(__name__)

_ABSENT = -1
# Said once each, until so many were.
_MOST_LOGGED = 10_000
# Live counting that is behind takes fewer and larger transactions, for each waits for a dozen commands: a quarter of
# what waits, but no more than so many times what is counted at once otherwise.
_TRANSACTIONS_A_TURN = 4
_TIMES_AS_MANY = 4
# Which documents are quarantined is asked this often: the items of those that are counted meanwhile are closed.
_LOAD_EVERY_S = 10.0


class Counter:
    """Keeps one sum projection; safe beside any number of others like it.

    `refold` brings records back that went back behind what was counted of them: whoever follows has it.
    """

    def __init__(
        self,
        given: Dependencies,
        showing: Showing,
        *,
        refold: Restore | None = None,
        rhythm: CoolDownSettings | None = None,
    ) -> None:
        self.name, self.version = showing.projection.name, showing.projection.version
        self._kind, *others = showing.kinds
        self.sources = frozenset({showing.kinds[self._kind]})
        self.shown = frozenset(showing.kinds[kind] for kind in others)
        self.quarantine, self.rules = showing.quarantine, showing.rules
        self.cool_down = CoolDown(
            rhythm or CoolDownSettings(), at_once={self._kind, *showing.at_once}, steady=showing.steady
        )
        self.frozen = Frozen(self.name, self.version, given.clock, given.metrics)
        self._given = given
        self._showing = showing
        self._source = given.database.collection(showing.kinds[self._kind])
        self._counted = given.database.collection(showing.projection.counted.collection)
        self._refold = refold
        self._runner = Runner(given, showing.most[self._kind], times=_TIMES_AS_MANY)
        self._accepted: Keys = frozenset()
        self._logged: dict[Target, Reason] = {}
        self._changed: Tally[str] = Tally()
        self._quarantined: Keys = frozenset()
        self._load_at = given.clock.monotonic()

    def keys(self, changes: Sequence[Document]) -> Keys:
        """What changes are about, each document once."""
        return frozenset(
            (kind, change["identity"])
            for change in changes
            for kind, collection in self._showing.kinds.items()
            if change["collection"] == collection and isinstance(change["identity"], ObjectId)
        )

    async def bring(self, keys: Keys, before: Token | None) -> None:
        """Count what moved after the token `before`; documents overwritten again and again wait for their turn.

        None: what `missed` has found, which does not wait.
        """
        if before is None:
            await self.count(keys, live=False)
        else:
            await self.count(self.cool_down.admit(keys, before, self._given.clock.monotonic()))

    async def count(
        self, keys: Keys, *, live: bool = True, retrying: Keys = frozenset()
    ) -> dict[Target, Reason]:
        """Return when each of these documents is counted, or its sums shown; returns what was left out.

        May run twice, at the same time, anywhere: what is counted changes only from the revision that was read,
        together with everything that follows from it. `live`: the documents have just moved, so that their freshness
        means something. What cannot be read or written is quarantined, and nobody waits for it; of `retrying` it is
        known, and is tried all the same.
        """
        if self._given.clock.monotonic() >= self._load_at:
            await self._load_quarantined()
        rejected: dict[Target, Reason] = {}
        for kind in self._showing.kinds:
            targets = [target for target in keys if target[0] == kind]
            for some in chunks(targets, self._per_transaction(kind, len(targets), live=live)):
                async for attempt, counting in self._runner.run(frozenset(some), self._transact, retrying):
                    self._observe(attempt, counting, live=live)
                    self._changed.update(attempt.changed)
                    rejected |= attempt.rejected
                    if counting.lost:
                        await self._recover(counting.lost, live=live)
        return rejected

    def _per_transaction(self, kind: str, waiting: int, *, live: bool) -> int:
        """How many documents one transaction is about, of so many."""
        most = self._showing.most[kind]
        return in_a_backlog(most, waiting) if live and kind == self._kind else most

    @property
    def walked(self) -> list[tuple[str, str]]:
        """Every collection it counts, keeps or shows sums in, each with the kind of target its documents are."""
        source, *shown = self._showing.kinds
        counted = self._showing.projection.counted.collection
        kinds = self._showing.kinds
        return [(kinds[source], source), (counted, source), *((kinds[kind], kind) for kind in shown)]

    async def unseen(self, collection: str, identities: Iterable[ObjectId]) -> list[ObjectId]:
        """Those of a collection's documents that the walk over the source leaves out: of what is counted, few."""
        some = list(identities)
        if collection != self._counted.name:
            return some
        there = await reading.find(self._source, {"_id": {"$in": some}}, {"_id": 1})
        present = {row["_id"] for row in there.documents} | {one.id for one in there.unreadable}
        return [each for each in some if each not in present]

    async def remake(self, kind: str, identities: Iterable[Any]) -> int:
        """Count these documents again, or show their sums again; returns how many could not be. May run twice."""
        return len(await self.count(frozenset((kind, each) for each in identities), live=False))

    async def concerned(self, identities: Iterable[Any]) -> dict[str, set[Any]]:
        """By kind the documents that show sums which these documents of the source are a part of, as counted."""
        wanted = {"_id": {"$in": list(identities)}}
        found = await reading.find(self._counted, wanted, dict.fromkeys(self.keyed, 1))
        return {kind: {row[key] for row in found.documents if key in row} for key, kind in self.keyed.items()}

    @property
    def keyed(self) -> Mapping[str, str]:
        """By the field that is the key of a sum, the kind of the documents that show it."""
        kinds = {collection: kind for kind, collection in self._showing.kinds.items()}
        sums = self._showing.projection.sums
        return {each.key: kinds[each.collection] for each in sums if each.collection in kinds}

    def take_changed(self) -> Mapping[str, int]:
        """How many documents of each collection were written since this was asked last."""
        changed, self._changed = self._changed, Tally()
        return changed

    async def recount(self, keys: Keys) -> Rejections:
        """Try what was quarantined; returns what still cannot be read or written. May run twice."""
        rejected = await self.count(keys, live=False, retrying=keys)
        return {target: reason for target, reason in rejected.items() if target in keys}

    async def missed(self) -> AsyncGenerator[Keys]:
        """Pages of documents that are not counted as they stand, or are gone, then all that show sums.

        Those whose sums are right cost a read and no write. Only what had a majority when this was called is certain
        to be seen: put a barrier before it.
        """
        current = self._showing.current
        async for page in pages(self._source, *current):
            newest = {"_id": {"$in": list(page)}, "counts_version": {"$gte": self.version}}
            known = await reading.find(self._counted, newest, dict.fromkeys(current.values(), 1))
            counted = {row["_id"]: tuple(map(row.get, current.values())) for row in known.documents}
            yield self._keys(each for each, state in page.items() if counted.get(each) != state)
        async for page in pages(self._counted):
            yield self._keys(await self.unseen(self._counted.name, page))
        yield await self._showing.gone()
        for kind in [*self._showing.kinds][1:]:
            async for page in pages(self._given.database.collection(self._showing.kinds[kind])):
                yield frozenset((kind, identity) for identity in page)

    async def gone(self) -> Keys:
        """Documents that sums may still be shown for though they are no more."""
        return await self._showing.gone()

    def stand_by(self) -> None:
        """Say that somebody else counts: what stands still is theirs to tell."""
        self.frozen.retain(lambda _: False)

    async def _load_quarantined(self) -> None:
        """Learn what is quarantined; where that fails, the next call asks."""
        try:
            self._quarantined = await self.quarantine.open_items()
            self._load_at = self._given.clock.monotonic() + _LOAD_EVERY_S
        except Retryable as error:
            self._given.on_retry(error)

    async def _recover(self, gone: Mapping[Any, str], *, live: bool) -> None:
        """Have lost records folded again; whatever comes of it is counted."""
        if self._refold is not None:
            log.warning(f"{self.name}_records_lost", streams=len(gone))
            await self._refold.restore(gone.values())
        self._accepted = self._keys(gone)
        try:
            await self.count(self._accepted, live=live)
        finally:
            self._accepted = frozenset()

    async def _transact(self, attempt: Attempt) -> Counting:
        """One transaction.

        1. write what others must not miss  2. read documents, and what was counted of them  3. take each one's step
        4. write what is counted now, each in place of the revision that was read  5. write what follows from it
        6. quarantine the documents that were left out
        """
        await self._showing.begin(attempt)  # 1
        ids = ids_of(self._kind, attempt.keys)
        records = _counted_by_somebody(await attempt.read(self._source, ids, self._showing.paths))  # 2
        known = await attempt.read(self._counted, ids, self._showing.counted_paths)
        counting = self._take_steps(records, known, attempt)  # 3
        await self._write_counted(counting, attempt)  # 4
        await self._showing.show(counting, attempt)  # 5
        await self._set_quarantine(attempt)  # 6
        # What was read is let go before the next transaction reads as much.
        return replace(counting, records=Reading(self._source.name), known={})

    def _take_steps(self, records: Reading, known: Reading, attempt: Attempt) -> Counting:
        """A document that nobody can read, that makes no sense or was lost is left out alone."""
        before = {document["_id"]: document for document in known.documents}
        gone = {} if self._refold is None else lost(records, known)
        gone = {each: stream for each, stream in gone.items() if (self._kind, each) not in self._accepted}
        left_out = {*attempt.cooling, *unreadable(self._kind, known.unreadable), *self._keys(gone)}
        there = {(self._kind, each["_id"]): each for each in records.documents}
        attempt.rejected.update(
            (each, attempt.cooling[each]) for each in there.keys() & attempt.cooling.keys()
        )
        tried = replace(records, documents=[there[each] for each in there if each not in left_out])
        taken = tried.through(lambda record: self._showing.step(record, before.get(record["_id"])))
        attempt.rejected.update(unreadable(self._kind, [*taken.unreadable, *known.unreadable]))
        steps = [step for step in taken.values if step is not None]
        frozen = frozenset(
            each["_id"]
            for each in tried.documents
            if (row := before.get(each["_id"])) is not None
            and is_newer(row, self.version)
            and row.get("source_rev") != each.get("rev")
        )
        return Counting(records, before, steps, len(taken.values) - len(steps), gone, frozen)

    async def _write_counted(self, counting: Counting, attempt: Attempt) -> None:
        inserts: list[tuple[Target, Write]] = []
        replacements: list[tuple[Target, Write]] = []
        for step in counting.steps:
            identity = step.projection["_id"]
            target: Target = (self._kind, identity)
            if identity not in counting.known:
                inserts.append((target, InsertOne(step.projection)))
            else:
                # What was read is of the transaction's snapshot: the server refuses to replace anything newer. The
                # revision in the query would tell nothing more, and make the server plan each of them.
                replacements.append((target, ReplaceOne({"_id": identity}, step.projection)))
        unvalidated = self._given.database.unvalidated
        await attempt.write(self._counted, inserts, unvalidated=unvalidated)
        replaced = await attempt.write(self._counted, replacements, unvalidated=unvalidated)
        if replaced is not None and replaced.matched_count != len(replacements):
            raise Retryable("what was counted changed between reading and writing")

    async def _set_quarantine(self, attempt: Attempt) -> None:
        """A document left out is counted later, whether it moves again or not."""
        behind = {
            target: why
            for target, why in attempt.rejected.items()
            if target[0] == self._kind and target not in attempt.retrying
        }
        await self.quarantine.put(behind, behind.keys(), attempt.session)
        known = self._keys(ids_of(self._kind, attempt.keys & (self._quarantined | attempt.retrying)))
        await self.quarantine.release(known - attempt.rejected.keys(), attempt.session)

    def _observe(self, attempt: Attempt, counting: Counting, *, live: bool) -> None:
        applied, mode = self._given.metrics.projection_events_applied_total, Mode.LIVE
        if attempt.retrying:
            mode = Mode.RETRY
        else:
            self.frozen.observe(counting.frozen, ids_of(self._kind, attempt.keys))
        failed = ids_of(self._kind, attempt.rejected)
        applied.labels(self.name, mode, Applied.APPLIED).inc(len(counting.steps))
        applied.labels(self.name, mode, Applied.STALE).inc(counting.stale)
        applied.labels(self.name, mode, Applied.FAILED).inc(len(failed))
        self._quarantined |= self._keys(failed)
        self._log(attempt.rejected)
        now = self._given.clock.now()
        freshness = self._given.metrics.freshness_of(self.name)
        for step in counting.steps if live else ():
            if "last_updated" in step.projection:
                age = now - step.projection["last_updated"]
                freshness.observe(max(0.0, age.total_seconds()))

    def _log(self, rejected: Rejections) -> None:
        """Say once each what was left out."""
        for (kind, identity), reason in rejected.items() - self._logged.items():
            log.warning(
                f"{self.name}_quarantined",
                kind=kind,
                id=str(identity),
                error_class=reason.error_class,
                reason=reason.message,
            )
        self._logged = {**(self._logged if len(self._logged) < _MOST_LOGGED else {}), **rejected}

    def _keys(self, identities: Iterable[Any]) -> Keys:
        return frozenset((self._kind, identity) for identity in identities)


def _counted_by_somebody(records: Reading) -> Reading:
    """Without the canary's: nobody counts them."""
    return replace(
        records, documents=[each for each in records.documents if not is_reserved(each.get("stream_id"))]
    )


def in_a_backlog(most: int, waiting: int) -> int:
    """How many of so many documents that wait one transaction counts, where it usually counts `most`."""
    return max(most, min(_TIMES_AS_MANY * most, -(-waiting // _TRANSACTIONS_A_TURN)))


def is_newer(known: Document, version: int) -> bool:
    """Whether newer code counted it: it is left alone."""
    counted_by = known.get("counts_version")
    return isinstance(counted_by, int) and counted_by > version


def lost(records: Reading, known: Reading) -> dict[Any, str]:
    """Documents that somebody deleted, or put older content in place of, each with its stream.

    The event store has not moved, so nobody else would wake these streams.
    """
    versions = {record["_id"]: record.get("version") for record in records.documents}
    versions |= {one.id: None for one in records.unreadable}
    return {
        row["_id"]: row["stream_id"]
        for row in known.documents
        if _went_back(versions.get(row["_id"], _ABSENT), row)
    }


def _went_back(version: Any, known: Document) -> bool:
    """False as well for values that mean nothing, and for the canary's: they are another's concern."""
    counted, stream = known.get("last_event_version"), known.get("stream_id")
    if not isinstance(counted, int) or not isinstance(stream, str) or is_reserved(stream):
        return False
    return isinstance(version, int) and version < counted
