"""Step 1: bytes to events. Pure: the same records give the same answer on every machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worker.contract.codec import Limits
from worker.contract.event import Rejected, RejectReason
from worker.ingest.record import Candidate, DeadLetter
from worker.ingest.routes import Route
from worker.kafka.record import Record


@dataclass(frozen=True, slots=True)
class Decoded:
    """`tombstones` are records without a value: skipped and counted."""

    candidates: list[Candidate] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    tombstones: list[Record] = field(default_factory=list)


def decode_records(
    records: Iterable[Record], table: Mapping[str, Route], limits: Limits, read_at: datetime
) -> Decoded:
    """Sort records into valid events, dead letters and tombstones; one bad record never harms its neighbours.

    A record without a time of its own is taken for as old as it was when it was read, `read_at`.
    """
    decoded = Decoded()
    for record in records:
        if record.value is None:
            decoded.tombstones.append(record)
            continue
        if record.unreadable is not None:
            decoded.dead_letters.append(
                DeadLetter(record, Rejected(RejectReason.UNDECODABLE, record.unreadable))
            )
            continue
        timestamp = record.timestamp or read_at
        result = table[record.source.topic].decode(record.value, timestamp, limits)
        if isinstance(result, Rejected):
            decoded.dead_letters.append(DeadLetter(record, result))
        else:
            decoded.candidates.append(Candidate(record, result))
    return decoded
