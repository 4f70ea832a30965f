"""What becomes of records in ingest: valid events, stored documents, dead letters.

What there is one of per record is a named tuple: it costs a fifth of a frozen dataclass to make, and every event
makes several of them.
"""

from dataclasses import dataclass, field, fields
from typing import NamedTuple
from uuid import UUID

from worker.contract.event import Event
from worker.contract.rejection import Rejected
from worker.kafka.record import Record
from worker.storage.database import Document


class Candidate(NamedTuple):
    """A record that holds a valid event."""

    record: Record
    event: Event


@dataclass(frozen=True, slots=True)
class DeadLetter:
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
    """One round of inserting. `lost_race` met an id or a version that was taken meanwhile: sort these anew."""

    stored: list[Stored] = field(default_factory=list)
    lost_race: list[Candidate] = field(default_factory=list)
    refused: list[DeadLetter] = field(default_factory=list)
    holes_filled: int = 0


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of the records of a batch, or of a part of it: each is in one list, in the order of arrival.

    `redelivered` carry the documents that were stored before; `tombstones` are records without a value or an event.
    Of a record with several events each is in a list; those after the first are also in `further`.
    """

    stored: list[Stored] = field(default_factory=list)
    redelivered: list[Stored] = field(default_factory=list)
    duplicates: list[Candidate] = field(default_factory=list)
    erased: list[Candidate] = field(default_factory=list)
    tombstones: list[Record] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    further: list[Record] = field(default_factory=list)

    def add(self, other: "BatchOutcome") -> None:
        """Add what became of another part."""
        for kind in fields(self):
            getattr(self, kind.name).extend(getattr(other, kind.name))
