"""The canary's events: valid for everybody, harmless in number, and seen when their document has come to them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import bson

from projections.event import StoredEvent
from projections.progress import fold
from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.contract.reserved import canary_stream
from worker.contract.source import Source
from worker.operate.canary_events import CanaryEvent, Outage, Waiting, canary_event, versions_in, visible
from worker.storage.documents import event_document

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def made(number: int, at: datetime = NOON, made_at: float = 0.0) -> CanaryEvent:
    return canary_event(UUID(int=number), at, made_at)


def decoded(each: CanaryEvent) -> Event:
    event = decode_event(each.record.value or b"", timestamp=NOON)
    assert isinstance(event, Event)
    return event


def test_it_is_an_event_like_any_other_of_the_learner_of_the_day() -> None:
    one = made(1)
    event = decoded(one)

    assert (event.event_id, event.occurred_at, event.event_type) == (UUID(int=1), NOON, "lesson_view")
    assert event.stream_id == one.stream == canary_stream(NOON)
    assert one.record.key == f"{event.course_id}:{event.user_id}".encode()


def test_however_many_there_are_the_document_does_not_grow() -> None:
    def size(count: int) -> int:
        events = [decoded(made(number, NOON + timedelta(seconds=number))) for number in range(1, count + 1)]
        stored = [
            StoredEvent.from_document(event_document(each, version, Source("t", 0, version), NOON, None))
            for version, each in enumerate(events, start=1)
        ]
        return len(bson.encode(fold(None, stored, "live")))

    assert size(3_000) == size(3)


def test_it_is_seen_when_its_document_has_come_to_its_version() -> None:
    first, second, unstored = (made(number) for number in (1, 2, 3))
    stored = {first.event_id: 7, second.event_id: 8}

    assert visible([first, second, unstored], stored, {first.document_id: 7}) == [first]
    assert visible([first, second, unstored], stored, {first.document_id: 9}) == [first, second]
    assert visible([first, second, unstored], stored, {}) == []


def test_an_event_of_yesterday_is_seen_in_the_document_of_yesterday() -> None:
    yesterday, today = made(1, NOON - timedelta(days=1)), made(2)
    stored = {yesterday.event_id: 5, today.event_id: 1}

    assert visible([yesterday, today], stored, {today.document_id: 5}) == [today]
    assert visible([yesterday, today], stored, {yesterday.document_id: 5}) == [yesterday]


def test_what_somebody_else_wrote_there_makes_nothing_visible() -> None:
    one = made(1)
    rows = versions_in([{"_id": one.document_id, "version": "many"}, {"_id": 1}])

    assert rows == {}
    assert visible([one], {one.event_id: 1}, rows) == []


def test_of_too_many_that_wait_the_oldest_goes() -> None:
    waiting = Waiting(most=2)
    events = [made(number, made_at=float(number)) for number in range(3)]

    assert [waiting.add(each) for each in events] == [None, None, events[0]]
    assert waiting.events == (events[1], events[2])
    assert waiting.oldest_at == 1.0
    waiting.remove(events)
    assert len(waiting) == 0
    assert waiting.oldest_at is None


def test_at_the_end_of_an_outage_all_that_waited_is_told_in_however_many_lots_it_was_seen() -> None:
    outage = Outage("Kafka: no broker answers")
    for ages_s in ([40.0, 10.0], [41.5], [2.0, 1.0]):
        outage.saw(ages_s)
    assert (outage.events, outage.longest_s) == (5, 41.5)
