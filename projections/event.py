"""The fold's input: one stored event as a value, read from a `course_events` document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

from worker.contract.event import NO_IDS
from worker.contract.family import STREAM_IDS
from worker.contract.personal import PERSONAL_NAMES, put_personal, take_personal
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION, UPCASTERS, Upcasters, newest_version, upcast

VOID = "void"
OPENING = "opening"
OWN_TYPES: frozenset[str] = frozenset({VOID, OPENING})
"""Types that only the worker writes: no contract has them, every topic refuses them, and no row stands for one."""

MIGRATED = "curriculum_migrated"
"""The worker's word that a learner's course has other lessons now: nothing that the learner did."""

OPENING_DETAILS = ("record", "counted_until", "uncounted")
"""What an opening event has there; no producer's event means anything by these."""

DETAILS_READ = (
    "total_lessons",
    "payment",
    "time_spent",
    "progress",
    "new_progress",
    "score",
    "total_questions",
    "correct_answers",
    "time_taken",
    "verification_code",
    "certificate_url",
    "type",
    "valid_until",
    "lessons",
    *OPENING_DETAILS,
)
"""What folds read of an event's details, which may have 64 KiB. An upcaster that reads others adds them."""

_OWN_PATHS = (
    "stream_id",
    "version",
    "event_type",
    "event_data.user_id",
    "event_data.course_id",
    "event_data.lesson_id",
    "event_data.session_id",
    "event_data.value",
    "personal.text",
    "personal.texts",
    "curriculum.total_lessons",
    "curriculum.lessons",
    "curriculum.lesson_list",
    "occurred_at",
    "recorded_at",
    "schema_version",
    "metadata.origin",
)


_STREAM_IDS = frozenset(STREAM_IDS)


def read_paths(details: Iterable[str] | None, ids: Iterable[str] = STREAM_IDS) -> tuple[str, ...]:
    """What `StoredEvent.from_document` reads, with these details: the rest of an event stays on the server.

    None is all of the details. What is personal of them is read where it stands. `ids` are those beside the
    learner's, the course's and the lesson's.
    """
    own = (*_OWN_PATHS, *(f"event_data.{name}" for name in ids))
    if details is None:
        return (*own, "event_data.details", "personal.details")
    names = tuple(details)
    personal = (f"personal.details.{name}" for name in names if name in PERSONAL_NAMES)
    return (*own, *(f"event_data.details.{name}" for name in names), *personal)


READ_PATHS = read_paths(DETAILS_READ, ())
"""Of what learners do."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a stream; which of the ids it has follows from its family.

    `ids` are those beside the learner's, the course's and the lesson's, by their name: `ids["content_id"]`. `details`
    are whole, with what is personal of them; `text` is personal free text; `curriculum` what ingest knew of the
    lessons of the course, with the list that it names; `origin` the job that brought the event, None for one that
    was stored as it happened. `texts` are those of an opening event.
    """

    event_id: UUID
    stream_id: str
    version: int
    event_type: str
    occurred_at: datetime
    recorded_at: datetime
    user_id: ObjectId | None
    course_id: ObjectId | None
    lesson_id: ObjectId | None
    session_id: str | None
    value: int | float | None
    details: Mapping[str, Any]
    text: str | None
    curriculum: Mapping[str, Any] | None
    ids: Mapping[str, ObjectId] = field(default_factory=lambda: NO_IDS)
    origin: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_opening(self) -> bool:
        """An opening says what a record was that somebody else kept until then."""
        return self.event_type == OPENING

    @property
    def is_void(self) -> bool:
        """A void holds a version number, nothing else: folds skip it."""
        return self.event_type == VOID

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "StoredEvent":
        """Read a `course_events` document (shape: `worker.storage.documents.event_document`).

        A document of an older contract comes back in today's shape; the stored one stays as it is.
        """
        if document["schema_version"] < CURRENT_SCHEMA_VERSION:
            document = upcast_document(document)
        data, personal = document["event_data"], document["personal"]
        details = data.get("details", {})
        if "details" in personal:
            details = {**details, **personal["details"]}
        return cls(
            event_id=document["_id"],
            stream_id=document["stream_id"],
            version=document["version"],
            event_type=document["event_type"],
            occurred_at=document["occurred_at"],
            recorded_at=document["recorded_at"],
            user_id=data.get("user_id"),
            course_id=data.get("course_id"),
            lesson_id=data.get("lesson_id"),
            session_id=data.get("session_id"),
            value=data.get("value"),
            details=details,
            text=personal.get("text"),
            curriculum=document.get("curriculum"),
            ids=_further_ids(data),
            origin=(document.get("metadata") or {}).get("origin"),
            texts=personal.get("texts", {}),
        )


def _further_ids(data: Mapping[str, Any]) -> Mapping[str, ObjectId]:
    if _STREAM_IDS.isdisjoint(data):  # most
        return NO_IDS
    return {name: data[name] for name in STREAM_IDS if name in data}


def upcast_document(document: Mapping[str, Any], upcasters: Upcasters = UPCASTERS) -> Mapping[str, Any]:
    """A `course_events` document in the newest version's shape. The worker's own have no contract: they stay."""
    if document["event_type"] in OWN_TYPES:
        return document
    data, personal = document["event_data"], document["personal"]
    details = put_personal(document["event_type"], data.get("details", {}), personal)
    fields = {**data, "event_type": document["event_type"], "details": details}
    fields = upcast(fields, document["schema_version"], upcasters)
    event_type = fields.pop("event_type")
    details, text, kept_apart = take_personal(event_type, fields.pop("details", {}))
    if details:
        fields["details"] = details
    personal = {key: value for key, value in personal.items() if key not in ("text", "details")}
    personal |= {key: part for key, part in (("text", text), ("details", kept_apart)) if part is not None}
    return {
        **document,
        "event_type": event_type,
        "event_data": fields,
        "personal": personal,
        "schema_version": newest_version(upcasters),
    }
