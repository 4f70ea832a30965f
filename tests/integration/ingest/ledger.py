"""What fault tests compare with: every event stored once, versions without holes, every row once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from tests.support.ingest import Sent
from tests.support.kafka import durable
from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.contract.source import Source
from worker.storage.database import Database, Document
from worker.storage.documents import event_document, interaction_row
from worker.timing import SystemClock


async def assert_exactly_once(
    database: Database, published: Iterable[Mapping[str, Any]], voids: int | None = 0
) -> None:
    """The event store is the published events, dense by stream; the time series is a function of it.

    `voids` is how many holes were filled, None where races decide that.
    """
    documents = await database.course_events.find({}).to_list(None)
    events = [document for document in documents if document["event_type"] != "void"]
    assert Counter(event["_id"] for event in events) == Counter({UUID(p["event_id"]) for p in published})
    assert voids is None or len(documents) - len(events) == voids
    assert_dense(documents)
    rows = await database.user_interactions.find({}).to_list(None)
    assert Counter(row["_id"] for row in rows) == Counter(event["_id"] for event in events)
    assert {row["_id"]: row for row in rows} == {event["_id"]: interaction_row(event) for event in events}


def assert_dense(documents: Iterable[Document]) -> None:
    streams: dict[str, list[int]] = {}
    for document in documents:
        streams.setdefault(document["stream_id"], []).append(document["version"])
    assert all(sorted(found) == list(range(1, len(found) + 1)) for found in streams.values())


def stored_before(topic: str, sent: Sequence[Sent], places: Sequence[tuple[int, int]]) -> list[Document]:
    """What a worker that died had put into the event store for these records."""
    now, versions, documents = SystemClock().now(), Counter[str](), []
    for record, (partition, offset) in zip(sent, places, strict=True):
        event = decode_event(record.value or b"", timestamp=now)
        assert isinstance(event, Event)
        versions[event.stream_id] += 1
        source = Source(topic, partition, offset)
        documents.append(event_document(event, versions[event.stream_id], source, now, None))
    return documents


async def committed(kafka: str, topic: str, group: str) -> int:
    """Sum of the group's durable offsets over the topic's four partitions."""
    return sum(offset or 0 for offset in await durable(kafka, topic, 4, group))
