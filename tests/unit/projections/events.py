"""Stored events for the tests of the folds, made as the worker makes them: by the codec, in the store's shape."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from bson import ObjectId, decode_all, encode
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from hypothesis import strategies as st

from projections.event import MIGRATED, StoredEvent
from worker.contract import codec
from worker.contract.event import Event
from worker.contract.families import ALL_TYPES as ALL_FAMILIES
from worker.contract.identity import stream_slot
from worker.contract.source import Source
from worker.storage.documents import event_document, void_document

COURSE = ObjectId("5f0000000000000000000001")
USER = ObjectId("5f0000000000000000000002")
STREAM = f"course_{COURSE}_user_{USER}"
START = datetime(2024, 3, 1, 9, tzinfo=UTC)
STORED_AT = datetime(2024, 6, 1, tzinfo=UTC)

CODEC_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)


def moment(seconds: float) -> datetime:
    """The point in time `seconds` after the start of every test's story."""
    return START + timedelta(seconds=seconds)


def lesson_id(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(12, "big"))


def stored_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """What MongoDB would give back."""
    return decode_all(encode(document, codec_options=CODEC_OPTIONS), CODEC_OPTIONS)[0]


def event(
    event_type: str,
    at: float = 0,
    *,
    number: int | None = None,
    lesson: int | None = None,
    curriculum: Mapping[str, Any] | None = None,
    **fields: Any,
) -> StoredEvent:
    """One event `at` seconds into the story, decoded by the contract; `number` decides its id.

    Without a number the id derives from the content: equal calls give equal events. Versions: `arrive`.
    """
    sent = {
        "event_type": event_type,
        "occurred_at": moment(at).isoformat(),
        "user_id": str(USER),
        "course_id": str(COURSE),
        **({} if lesson is None else {"lesson_id": str(lesson_id(lesson))}),
        **fields,
    }
    identity = uuid5(NAMESPACE_OID, repr(sent)) if number is None else UUID(int=number)
    value = codec.encode({"event_id": str(identity), **sent})
    decoded = codec.decode_event(value, timestamp=STORED_AT, types=ALL_FAMILIES)
    if not isinstance(decoded, Event):
        raise TypeError(f"{event_type} breaks the contract: {decoded}")
    document = event_document(decoded, 0, Source("interaction-events", 0, 0), STORED_AT, curriculum)
    return StoredEvent.from_document(stored_document(document))


def listed(*lessons: int) -> bytes:
    """A list of lessons, as ingest stamps it and a migration names it."""
    return b"".join(lesson_id(number).binary for number in lessons)


def migrated(at: float, *lessons: int, number: int | None = None) -> StoredEvent:
    """The course has these lessons from that moment on."""
    named = {"version": "2", "total_lessons": len(lessons), "lessons": b64encode(listed(*lessons)).decode()}
    return event(MIGRATED, at, number=number, details=named)


def course_event(event: StoredEvent) -> dict[str, Any]:
    """The `course_events` document of an event that was given its version."""
    ids = {"course_id": event.course_id, "user_id": event.user_id, "lesson_id": event.lesson_id, **event.ids}
    optional = {**ids, "session_id": event.session_id, "value": event.value}
    texts = {"text": event.text, "texts": dict(event.texts) or None}
    return {
        "_id": event.event_id,
        "stream_id": event.stream_id,
        "version": event.version,
        "event_type": event.event_type,
        "event_data": {
            **{name: value for name, value in optional.items() if value is not None},
            "details": dict(event.details),
        },
        "metadata": {
            "timestamp": event.occurred_at,
            "correlation_id": None,
            "producer": None,
            "fingerprint": b"",
            "source": Source("interaction-events", 0, event.version).document(),
        },
        "personal": {name: value for name, value in texts.items() if value is not None},
        "key_id": None,
        "curriculum": event.curriculum,
        "slot": stream_slot(event.stream_id),
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
        "schema_version": 1,
    }


VOID = StoredEvent.from_document(stored_document(void_document(STREAM, 1, STORED_AT)))


def arrive(events: Iterable[StoredEvent], after: int = 0) -> list[StoredEvent]:
    """The events with the versions they get when they arrive in this order."""
    return [replace(each, version=after + place) for place, each in enumerate(events, start=1)]


def split(events: Sequence[StoredEvent], cuts: Iterable[int]) -> list[Sequence[StoredEvent]]:
    """The events in batches that end at `cuts`; some may be empty, the first is not."""
    edges = [0, *sorted({max(1, cut) for cut in cuts if cut < len(events)}), len(events)]
    return [events[start:end] for start, end in pairwise(edges)]


def content(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a document that may not depend on how its events arrived."""
    return {name: value for name, value in document.items() if name not in ("version", "recorded_at")}


# Few values of everything, so that ties, repeats and the same lesson happen all the time.
_TIMES = st.integers(0, 12).map(lambda quarter: quarter * 900)
_LESSONS = st.integers(1, 4)
_SECONDS = st.sampled_from([0, 1, 0.1, 0.2, 0.7, 12.3456, 59.9995, 3600])
_PERCENT = st.sampled_from([0, 12.5, 33.333, 66.665, 99.999, 100])
_SHARE = st.sampled_from([0, 0.1, 0.29, 0.99999, 1, 1.0])
_PAYMENT = st.fixed_dictionaries(
    {
        "transaction_id": st.sampled_from(["t.1", "$t"]),
        "amount": st.sampled_from(["0", "19.90", "19.9000"]),
        "currency": st.just("EUR"),
        "method": st.just("card"),
    }
)
_LISTS = st.lists(st.integers(1, 5), min_size=1, max_size=4, unique=True)
_SESSIONS = st.sampled_from(["a", "b", "c"])

_OF_A_LESSON: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "lesson_started": {},
    "lesson_view": {"details": st.fixed_dictionaries({}, optional={"time_spent": _SECONDS})},
    "complete": {},
    "quiz_submitted": {
        "details": st.fixed_dictionaries(
            {"score": _PERCENT},
            optional={
                "total_questions": st.integers(1, 9),
                "correct_answers": st.just(1),
                "time_taken": _SECONDS,
            },
        )
    },
    "assignment_graded": {"value": _PERCENT},
    "lesson_note_saved": {"details": st.fixed_dictionaries({"text": st.text(max_size=5)})},
    **{
        name: {
            "value": _SECONDS,
            "details": st.fixed_dictionaries({}, optional={"time_spent": _SECONDS, "progress": _SHARE}),
        }
        for name in ("view", "pause", "seek")
    },
}
_OF_THE_COURSE: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "course_enrolled": {
        "details": st.fixed_dictionaries(
            {}, optional={"total_lessons": st.integers(1, 4), "payment": _PAYMENT}
        ),
        "curriculum": st.one_of(
            st.none(),
            st.fixed_dictionaries({"total_lessons": st.integers(0, 4)}),
            _LISTS.map(lambda lessons: {"total_lessons": len(lessons), "lessons": listed(*lessons)}),
        ),
    },
    "course_unenrolled": {},
    "progress_updated": {
        "details": st.fixed_dictionaries(
            {"new_progress": _PERCENT, "old_progress": st.just(0), "time_spent": _SECONDS}
        )
    },
    "course_rated": {"value": st.sampled_from([1, 3.5, 5])},
    "certificate_issued": {
        "details": st.fixed_dictionaries(
            {
                "certificate_url": st.sampled_from(["https://c.example/1", "https://c.example/2"]),
                "verification_code": st.sampled_from(["A.1", "$B", "C"]),
            },
            optional={"type": st.just("honours"), "valid_until": st.just("2030-01-01T00:00:00.1234Z")},
        )
    },
    **{
        name: {}
        for name in (
            "discussion_posted",
            "question_asked",
            "answer_given",
            "peer_interaction",
            "study_group_joined",
        )
    },
}

ALL_TYPES = frozenset(_OF_A_LESSON) | frozenset(_OF_THE_COURSE)


def _one(event_type: str) -> st.SearchStrategy[dict[str, Any]]:
    of_a_lesson = event_type in _OF_A_LESSON
    needed = {"event_type": st.just(event_type), "at": _TIMES}
    fields = (_OF_A_LESSON if of_a_lesson else _OF_THE_COURSE)[event_type]
    optional: dict[str, st.SearchStrategy[Any]] = {"session_id": _SESSIONS}
    if of_a_lesson:
        needed["lesson"] = _LESSONS
    else:
        optional["lesson"] = _LESSONS
    if "curriculum" not in fields:
        optional["curriculum"] = _LISTS.map(lambda lessons: {"lessons": listed(*lessons)})
    return st.fixed_dictionaries({**needed, **fields}, optional=optional)


def event_sets(max_size: int = 25) -> st.SearchStrategy[list[StoredEvent]]:
    """Sets of contract-valid events of one stream, every type, and migrations; distinct ids in no order."""
    one = st.sampled_from(sorted(ALL_TYPES)).flatmap(_one)
    migration = st.fixed_dictionaries({"at": _TIMES, "lessons": _LISTS})
    described = st.lists(st.one_of(one, one, one, one, migration), min_size=1, max_size=max_size)
    return st.tuples(described, st.randoms(use_true_random=False)).map(lambda drawn: _numbered(*drawn))


def _numbered(described: list[dict[str, Any]], random: Any) -> list[StoredEvent]:
    numbers = random.sample(range(1, 1 << 32), len(described))
    return [
        event(number=number, **fields)
        if "event_type" in fields
        else migrated(fields["at"], *fields["lessons"], number=number)
        for number, fields in zip(numbers, described, strict=True)
    ]
