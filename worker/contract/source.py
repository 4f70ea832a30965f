"""Where an event came from: one place in one record of one Kafka topic."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Source(NamedTuple):
    """The one record an event came from; `place` counts events within a record (0 when it holds one)."""

    topic: str
    partition: int
    offset: int
    place: int = 0

    def document(self) -> dict[str, Any]:
        return {"topic": self.topic, "partition": self.partition, "offset": self.offset, "index": self.place}


def source_of(document: Mapping[str, Any]) -> Source:
    """What `Source.document` made a document of."""
    return Source(document["topic"], document["partition"], document["offset"], document["index"])
