"""Step 1: bytes to events. Pure: the same records give the same answer on every machine."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from worker.contract.codec import Limits, decode
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.routes import Routes
from worker.ingest.record import Candidate, DeadLetter
from worker.kafka.record import Record


@dataclass(frozen=True, slots=True)
class Decoded:
    """What records hold. `tombstones` are those without a value, or without any event in it: skipped and counted.

    `further` stand for the second, third ... event of a record.
    """

    candidates: list[Candidate] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    tombstones: list[Record] = field(default_factory=list)
    further: list[Record] = field(default_factory=list)


def decode_records(records: Iterable[Record], table: Routes, limits: Limits, read_at: datetime) -> Decoded:
    """Sort records into valid events, dead letters and tombstones; one bad record never harms its neighbours.

    A record may hold several events: each goes its own way, under a source of its own `place`. A record without a
    time of its own is taken for as old as it was when it was read, `read_at`.
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
        route = table[record.source.topic]
        headers = record.headers if isinstance(record.headers, tuple) else ()
        results = decode(record.value, timestamp=timestamp, route=route, headers=headers, limits=limits)
        if not results:
            decoded.tombstones.append(record)
        for place, result in enumerate(results):
            one = record
            if place > 0:
                one = record._replace(source=record.source._replace(place=place))
                decoded.further.append(one)
            if isinstance(result, Rejected):
                decoded.dead_letters.append(DeadLetter(one, result))
            else:
                decoded.candidates.append(Candidate(one, result))
    return decoded
