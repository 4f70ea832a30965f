"""Step 5: the rows of a batch, exactly once, into a collection that has no unique index."""

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from bson.raw_bson import RawBSONDocument

from worker.chunks import chunks, chunks_within
from worker.contract.families import WITHOUT_ROW
from worker.contract.routes import Routes
from worker.errors import Fenced, Refused
from worker.ingest.record import BatchOutcome, Stored
from worker.ingest.steps import Steps
from worker.kafka.record import Batch, Partition
from worker.settings import IngestSettings
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.documents import interaction_row
from worker.storage.encoding import encoded
from worker.storage.fenced import insert_once
from worker.storage.partition_lease import (
    BURN_AGAIN_EVERY_S,
    PartitionLease,
    assert_in_force,
    burn_again,
    with_burned_of_now,
)
from worker.telemetry.labels import Stage
from worker.timing import Clock, cancel_and_wait_shielded

# Exact (learner, time) pairs per look-up: 0.3-0.5 ms an event; larger queries cost more per event.
_PAIRS_PER_QUERY = 250
# The server forgets a session's numbers after about 30 minutes. A batch this old could no longer be fenced
# off safely if our own clock runs slow, so it is dropped well before.
MAX_BATCH_AGE_S = 600.0
# For the same reason an owner that has not written for this long looks whether it is still the owner: its consumer
# may have lost the group without noticing, and the burn may be forgotten.
_MAX_IDLE_S = 600.0


class BatchTooOld(Fenced):
    """Nobody is known to be newer, but nobody could be kept out safely any more: read the records again."""


@dataclass(slots=True)
class SeriesWriter:
    """Writes the rows of one partition for its owner or repairer: commands 1, 2, 3 ..., sent one at a time.

    `owner_at` is when the lease was last known to be in force, `burn_tried_at` when the owners before were last to be
    burned again, in monotonic seconds.
    """

    lease: PartitionLease
    owner_at: float
    burn_tried_at: float = -math.inf
    _burned_at: float | None = None
    _number: int = 0
    _pending: tuple[RawBSONDocument, ...] = ()
    _sent: bool = False

    def begin(self, rows: Sequence[RawBSONDocument]) -> None:
        """Fix the next command. Sending may be repeated until an answer comes; the content never changes."""
        self._number += 1
        self._pending = tuple(rows)
        self._sent = False

    async def send(self, database: Database, clock: Clock, *, deadline_s: float) -> None:
        """Send the command that `begin` fixed; its rows are on a majority when this returns.

        Raises Retryable, Fenced or Refused.
        """
        now = clock.monotonic()
        if now - self.owner_at > _MAX_IDLE_S:
            await assert_in_force(database, self.lease, clock.now())
        repeated, self._sent = self._sent, True
        await self._insert(database, deadline_s)
        if repeated:
            # The answer may be for rows of the first sending, on this primary only. The write in between waits for
            # them; and if that was another primary's, which never had them, the last sending inserts them there.
            await assert_in_force(database, self.lease, clock.now())
            await self._insert(database, deadline_s)
        self.owner_at = now

    def must_burn_again(self, clock: Clock) -> bool:
        """True at first, and then from time to time: the server forgets burned sessions."""
        return self._burned_at is None or clock.monotonic() - self._burned_at > BURN_AGAIN_EVERY_S

    async def burn_again(self, database: Database, clock: Clock, *, deadline_s: float) -> None:
        """Burn the writers before again, so that they stay out. Raises Retryable when MongoDB gives no answer."""
        self.burn_tried_at = clock.monotonic()
        self.lease = await with_burned_of_now(database, self.lease)
        await burn_again(database, self.lease, clock, deadline_s=deadline_s)
        self._burned_at = clock.monotonic()

    async def _insert(self, database: Database, deadline_s: float) -> None:
        rows, session = database.user_interactions, self.lease.session
        await insert_once(rows, session, self._number, self._pending, deadline_s=deadline_s)


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """Writes the rows of what was stored, each partition's by its writer, all partitions beside each other."""

    database: Database
    table: Routes
    settings: IngestSettings
    clock: Clock
    steps: Steps

    async def write(
        self, batch: Batch, writers: Mapping[Partition, SeriesWriter], outcome: BatchOutcome
    ) -> int:
        """Rows of new events, and of redelivered ones whose row is missing: how many were written.

        May run twice: the look-up decides. Raises Fenced when a newer owner exists.
        """
        with self.steps.timed(Stage.TIME_SERIES):
            rows = await self.missing(outcome)
            # No TaskGroup: it passes a cancellation on once, and a driver's operation can lose one (see
            # `cancel_and_wait`).
            writing = [
                asyncio.create_task(self._write_partition(batch, writers[partition], missing))
                for partition, missing in rows.items()
            ]
            try:
                if writing:
                    await asyncio.wait(writing, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                await cancel_and_wait_shielded(*writing)
            errors = [error for task in writing if not task.cancelled() and (error := task.exception())]
            if errors:
                # Several may fail at once: that a newer owner exists matters more than how else it went.
                raise min(errors, key=lambda error: not isinstance(error, Fenced))
            for task in writing:
                task.result()  # one that gave up by itself has not written its rows
            return sum(map(len, rows.values()))

    async def missing(self, outcome: BatchOutcome) -> Mapping[Partition, Sequence[Document]]:
        """The rows that are to be written, by partition: of what was stored all, of redeliveries those not there."""
        rows: dict[Partition, list[Document]] = {}
        for partition, row in self._rows_of(outcome.stored):
            rows.setdefault(partition, []).append(row)
        redelivered = list(self._rows_of(outcome.redelivered))
        before = [row for _, row in redelivered]
        present = await self.steps.with_retry(lambda: rows_present(self.database, before))
        for partition, row in redelivered:
            if row["_id"] not in present:
                rows.setdefault(partition, []).append(row)
        return rows

    def _rows_of(self, events: Iterable[Stored]) -> Iterator[tuple[Partition, Document]]:
        """Those whose topic and type go into the time series."""
        for stored in events:
            route = self.table[stored.record.source.topic]
            if route.time_series and stored.document["event_type"] not in WITHOUT_ROW:
                yield stored.record.partition, interaction_row(stored.document)

    async def _write_partition(self, batch: Batch, writer: SeriesWriter, rows: Sequence[Document]) -> None:
        """One command after the other, each sent unchanged until it is answered."""

        async def send() -> None:
            assert_young(batch, self.clock)
            await writer.send(self.database, self.clock, deadline_s=self.settings.answer_deadline_s)

        for command in commands(rows, self.settings.max_rows, self.settings.max_bytes):
            writer.begin(command)
            await self.steps.with_retry(send)


def due_to_burn(writers: Iterable[SeriesWriter], clock: Clock) -> SeriesWriter | None:
    """The writer that is to burn again next: one that fails every time comes after all others."""
    waiting = (writer for writer in writers if writer.must_burn_again(clock))
    return min(waiting, key=lambda writer: writer.burn_tried_at, default=None)


def assert_young(batch: Batch, clock: Clock) -> None:
    """Raise BatchTooOld when the batch was polled too long ago to be written safely."""
    if clock.monotonic() - batch.polled_at > MAX_BATCH_AGE_S:
        raise BatchTooOld(f"the batch is older than {MAX_BATCH_AGE_S:.0f} s: its records are read again")


def commands(rows: Iterable[Document], max_rows: int, max_bytes: int) -> Iterator[list[RawBSONDocument]]:
    """Encode rows and cut them into commands of at most `max_rows` rows and `max_bytes` bytes (server: 16 MB)."""
    # The array index and a statement id travel with each row.
    return chunks_within(map(_encoded, rows), max_bytes, lambda blob: len(blob.raw) + 16, max_rows)


def _encoded(row: Document) -> RawBSONDocument:
    blob = encoded(row)
    if blob is None:
        raise Refused("a stored event has no BSON row")
    return blob


async def rows_present(database: Database, rows: Sequence[Document]) -> set[UUID]:
    """Ids of those rows that the time series already holds.

    Only right after the older owner was burned: nobody else can write them any more. Asks for exact
    (learner, time) pairs, which the index answers, and compares ids here: a query on `_id` is quadratic.
    """
    wanted = {row["_id"] for row in rows}
    present: set[UUID] = set()
    for some in chunks(rows, _PAIRS_PER_QUERY):
        pairs = [
            {"metadata.user_id": row["metadata"]["user_id"], "timestamp": row["timestamp"]} for row in some
        ]
        found = await reading.find(database.user_interactions, {"$or": pairs}, {"_id": 1})
        present.update(row["_id"] for row in found.documents if isinstance(row["_id"], UUID))
    return present & wanted
