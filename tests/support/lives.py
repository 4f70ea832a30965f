"""What the worker's own pure parts make of a simulated platform's records: folds, parts and contests, no server."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

from projections.catalogue import EVERY
from projections.contests import decide_afresh
from projections.event import StoredEvent
from projections.kinds import Contest, StreamProjection
from tests.unit.projections.events import stored_document
from worker.contract.codec import decode_event
from worker.contract.enrolment_payments import names_payment, payment_event
from worker.contract.event import Event
from worker.contract.families import PRODUCERS_TYPES
from worker.contract.identity import stream_object_id
from worker.contract.rejection import Rejected
from worker.contract.source import Source
from worker.devstack.simulator.lives.platform import PlatformRecord
from worker.kafka.files import OutgoingRecord
from worker.storage.database import Document
from worker.storage.documents import event_document

STORED_AT = datetime(2026, 1, 1, tzinfo=UTC)
_LATE = datetime(2099, 1, 1, tzinfo=UTC)  # no event lies ahead of its record

Collections = dict[str, dict[Any, Document]]


def stored_events(records: Iterable[PlatformRecord | OutgoingRecord]) -> dict[str, list[StoredEvent]]:
    """What ingest keeps of records in this order: the first of every id, and payments that enrolments name."""
    streams: dict[str, list[StoredEvent]] = defaultdict(list)
    seen: set[UUID] = set()

    def store(event: Event | Rejected) -> None:
        if not isinstance(event, Event) or event.event_id in seen:
            return
        seen.add(event.event_id)
        own = streams[event.stream_id]
        source = Source("topic", 0, len(seen))
        document = stored_document(event_document(event, len(own) + 1, source, STORED_AT, None))
        own.append(StoredEvent.from_document(document))
        if names_payment(document):
            store(payment_event(document))

    for record in records:
        store(decode_event(record.value or b"", timestamp=_LATE, types=PRODUCERS_TYPES))
    return streams


def documents_of(streams: Mapping[str, Sequence[StoredEvent]]) -> Collections:
    """Every document that follows from these streams, by collection and `_id`."""
    made: Collections = defaultdict(dict)
    for projection in EVERY.streams:
        for stream, events in streams.items():
            if projection.folds(stream):
                for collection, key, document in _of_stream(projection, stream, events):
                    made[collection][key] = document
    for contest in EVERY.contests:
        _decide(contest, made)
    return made


def _of_stream(
    projection: StreamProjection, stream: str, events: Sequence[StoredEvent]
) -> Iterator[tuple[str, ObjectId, Document]]:
    document = projection.refold(events, None, "live")
    if not projection.has_begun(document):
        return
    key = stream_object_id(stream)
    yield projection.target.collection, key, stored_document({**document, "_id": key})
    if projection.parts is not None:
        due = projection.parts.named(document).keys()
        ordered = sorted(events, key=lambda event: (event.occurred_at, event.event_id.bytes))
        _, parts = projection.parts.make(document, due, None, ordered)
        for part in parts:
            yield projection.parts.target.collection, part["_id"], stored_document(dict(part))


def _decide(contest: Contest, made: Collections) -> None:
    (source,) = [each for each in EVERY.streams if each.name == contest.source]
    documents = made[source.target.collection]
    for key, decided in decide_afresh(contest, documents.values()).items():
        for path in contest.paths:
            documents[key].pop(path, None)
        documents[key].update(decided.values)
