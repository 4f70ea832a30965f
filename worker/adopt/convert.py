"""Converting records: of each one the event, the document, what is counted and put out, in one transaction.

It may be killed anywhere, started twice, and run beside a live worker: a record is there in its old form or in its
new one, and whoever has changed it, or a version of its stream, since it was read makes the transaction run again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from worker.adopt.found import Found, find_known
from worker.adopt.outcome import Adoption, Conversion, InTheWay, Outcome, Reason, SetAside
from worker.adopt.plan import adoptable, further_along, plan
from worker.adopt.platform import FOREIGN, PlatformDocument, take_apart
from worker.adopt.record import Adoptable
from worker.errors import Refused, Retryable
from worker.storage import reading
from worker.storage.database import Collection, Database
from worker.storage.errors import translated, write_failures
from worker.storage.transactions import Session, Transactions
from worker.storage.work_items import OPEN, fold_item_id
from worker.timing import Backoff, Clock

Candidate = tuple[PlatformDocument, Adoptable]

# A live worker, or a platform that still writes, passes at once.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Page:
    """What became of the records of a page; `absent` are those that were not there any more."""

    outcomes: Sequence[Outcome]
    absent: int = 0


class Converter:
    """Converts pages of records. Close its transactions."""

    def __init__(
        self,
        database: Database,
        transactions: Transactions,
        adoption: Adoption,
        duplicates: Mapping[Any, Sequence[Any]],
        clock: Clock,
    ) -> None:
        self._database, self._transactions, self._clock = database, transactions, clock
        self._adoption = adoption
        self._duplicates = duplicates

    async def show(self, identities: Sequence[Any]) -> Page:
        """What would become of these records; writes nothing."""
        return await self._in_parts(identities, lambda some: self._planned(some, None))

    async def convert(self, identities: Sequence[Any]) -> Page:
        """Adopt what can be adopted of these records. May run twice: what is converted is not there any more.

        Raises Retryable where the server, or other writers, do not let it through.
        """
        return await self._in_parts(identities, self._committed)

    async def _in_parts(
        self, identities: Sequence[Any], work: Callable[[Sequence[Any]], Awaitable[Page]]
    ) -> Page:
        """A page of which one record is in the way is done in halves, down to that one, which is set aside."""
        try:
            return await work(identities)
        except InTheWay as error:
            if len(identities) == 1:
                return Page([SetAside(reading.name_of(identities[0]), error.reason, str(error))])
        middle = len(identities) // 2
        first = await self._in_parts(identities[:middle], work)
        second = await self._in_parts(identities[middle:], work)
        return Page([*first.outcomes, *second.outcomes], first.absent + second.absent)

    async def _committed(self, identities: Sequence[Any]) -> Page:
        backoff = Backoff(self._clock, lambda: None)
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._transactions.run(lambda session: self._transact(identities, session))
            except Retryable:
                await backoff.wait(asyncio.Event())
        return await self._transactions.run(lambda session: self._transact(identities, session))

    async def _transact(self, identities: Sequence[Any], session: Session) -> Page:
        """One transaction: read, decide, write."""
        page = await self._planned(identities, session)
        converted = [each for each in page.outcomes if isinstance(each, Conversion)]
        if converted:
            await _write(self._database, converted, session)
        return page

    async def _planned(self, identities: Sequence[Any], session: Session | None) -> Page:
        """What becomes of each of the records; without a session, of each in its own page only.

        1. read them, and the others of the same learners  2. those that make no sense  3. read what is stored of the
        learners  4. decide of each learner once
        """
        asked = {repr(each) for each in identities}
        found = await self._read(identities, session)  # 1
        present = sum(repr(each.identity) in asked for each in found)
        now, outcomes = self._clock.now(), list[Outcome]()
        learners: dict[str, list[Candidate]] = defaultdict(list)
        for document in found:  # 2
            record = document if isinstance(document, SetAside) else adoptable(document, now)
            if isinstance(document, PlatformDocument) and isinstance(record, Adoptable):
                learners[record.stream].append((document, record))
            elif isinstance(record, SetAside) and repr(document.identity) in asked:
                outcomes.append(record)
        first = [records[0][1] for records in learners.values()]
        known = await find_known(self._database, first, session)  # 3
        for records in learners.values():  # 4
            outcomes += self._decided(records, known, asked, shown=session is None)
        return Page(outcomes, len(identities) - present)

    async def _read(
        self, identities: Sequence[Any], session: Session | None
    ) -> list[PlatformDocument | SetAside]:
        further = (each for one in identities for each in self._duplicates.get(one, ()))
        wanted = {repr(each): each for each in (*identities, *further)}
        query = {"_id": {"$in": list(wanted.values())}, **FOREIGN}
        raws = await reading.find_raw(self._database.user_progress, query, session=session)
        return [take_apart(raw, (reading.shown(raw) or {}).get("_id")) for raw in raws]

    def _decided(
        self, records: Sequence[Candidate], found: Found, asked: Set[str], *, shown: bool
    ) -> list[Outcome]:
        """What becomes of the records of one learner in one course; of those asked for, where they are set aside."""
        (document, record), *further = sorted(records, key=further_along, reverse=True)
        several = max(len(records), len(self._duplicates.get(document.identity, ())))
        if several > 1 and not self._adoption.furthest:
            detail = f"{several} records of this learner in this course"
            outcome: Outcome = SetAside(document.name, Reason.DUPLICATE, detail)
        else:
            others = [each for each, _ in further]
            outcome = plan(document, record, found.known(record), self._adoption, self._clock.now(), others)
        if isinstance(outcome, SetAside):
            named = [each for each, _ in records if repr(each.identity) in asked]
            return [SetAside(each.name, outcome.reason, outcome.detail) for each in named]
        return [] if shown and repr(document.identity) not in asked else [outcome]


async def _write(database: Database, converted: Sequence[Conversion], session: Session) -> None:
    """All that is written for these records.

    1. the opening events  2. the documents in place of the platform's records  3. what is counted of them  4. their
    notifications, none of which is sent  5. what had waited in the queue because of the platform's record
    """
    await _insert(database.course_events, [each.event for each in converted], session)  # 1
    gone = [identity for each in converted for identity in each.replaces]
    with translated():
        deleted = await database.user_progress.delete_many({"_id": {"$in": gone}}, session=session)  # 2
    if deleted.deleted_count != len(gone):
        raise Retryable("a record changed between reading and writing")
    await _insert(database.user_progress, [each.document for each in converted], session)
    counted = [each.counted for each in converted if each.counted]
    foreign = [
        DeleteOne({"user_id": row["user_id"], "course_id": row["course_id"], "_id": {"$ne": row["_id"]}})
        for row in counted
    ]
    replaced = [ReplaceOne({"_id": row["_id"]}, row, upsert=True) for row in counted]
    rows = [
        UpdateOne({"_id": row["_id"]}, {"$setOnInsert": row}, upsert=True)
        for each in converted
        for row in each.notifications
    ]
    await _bulk(database.user_progress_projections, [*foreign, *replaced], session)  # 3
    await _bulk(database.notifications, rows, session)  # 4
    items = {"_id": {"$in": [fold_item_id(each.stream) for each in converted]}, "status": {"$in": list(OPEN)}}
    done = {"status": "completed", "processed_at": "$$NOW", "lease_owner": None, "lease_until": None}
    with translated():
        await database.analytics_queue.update_many(items, [{"$set": done}], session=session)  # 5


async def _insert(collection: Collection, documents: Sequence[Any], session: Session) -> None:
    try:
        with translated():
            await collection.insert_many(documents, session=session)
    except BulkWriteError as error:
        raise _failed(collection, error) from error
    except Refused as error:
        raise InTheWay(Reason.REFUSED, f"{collection.name}: {error}") from error


async def _bulk(collection: Collection, writes: Sequence[Any], session: Session) -> None:
    if not writes:
        return
    try:
        with translated():
            await collection.bulk_write(writes, session=session)
    except BulkWriteError as error:
        raise _failed(collection, error) from error
    except Refused as error:
        raise InTheWay(Reason.REFUSED, f"{collection.name}: {error}") from error


def _failed(collection: Collection, error: BulkWriteError) -> Exception:
    """A key of ours that another writer took first is read again; anything else is this document's fault."""
    failure = write_failures(error)[0]
    if failure.duplicate and (failure.key_pattern.keys() & {"_id", "version"}):
        return Retryable(f"another writer was faster in {collection.name}")
    if failure.duplicate:
        return InTheWay(
            Reason.REFUSED,
            f"{collection.name}: another document has its key ({', '.join(failure.key_pattern)})",
        )
    return InTheWay(
        Reason.REFUSED, f"{collection.name}: the server refuses the document (code {failure.code})"
    )
