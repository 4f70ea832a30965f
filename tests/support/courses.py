"""Events of courses, made as the worker makes them: by the codec, in the store's shape."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bson import ObjectId

from projections.event import StoredEvent
from tests.unit.projections.events import stored_document
from worker.contract import codec
from worker.contract.event import Event
from worker.contract.events.courses import COURSES
from worker.contract.family import EventTypes
from worker.contract.source import Source
from worker.storage.database import Document
from worker.storage.documents import event_document

COURSE = ObjectId("65a4f0c2e13b7a0001aaaaaa")
STREAM = f"course_{COURSE}"
TEACHER = "65a4f0c2e13b7a0001c0ffee"
START = datetime(2024, 3, 1, 9, tzinfo=UTC)
STORED_AT = datetime(2024, 6, 1, tzinfo=UTC)
LESSON = "65a4f0c2e13b7a0001bbbbbb"
CREATED: Document = {"title": "Full Stack", "slug": "full-stack", "instructor_id": TEACHER}

_LATE = datetime(2099, 1, 1, tzinfo=UTC)  # no event of a story lies ahead of its record
_TYPES = EventTypes((COURSES,))


def moment(seconds: float) -> datetime:
    """The point in time `seconds` after the start of every story."""
    return START + timedelta(seconds=seconds)


def event_data(
    event_type: str, at: float = 0, number: int = 0, course: ObjectId = COURSE, **details: Any
) -> Document:
    """What a producer sends: an event `at` seconds into the story, whose id is this number, or follows from `at`."""
    return {
        "event_id": str(UUID(int=number or int(at * 1000) + 1)),
        "event_type": event_type,
        "occurred_at": moment(at).isoformat(),
        "course_id": str(course),
        **({"details": details} if details else {}),
    }


def event_of(fields: Document, version: int = 1, recorded_at: datetime = STORED_AT) -> Document:
    """The stored event of what a producer sent, as MongoDB would give it back."""
    decoded = codec.decode_event(codec.encode(fields), timestamp=_LATE, types=_TYPES)
    if not isinstance(decoded, Event):
        raise TypeError(f"{fields['event_type']} breaks the contract: {decoded}")
    document = event_document(decoded, version, Source("content-events", 0, version), recorded_at, None)
    return stored_document(document)


def stored(events: Iterable[Document]) -> list[Document]:
    """Stored events of one course, that came in this order."""
    return [event_of(fields, version) for version, fields in enumerate(events, start=1)]


def story(events: Iterable[Document]) -> list[StoredEvent]:
    """The same as folds see them."""
    return [StoredEvent.from_document(each) for each in stored(events)]


def sent(event_type: str, at: float = 0, number: int = 0, **details: Any) -> Document:
    """`event_data` of the one course."""
    return event_data(event_type, at, number, **details)


def modules(*lessons: str) -> list[Document]:
    """A curriculum of one module with these lessons."""
    return [
        {
            "_id": "65a4f0c2e13b7a0001b00001",
            "title": "Module",
            "order": 1,
            "lessons": [
                {"_id": each, "title": "Lesson", "type": "video", "order": place}
                for place, each in enumerate(lessons, start=1)
            ],
        }
    ]


def version(number: str, *changes: str) -> Document:
    """The details of a version."""
    return {
        "version": number,
        "type": "patch",
        "summary": f"version {number}",
        "created_by": TEACHER,
        **({"changes": list(changes)} if changes else {}),
    }


def golden_course() -> list[Document]:
    """One event of nearly every type."""
    return [
        sent("course_created", 0, **CREATED, description={"short": "s"}),
        sent("course_described", 1, seo={"keywords": ["k"]}, learning={"objectives": ["o"]}),
        sent("course_priced", 2, pricing={"type": "paid", "price": {"amount": "19.99", "currency": "USD"}}),
        sent("course_priced", 2.5, pricing={"payment_plans": [{"type": "one_time", "price": "0"}]}),
        sent("course_media_changed", 3, media={"gallery": ["https://cdn.example.com/1.jpg"]}),
        sent("course_location_changed", 4, location={"type": "Point", "coordinates": [13.4, 52.5]}),
        sent("curriculum_published", 5, curriculum=modules(LESSON)),
        sent("course_submitted", 6),
        sent("course_published", 7, next_update_scheduled="2024-09-01T00:00:00Z"),
        sent("course_version_created", 8, **version("1.0", "all of it")),
        sent("course_version_deployed", 9, version="1.0"),
        sent("course_submitted", 10),
    ]


def golden_versions() -> list[Document]:
    """Versions with all that becomes of them, and steps without effect."""
    other, third = "65a4f0c2e13b7a0001bbbbbc", "65a4f0c2e13b7a0001bbbbbd"
    second = {**version("2.0"), "type": "major", "migration_required": True, "breaking_changes": ["lessons"]}
    return [
        sent("course_created", 0, **CREATED, description={"short": "s"}),
        sent("curriculum_published", 1, curriculum=modules(LESSON, other)),
        sent("course_version_created", 2, **version("1.0", "all of it")),
        sent("course_version_deployed", 3, version="1.0"),
        sent("course_described", 4, title="Fuller Stack", description={"html": "<p>s</p>"}),
        sent("curriculum_published", 5, curriculum=modules(third, LESSON)),
        sent("course_version_created", 6, **second),
        sent("course_version_approved", 7, version="2.0", approved_by=TEACHER),
        sent("course_version_deployed", 8, version="2.0"),
        sent("course_version_created", 9, 99, **version("2.0", "again")),
        sent("course_version_rolled_back", 10, version="2.0", rollback_version="1.0"),
        sent("course_version_deployed", 11, version="3.0"),
        sent("course_priced", 5.5, pricing={"type": "free"}),
        sent("course_priced", 5.7, pricing={"price": {"amount": "9.90", "currency": "USD"}}),
    ]
