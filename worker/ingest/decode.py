"""Step 1: bytes to events. Pure: the same records give the same answer on every machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from worker.contract.codec import Limits
from worker.contract.event import Rejected
from worker.ingest.record import Candidate, Letter, Record
from worker.ingest.routes import Route


@dataclass(frozen=True, slots=True)
class Decoded:
    """`tombstones` are records without a value: skipped and counted."""

    candidates: list[Candidate] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    tombstones: list[Record] = field(default_factory=list)


def decode_records(records: Iterable[Record], table: Mapping[str, Route], limits: Limits) -> Decoded:
    """Sort records into valid events, dead letters and tombstones; one bad record never harms its neighbours."""
    decoded = Decoded()
    for record in records:
        if record.value is None:
            decoded.tombstones.append(record)
            continue
        result = table[record.source.topic].decode(record.value, record.timestamp, limits)
        if isinstance(result, Rejected):
            decoded.letters.append(Letter(record, result))
        else:
            decoded.candidates.append(Candidate(record, result))
    return decoded
