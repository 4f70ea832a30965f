"""A small consistent history, made with the worker's own pure parts and stored directly."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from projections.event import StoredEvent
from projections.progress import fold
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.fingerprint import of_document
from worker.contract.identity import foreign_object_id, stream_object_id
from worker.contract.source import Source
from worker.storage.database import Database, Document
from worker.storage.documents import event_document, interaction_row, void_document

NAMES = UUID("0b5b6a2e-8a43-4c9b-9a39-0d1c2f4b5a6e")
START = datetime(2024, 3, 1, 8, tzinfo=UTC)
COURSE = foreign_object_id("course")


@dataclass(frozen=True, slots=True)
class Learner:
    """The stored documents of one learner's stream."""

    events: tuple[Document, ...]
    progress: Document

    @property
    def stream(self) -> str:
        return str(self.progress["stream_id"])

    @property
    def rows(self) -> list[Document]:
        return [interaction_row(event) for event in self.events if event["event_type"] != "void"]


def learner(name: str, *, events: int = 12, void_at: int | None = 5) -> Learner:
    """A stream of `events` versions, one of them a void, and its document at the last version."""
    documents = stored_events(name, range(1, events + 1))
    if void_at is not None:
        void = void_document(documents[0]["stream_id"], void_at, START)
        documents = [void if each["version"] == void_at else each for each in documents]
    return Learner(tuple(documents), progress_of(documents))


def stored_events(name: str, versions: Iterable[int], recorded_at: datetime = START) -> list[Document]:
    return [event_document(an_event(name, n), n, record_of(name, n), recorded_at, None) for n in versions]


def record_of(name: str, n: int) -> Source:
    """Each learner's events come from records of their own."""
    return Source("t", 0, int.from_bytes(foreign_object_id(name).binary[:4]) * 1_000 + n)


def as_sent(event: Document) -> Document:
    """The same event with the fingerprint of its content: as if its producer had sent it so."""
    return {**event, "metadata": {**event["metadata"], "fingerprint": of_document(event)}}


def progress_of(events: Sequence[Document], current: Document | None = None) -> Document:
    folded = fold(current, [StoredEvent.from_document(event) for event in events], "live")
    return {"_id": stream_object_id(folded["stream_id"]), "rev": 1 + (current or {}).get("rev", 0), **folded}


def without(learner: Learner, *versions: int) -> Learner:
    """The same learner without some events; the document stays."""
    return replace(learner, events=tuple(e for e in learner.events if e["version"] not in versions))


def an_event(name: str, n: int) -> Event:
    """The learner's n-th event: enrolment, then lessons, media, quizzes and notes in turn."""
    types = ("lesson_started", "view", "complete", "quiz_submitted", "lesson_note_saved")
    event_type = "course_enrolled" if n == 1 else types[n % len(types)]
    details: dict[str, dict[str, Any]] = {
        "course_enrolled": {"total_lessons": 4},
        "view": {"time_spent": 12.5, "progress": 0.25, "player": {"speed": 1, "muted": False}},
        "quiz_submitted": {"score": 66.5 + n % 7, "time_taken": 31},
        "lesson_note_saved": {"text": "a note"},
    }
    fields: dict[str, Any] = {
        "event_id": uuid5(NAMES, f"{name}:{n}"),
        "event_type": event_type,
        "occurred_at": START + timedelta(minutes=n),
        "user_id": foreign_object_id(name),
        "course_id": COURSE,
        "session_id": f"{name}-{n // 6}",
        "user_agent": "Agent/1.0",
        "ip_address": "192.0.2.7",
        "details": details.get(event_type, {}),
    }
    if event_type != "course_enrolled":
        fields["lesson_id"] = foreign_object_id(f"lesson-{n // len(types) % 4}")
    if event_type == "view":
        fields["value"] = 3 * n
    event = decode_event(encode(fields), timestamp=START)
    if not isinstance(event, Event):
        raise TypeError(f"the test's own event was rejected: {event}")
    return event


async def store(
    database: Database, learners: Iterable[Learner], rows: Mapping[str, Sequence[Document]] | None = None
) -> None:
    """Put a history into the three collections; `rows` replaces those of some streams."""
    everyone, other = list(learners), rows or {}
    await database.course_events.insert_many([event for each in everyone for event in each.events])
    stored_rows = [row for each in everyone for row in other.get(each.stream, each.rows)]
    await database.user_interactions.insert_many(stored_rows)
    await database.user_progress.insert_many([each.progress for each in everyone])
