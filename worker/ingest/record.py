"""The values that travel through ingest: a Kafka record, a batch of them, and what became of each.

What there is one of per record is a named tuple: it costs a fifth of a frozen dataclass to make, and every event
makes five of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from worker.contract.event import Event, Rejected
from worker.storage.database import Document
from worker.storage.documents import Source
from worker.storage.record_headers import Header


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Record(NamedTuple):
    """One Kafka record as it came: bytes, headers, position.

    `timestamp` is Kafka's, aware UTC, None where the record has none that means anything. `headers` are as their
    batch encodes them (see `worker.storage.record_headers`) where a name is no text or they are very many. Of a
    record that is `unreadable`, for that reason, `value` is all there is: the whole record as its batch holds it.
    """

    source: Source
    timestamp: datetime | None
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] | bytes = ()
    unreadable: str | None = None

    @property
    def partition(self) -> Partition:
        return Partition(self.source.topic, self.source.partition)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll returned. `positions` are the next offsets to read once the batch is durable.

    `generation` counts assignments, `polled_at` is monotonic seconds, `read_at` the time of day: what counts as the
    time of a record that has none.
    """

    records: tuple[Record, ...]
    positions: Mapping[Partition, int]
    generation: int
    polled_at: float
    read_at: datetime

    @property
    def size_bytes(self) -> int:
        """Bytes of all values and keys."""
        return sum(len(record.value or b"") + len(record.key or b"") for record in self.records)


class Candidate(NamedTuple):
    """A record that holds a valid event."""

    record: Record
    event: Event


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that cannot be stored, and why."""

    record: Record
    rejected: Rejected
    event_id: UUID | None = None


class Stored(NamedTuple):
    """A record whose event is in the event store as `document`."""

    record: Record
    document: Document


@dataclass(frozen=True, slots=True)
class Appended:
    """One round of inserting. `again` met an id or a version that was taken meanwhile: sort these anew."""

    stored: list[Stored] = field(default_factory=list)
    again: list[Candidate] = field(default_factory=list)
    refused: list[Letter] = field(default_factory=list)
    holes_filled: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of candidates; `redelivered` carry the documents that were stored before."""

    stored: list[Stored] = field(default_factory=list)
    redelivered: list[Stored] = field(default_factory=list)
    duplicates: list[Candidate] = field(default_factory=list)
    erased: list[Candidate] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)

    def add(self, other: "Settled") -> None:
        self.stored.extend(other.stored)
        self.redelivered.extend(other.redelivered)
        self.duplicates.extend(other.duplicates)
        self.erased.extend(other.erased)
        self.letters.extend(other.letters)
