"""What becomes of one record: decided from values alone, by the fold and the counting that live events go through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from projections.counts import count_learner, milestones_of
from projections.event import OWN_TYPES, VOID, StoredEvent
from projections.progress.projection import PROGRESS
from projections.unfit import Unfit
from worker.adopt.comparison import differing
from worker.adopt.outcome import Adoption, Conversion, Document, Outcome, Reason, SetAside
from worker.adopt.platform import LONGEST_BYTES, OWNED, PlatformDocument
from worker.adopt.record import Adoptable, read_record
from worker.contract.identity import stream_object_id
from worker.contract.reserved import is_reserved
from worker.storage.database import CODEC_OPTIONS
from worker.storage.documents import Opening, opening_document
from worker.storage.elements import elements, joined
from worker.storage.outbox import is_late, notification_row
from worker.words import counted

# A change event that carries an update and the whole document must stay below MongoDB's 16 MB.
_LONGEST_DOCUMENT = 7 * 1024 * 1024
_LONGEST_EVENT = 7 * 1024 * 1024
_MOST_EVENTS = 5_000


@dataclass(frozen=True, slots=True)
class Course:
    """What a course document says of its lessons; `total` is None where it names none."""

    total: int | None = None
    lessons: frozenset[ObjectId] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of the learner already: `events` in version order, the platform's other documents.

    `is_kept`: the worker has a document of this stream. `projection` are the bytes of the platform's own document in
    `user_progress_projections`.
    """

    events: Sequence[Document] = ()
    is_kept: bool = False
    course: Course = field(default_factory=Course)
    projection: bytes | None = None


def adoptable(document: PlatformDocument, now: datetime) -> Adoptable | SetAside:
    """The record that the document holds."""
    if len(document.raw) > LONGEST_BYTES:
        return SetAside(document.name, Reason.TOO_LARGE, f"the record has more than {LONGEST_BYTES} bytes")
    try:
        return read_record(document.fields, document.identity, now)
    except Unfit as error:
        return SetAside(document.name, Reason.UNFIT, str(error))


def plan(
    document: PlatformDocument,
    record: Adoptable,
    known: Known,
    adoption: Adoption,
    now: datetime,
    further: Sequence[PlatformDocument] = (),
) -> Outcome:
    """What is written for this record, or why it is left alone. `further` are the learner's records that go, too.

    1. nobody else's learner, and not the canary  2. which stored events the record has  3. the opening event  4. the
    document: the fold of the whole stream, and the platform's other fields  5. what counting makes of it
    """
    name = document.name
    if is_reserved(record.stream):  # 1
        return SetAside(name, Reason.RESERVED, "its course or its learner has a reserved id")
    if known.is_kept:
        return SetAside(name, Reason.KNOWN, f"the worker's record is {stream_object_id(record.stream)}")
    uncounted = _uncounted(name, known.events, adoption.counted_until)  # 2
    if isinstance(uncounted, SetAside):
        return uncounted
    filled = _with_total(record, known.course)
    originals = _originals([document, *further], known.projection)
    event = _opening(filled, known, uncounted, adoption, originals, now)  # 3
    try:
        folded = _folded([*known.events, event])  # 4
    except Exception as error:  # whatever a fold raises concerns this learner
        detail = f"folding the stored events raises {type(error).__name__}"
        return SetAside(name, Reason.NOT_FOLDABLE, detail)
    whole = _whole(record.stream, folded, document)
    if len(whole.raw) > _LONGEST_DOCUMENT or len(_encoded(event)) > _LONGEST_EVENT:
        return SetAside(name, Reason.TOO_LARGE, "what the worker would make of it is too large")
    learner = {"_id": stream_object_id(record.stream), "rev": 1, **folded}
    step = count_learner(learner, None)  # 5
    return Conversion(
        name=name,
        replaces=[document.identity, *(each.identity for each in further)],
        stream=record.stream,
        event=event,
        document=whole,
        counted=step.projection if step is not None else {},
        notifications=_notifications(learner, adoption, now),
        changed=differing(document.fields, folded),
        foreign_lessons=_foreign_lessons(record, known.course),
        unannounced=_unannounced(document, record),
    )


def further_along(one: tuple[PlatformDocument, Adoptable]) -> tuple[Any, ...]:
    """By which of several records of one learner the furthest is told: it is the greatest."""
    document, record = one
    progress = record.record["progress"]
    return progress["percentage"], progress["completed_lessons"], record.at, len(document.raw), document.name


def _uncounted(
    name: str, events: Sequence[Document], counted_until: datetime | None
) -> list[Document] | SetAside:
    """The stored events that the record does not have; set aside where nobody says which these are."""
    real = [event for event in events if event["event_type"] not in OWN_TYPES]
    if len(events) > _MOST_EVENTS:
        return SetAside(name, Reason.NOT_FOLDABLE, f"more than {_MOST_EVENTS} events are stored")
    if real and counted_until is None:
        detail = f"{counted(len(real), 'event')} stored: nobody says whether the record has them"
        return SetAside(name, Reason.EVENTS_STORED, detail)
    return [event for event in real if counted_until is not None and event["occurred_at"] > counted_until]


def _with_total(record: Adoptable, course: Course) -> Adoptable:
    """The record with its course's number of lessons, as ingest gives it to an enrolment that names none."""
    progress = record.record["progress"]
    if progress["total_lessons"] is not None or course.total is None:
        return record
    return replace(record, record={**record.record, "progress": {**progress, "total_lessons": course.total}})


def _originals(documents: Sequence[PlatformDocument], projection: bytes | None) -> dict[str, bytes]:
    """The bytes of what goes, so that it can be looked at, and put back."""
    first, *further = documents
    named = {"record": first.raw} | {f"duplicate_{n}": each.raw for n, each in enumerate(further, 1)}
    return named if projection is None else {**named, "projection": projection}


def _opening(
    record: Adoptable,
    known: Known,
    uncounted: Sequence[Document],
    adoption: Adoption,
    originals: Mapping[str, bytes],
    now: datetime,
) -> Document:
    texts = {str(each["_id"]): each["personal"].get("text") for each in uncounted}
    opening = Opening(
        record=record.record,
        at=record.at,
        texts={**record.texts, **{event: text for event, text in texts.items() if text is not None}},
        counted_until=adoption.counted_until,
        uncounted=[{name: each[name] for name in each if name != "personal"} for each in uncounted],
        originals=originals,
    )
    event = opening_document(record.stream, len(known.events) + 1, opening, now)
    event["metadata"]["correlation_id"] = adoption.run
    return event


def _folded(events: Sequence[Document]) -> Document:
    """The document of the stream. Of what comes before an opening only payments count, which have their own rows."""
    *earlier, opening = [StoredEvent.from_document(event) for event in events]
    paid = (event.event_type == "course_enrolled" and "payment" in event.details for event in earlier)
    shortened = [
        event if pays else replace(event, event_type=VOID) for event, pays in zip(earlier, paid, strict=True)
    ]
    return PROGRESS.refold([*shortened, opening], None, "live")


def _whole(stream: str, folded: Document, document: PlatformDocument) -> RawBSONDocument:
    """The worker's document, with all further fields of the platform's as the bytes they are."""
    own = elements(_encoded({"_id": stream_object_id(stream), "rev": 1, **folded}))
    others = [each for each in document.others if each.name.decode(errors="replace") not in OWNED]
    return RawBSONDocument(
        joined([*own, *others]), CODEC_OPTIONS.with_options(document_class=RawBSONDocument)
    )


def _notifications(learner: Document, adoption: Adoption, now: datetime) -> list[Document]:
    return [
        notification_row(
            reached.kind,
            learner["stream_id"],
            learner["user_id"],
            learner["course_id"],
            by=reached.by,
            data={"percentage": reached.percentage, "reached_at": reached.at},
            now=now,
            late=is_late(reached.at, now, adoption.notify_within),
        )
        for reached in milestones_of(learner)
    ]


def _foreign_lessons(record: Adoptable, course: Course) -> int:
    if not course.lessons:
        return 0
    return sum(each["lesson_id"] not in course.lessons for each in record.record["lesson_progress"])


def _unannounced(document: PlatformDocument, record: Adoptable) -> bool:
    return (
        record.record["completed_at"] is not None and document.fields.get("completion_notified") is not True
    )


def _encoded(document: Document) -> bytes:
    return bson.encode(document, codec_options=CODEC_OPTIONS)
