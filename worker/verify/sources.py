"""The Kafka records that events came from, each of which gives one event: a set that is small for dense offsets."""

from collections.abc import Container, Mapping
from datetime import datetime
from typing import Any

# Offsets that share one whole number of so many bits: an eighth of a byte an event where a log is dense.
_SPAN = 512

Partition = tuple[str, int]


class Sources:
    """Remembers records by topic, partition, offset, place within the record, and day.

    A log that was deleted and made again begins again at offset 0, so that the same position is another record. Those
    of which the worker noticed it are named as `restarted`, and are not checked. As a move to another cluster
    is not noticed, two events count as of one record only if they were recorded on one day.
    """

    def __init__(self, restarted: Container[Partition] = frozenset()) -> None:
        self._restarted = restarted
        self._spans: dict[tuple[str, int, int, int, int], int] = {}

    def seen(self, source: Mapping[str, Any], recorded_at: datetime) -> bool:
        """Note the record of an event; True if it was noted before."""
        topic, partition, offset = source["topic"], source["partition"], source["offset"]
        if (topic, partition) in self._restarted:
            return False
        span, place = divmod(offset, _SPAN)
        key = (topic, partition, source["index"], recorded_at.toordinal(), span)
        known, bit = self._spans.get(key, 0), 1 << place
        self._spans[key] = known | bit
        return bool(known & bit)
