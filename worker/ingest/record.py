"""What becomes of records in ingest: valid events, stored documents, dead letters.

What there is one of per record is a named tuple: it costs a fifth of a frozen dataclass to make, and every event
makes several of them.
"""

from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from worker.contract.event import Event, Rejected
from worker.kafka.record import Record
from worker.storage.database import Document


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
