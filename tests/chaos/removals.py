"""The worker with one of its safety mechanisms taken out, by name: what the harness must then find is its own test.

Each removal patches the classes and functions of this process before the worker runs. What is removed is what the
mechanism does, not the code around it: the worker goes on as if it had never been thought of.
"""

import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from pymongo import ReplaceOne, UpdateMany
from pymongo.read_concern import ReadConcern

from projections import claims, contests
from projections.billing import transaction
from projections.content.versions.projection import COURSE_VERSIONS
from worker.ingest import pipeline, time_series
from worker.ingest.enrich.cache import AgedCache
from worker.ingest.event_store import EventStore
from worker.ingest.payments import store_payments
from worker.ingest.plan import Sorted
from worker.ingest.record import Candidate, Stored
from worker.kafka.record import Batch
from worker.storage import database, outbox, partition_lease
from worker.storage.database import Document
from worker.storage.documents import event_document
from worker.storage.transactions import Session, Transactions
from worker.watch.folds import parts, projector, writing
from worker.watch.stream import cursor
from worker.watch.sums import counting, rows
from worker.watch.sums.instructors import Instructors


def offset_last() -> None:
    """The offsets are committed before anything is stored."""
    ingest = pipeline.Pipeline.ingest

    async def nothing(_positions: object) -> None:
        """It already is committed."""

    @functools.wraps(ingest)
    async def early(
        self: pipeline.Pipeline, batch: Batch, writers: Any, source: pipeline.BatchSource, *rest: Any
    ) -> None:
        await source.commit(batch.positions)
        await ingest(self, batch, writers, replace(source, commit=nothing), *rest)

    _put(pipeline.Pipeline, "ingest", early)


def burn() -> None:
    """A partition is taken over while the former owner can still write."""

    async def left_alone(*_arguments: object, **_options: object) -> None:
        """The session in force stays as it is."""

    _put(partition_lease, "burn_session", left_alone)


def look_after_burn() -> None:
    """Rows of redelivered events are sent again without a look at what is there."""

    async def nothing(_database: object, _rows: object) -> set[UUID]:
        return set()

    _put(time_series, "rows_present", nothing)


def rev_guard() -> None:
    """A folded document is written whatever the stored one's revision is.

    Whoever counts would see the step back and have the stream folded again: that is taken out as well.
    """
    write_of = writing.write_of

    def unguarded(folded: Any) -> Any:
        write = write_of(folded)
        if not isinstance(write, UpdateMany):
            return write
        return UpdateMany({"_id": write._filter["_id"]}, write._doc)  # noqa: SLF001 - there is no public way

    _put(writing, "write_of", unguarded)
    _put(counting, "lost", lambda _records, _known: {})


def hole_filling() -> None:
    """What a refused event leaves open stays open, in ingest and in the watcher."""

    async def none_filled(*_arguments: object) -> int:
        return 0

    _put(EventStore, "_fill", none_filled)
    _put(projector, "fill_holes", none_filled)


def one_transaction() -> None:
    """Projections, statistics and outbox are written one after the other."""

    async def one_by_one(self: Transactions, work: Callable[[Session], Awaitable[Any]]) -> Any:
        return await work(await self._open())

    _put(Transactions, "run", one_by_one)


def outbox_key() -> None:
    """A milestone's row has a key of its own each time."""
    row = outbox.notification_row

    def unkeyed(*arguments: Any, **options: Any) -> Document:
        made = row(*arguments, **options)
        return {**made, "_id": f"{made['_id']}:{uuid4()}"}

    _put(rows, "notification_row", unkeyed)


def majority_reads() -> None:
    """What decides is read as the primary has it, whether or not that will last."""
    for module in (database, cursor):
        _put(module, "READ_CONCERN", ReadConcern("local"))


def part_guard() -> None:
    """A part of a stream is written whatever the stored one's revision is.

    Whoever then loses the race for its document would look at the part once more: that is taken out as well.
    """
    write_of, made = parts._write_of, projector.Projector.__init__  # noqa: SLF001 - there is no public way

    def unguarded(part: Document, stored: Document | None) -> Any:
        write = write_of(part, stored)
        return ReplaceOne({"_id": part["_id"]}, write._doc) if isinstance(write, ReplaceOne) else write  # noqa: SLF001

    @functools.wraps(made)
    def careless(self: projector.Projector, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        self._recheck = _Forgetful()

    _put(parts, "_write_of", unguarded)
    _put(projector.Projector, "__init__", careless)


class _Forgetful(set[str]):
    """Takes nothing in."""

    def __ior__(self, _others: object) -> "_Forgetful":  # type: ignore[override]
        return self


def parts_first() -> None:
    """A document is written before the parts that it names."""
    write, write_all = parts.PartsWriter.write, writing.write_all
    postponed: list[tuple[parts.PartsWriter, Sequence[Any]]] = []

    async def later(self: parts.PartsWriter, results: Sequence[Any]) -> parts.PartsWritten:
        postponed.append((self, results))
        return parts.PartsWritten()

    async def documents_first(collection: Any, results: Sequence[Any], **options: Any) -> Any:
        written = await write_all(collection, results, **options)
        while postponed and collection.name == COURSE_VERSIONS.target.collection:
            await write(*postponed.pop(0))
        return written

    _put(parts.PartsWriter, "write", later)
    _put(projector, "write_all", documents_first)


def claim_order() -> None:
    """Of those who want a value the last one to ask has it."""
    order = contests.order_of

    def latest_first(at: datetime, event_id: UUID) -> bytes:
        return bytes(255 - each for each in order(at, event_id))

    _put(claims, "order_of", latest_first)


def student_once() -> None:
    """A learner counts for an instructor once more with each of the instructor's courses."""

    async def every_time(
        _self: object, steps: Any, taught: Mapping[Any, Any], instructors: Any, _learners: object
    ) -> Counter[Any]:
        students: Counter[Any] = Counter()
        for step in steps:
            if (instructor := taught.get(step.projection["course_id"])) in instructors:
                students[instructor] += step.delta.enrolled
        return students

    _put(Instructors, "_new_students", every_time)


def status_forward() -> None:
    """A payment that failed takes back one that was made."""

    def failed(paid: transaction.Paid, step: transaction.Step) -> None:
        paid.failures.append(step)
        paid.completed_at = None

    _put(transaction, "_TAKE", {**transaction._TAKE, "payment_failed": failed})  # noqa: SLF001


def stamp_age() -> None:
    """What was read of a course once is stamped for as long as the worker lives."""

    def kept(_self: object) -> None:
        """Nothing is ever too old."""

    _put(AgedCache, "_forget_old", kept)


def payment_last() -> None:
    """The payment that an enrolment names is stored before the enrolment is."""
    sort = pipeline.Pipeline._sort  # noqa: SLF001

    @functools.wraps(sort)
    async def paid_first(self: Any, candidates: Sequence[Candidate]) -> Sorted:
        found = await sort(self, candidates)
        now = self._clock.now()
        enrolments = [
            Stored(each.record, event_document(each.event, 1, each.record.source, now, None))
            for each in found.new
        ]
        rows = self._database.billing_transactions
        await store_payments(self._events, rows, enrolments, recorded_at=now, pause=self._pause_before)
        return found

    _put(pipeline.Pipeline, "_sort", paid_first)


REMOVALS: Mapping[str, Callable[[], None]] = {
    removal.__name__: removal
    for removal in (
        offset_last,
        burn,
        look_after_burn,
        rev_guard,
        hole_filling,
        one_transaction,
        outbox_key,
        majority_reads,
        part_guard,
        parts_first,
        claim_order,
        student_once,
        status_forward,
        stamp_age,
        payment_last,
    )
}


def remove(names: Sequence[str]) -> None:
    """Take these out of this process. Raises KeyError for a name that is not one of `REMOVALS`."""
    for name in names:
        REMOVALS[name]()


def _put(owner: object, name: str, replacement: object) -> None:
    """Replace what exists: a removal of something that was renamed would remove nothing, and prove nothing."""
    getattr(owner, name)
    setattr(owner, name, replacement)
