"""The worker with one of its safety mechanisms taken out, by name: what the harness must then find is its own test.

Each removal patches the classes and functions of this process before the worker runs. What is removed is what the
mechanism does, not the code around it: the worker goes on as if it had never been thought of.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from pymongo import UpdateMany
from pymongo.read_concern import ReadConcern

from worker.ingest import pipeline, time_series
from worker.ingest.event_store import EventStore
from worker.kafka.record import Batch
from worker.storage import database, outbox, partition_lease
from worker.storage.database import Document
from worker.storage.transactions import Session, Transactions
from worker.watch.folds import projector, writing
from worker.watch.stream import cursor
from worker.watch.sums import counting, rows


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
