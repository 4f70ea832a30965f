"""A Kafka record as it came, the partition it came from, and the batch of records that one poll returned.

What there is one of per record is a named tuple: it costs a fifth of a frozen dataclass to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from worker.contract.source import Source
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
