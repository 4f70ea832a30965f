"""Step 1: bytes to events. Pure: the same records give the same answer on every machine."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from worker.contract.codec import decode
from worker.contract.limits import Limits
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.routes import Routes
from worker.ingest.record import BatchOutcome, Candidate, DeadLetter
from worker.kafka.record import Record


@dataclass(frozen=True, slots=True)
class Decoded:
    """The valid events, and what became of the records that hold none."""

    candidates: list[Candidate] = field(default_factory=list)
    outcome: BatchOutcome = field(default_factory=BatchOutcome)

    def add(self, other: "Decoded") -> None:
        """Add what further records hold."""
        self.candidates.extend(other.candidates)
        self.outcome.add(other.outcome)


def decode_records(records: Iterable[Record], table: Routes, limits: Limits, read_at: datetime) -> Decoded:
    """Sort records into valid events, dead letters and tombstones; one bad record never harms its neighbours.

    A record may hold several events: each goes its own way, under a source of its own `place`. A record without a
    time of its own is taken for as old as it was when it was read, `read_at`.
    """
    decoded = Decoded()
    outcome = decoded.outcome
    for record in records:
        if record.value is None:
            outcome.tombstones.append(record)
            continue
        if record.unreadable is not None:
            outcome.dead_letters.append(
                DeadLetter(record, Rejected(RejectReason.UNDECODABLE, record.unreadable))
            )
            continue
        timestamp = record.timestamp or read_at
        route = table[record.source.topic]
        headers = record.headers if isinstance(record.headers, tuple) else ()
        results = decode(record.value, timestamp=timestamp, route=route, headers=headers, limits=limits)
        if not results:
            outcome.tombstones.append(record)
        for place, result in enumerate(results):
            one = record
            if place > 0:
                one = record._replace(source=record.source._replace(place=place))
                outcome.further.append(one)
            if isinstance(result, Rejected):
                outcome.dead_letters.append(DeadLetter(one, result))
            else:
                decoded.candidates.append(Candidate(one, result))
    return decoded
